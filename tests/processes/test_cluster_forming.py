"""Formation of an empty cluster, complete or interrupted, on bare processes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from components.formation import FormationRefused, FormationTimeout
from components.formation.cluster import Report, form, plan, preview
from components.formation.cluster.apply import apply_step
from components.formation.cluster.gossip import LivelyGossip
from components.formation.cluster.health import status
from components.formation.cluster.observation import Observation, observe
from components.formation.cluster.plan import plan_for_empty_deployment
from components.formation.cluster.slots import SLOT_COUNT, parse_slots
from components.formation.connection import Connections
from components.formation.steps import ChangeLiveSettings
from tests.processes.certificates import Authority
from tests.processes.cluster_servers import Cluster, restart
from tests.processes.servers import wait_for

StartCluster = Callable[..., Cluster]
TIMEOUT_SECONDS = 20


def quiet(_: str) -> None:
    """Progress of no interest."""


def formed(cluster: Cluster) -> Cluster:
    run(cluster)
    return cluster


def run(cluster: Cluster) -> Report:
    return form(cluster.target, cluster.access, progress=quiet, timeout_seconds=TIMEOUT_SECONDS)


def assert_formed(cluster: Cluster) -> None:
    """What an operator would check by hand, asked of the servers themselves."""
    cluster.check()
    assert cluster.agreed()
    ids = {process.name: process.node_id for process in cluster.nodes}
    known = {line[0]: line for line in cluster.nodes[0].known()}
    assert set(known) == set(ids.values()), "members and nobody else"
    weights = {shard: cluster.weights.get(shard, 1) for shard in cluster.shards}
    epochs = []
    for shard, processes in cluster.shards.items():
        primary = cluster.primary_of(shard)
        line = known[ids[primary.name]]
        share = SLOT_COUNT * weights[shard] / sum(weights.values())
        assert abs(len(parse_slots(" ".join(line[8:]))) - share) < 1, line
        epochs.append(line[6])
        for replica in processes:
            if replica is not primary:
                assert known[ids[replica.name]][3] == ids[primary.name], replica.name
    assert len(set(epochs)) == len(epochs), "each primary has a configuration epoch of its own"
    found, observation = preview(cluster.target, cluster.access)
    assert found.done, found
    seen = status(cluster.target, observation)
    assert seen.healthy, seen.reasons


def test_forms_an_empty_cluster_as_the_preview_said(start_cluster: StartCluster) -> None:
    cluster = start_cluster()
    said = plan_for_empty_deployment(cluster.target)
    found, _ = preview(cluster.target, cluster.access)
    assert found.describe() == said.describe()
    lines: list[str] = []
    report = form(cluster.target, cluster.access, progress=lines.append, timeout_seconds=TIMEOUT_SECONDS)
    assert_formed(cluster)
    assert list(report.primaries.values()) == [processes[0].name for processes in cluster.shards.values()]
    assert list(report.replicas.values()) == [(processes[1].name,) for processes in cluster.shards.values()]
    assert sum(len(parse_slots(slots)) for slots in report.slots.values()) == SLOT_COUNT
    assert set(said.describe()) <= set(lines)


RARELY = {"cluster-node-timeout": "60000"}


def test_forms_as_fast_when_nodes_gossip_rarely(start_cluster: StartCluster) -> None:
    cluster = start_cluster(settings=RARELY, live_settings=RARELY)
    # Without more pings it takes 30 s and more.
    report = form(cluster.target, cluster.access, progress=quiet, timeout_seconds=10)
    assert not any(isinstance(step, ChangeLiveSettings) for step in report.steps)
    assert {process.ask("CONFIG GET", *RARELY)["cluster-node-timeout"] for process in cluster.nodes} == {"60000"}
    assert_formed(cluster)


def test_nodes_do_not_keep_that_they_pinged_often(start_cluster: StartCluster) -> None:
    cluster = formed(start_cluster(settings=RARELY, live_settings=RARELY))
    observation = observe(cluster.target, cluster.access)
    # Nodes of which the others know slots that they do not have.
    behind = Observation(tuple(replace(node, slots=()) for node in observation.nodes))
    primaries = [processes[0] for processes in cluster.shards.values()]
    with Connections(cluster.access) as connections, LivelyGossip(connections, cluster.target) as gossip:
        gossip.hasten(behind)
        for process in primaries:
            assert process.ask("CONFIG GET", *RARELY)["cluster-node-timeout"] != "60000"
            process.ask("CONFIG", "REWRITE")  # as the node itself does when it has become a replica in sync
    for process in primaries:
        assert "cluster-node-timeout 60000" in (process.folder / "node.conf").read_text().splitlines()
        assert process.ask("CONFIG GET", *RARELY)["cluster-node-timeout"] == "60000"


def test_a_formed_cluster_needs_nothing(start_cluster: StartCluster) -> None:
    assert run(formed(start_cluster())).steps == ()


def test_clients_follow_redirects_by_name_over_tls(start_cluster: StartCluster, authority: Authority) -> None:
    cluster = formed(start_cluster(authority=authority))
    assert_formed(cluster)
    with cluster.client() as client:
        for number in range(100):
            client.set(f"key-{number}", number)
        assert [client.get(f"key-{number}") for number in range(100)] == [str(number) for number in range(100)]
    for process in cluster.nodes:
        told = {node[0] for entry in process.ask("CLUSTER", "SLOTS") for node in entry[2:]}
        assert told == {"localhost"}, "redirects name hosts, not addresses"


@pytest.mark.parametrize(("shards", "replicas"), [(1, 0), (1, 1), (3, 0), (2, 2), (5, 1)])
def test_forms_other_sizes(start_cluster: StartCluster, shards: int, replicas: int) -> None:
    assert_formed(formed(start_cluster(shards=shards, replicas=replicas)))


def test_slots_are_shared_by_weight(start_cluster: StartCluster) -> None:
    cluster = start_cluster(replicas=0)
    cluster.weights = {"0": 2, "2": 3}
    assert_formed(formed(cluster))


def interrupted(cluster: Cluster, steps_before: int) -> None:
    """Carries out so many steps of a formation, one at a time, and then no more."""
    target = cluster.target
    with Connections(cluster.access) as connections:
        for _ in range(steps_before):
            observation = observe(target, cluster.access)
            steps = plan(target, observation).steps
            if steps:
                apply_step(steps[0], target, observation, connections)


@pytest.mark.parametrize("steps_before", range(1, 15))
def test_interrupted_after_any_step_the_next_run_finishes(start_cluster: StartCluster, steps_before: int) -> None:
    cluster = start_cluster()
    interrupted(cluster, steps_before)
    run(cluster)
    assert_formed(cluster)
    assert [cluster.primary_of(shard) for shard in cluster.shards] == [each[0] for each in cluster.shards.values()]


@pytest.mark.parametrize("steps_before", [2, 7, 10, 13])
def test_interrupted_by_a_restart_of_everything(start_cluster: StartCluster, steps_before: int) -> None:
    cluster = start_cluster()
    interrupted(cluster, steps_before)
    restart(cluster.nodes)
    run(cluster)
    assert_formed(cluster)


def test_waits_for_a_node_that_is_missing_and_says_so(start_cluster: StartCluster) -> None:
    cluster = start_cluster()
    missing = cluster.shards["1"][0]
    missing.kill()
    with pytest.raises(FormationTimeout, match="cache-test-redis-1-0: not reachable"):
        form(cluster.target, cluster.access, progress=quiet, timeout_seconds=0.3)
    assert [len(process.known()) for process in cluster.nodes if process is not missing] == [1] * 5
    missing.start()
    assert_formed(formed(cluster))


def test_refuses_a_node_that_holds_data(start_cluster: StartCluster) -> None:
    cluster = start_cluster()
    holder = cluster.shards["1"][0]
    holder.ask("CLUSTER", "ADDSLOTSRANGE", 0, SLOT_COUNT - 1)
    holder.ask("CONFIG", "SET", "cluster-require-full-coverage", "no")
    wait_for(lambda: holder.cluster_info()["cluster_state"] == "ok", "it serves")
    holder.ask("SET", "key", "value")
    holder.ask("CLUSTER", "DELSLOTSRANGE", 0, SLOT_COUNT - 1)
    with pytest.raises(FormationRefused, match=r"cache-test-redis-1-0 \(1 keys\): holds keys"):
        run(cluster)
    assert holder.ask("DBSIZE") == 1


def test_refuses_a_node_of_another_cluster(start_cluster: StartCluster) -> None:
    one, other = start_cluster(name="one"), start_cluster(name="other")
    formed(one)
    one.shards["3"] = [other.shards["0"][0]]
    formed(other)
    with pytest.raises(FormationRefused, match="no member of this deployment"):
        run(one)
    del one.shards["3"]
    assert_formed(one)
    assert_formed(other)


def test_two_clusters_never_merge(start_cluster: StartCluster) -> None:
    """Not even when a deployment is said to have the members of both."""
    one, other = formed(start_cluster(name="one", replicas=0)), formed(start_cluster(name="other", replicas=0))
    both = start_cluster(name="both", shards=1)
    both.shards = {**one.shards, **{f"other-{shard}": each for shard, each in other.shards.items()}}
    with pytest.raises(FormationRefused, match="different clusters"):
        form(both.target, both.access, progress=quiet, timeout_seconds=TIMEOUT_SECONDS)
    assert_formed(one)
    assert_formed(other)
