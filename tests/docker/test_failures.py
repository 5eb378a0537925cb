"""What happens to a deployment when its nodes fail: nothing is lost, and Pulumi has nothing to do afterwards."""

from __future__ import annotations

import itertools

import pytest

from tests.docker.conftest import MakeStack
from tests.docker.stack import Live, LiveMembers, PulumiStack
from tests.docker.writer import Writer

pytestmark = [pytest.mark.docker, pytest.mark.pulumi]


def assert_nothing_to_do(stack: PulumiStack) -> None:
    """Preview, refresh and up find nothing, and change no role."""
    before = stack.roles()
    assert stack.preview("--expect-no-changes").changed == {}
    assert stack.refresh().changed == {}
    assert stack.up("--expect-no-changes").changed == {}
    assert stack.roles() == before


def assert_no_changes(stack: PulumiStack) -> None:
    """Preview finds nothing, nor anything that a refresh would find: the quick form of `assert_nothing_to_do`."""
    before = stack.roles()
    assert stack.preview("--refresh", "--expect-no-changes").changed == {}
    assert stack.roles() == before


def test_killed_primary_is_replaced_and_comes_back_as_a_replica(stack: PulumiStack) -> None:
    live = stack.live()
    former = live.primary.name
    with Writer(live.client()) as writer:
        writer.wait_for_writes(50)
        live.container(former).kill()
        writer.wait_for_writes(50)
        live.container(former).start()
        live.wait_until_healthy()
        writer.wait_for_writes(50)
    assert live.primary.name != former
    assert live.observe().node(former).link_up  # type: ignore[union-attr]
    # A write that was acknowledged and not yet sent to a replica dies with the primary: replication is asynchronous.
    # What was acknowledged by the new primary, and what came before the last moments of the old one, is all there.
    assert writer.lost(live.client(), spare_last_before_gap=True) == []
    assert_nothing_to_do(stack)


@pytest.mark.parametrize(
    "order",
    [(1, 2, 0, 3, 5, 4), (0, 1, 2, 3, 4, 5), (5, 4, 3, 2, 1, 0)],
)
@pytest.mark.long
def test_all_containers_killed_and_started_in_any_order(make_stack: MakeStack, order: tuple[int, ...]) -> None:
    stack = make_stack(appendfsync="always", **{"down-after-milliseconds": 10000})
    stack.up()
    live = stack.live()
    primary = live.primary.name
    members = [member.name for member in live.deployment.target.nodes + live.deployment.target.sentinels]
    containers = [live.container(name) for name in members]
    with Writer(live.client()) as writer:
        writer.wait_for_writes(200)
        # The primary last: whatever it acknowledged, it had on disk.
        for container in sorted(containers, key=lambda each: each.name == live.container(primary).name):
            container.kill()
        for index in order:
            containers[index].start()
        live.wait_until_healthy()
        writer.wait_for_writes(20)
    assert live.primary.name == primary
    assert writer.lost(live.client()) == []
    assert_nothing_to_do(stack)


@pytest.mark.long
def test_all_containers_restarted_at_once(make_stack: MakeStack) -> None:
    stack = make_stack(appendfsync="always", **{"down-after-milliseconds": 10000})
    stack.up()
    live = stack.live()
    client = live.client()
    for number in range(100):
        client.set(f"key:{number}", number)
    restart_all(live)
    live.wait_until_healthy()
    assert [client.get(f"key:{number}") for number in range(100)] == [str(number) for number in range(100)]
    assert_nothing_to_do(stack)


def restart_all(live: Live) -> None:
    import subprocess

    members = live.deployment.target.nodes + live.deployment.target.sentinels
    subprocess.run(
        ["docker", "restart", "-t", "10", *(member.announced.host for member in members)],
        check=True,
        capture_output=True,
    )


@pytest.mark.long
def test_removed_replica_is_brought_back_alone(stack: PulumiStack) -> None:
    live = stack.live()
    live.client().set("key", "value")
    names = [member.name for member in live.deployment.target.nodes + live.deployment.target.sentinels]
    replica = live.replica_names()[0]
    started = {name: live.container(name).attrs["State"]["StartedAt"] for name in names if name != replica}
    live.container(replica).remove(force=True, v=True)
    outcome = stack.up("--refresh")
    assert outcome.changed.get("create") == 1, outcome.text
    assert not {"replace", "delete", "create-replacement"} & set(outcome.changed), outcome.text
    live.wait_until_healthy()
    assert {name: live.container(name).attrs["State"]["StartedAt"] for name in started} == started
    assert live.node_client(replica, "app").get("key") == "value"
    assert_nothing_to_do(stack)


@pytest.mark.long
def test_wiped_replica_resyncs_and_empties_nobody(stack: PulumiStack) -> None:
    live = stack.live()
    client = live.client()
    for number in range(100):
        client.set(f"key:{number}", number)
    replica = live.replica_names()[0]
    container = live.container(replica)
    container.kill()
    wipe(live, str(container.name))
    container.start()
    live.wait_until_healthy()
    for name in (member.name for member in live.deployment.target.nodes):
        assert live.node_client(name, "app").dbsize() == 100, name
    assert_nothing_to_do(stack)


def wipe(live: LiveMembers, host: str) -> None:
    """Empty a data volume."""
    live.engine.containers.run(
        live.engine.images.get("redis:8.0.2"),
        entrypoint=["sh", "-c", "rm -rf /data/*"],
        volumes={f"{host}-data": {"bind": "/data"}},
        network_mode="none",
        remove=True,
    )


@pytest.mark.long
def test_two_stacks_never_see_each_other(make_stack: MakeStack) -> None:
    first, second = make_stack(), make_stack()
    first.up()
    second.up()
    one, other = first.live(), second.live()
    one.client().set("whose", "first")
    other.client().set("whose", "second")
    for a, b in itertools.permutations((one, other)):
        a.assert_no_stale_entries()
        hosts = {member.announced.host for member in b.deployment.target.nodes + b.deployment.target.sentinels}
        for view in a.observe().sentinels:
            assert view.other_deployments == ()
        probe = a.container("cache-redis-0")
        for host in hosts:
            code, _ = probe.exec_run(["getent", "hosts", host])
            assert code != 0, f"{host} can be resolved from the other stack's network"
    assert one.client().get("whose") == "first"
    first.destroy()
    assert other.client().get("whose") == "second"
    assert other.wait_until_healthy()
