"""A cluster's connection example, the operator's command line on it, and bad settings."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import docker
import pytest
from docker.models.containers import Container
from prometheus_client.parser import text_string_to_metric_families
from redis.cluster import RedisCluster
from tenacity import Retrying, stop_after_delay, wait_fixed

from components.backup_files import METRICS_PORT
from components.formation.cluster.agreement import disagreement
from tests.docker.conftest import MakeStack
from tests.docker.stack import PulumiStack
from tests.docker.test_bad_settings import Bad, assert_refused_at_preview
from tests.docker.test_failures import assert_no_changes, assert_nothing_to_do
from tests.docker.test_operations import run_example
from tests.docker.test_secrecy import assert_no_secret_is_shown_or_stored
from tests.processes.servers import wait_for

pytestmark = [pytest.mark.docker, pytest.mark.pulumi]


def test_command_line_and_example(shared_cluster: PulumiStack, tmp_path: Path) -> None:
    live = shared_cluster.cluster()
    verified = shared_cluster.ops("verify")
    assert verified.code == 0, verified.text
    assert "verified: a key written through RedisCluster as user app over TLS, read from cache-redis-" in verified.text
    assert run_example(shared_cluster, tmp_path) == "world"
    outputs = shared_cluster.outputs()
    assert outputs.get("backups") is None, "there was none when the program ran"
    assert [shard["slots"] for shard in outputs["shards"]] == ["0-5461", "5462-10922", "10923-16383"]
    assert outputs["nodes"] == [str(member.reach) for member in live.members.values()]

    # Followed to whichever node has it: redis-cli inside the network, by the announced names.
    for key in ("greeting", "other"):
        assert shared_cluster.ops("cli", "--", "SET", key, "hello").text.strip().endswith("OK")
        assert shared_cluster.ops("cli", "--", "GET", key).text.strip().endswith("hello")
    assert "no permissions" in shared_cluster.ops("cli", "--", "FLUSHALL").text

    shown = shared_cluster.ops("status")
    assert shown.code == 0, shown.text
    for text in ("3 shards", "cache-redis-0-0", "5462", "replicates cache-redis-2-0", "healthy"):
        assert text in shown.text
    live.check()

    refused = shared_cluster.ops("failover")
    assert refused.code == 1
    assert "name the replica that takes over with --node" in refused.text
    handed_over = shared_cluster.ops("failover", "--node", "cache-redis-1-1")
    assert handed_over.code == 0, handed_over.text
    assert live.primaries()["cache-redis-1"] == "cache-redis-1-1"
    assert run_example(shared_cluster, tmp_path) == "world"
    live.wait_until_healthy()
    assert_no_changes(shared_cluster)
    assert shared_cluster.ops("promote", "cache-redis-0-1", "--yes").code == 1


def test_rebalance_does_by_hand_what_formation_does(shared_cluster: PulumiStack) -> None:
    live = shared_cluster.cluster()
    primaries = live.primaries()
    nodes = {node.name: node for node in live.observe().nodes}
    source, other = (nodes[primaries[shard]] for shard in ("cache-redis-0", "cache-redis-1"))
    first = source.slots[0][0]
    for name in (other.name, source.name):  # empty slots, which nobody has to move keys for
        client = live.node_client(name)
        for slot in range(first, first + 50):
            client.execute_command("CLUSTER", "SETSLOT", slot, "NODE", other.node_id)  # type: ignore[no-untyped-call]
    wait_for(lambda: not disagreement(live.observe()), "all nodes have heard of it")
    told = shared_cluster.ops("rebalance", "--dry-run").text
    assert f"{other.name}: move " in told
    assert max(node.slot_count for node in live.observe().nodes) > 5500
    rebalanced = shared_cluster.ops("rebalance")
    assert rebalanced.code == 0, rebalanced.text
    live.wait_until_healthy()
    assert sorted(node.slot_count for node in live.observe().nodes if node.slots) == [5461, 5461, 5462]
    assert "nothing to do" in shared_cluster.ops("rebalance").text


def test_a_client_with_the_defaults_of_redis_py(shared_cluster: PulumiStack) -> None:
    client = shared_cluster.cluster().client(RedisCluster)
    for number in range(100):
        client.set(f"key:{number}", number)
    assert [client.get(f"key:{number}") for number in range(100)] == [str(number) for number in range(100)]


BAD: Bad = (({"sentinels": 5}, "sentinels: is a setting of topology replicated"),)
MORE: Bad = (
    ({"shards": 2}, "shards: 2 cannot outlive the death of a primary"),
    ({"replicas-per-shard": 9}, "replicas-per-shard: 9 is out of range; use 0 to 8"),
    ({"port": 55530}, "port: 55530 to 55551 are needed"),
    ({"redis-directives": {"cluster-enabled": "no"}}, "cluster-enabled is guarded by the component"),
)


@pytest.mark.parametrize("bad", [pytest.param(BAD, id="some"), pytest.param(MORE, id="more", marks=pytest.mark.long)])
def test_refused_at_preview(make_stack: MakeStack, bad: Bad) -> None:
    assert_refused_at_preview(make_stack(topology="cluster"), bad)


def test_another_port_is_refused_before_a_node_is_touched(shared_cluster: PulumiStack) -> None:
    live = shared_cluster.cluster()
    before, port = live.started(), shared_cluster.config["port"]
    shared_cluster.config["port"] = port + 100
    try:
        outcome = shared_cluster.up(check=False)
    finally:
        shared_cluster.config["port"] = port
    assert outcome.code != 0
    assert f"cache-redis-0-0 cannot move from port {port} to {port + 100}" in outcome.text
    assert "Traceback" not in outcome.text
    assert live.started() == before


def test_backups_are_taken_and_proven_beside_the_nodes(shared_cluster: PulumiStack) -> None:
    container = backup_container(shared_cluster)
    assert container.exec_run("id -u").output == b"999\n"
    assert container.exec_run("touch /backups/x /data/x").exit_code == 0
    assert container.exec_run("rm /backups/x /data/x").exit_code == 0
    assert container.exec_run("touch /etc/redis-production/x /usr/x").exit_code != 0
    assert not any(container.attrs["NetworkSettings"]["Ports"].values()), "nothing is published"

    taken = shared_cluster.ops("backup", "take")
    assert taken.code == 0, taken.text
    newest = taken.text.strip().splitlines()[-1].removesuffix(" is there")
    assert_metrics_tell_of(container, newest)
    assert f"newest proven backup: {newest}, " in shared_cluster.ops("status").text
    listed = shared_cluster.ops("backup", "list")
    assert listed.code == 0, listed.text
    (line,) = [line for line in listed.text.splitlines() if newest in line]
    assert "good" in line, listed.text
    assert "yes" in line, listed.text

    nodes = shared_cluster.cluster().started()
    shared_cluster.config["backup-schedule"] = "30 4 * * *"
    shared_cluster.up()
    changed = backup_container(shared_cluster)
    assert changed.id != container.id
    told = changed.exec_run("cat /etc/redis-production/backup.json").output
    assert isinstance(told, bytes)
    assert json.loads(told)["schedule"] == "30 4 * * *"
    assert shared_cluster.cluster().started() == nodes
    told_backups = shared_cluster.outputs()["backups"]
    assert {told_backups[kind]["name"] for kind in ("last_good", "last_proven")} == {newest}
    # Another one changes what is told, and no resource.
    assert shared_cluster.ops("backup", "take").code == 0
    assert_nothing_to_do(shared_cluster)


def assert_metrics_tell_of(container: Container, backup: str) -> None:
    """As Prometheus would be told within the network, at the latest when the status is read again."""
    url = f"http://{container.name}:{METRICS_PORT}/metrics"
    script = f"from urllib.request import urlopen; print(urlopen({url!r}, timeout=10).read().decode())"

    def told() -> dict[str, float]:
        answer = container.exec_run(["python3", "-c", script])
        assert answer.exit_code == 0, answer.output
        assert isinstance(answer.output, bytes)
        families = text_string_to_metric_families(answer.output.decode())
        return {sample.name: sample.value for family in families for sample in family.samples}

    taken_at = datetime.strptime(backup, "%Y-%m-%dT%H-%M-%SZ").replace(tzinfo=UTC).timestamp()
    wait_for(lambda: told()["redis_backup_last_success_timestamp_seconds"] >= taken_at, "the backup is told of")
    wait_for(lambda: told()["redis_backup_last_proven_timestamp_seconds"] >= taken_at, "the proof is told of")
    found = told()
    assert found["redis_backup_store_reachable"] == 1
    assert found["redis_backup_last_run_failed"] == 0


def backup_container(stack: PulumiStack) -> Container:
    """The backup container, once it is healthy."""
    container = docker.from_env().containers.get(f"{stack.deployment_name}-backup")
    for attempt in Retrying(stop=stop_after_delay(120), wait=wait_fixed(0.5), reraise=True):
        with attempt:
            container.reload()
            assert container.health == "healthy", container.logs()
    return container


@pytest.mark.long
def test_no_secret_is_shown_or_stored_in_the_open(make_stack: MakeStack) -> None:
    stack = make_stack(topology="cluster")
    assert_no_secret_is_shown_or_stored(stack, users=6, nodes=6)


@pytest.mark.long
def test_a_cluster_and_a_replicated_deployment_live_side_by_side(make_stack: MakeStack) -> None:
    replicated = make_stack(**{"replicas": 1, "sentinels": 1, "quorum": 1})
    cluster = make_stack(topology="cluster", **{"replicas-per-shard": 0})
    replicated.up()
    cluster.up()
    replicated.live().client().set("whose", "replicated")
    cluster.cluster().client().set("whose", "cluster")
    cluster.destroy()
    assert cluster.left_on_the_engine() == []
    assert replicated.live().client().get("whose") == "replicated"
    assert_nothing_to_do(replicated)
