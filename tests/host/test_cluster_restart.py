"""Hosts of a cluster stop and come back in any way and order, at other addresses: one cluster, and nothing lost."""

from __future__ import annotations

import random
import secrets
from collections.abc import Iterator

import pytest
import redis

from tests.host.cluster_containers import ClusterContainers
from tests.host.containers import ANSWERS_LATER, Server, wait_until, wait_until_each

WAITS = "may not be the newest: waiting for"


@pytest.fixture(scope="module")
def shared() -> Iterator[ClusterContainers]:
    with ClusterContainers(appendfsync="always") as containers:
        containers.start_anew()
        yield containers


@pytest.fixture
def cluster(shared: ClusterContainers) -> ClusterContainers:
    """The shared cluster, whole again whatever the test before did to it."""
    try:
        shared.wait_until_ready()
    except AssertionError:  # the test before failed half way
        shared.start_anew()
    return shared


@pytest.fixture
def values(cluster: ClusterContainers) -> dict[str, str]:
    """Keys of this test alone, acknowledged by the primaries and received by every replica."""
    written = cluster.write(60, f"app:{secrets.token_hex(4)}:")
    cluster.wait_until_copied()
    return written


def test_a_killed_primary_with_all_its_data_goes_on(cluster: ClusterContainers, values: dict[str, str]) -> None:
    owners = cluster.owners()
    cluster.set_node_timeout(15)  # it is back before it is missed
    cluster.kill(owners[0])
    cluster.start(owners[0])

    cluster.wait_until_whole()
    assert cluster.owners() == owners
    assert cluster.read(values) == values


@pytest.mark.long
def test_a_crashed_server_is_started_again_by_the_engine(cluster: ClusterContainers, values: dict[str, str]) -> None:
    primary = cluster.primary_of(1)
    started = cluster.container(primary).attrs["State"]["StartedAt"]
    cluster.run(primary, "sh", "-c", "kill -9 -1")  # every process but the container's first

    wait_until(lambda: cluster.container(primary).attrs["State"]["StartedAt"] != started, "started again")
    cluster.wait_until_whole()
    assert cluster.read(values) == values


@pytest.mark.long
def test_two_nodes_that_swap_their_addresses(cluster: ClusterContainers, values: dict[str, str]) -> None:
    pair = [cluster.replica_of(0), cluster.primary_of(1)]
    before = [cluster.address_of(server) for server in pair]
    cluster.kill(*pair)
    cluster.start(*reversed(pair))
    if [cluster.address_of(server) for server in pair] == before:
        pytest.fail("the engine gives everybody the same address again: this test shows nothing")

    cluster.wait_until_whole()
    assert cluster.read(values) == values


# Six nodes in the order of their start: primaries at first 0, 2 and 4.
ORDERS = ["543210"]
_DICE = random.Random(2)
OTHERS = ["012345", *("".join(_DICE.sample("012345", 6)) for _ in range(6))]


@pytest.mark.parametrize("order", [*ORDERS, *(pytest.param(order, marks=pytest.mark.long) for order in OTHERS)])
def test_all_killed_at_once_and_started_in_any_order(cluster: ClusterContainers, order: str) -> None:
    owners = cluster.owners()
    values = cluster.write(60, f"app:{secrets.token_hex(4)}:")
    slots = {server: cluster.itself(server).slots for server in owners}
    addresses = {server: cluster.address_of(server) for server in cluster.servers}
    cluster.kill_all()
    cluster.start(*[cluster.servers[int(index)] for index in order])

    cluster.wait_until_whole()
    assert cluster.owners() == owners
    assert {server: cluster.itself(server).slots for server in owners} == slots
    assert cluster.read(values) == values
    assert order != ORDERS[0] or {server: cluster.address_of(server) for server in cluster.servers} != addresses


@pytest.mark.long
def test_all_restarted_together(cluster: ClusterContainers, values: dict[str, str]) -> None:
    cluster.each(cluster.servers, lambda server: cluster.container(server).restart(timeout=20))

    cluster.wait_until_whole()
    assert cluster.read(values) == values


@pytest.mark.long
def test_a_failover_and_the_old_primary_returns_as_a_replica(
    cluster: ClusterContainers, values: dict[str, str]
) -> None:
    old, heir = cluster.primary_of(2), cluster.replica_of(2)
    cluster.kill(old)
    wait_until(lambda: cluster.itself(heir).is_primary, "the replica takes over")
    wait_until(lambda: cluster.state(heir) == "ok", "the cluster serves again")
    more = cluster.write(20, f"app:{secrets.token_hex(4)}:")
    cluster.start(old)

    cluster.wait_until_whole()
    assert cluster.primary_of(2) == heir
    assert cluster.read({**values, **more}) == {**values, **more}


@pytest.mark.long
def test_all_killed_after_a_failover_with_the_old_primary_first(
    cluster: ClusterContainers, values: dict[str, str]
) -> None:
    old, heir = cluster.primary_of(0), cluster.replica_of(0)
    cluster.kill(old)
    wait_until(lambda: cluster.itself(heir).is_primary, "the replica takes over")
    wait_until(lambda: cluster.state(heir) == "ok", "the cluster serves again")
    more = cluster.write(20, f"app:{secrets.token_hex(4)}:")
    others = [server for server in cluster.servers if server != old]
    cluster.kill(*others)
    cluster.start(old, *others)

    cluster.wait_until_whole()
    assert cluster.primary_of(0) == heir
    assert cluster.read({**values, **more}) == {**values, **more}


# A node whose data are lost, or may be older


def wait_for_failover_without_loss(cluster: ClusterContainers, lost: Server, heir: Server) -> None:
    """Until the replica has taken over and the node that lost its data follows it; the replica keeps every key."""
    expected = cluster.keys(heir)

    def harmless_and_done() -> bool:
        assert cluster.keys(heir) >= expected
        try:
            own = cluster.itself(lost)
        except ANSWERS_LATER:  # it waits
            return False
        assert not own.is_primary
        return cluster.itself(heir).is_primary and cluster.replication(lost)["master_link_status"] == "up"

    wait_until(harmless_and_done, f"{heir.name} in place of {lost.name}")


def test_a_primary_without_its_data_waits_for_a_replica(cluster: ClusterContainers, values: dict[str, str]) -> None:
    lost, heir = cluster.primary_of(0), cluster.replica_of(0)
    cluster.kill(lost)
    cluster.lose_data(lost)
    cluster.start(lost)
    wait_for_failover_without_loss(cluster, lost, heir)

    cluster.wait_until_whole()
    assert cluster.read(values) == values
    assert "another node has taken over: following" in cluster.log(lost)


@pytest.mark.long
def test_a_node_that_waits_is_alive(cluster: ClusterContainers, values: dict[str, str]) -> None:
    lost, heir = cluster.primary_of(1), cluster.replica_of(1)
    cluster.kill(lost, heir)
    cluster.lose_data(lost)
    cluster.start(lost)
    wait_until(lambda: waits(cluster, lost), "it waits")
    wait_until(lambda: cluster.health(lost) == "healthy", "healthy")
    with pytest.raises(ANSWERS_LATER):
        cluster.ask(lost, "PING")
    cluster.start(heir)

    cluster.wait_until_whole()  # the data of the heir's disk are the best there are: they are handed the slots
    assert cluster.primary_of(1) == heir
    assert cluster.read(values) == values


def waits(cluster: ClusterContainers, server: Server) -> bool:
    """Whether a node has said since its server last ran that it does not dare to go on."""
    return WAITS in cluster.log(server).rpartition("Ready to accept")[2]


def test_a_wiped_replica_is_a_stranger_until_formation_adopts_it(
    cluster: ClusterContainers, values: dict[str, str]
) -> None:
    wiped = cluster.replica_of(2)
    former = cluster.itself(wiped).node_id
    cluster.kill(wiped)
    cluster.wipe(wiped)
    cluster.start(wiped)
    cluster.answers(wiped)
    others = [server for server in cluster.servers if server != wiped]
    cluster.kill(*others)
    cluster.start(*others)  # each looks for the member of that name, and finds another node
    wait_until_each(others, lambda server: cluster.state(server) == "ok", "the others serve")

    assert cluster.read(values) == values
    assert len(cluster.known(wiped)) == 1
    for server in others:
        assert cluster.itself(wiped).node_id not in cluster.known(server)
    cluster.form()
    cluster.wait_until_whole()
    assert former not in cluster.known(others[0])


@pytest.mark.long
def test_every_primary_without_its_data_at_once(cluster: ClusterContainers, values: dict[str, str]) -> None:
    owners = cluster.owners()
    heirs = [cluster.replica_of(shard) for shard in range(3)]
    cluster.kill(*owners)
    for server in owners:
        cluster.lose_data(server)
    cluster.start(*owners)

    cluster.wait_until_whole()  # no majority is left to elect anybody: each hands its slots over
    assert cluster.owners() == heirs
    assert cluster.read(values) == values


def test_a_replaced_primary_that_comes_back_alone_accepts_no_write(
    cluster: ClusterContainers, values: dict[str, str]
) -> None:
    old, heir = cluster.primary_of(1), cluster.replica_of(1)
    cluster.ask(old, "CONFIG", "SET", "cluster-node-timeout", 60_000)  # so long it takes the others for reachable
    cluster.ask(old, "CONFIG", "REWRITE")
    cluster.kill(old)
    wait_until(lambda: cluster.itself(heir).is_primary, "the replica takes over")
    cluster.kill(*[server for server in cluster.servers if server != old])
    cluster.start(old)
    wait_until(lambda: cluster.state(old) == "ok", "it takes itself for a part of a cluster")
    key = next(key for key in values if cluster.owns(old, key))
    for _ in range(10):
        with pytest.raises(redis.ResponseError, match="NOREPLICAS"):
            cluster.ask(old, "SET", key, "lost", user="app")
    cluster.start(*[server for server in cluster.servers if server != old])

    wait_until(lambda: not cluster.itself(old).is_primary, "a replica")
    cluster.ask(old, "CONFIG", "SET", "cluster-node-timeout", cluster.settings.cluster_node_timeout)
    cluster.ask(old, "CONFIG", "REWRITE")
    cluster.wait_until_whole()
    assert cluster.config(old, "min-replicas-to-write") == "0"
    assert cluster.primary_of(1) == heir
    assert cluster.read(values) == values
