"""Each persistence mode: what a node that comes back may claim, and that a change of mode loses nothing."""

from __future__ import annotations

import dataclasses
import secrets
from typing import Any

import pytest

from components.settings import Persistence
from tests.host.conftest import MakeContainers
from tests.host.containers import Containers, Server, wait_until_each
from tests.host.test_restart import have_all, wait_for_failover_without_loss


def whole(make: MakeContainers, persistence: str, **values: Any) -> Containers:
    containers = make(persistence=persistence, **values)
    containers.form()
    containers.wait_until_whole()
    return containers


def test_a_primary_whose_snapshot_is_older_does_not_go_on(make: MakeContainers) -> None:
    containers = whole(make, "rdb")
    old = containers.primary()
    values = containers.write(10, "app:saved:")
    containers.ask(old, "SAVE")
    values |= containers.write(10, "app:later:")
    have_all(containers, values)
    with containers.failover_allowed():
        containers.kill(old)
        containers.start(old)
        wait_for_failover_without_loss(containers, old, values)

    assert containers.wait_until_whole() != old
    have_all(containers, values)


@pytest.mark.long
def test_all_killed_with_snapshots_the_primary_goes_on_from_its_own(make: MakeContainers) -> None:
    containers = whole(make, "rdb")
    primary = containers.primary()
    values = containers.write(10, "app:saved:")
    containers.ask(primary, "SAVE")
    containers.kill(*containers.servers)
    containers.start(*reversed(containers.servers))

    assert containers.wait_until_whole() == primary
    have_all(containers, values)


def test_without_persistence_a_primary_that_restarts_empty_does_not_empty_the_others(make: MakeContainers) -> None:
    containers = whole(make, "none")
    old = containers.primary()
    values = containers.write(10)
    have_all(containers, values)
    with containers.failover_allowed():
        containers.kill(old)
        containers.start(old)
        wait_for_failover_without_loss(containers, old, values)

    assert containers.wait_until_whole() != old
    have_all(containers, values)


@pytest.mark.long
def test_without_persistence_all_killed_come_back_empty_and_whole(make: MakeContainers) -> None:
    containers = whole(make, "none")
    containers.write(10)
    containers.kill(*containers.servers)
    containers.start(*containers.servers)

    containers.wait_until_whole()
    assert [containers.size(server) for server in containers.redis] == [0, 0, 0]
    assert containers.write(5)


def change(containers: Containers, persistence: Persistence, **values: Any) -> None:
    """Give every node files with another persistence mode, and restart all at once: nothing else holds the data."""
    changed = dataclasses.replace(containers.settings, persistence=persistence, **values)
    for server in containers.redis:
        containers.write_files(server, containers.files(server, changed))
    containers.kill(*containers.servers)
    containers.start(*containers.servers)


@pytest.mark.long
@pytest.mark.parametrize("target", ["hybrid", "aof"])
def test_snapshots_changed_to_an_append_only_file(make: MakeContainers, target: Persistence) -> None:
    containers = whole(make, "rdb")
    values = containers.write(10)
    containers.ask(containers.primary(), "SAVE")
    change(containers, target)
    containers.wait_until_whole()
    have_all(containers, values)
    wait_until_each(
        containers.redis, lambda server: append_only_file_is_complete(containers, server), "its first rewrite"
    )

    more = containers.write(10, "app:more:")
    containers.kill(*containers.servers)
    containers.start(*containers.servers)
    containers.wait_until_whole()
    have_all(containers, {**values, **more})


def append_only_file_is_complete(containers: Containers, server: Server) -> bool:
    with containers.client(server) as client:
        found = client.info("persistence")
    return bool(found["aof_enabled"] and not found["aof_rewrite_in_progress"] and not found["aof_rewrite_scheduled"])


@pytest.mark.long
def test_an_append_only_file_that_was_never_complete_is_not_trusted(make: MakeContainers) -> None:
    containers = whole(make, "rdb")
    primary = containers.primary()
    values = containers.write(10)
    containers.ask(primary, "SAVE")
    containers.ask(primary, "CONFIG", "SET", "rdb-key-save-delay", 10_000_000)  # the first rewrite takes 100 s
    containers.ask(primary, "CONFIG", "SET", "appendonly", "yes")
    containers.ask(primary, "CONFIG", "REWRITE")
    containers.kill(*containers.servers)
    containers.start(*containers.servers)

    containers.wait_until_whole()
    have_all(containers, values)


@pytest.mark.long
def test_an_append_only_file_of_earlier_times_is_not_trusted(make: MakeContainers) -> None:
    containers = whole(make, "hybrid")
    values = containers.write(10, "app:old:")
    have_all(containers, values)
    for server in containers.redis:
        containers.ask(server, "CONFIG", "SET", "appendonly", "no")
        containers.ask(server, "CONFIG", "REWRITE")
    values |= containers.write(10, "app:new:")
    containers.ask(containers.primary(), "SAVE")
    change(containers, "hybrid", slowlog_max_len=5)  # from another seed, so that it starts with what was deployed

    containers.wait_until_whole()
    have_all(containers, values)


def test_an_append_only_file_is_still_read_when_snapshots_replace_it(make: MakeContainers) -> None:
    containers = whole(make, "aof")
    values = containers.write(10, f"app:{secrets.token_hex(4)}:")
    have_all(containers, values)
    change(containers, "rdb")

    containers.wait_until_whole()
    have_all(containers, values)
