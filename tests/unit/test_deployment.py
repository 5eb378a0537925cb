"""A stack's state as a deployment, and what is said when it is not one."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from components.formation.members import Access
from ops.deployment import ClusterDeployment, Deployment, DeploymentError, cluster, replicated


def member(name: str, port: int) -> dict[str, Any]:
    return {
        "name": name,
        "announced": {"host": f"cache-local-{name}", "port": port},
        "reach": {"host": "127.0.0.1", "port": port},
    }


TOPOLOGY: dict[str, Any] = {
    "nodes": [member("redis-0", 6379), member("redis-1", 6380)],
    "sentinels": [member("sentinel-0", 26379)],
    "sentinel": {
        "master_name": "cache-local",
        "quorum": 1,
        "down_after_milliseconds": 30000,
        "parallel_syncs": 1,
        "failover_timeout_milliseconds": 180000,
        "auth_user": "sentinel",
    },
    "live_settings": {"maxclients": "10000"},
}
PASSWORDS = {"app": "password-of-app", "admin": "password-of-admin", "sentinel": "password-of-sentinel"}


def resource(kind: str, **outputs: Any) -> dict[str, Any]:
    return {"type": f"pulumi-python:dynamic/redis-production:{kind}", "outputs": outputs}


TARGET = resource("Topology", target=TOPOLOGY)
CREDENTIALS = resource("Credentials", passwords={"plaintext": json.dumps(PASSWORDS)})
AUTHORITY = resource("CertificateAuthority", certificate="PEM")


def state(*resources: dict[str, Any]) -> dict[str, Any]:
    stack = {"urn": "urn:pulumi:local::redis-production::pulumi:pulumi:Stack::it", "type": "pulumi:pulumi:Stack"}
    return {"version": 3, "deployment": {"resources": [stack, *resources]}}


STATE = state(TARGET, CREDENTIALS, AUTHORITY)
DEPLOYMENT = replicated(Deployment.from_state(STATE))
SHARDS = [
    {
        "name": f"redis-{shard}",
        "members": [member(f"redis-{shard}-{copy}", 7000 + 10 * shard + copy) for copy in (0, 1)],
    }
    for shard in range(3)
]
CLUSTER = Deployment.from_state(
    state(resource("Topology", target={"topology": "cluster", "shards": SHARDS}), CREDENTIALS, AUTHORITY)
)


def test_a_deployment_from_its_state() -> None:
    assert [node.name for node in DEPLOYMENT.target.nodes] == ["redis-0", "redis-1"]
    assert DEPLOYMENT.target.sentinel.auth_password == "password-of-sentinel"
    assert DEPLOYMENT.access("app") == Access("app", "password-of-app", "PEM")


def test_a_cluster_from_its_state() -> None:
    assert isinstance(CLUSTER, ClusterDeployment)
    assert [node.name for node in CLUSTER.redis_nodes] == [
        "redis-0-0", "redis-0-1", "redis-1-0", "redis-1-1", "redis-2-0", "redis-2-1",
    ]  # fmt: skip
    assert CLUSTER.access("admin") == Access("admin", "password-of-admin", "PEM")
    assert CLUSTER.node("redis-2-1").reach.port == 7021


def test_a_command_for_the_other_topology_is_refused() -> None:
    with pytest.raises(DeploymentError, match=r"^the stack holds a cluster; that is for topology replicated only$"):
        replicated(CLUSTER)
    with pytest.raises(DeploymentError, match=r"that is for topology cluster only$"):
        cluster(DEPLOYMENT)


@pytest.mark.parametrize(
    ("exported", "said"),
    [
        ({}, "the stack holds no deployment; run `pulumi up` first"),
        ({"deployment": {}}, "the stack holds no deployment; run `pulumi up` first"),
        ({"deployment": {"resources": None}}, "the stack holds no deployment; run `pulumi up` first"),
        (state(TARGET, AUTHORITY), "the stack holds no deployment; run `pulumi up` first"),
        (state(TARGET, TARGET), "the stack holds more than one deployment; that is not supported here"),
        (
            state(TARGET, resource("Credentials", passwords={"ciphertext": "v1:..."}), AUTHORITY),
            "the stack was exported without its secrets",
        ),
    ],
    ids=["nothing", "no resources", "null resources", "no credentials", "two deployments", "secrets left out"],
)
def test_a_stack_without_a_deployment(exported: dict[str, Any], said: str) -> None:
    with pytest.raises(DeploymentError) as caught:
        Deployment.from_state(exported)

    assert str(caught.value) == said


def test_a_user_that_does_not_exist() -> None:
    with pytest.raises(DeploymentError, match="there is no user root; use one of admin, app, sentinel"):
        DEPLOYMENT.access("root")


@pytest.mark.parametrize("name", ["redis-1", "cache-local-redis-1"])
def test_a_node_is_found_by_name_and_host_name(name: str) -> None:
    assert DEPLOYMENT.node(name).name == "redis-1"


def test_a_node_that_does_not_exist() -> None:
    with pytest.raises(DeploymentError, match="there is no node redis-9; use one of redis-0, redis-1"):
        DEPLOYMENT.node("redis-9")


def test_a_printed_deployment_shows_no_secret() -> None:
    assert "password-of" not in repr(DEPLOYMENT)


def test_without_pulumi_on_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)

    with pytest.raises(DeploymentError, match="pulumi is not on PATH"):
        Deployment.load(None)


Answer = Callable[..., list[list[str]]]


@pytest.fixture
def pulumi_answers(monkeypatch: pytest.MonkeyPatch) -> Answer:
    """Make the Pulumi CLI answer as told; gives the list of commands it was asked."""
    asked: list[list[str]] = []

    def prepare(returncode: int, stderr: str = "") -> list[list[str]]:
        def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
            asked.append(command)
            return subprocess.CompletedProcess(command, returncode, json.dumps(STATE), stderr)

        monkeypatch.setattr(shutil, "which", lambda _: "/usr/bin/pulumi")
        monkeypatch.setattr(subprocess, "run", run)
        return asked

    return prepare


def test_a_named_stack_is_read(pulumi_answers: Answer) -> None:
    asked = pulumi_answers(0)

    assert Deployment.load("local") == DEPLOYMENT
    assert [command[-2:] for command in asked] == [["--stack", "local"]]


def test_the_selected_stack_is_read_without_a_name(pulumi_answers: Answer) -> None:
    asked = pulumi_answers(0)

    assert Deployment.load(None) == DEPLOYMENT
    assert not any("--stack" in command for command in asked)


@pytest.mark.parametrize(
    ("stderr", "reason"),
    [("error: no stack named 'x' found\nmore\n", "no stack named 'x' found"), ("", "it gave no reason")],
)
def test_what_pulumi_says_is_passed_on_in_one_line(pulumi_answers: Answer, stderr: str, reason: str) -> None:
    pulumi_answers(255, stderr)

    with pytest.raises(DeploymentError, match=r"^pulumi stack export failed: ") as caught:
        Deployment.load("x")
    assert str(caught.value).endswith(reason)
