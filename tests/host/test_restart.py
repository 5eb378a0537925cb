"""Hosts stop and come back in any way and order: one primary, no acknowledged write lost, no older data over newer."""

from __future__ import annotations

import random
import secrets
from collections.abc import Iterator

import pytest

from tests.host.conftest import MakeContainers
from tests.host.containers import Containers, Server, wait_until, wait_until_each


@pytest.fixture
def values(formed: Containers) -> dict[str, str]:
    """Keys of this test alone, acknowledged by the primary and received by every replica."""
    written = formed.write(100, f"app:{secrets.token_hex(4)}:")
    have_all(formed, written)
    return written


def have_all(containers: Containers, values: dict[str, str]) -> None:
    wait_until_each(containers.redis, lambda server: containers.read(server, values) == values, "every key")


def test_a_crashed_server_is_started_again_by_the_engine(formed: Containers, values: dict[str, str]) -> None:
    primary = formed.primary()
    started = formed.container(primary).attrs["State"]["StartedAt"]
    formed.run(primary, "sh", "-c", "kill -9 -1")  # every process but the container's first

    wait_until(lambda: formed.container(primary).attrs["State"]["StartedAt"] != started, "started again")
    assert formed.wait_until_whole() == primary
    have_all(formed, values)


def test_a_killed_primary_with_all_its_data_goes_on_as_the_primary(formed: Containers, values: dict[str, str]) -> None:
    primary = formed.primary()
    formed.kill(primary)
    formed.start(primary)

    assert formed.wait_until_whole() == primary
    have_all(formed, values)
    assert "no other can have newer data: going on as the primary" in formed.log(primary)


def test_a_stopped_primary_goes_on_too(formed: Containers, values: dict[str, str]) -> None:
    primary = formed.primary()
    formed.container(primary).restart(timeout=20)

    assert formed.wait_until_whole() == primary
    have_all(formed, values)


def test_a_failover_and_the_old_primary_returns_as_a_replica(formed: Containers, values: dict[str, str]) -> None:
    old = formed.primary()
    with formed.failover_allowed():
        formed.kill(old)
        wait_until(lambda: has_failed_over_from(formed, old), "another primary")
    more = formed.write(10, f"app:{secrets.token_hex(4)}:")
    formed.start(old)

    primary = formed.wait_until_whole()
    assert primary != old
    assert formed.is_proven_replica_of(old, primary)
    have_all(formed, {**values, **more})


def test_a_wiped_replica_gets_the_data_again(formed: Containers, values: dict[str, str]) -> None:
    primary, replica = formed.primary(), formed.replicas()[0]
    formed.kill(replica)
    formed.wipe(replica)
    formed.start(replica)

    assert formed.wait_until_whole() == primary
    have_all(formed, values)


def has_failed_over_from(containers: Containers, old: Server) -> bool:
    """Whether the Sentinels agree on another node, and it is the primary."""
    named = containers.named_primary()
    return named not in (None, old) and containers.replication(named)["role"] == "master"


def wait_for_failover_without_loss(containers: Containers, lost: Server, values: dict[str, str]) -> None:
    """Until a failover: the node that lost its data is never a primary, and the others keep theirs."""

    def harmless_and_done() -> bool:
        assert containers.replication(lost)["role"] == "slave"
        for server in containers.redis:
            if server != lost:
                assert containers.size(server) >= len(values)
        return has_failed_over_from(containers, lost)

    wait_until(lambda: containers.replication(lost), f"{lost.name} started")
    wait_until(harmless_and_done, "another primary")


def test_a_wiped_former_primary_never_empties_the_others(formed: Containers, values: dict[str, str]) -> None:
    old = formed.primary()
    with formed.failover_allowed():
        formed.kill(old)
        formed.wipe(old)
        formed.start(old)
        wait_for_failover_without_loss(formed, old, values)

    assert formed.wait_until_whole() != old
    have_all(formed, values)


# Six nodes in the order of their start: 0 to 2 are Redis, 3 to 5 Sentinels.
ORDERS = ["012345", "543210"]
_DICE = random.Random(1)
SHUFFLED = ["345120", *("".join(_DICE.sample("012345", 6)) for _ in range(4))]


@pytest.fixture(scope="module")
def always() -> Iterator[Containers]:
    """A deployment that acknowledges a write only when it is on disk."""
    with Containers(appendfsync="always") as containers:
        containers.start_anew()
        yield containers


@pytest.mark.parametrize("order", [*ORDERS, *(pytest.param(order, marks=pytest.mark.long) for order in SHUFFLED)])
def test_all_killed_at_once_and_started_in_any_order(always: Containers, order: str) -> None:
    primary = always.wait_until_whole()
    values = always.write(50, f"app:{secrets.token_hex(4)}:")
    always.kill(*always.servers)
    always.start(*[always.servers[int(index)] for index in order])

    assert always.wait_until_whole() == primary
    have_all(always, values)


def test_a_primary_whose_every_write_was_on_disk_goes_on_after_its_host_restarted(always: Containers) -> None:
    values = always.write(20, f"app:{secrets.token_hex(4)}:")
    primary = always.primary()
    always.kill(primary)
    always.restart_host(primary)
    always.start(primary)

    assert always.wait_until_whole() == primary
    have_all(always, values)


def test_a_primary_that_may_lack_a_second_does_not_go_on_after_its_host_restarted(
    formed: Containers, values: dict[str, str]
) -> None:
    old = formed.primary()
    formed.kill(old)
    formed.restart_host(old)
    formed.start(old)
    wait_until(lambda: waits(formed, old), "it waits")
    with formed.failover_allowed():
        wait_for_failover_without_loss(formed, old, values)

    assert formed.wait_until_whole() != old
    have_all(formed, values)
    assert "its data (partial) may not be the newest: waiting for a failover" in formed.log(old)


def waits(containers: Containers, primary: Server) -> bool:
    """Whether a node that the Sentinels name has said since its last start that it does not dare to go on."""
    since = containers.log(primary).rpartition("Ready to accept")[2]
    return "may not be the newest: waiting for a failover" in since


@pytest.mark.long
def test_a_second_restart_makes_data_no_better(formed: Containers, values: dict[str, str]) -> None:
    old = formed.primary()
    formed.kill(old)
    formed.restart_host(old)
    formed.start(old)
    wait_until(lambda: waits(formed, old), "it waits")
    formed.kill(old)
    formed.start(old)
    wait_until(lambda: waits(formed, old), "it waits again")
    with formed.failover_allowed(20_000):
        wait_for_failover_without_loss(formed, old, values)

    assert formed.wait_until_whole() != old
    have_all(formed, values)


@pytest.mark.long
def test_a_wiped_primary_that_restarts_again_and_again_never_goes_on(make: MakeContainers) -> None:
    containers = make()
    containers.form()
    containers.wait_until_whole()
    values = containers.write(10)
    have_all(containers, values)
    wiped, others = containers.primary(), containers.replicas()
    containers.kill(*containers.servers)
    containers.wipe(wiped)
    for _ in range(2):
        containers.start(*containers.servers)
        wait_until(lambda: waits(containers, wiped), "it waits")
        assert containers.replication(wiped)["role"] == "slave"
        wait_until_each(others, lambda server: containers.replication(server)["master_host"] == "127.0.0.1", "unformed")
        containers.kill(*containers.servers)

    containers.start(*others)
    # Every key is still there; the nodes wait for an operator to say whose data count.
    wait_until_each(
        others, lambda server: containers.ask(server, "INFO", "keyspace")["db0"]["keys"] == len(values), "every key"
    )


def test_after_all_hosts_restarted_the_primary_goes_on(formed: Containers, values: dict[str, str]) -> None:
    primary = formed.primary()
    formed.kill(*formed.servers)
    for server in formed.redis:
        formed.restart_host(server)
    formed.start(*reversed(formed.servers))

    assert formed.wait_until_whole() == primary
    have_all(formed, values)


def test_after_all_hosts_but_one_restarted_nobody_goes_on_until_that_is_back(
    formed: Containers, values: dict[str, str]
) -> None:
    primary, missing = formed.primary(), formed.replicas()[0]
    formed.kill(*formed.servers)
    for server in formed.redis:
        formed.restart_host(server)
    formed.start(*[server for server in formed.servers if server != missing])
    wait_until(lambda: waits(formed, primary), "it waits")
    assert formed.replication(primary)["role"] == "slave"
    formed.start(missing)

    assert formed.wait_until_whole() == primary
    have_all(formed, values)


def test_all_restarted_together(always: Containers) -> None:
    values = always.write(50, f"app:{secrets.token_hex(4)}:")
    always.each(always.servers, lambda server: always.container(server).restart(timeout=20))

    always.wait_until_whole()
    have_all(always, values)


def test_all_killed_during_a_failover(always: Containers) -> None:
    values = always.write(50, f"app:{secrets.token_hex(4)}:")
    old = always.primary()
    have_all(always, values)
    with always.failover_allowed():
        always.kill(old)
        wait_until(lambda: has_failed_over_from(always, old), "another primary")
    always.kill(*[server for server in always.servers if server != old])
    always.start(*always.servers)

    always.wait_until_whole()
    have_all(always, values)


def test_a_sentinel_that_lost_its_memory_makes_no_trouble(formed: Containers, values: dict[str, str]) -> None:
    primary, sentinel = formed.primary(), formed.sentinels[0]
    formed.kill(sentinel)
    formed.wipe(sentinel)
    formed.start(sentinel)
    wait_until(lambda: formed.ask(sentinel, "SENTINEL", "MASTERS") == [], "a Sentinel that knows nothing")
    formed.kill(primary)
    formed.start(primary)

    wait_until(lambda: formed.replication(primary)["role"] == "master", "two of three Sentinels are enough")
    formed.form()
    assert formed.wait_until_whole() == primary
    have_all(formed, values)


def test_a_node_alone_goes_on_by_itself(make: MakeContainers) -> None:
    containers = make(replicas=0, sentinels=1, quorum=1, persistence="rdb")
    containers.form()
    values = containers.write(10)
    containers.ask(containers.redis[0], "SAVE")
    containers.kill(*containers.servers)  # so soon that its own loop may not have seen it formed
    containers.start(*containers.servers)

    assert containers.wait_until_whole() == containers.redis[0]
    assert containers.read(containers.redis[0], values) == values
