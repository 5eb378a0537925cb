"""A deployment that was lost with its data volumes comes back from its backups, by `pulumi up` alone."""

from __future__ import annotations

import json

import docker
import pytest

from tests.docker.conftest import MakeStack
from tests.docker.test_failures import assert_nothing_to_do

pytestmark = [pytest.mark.docker, pytest.mark.pulumi]


def test_what_was_lost_comes_back_as_a_cluster(make_stack: MakeStack) -> None:
    stack = make_stack(**{"replicas": 0, "sentinels": 1, "quorum": 1, "min-replicas-to-write": 0, "retain-data": True})
    stack.up()
    client = stack.live().client()
    for number in range(500):
        client.set(f"key:{number}", f"value {number}", ex=100_000)
    taken = stack.ops("backup", "take")
    assert taken.code == 0, taken.text
    name = taken.text.strip().splitlines()[-1].removesuffix(" is there")
    client.set("later", "value")

    refused = stack.ops("restore")
    assert refused.code == 1
    assert "the deployment has 501 keys, which a restore would delete: say so with --overwrite" in refused.text
    some = stack.ops("restore", name, "--pattern", "key:1*", "--overwrite")
    assert some.code == 0, some.text
    assert client.get("later") == "value"
    everything = stack.ops("restore", name, "--overwrite")
    assert everything.code == 0, everything.text
    assert f"{name} is restored: 500 keys" in everything.text
    fresh = stack.live().client()
    assert fresh.dbsize() == 500
    assert fresh.get("later") is None
    missing = stack.ops("restore", "2020-01-01T00-00-00Z", "--overwrite")
    assert missing.code == 1
    assert "has no backup 2020-01-01T00-00-00Z of" in missing.text

    # A deployment that is there does not start from a backup.
    stack.config["restore-from"] = "latest"
    planned = stack.preview(check=False)
    assert planned.code != 0
    assert "restore-from: this deployment holds data (500 keys on one node)" in planned.text
    del stack.config["restore-from"]

    stack.destroy()
    engine = docker.from_env()
    engine.volumes.get(f"{stack.deployment_name}-redis-0-data").remove()
    for setting in ("replicas", "sentinels", "quorum", "sentinel-port", "down-after-milliseconds", "failover-timeout"):
        del stack.config[setting]
    stack.config |= {"topology": "cluster", "replicas-per-shard": 0, "restore-from": "latest"}
    came_back = stack.up()
    assert f"restoring {name} of {stack.deployment_name}, 500 keys" in came_back.text, came_back.text
    client_of_cluster = stack.cluster().client()
    assert {client_of_cluster.get(f"key:{number}") for number in range(500)} == {f"value {n}" for n in range(500)}
    assert client_of_cluster.ttl("key:7") > 90_000
    assert stack.ops("verify").code == 0
    assert_nothing_to_do(stack)

    stack.config["restore-from"] = name
    planned = stack.preview(check=False)
    assert planned.code != 0
    assert "restore-from: this deployment has started from latest" in planned.text
    del stack.config["restore-from"]
    assert stack.up().changed == {"delete": 1}
    assert client_of_cluster.get("key:7") == "value 7"
    stack.config["retain-data"] = False
    stack.up()


@pytest.mark.long
@pytest.mark.parametrize("topology", ["replicated", "cluster"])
def test_a_drill_loses_a_scratch_deployment_and_brings_it_back(make_stack: MakeStack, topology: str) -> None:
    stack = make_stack(topology=topology)
    stack.up()
    nodes = stack.roles()
    drilled = stack.ops("drill", "restore")
    assert drilled.code == 0, drilled.text
    assert "everything from before the backup is back" in drilled.text
    assert "RTO: until everything was read again" in drilled.text
    assert stack.roles() == nodes
    container = docker.from_env().containers.get(f"{stack.deployment_name}-backup")
    filed = container.exec_run(["sh", "-c", f"cat /backups/{stack.deployment_name}/drills/*.json"]).output
    assert isinstance(filed, bytes)
    report = json.loads(filed)
    assert report["complete"]
    assert report["lost_writes"] > 0
    assert report["keys"] >= 2000
    assert "drill-" not in stack.run("stack", "ls").text
    engine = docker.from_env()
    assert not [each.name for each in engine.containers.list(all=True) if "-drill-" in str(each.name)]
    assert not [each.name for each in engine.volumes.list() if "-drill-" in each.name]
