"""What a cluster's primary may do with data that may not be the newest, for each way to keep them."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest

from tests.host.cluster_containers import ClusterContainers
from tests.host.containers import wait_until
from tests.host.test_cluster_restart import WAITS, wait_for_failover_without_loss, waits


@pytest.fixture(scope="module")
def everysec() -> Iterator[ClusterContainers]:
    """A cluster whose files lack up to a second when a host crashes: the default."""
    with ClusterContainers() as containers:
        containers.start_anew()
        yield containers


@pytest.fixture
def values(everysec: ClusterContainers) -> dict[str, str]:
    """Keys of this test alone in a whole cluster, acknowledged by the primaries and received by every replica."""
    everysec.wait_until_ready()
    written = everysec.write(60, f"app:{secrets.token_hex(4)}:")
    everysec.wait_until_copied()
    return written


def test_a_primary_whose_host_restarted_waits_for_the_replica_that_kept_running(
    everysec: ClusterContainers, values: dict[str, str]
) -> None:
    old, heir = everysec.primary_of(0), everysec.replica_of(0)
    everysec.kill(old)
    everysec.restart_host(old)
    everysec.start(old)
    wait_for_failover_without_loss(everysec, old, heir)

    everysec.wait_until_whole()
    assert "another node has taken over: following" in everysec.log(old)
    assert everysec.read(values) == values


@pytest.mark.long
def test_after_all_hosts_restarted_the_primaries_go_on(everysec: ClusterContainers, values: dict[str, str]) -> None:
    owners = everysec.owners()
    everysec.kill_all()
    for server in everysec.servers:
        everysec.restart_host(server)
    everysec.start(*everysec.servers)

    everysec.wait_until_whole()
    assert everysec.owners() == owners
    assert "no replica can have newer data than this node (partial): going on" in everysec.log(owners[0])
    assert everysec.read(values) == values


@pytest.mark.long
def test_every_primary_whose_host_restarted_hands_over_to_a_replica_that_kept_running(
    everysec: ClusterContainers, values: dict[str, str]
) -> None:
    owners = everysec.owners()
    heirs = [everysec.replica_of(shard) for shard in range(3)]
    everysec.kill(*owners)
    for server in owners:
        everysec.restart_host(server)
    everysec.start(*owners)

    everysec.wait_until_whole()
    assert everysec.owners() == heirs
    assert everysec.read(values) == values


@pytest.mark.long
def test_a_second_restart_makes_data_no_better(everysec: ClusterContainers, values: dict[str, str]) -> None:
    old, heir = everysec.primary_of(1), everysec.replica_of(1)
    everysec.kill(old, heir)
    everysec.restart_host(old)
    for _ in range(2):
        everysec.start(old)
        wait_until(lambda: waits(everysec, old), "it waits")
        everysec.kill(old)
    everysec.start(heir, old)

    everysec.wait_until_whole()  # both have restarted: neither is newer
    assert everysec.read(values) == values


@pytest.mark.long
def test_a_primary_whose_host_restarted_does_not_wait_for_ever_for_a_dead_replica(
    everysec: ClusterContainers, values: dict[str, str]
) -> None:
    old, dead = everysec.primary_of(2), everysec.replica_of(2)
    everysec.kill(old, dead)
    everysec.restart_host(old)
    everysec.start(old)
    wait_until(lambda: everysec.itself(old).is_primary, "it goes on")

    assert "a majority of the primaries knows of no other owner: going on as the primary" in everysec.log(old)
    wait_until(lambda: everysec.state(old) == "ok", "the cluster serves")
    assert everysec.read(values) == values
    everysec.start(dead)
    everysec.wait_until_whole()


@pytest.mark.long
def test_a_primary_without_data_waits_for_ever_for_a_replica_unless_an_operator_says_otherwise(
    everysec: ClusterContainers, values: dict[str, str]
) -> None:
    lost, dead = everysec.primary_of(0), everysec.replica_of(0)
    everysec.kill(lost, dead)
    everysec.lose_data(lost)
    everysec.start(lost)
    wait_until(lambda: f"its data (nothing) {WAITS} {dead.address}" in everysec.log(lost), "it waits without a bound")
    assert everysec.run(lost, "touch", "/data/go-on")[0] == 0

    wait_until(lambda: everysec.itself(lost).is_primary, "it goes on")
    everysec.start(dead)
    everysec.wait_until_whole()
    assert everysec.keys(lost) == 0


@pytest.fixture(scope="module")
def none() -> Iterator[ClusterContainers]:
    """A cluster that keeps no data."""
    with ClusterContainers(persistence="none") as containers:
        containers.start_anew()
        yield containers


@pytest.mark.long
def test_without_persistence_a_primary_that_restarts_does_not_empty_its_replica(none: ClusterContainers) -> None:
    none.wait_until_ready()
    values = none.write(60)
    none.wait_until_copied()
    old, heir = none.primary_of(0), none.replica_of(0)
    none.kill(old)
    none.start(old)
    wait_for_failover_without_loss(none, old, heir)

    none.wait_until_whole()
    assert none.read(values) == values


@pytest.mark.long
def test_without_persistence_all_killed_come_back_empty_and_whole(none: ClusterContainers) -> None:
    none.wait_until_ready()
    owners = none.owners()
    none.write(10)
    none.kill_all()
    none.start(*none.servers)

    none.wait_until_whole()
    assert none.owners() == owners
    assert [none.keys(server) for server in none.servers] == [0] * 6
    assert none.write(5)


@pytest.fixture
def snapshots() -> Iterator[ClusterContainers]:
    """A cluster that keeps snapshots only."""
    with ClusterContainers(persistence="rdb") as containers:
        containers.start_anew()
        yield containers


@pytest.mark.long
def test_with_snapshots_the_replica_that_kept_running_is_newer(snapshots: ClusterContainers) -> None:
    old, heir = snapshots.primary_of(0), snapshots.replica_of(0)
    values = snapshots.write(30, "app:saved:")
    for server in snapshots.servers:
        snapshots.ask(server, "SAVE")
    values |= snapshots.write(30, "app:later:")
    snapshots.wait_until_copied()
    snapshots.kill(old)
    snapshots.start(old)
    wait_for_failover_without_loss(snapshots, old, heir)
    snapshots.wait_until_whole()
    assert snapshots.read(values) == values

    owners = snapshots.owners()
    for server in snapshots.servers:
        snapshots.ask(server, "SAVE")
    snapshots.kill_all()
    snapshots.start(*snapshots.servers)
    snapshots.wait_until_whole()
    assert snapshots.owners() == owners
    assert snapshots.read(values) == values


@pytest.mark.long
def test_snapshots_changed_to_an_append_only_file(snapshots: ClusterContainers) -> None:
    values = snapshots.write(30)
    for server in snapshots.servers:
        snapshots.ask(server, "SAVE")
    snapshots.change(persistence="hybrid")
    snapshots.wait_until_whole()
    assert snapshots.read(values) == values
    assert {snapshots.config(server, "appendonly") for server in snapshots.servers} == {"yes"}
