"""What happens to a cluster when its nodes fail: nothing is lost, and Pulumi has nothing to do afterwards."""

from __future__ import annotations

import subprocess
import time

import pytest

from tests.docker.cluster_load import ClusterLoad
from tests.docker.conftest import MakeStack
from tests.docker.stack import LiveCluster, PulumiStack
from tests.docker.test_failures import assert_nothing_to_do, wipe

pytestmark = [pytest.mark.docker, pytest.mark.pulumi]


def written(live: LiveCluster, prefix: str) -> dict[str, str]:
    """Keys in every shard, on disk of primary and replica."""
    client = live.client()
    values = {f"{prefix}:{number}": str(number) for number in range(300)}
    for key, value in values.items():
        client.set(key, value)
    return values


def assert_there(live: LiveCluster, values: dict[str, str]) -> None:
    client = live.client()
    assert {key: client.get(key) for key in values} == values


def test_killed_primary_is_replaced_and_comes_back_as_a_replica(shared_cluster: PulumiStack) -> None:
    live = shared_cluster.cluster()
    former = live.primaries()["cache-redis-1"]
    with ClusterLoad(live.client) as load:
        load.wait_for_writes(100)
        live.container(former).kill()
        killed = time.monotonic()
        load.wait_for_writes(200)
        while live.primaries().get("cache-redis-1") in (None, former):
            load.wait_for_writes(1)
        load.wait_for_writes(200)
        live.container(former).start()
        live.wait_until_healthy()
        load.wait_for_writes(50)
    assert former in live.replicas()
    assert load.lost(live.client(), spare_around=killed) == []
    assert load.errors == []
    assert_nothing_to_do(shared_cluster)


@pytest.mark.long
def test_killed_primary_and_its_only_replica_bring_everything_back(shared_cluster: PulumiStack) -> None:
    live = shared_cluster.cluster()
    values = written(live, "pair")
    nodes = {node.name: node for node in live.observe().nodes}
    (slots,) = nodes[live.primaries()["cache-redis-2"]].slots
    # The replica first: it then cannot take over, nor come back with less than its primary had.
    pair = sorted(
        (name for name in live.members if name.startswith("cache-redis-2-")),
        key=lambda name: name == live.primaries()["cache-redis-2"],
    )
    for name in pair:
        live.container(name).kill()
    shown = shared_cluster.ops("status")
    assert shown.code == 1
    assert f"{slots[0]}-{slots[1]}" in shown.text, shown.text
    for name in pair:
        assert name in shown.text
    for name in pair:
        live.container(name).start()
    live.wait_until_healthy()
    assert_there(live, values)


@pytest.mark.long
def test_all_containers_restarted_at_once(shared_cluster: PulumiStack) -> None:
    live = shared_cluster.cluster()
    values = written(live, "restart")
    addresses = {name: address_of(live, name) for name in live.members}
    hosts = [member.announced.host for member in live.members.values()]
    subprocess.run(["docker", "kill", *hosts], check=True, capture_output=True)
    # The engine gives addresses away in the order of starts: in this one, nobody gets the one it had.
    subprocess.run(["docker", "start", *hosts[3:], *hosts[:3]], check=True, capture_output=True)
    live.wait_until_healthy()
    assert {name: address_of(live, name) for name in live.members} != addresses
    assert_there(live, values)
    assert_nothing_to_do(shared_cluster)


def address_of(live: LiveCluster, name: str) -> str:
    container = live.container(name)
    (network,) = container.attrs["NetworkSettings"]["Networks"].values()
    return str(network["IPAddress"])


@pytest.mark.long
def test_a_container_removed_by_hand_is_brought_back_alone(shared_cluster: PulumiStack) -> None:
    live = shared_cluster.cluster()
    values = written(live, "removed")
    removed = live.primaries()["cache-redis-0"]
    others = {name: at for name, at in live.started().items() if name != removed}
    live.container(removed).remove(force=True, v=True)
    outcome = shared_cluster.up("--refresh")
    assert outcome.changed.get("create") == 1, outcome.text
    assert not {"replace", "delete", "create-replacement"} & set(outcome.changed), outcome.text
    live.wait_until_healthy()
    assert {name: at for name, at in live.started().items() if name != removed} == others
    assert_there(live, values)
    assert_nothing_to_do(shared_cluster)


@pytest.mark.long
def test_data_volumes_outlive_destroy_and_are_found_again(make_stack: MakeStack) -> None:
    stack = make_stack(topology="cluster", **{"retain-data": True})
    stack.up()
    values = written(stack.cluster(), "kept")
    stack.destroy()
    volumes = [f"volume {stack.deployment_name}-redis-{shard}-{copy}-data" for shard in range(3) for copy in range(2)]
    volumes = [f"volume {stack.deployment_name}-backups", *volumes]
    assert sorted(stack.left_on_the_engine()) == volumes, "only the volumes with data and backups stay"
    stack.up()
    live = stack.cluster()
    live.wait_until_healthy()
    assert_there(live, values)
    assert_nothing_to_do(stack)


@pytest.mark.long
def test_a_replica_and_a_primary_that_lost_their_data_get_it_from_each_other(make_stack: MakeStack) -> None:
    stack = make_stack(topology="cluster")
    stack.up()
    live = stack.cluster()
    values = written(live, "wiped")
    replica = next(name for name in live.replicas() if name.startswith("cache-redis-0-"))
    for name in (replica, live.primaries()["cache-redis-1"]):
        container = live.container(name)
        container.kill()
        wipe(live, str(container.name))
        container.start()
        live.wait_until_answers(name)  # what does not answer yet is none of formation's business
    stack.up()
    live.wait_until_healthy()
    live.assert_no_stale_entries()
    assert_there(live, values)
    assert_nothing_to_do(stack)
