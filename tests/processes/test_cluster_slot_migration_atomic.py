"""Slots that Valkey 9 moves by itself: under load, and when a mover or a node dies meanwhile."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from components.formation import FormationError
from tests.processes.cluster_load import SETTINGS, load_on
from tests.processes.cluster_servers import Cluster, cluster
from tests.processes.servers import PASSWORDS, wait_for
from tests.processes.test_cluster_slot_migration import (
    balance,
    everything_there,
    fill,
    healthy,
    move,
    moves_to_balance,
    rejoin,
    settle_all,
    start_mover,
)
from tests.processes.valkey import valkey_command

# The slots' keys come by the user that replicates, which needs `cluster|syncslots` for that.
_USER = {"masteruser": "admin", "masterauth": PASSWORDS["admin"]}

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def command() -> list[str]:
    return valkey_command()


@pytest.fixture
def formed(tmp_path: Path, command: list[str]) -> Iterator[Callable[..., Cluster]]:
    with contextlib.ExitStack() as stack:

        def make(**options: Any) -> Cluster:
            made = stack.enter_context(cluster(tmp_path, command, settings={**SETTINGS, **_USER}, **options))
            made.form_by_hand()
            return made

        yield make


def jobs(nodes: Cluster) -> list[str]:
    return [str(job) for process in nodes.nodes for job in process.ask("CLUSTER", "GETSLOTMIGRATIONS")]


def test_slots_move_by_jobs_of_the_server(formed: Callable[..., Cluster]) -> None:
    nodes = formed(shards=4, replicas=0)
    balance(nodes, ["0", "1", "2"])
    values = fill(nodes)
    with load_on(nodes) as load:
        for shards in (["0", "1", "2", "3"], ["0", "1", "2"]):
            before = load.acknowledged
            wait_for(lambda before=before: load.acknowledged > before + 500, "writes")
            assert balance(nodes, shards)[-1].startswith("4096 of 4096 slots moved")
            healthy(nodes)
    assert everything_there(nodes, values)
    assert len(jobs(nodes)) >= 2 * 3 * 2, "every pair's source and target tell of a job"
    wait_for(lambda: nodes.primary_of("3").ask("DBSIZE") == 0, "the source has removed its copies")


def test_a_mover_that_is_killed_is_no_trouble_for_the_next_one(formed: Callable[..., Cluster]) -> None:
    nodes = formed(shards=3, replicas=0)
    values = fill(nodes)
    with load_on(nodes):
        for turn in range(4):
            shards = ["0", "1"] if turn % 2 == 0 else ["0", "1", "2"]
            mover = start_mover(nodes, moves_to_balance(nodes, shards))
            time.sleep(random.uniform(0, 0.3))  # a moment that nothing depends on
            mover.kill()
            mover.wait()
            settle_all(nodes)
            wait_for(lambda shards=shards: not retry_balance(nodes, shards), "the next one goes on")
            healthy(nodes)
    assert everything_there(nodes, values)


def retry_balance(nodes: Cluster, shards: list[str]) -> list[str]:
    """A slot may get to its new owner in the moment in which the next mover begins; that one is then told so."""
    try:
        balance(nodes, shards)
    except FormationError as error:
        return [str(error)]
    return []


@pytest.mark.parametrize("shard", ["2", "1"])
def test_a_primary_that_dies_is_named_and_nothing_is_lost(formed: Callable[..., Cluster], shard: str) -> None:
    nodes = formed(shards=3, replicas=1)
    values = fill(nodes, 60_000)
    victim = nodes.primary_of(shard)
    moves = moves_to_balance(nodes, ["0", "1"])
    failures: list[FormationError] = []

    def work() -> None:
        with contextlib.suppress(AssertionError):
            try:
                move(nodes, moves)
            except FormationError as error:
                failures.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    wait_for(lambda: jobs(nodes), "a job has begun")
    victim.kill()
    thread.join()
    assert not failures or victim.name in str(failures[0])

    def taken_over() -> bool:
        running = [process for process in nodes.nodes if process.running]
        replica = next(process for process in nodes.shards[shard] if process.running)
        return replica.info()["role"] == "master" and all(
            process.cluster_info()["cluster_state"] == "ok" for process in running
        )

    wait_for(taken_over, "the replica has taken over")
    assert everything_there(nodes, values)
    victim.start()
    victim.wait_until_up()
    rejoin(nodes, victim)
    wait_for(lambda: not retry_balance(nodes, ["0", "1"]), "the next one goes on")
    healthy(nodes)
    assert everything_there(nodes, values)
