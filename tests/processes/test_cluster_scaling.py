"""Shards and weights that change: slots move with their keys, nodes come and go, on bare processes."""

from __future__ import annotations

import pytest

from components.formation import FormationRefused
from components.formation.cluster import plan, preview
from components.formation.cluster.formation import apply_stage
from components.formation.cluster.observation import observe
from components.formation.cluster.safety import still_owns_slots
from components.formation.cluster.slots import parse_slots
from components.formation.cluster.steps import MoveSlots
from components.formation.connection import Connections
from tests.processes.cluster_servers import Cluster, restart
from tests.processes.test_cluster_changes import PERSISTENT, assert_filled, fail_over_by_killing, fill
from tests.processes.test_cluster_forming import StartCluster, assert_formed, formed, quiet, run


def moved(cluster: Cluster) -> int:
    """How many slots the preview says will move."""
    found, _ = preview(cluster.target, cluster.access)
    return sum(len(step.slots) for step in found.steps if isinstance(step, MoveSlots))


def test_shards_come_and_go(start_cluster: StartCluster) -> None:
    cluster = formed(start_cluster(shards=2))
    fill(cluster)
    (added, _) = cluster.add_shards()
    assert moved(cluster) == 16384 // 3, "no slot more than the new shard gets"
    report = run(cluster)
    assert_formed(cluster)
    assert_filled(cluster)
    assert len(parse_slots(report.slots["cache-test-2"])) == 16384 // 3
    gone = cluster.shards.pop("2")
    found = still_owns_slots(cluster.target, cluster.access, added.member.announced)
    assert found is not None
    assert moved(cluster) == 16384 // 3
    run(cluster)
    assert_formed(cluster)
    assert_filled(cluster)
    assert still_owns_slots(cluster.target, cluster.access, added.member.announced) is None
    for process in gone:
        assert len(process.known()) == 1
        assert process.ask("DBSIZE") == 0
    cluster.shards["2"] = gone
    run(cluster)
    assert_formed(cluster)
    assert_filled(cluster)


def test_the_preview_knows_of_nodes_that_do_not_exist_yet(start_cluster: StartCluster) -> None:
    cluster = formed(start_cluster(shards=2, replicas=0))
    fill(cluster)
    (added,) = cluster.add_shards(replicas=0)
    added.kill()
    found, _ = preview(cluster.target, cluster.access, joining=frozenset({added.name}))
    assert (found.waits, found.refusals) == ((), ())
    lines = found.describe()
    assert f"cache-test-redis-0-0: meet {added.name}" in lines
    assert sum(line.startswith("cache-test-redis-0-0: move 273") for line in lines) == 1, lines
    found, _ = preview(cluster.target, cluster.access)
    assert any(line.startswith(f"{added.name}: not reachable") for line in found.waits)


def test_a_weight_changes(start_cluster: StartCluster) -> None:
    cluster = formed(start_cluster(replicas=0))
    fill(cluster)
    cluster.weights = {"1": 2}
    assert moved(cluster) == 16384 // 2 - 5461
    run(cluster)
    assert_formed(cluster)
    assert_filled(cluster)


@pytest.mark.long
def test_all_shards_are_replaced(start_cluster: StartCluster) -> None:
    cluster = formed(start_cluster(shards=1))
    fill(cluster)
    cluster.add_shards(2)
    gone = cluster.shards.pop("0")
    run(cluster)
    assert_formed(cluster)
    assert_filled(cluster)
    assert all(len(process.known()) == 1 for process in gone)


def test_after_a_failover_slots_move_to_and_from_who_took_over(start_cluster: StartCluster) -> None:
    cluster = formed(start_cluster(settings=PERSISTENT))
    fill(cluster)
    old, _ = fail_over_by_killing(cluster, "2")
    old.start()
    cluster.shards.pop("2")
    run(cluster)
    assert_formed(cluster)
    assert_filled(cluster)


def test_too_little_memory_on_the_shards_that_stay_is_refused_before_anything_happens(
    start_cluster: StartCluster,
) -> None:
    cluster = formed(start_cluster(shards=2, replicas=0))
    with cluster.client() as client:
        for number in range(40):
            client.set(f"big-{number}", "x" * 1_000_000)
    cluster.shards["0"][0].ask("CONFIG", "SET", "maxmemory", "30mb", "maxmemory-policy", "noeviction")
    cluster.shards.pop("1")
    found, _ = preview(cluster.target, cluster.access)
    assert found.steps == ()
    assert "more than its maxmemory of 30.0 MiB" in found.refusals[0]
    with pytest.raises(FormationRefused):
        run(cluster)
    assert len(cluster.all_nodes[1].known()) == 2, "it is still there"


@pytest.mark.parametrize(
    "stages", [pytest.param(1, marks=pytest.mark.long), pytest.param(2, marks=pytest.mark.long), 3, 4]
)
def test_interrupted_between_stages_and_everything_restarts(start_cluster: StartCluster, stages: int) -> None:
    cluster = formed(start_cluster(shards=2, settings=PERSISTENT))
    fill(cluster)
    cluster.add_shards()
    cluster.shards.pop("0")
    target = cluster.target
    with Connections(cluster.access) as connections:
        for _ in range(stages):
            observation = observe(target, cluster.access)
            found = plan(target, observation)
            if found.stages:
                apply_stage(found.stages[0], target, observation, connections, quiet)
    restart(cluster.all_nodes)
    run(cluster)
    assert_formed(cluster)
    assert_filled(cluster)
