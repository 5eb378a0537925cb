"""What happens to a formed cluster: failures, changes of its copies and settings, on bare processes."""

from __future__ import annotations

import time

import pytest

from components.formation import FormationRefused, HandOverFailed
from components.formation.cluster import form, preview
from components.formation.cluster.disband import disband
from components.formation.cluster.hand_over import hand_over
from components.formation.cluster.health import status
from components.formation.cluster.observation import observe
from components.formation.cluster.safety import (
    is_formed,
    make_safe_to_stop,
    may_stop,
    still_owns_slots,
    stop_order,
    wait_until_back,
)
from tests.processes.cluster_servers import NODE_TIMEOUT_MILLISECONDS, Cluster, ClusterProcess, restart
from tests.processes.servers import wait_for
from tests.processes.test_cluster_forming import (
    TIMEOUT_SECONDS,
    StartCluster,
    assert_formed,
    formed,
    quiet,
    run,
)

PERSISTENT = {"appendonly": "yes", "appendfsync": "always"}
KEYS = 200


def fill(cluster: Cluster) -> None:
    with cluster.client() as client:
        for number in range(KEYS):
            client.set(f"key-{number}", number)


def assert_filled(cluster: Cluster) -> None:
    with cluster.client() as client:
        assert [client.get(f"key-{number}") for number in range(KEYS)] == [str(number) for number in range(KEYS)]


def fail_over_by_killing(cluster: Cluster, shard: str) -> tuple[ClusterProcess, ClusterProcess]:
    """Kills a shard's primary; returns it and the replica that took over."""
    old = cluster.primary_of(shard)
    old.kill()
    wait_for(
        lambda: any(each.running and each.info()["role"] == "master" for each in cluster.shards[shard]),
        "a replica takes over",
        NODE_TIMEOUT_MILLISECONDS / 1000 + 15,
    )
    new = cluster.primary_of(shard)
    assert new is not old
    running = [process for process in cluster.nodes if process.running]
    wait_for(
        lambda: all(each.cluster_info()["cluster_state"] == "ok" for each in running), "the cluster serves again", 15
    )
    return old, new


def test_after_a_failover_nothing_is_changed_back(start_cluster: StartCluster) -> None:
    cluster = formed(start_cluster(settings=PERSISTENT))
    fill(cluster)
    old, new = fail_over_by_killing(cluster, "1")
    found, _ = preview(cluster.target, cluster.access)
    assert found.steps == ()
    assert any("not reachable" in line and old.name in line for line in found.waits)
    old.start()
    old.wait_until_up()
    report = run(cluster)
    assert report.steps == (), "Redis has seen to it"
    assert_formed(cluster)
    assert cluster.primary_of("1") is new
    assert old.info()["role"] == "slave"
    assert_filled(cluster)


def test_waits_while_a_failover_is_due(start_cluster: StartCluster) -> None:
    cluster = formed(start_cluster())
    fill(cluster)
    old = cluster.primary_of("0")
    old.kill()
    found, _ = preview(cluster.target, cluster.access)
    assert found.steps == ()
    assert found.refusals == ()
    assert any("can take over" in line for line in found.waits), found.waits
    wait_for(lambda: cluster.shards["0"][1].info()["role"] == "master", "the replica takes over")
    old.start()
    assert_formed(formed(cluster))
    assert_filled(cluster)


def test_a_shard_without_any_copy_says_which_slots_are_uncovered_and_comes_back(start_cluster: StartCluster) -> None:
    cluster = formed(start_cluster(settings=PERSISTENT))
    fill(cluster)
    both = cluster.shards["1"]
    slots = run(cluster).slots["cache-test-1"]
    for process in both:
        process.kill()
    wait_for(
        lambda: cluster.nodes[0].cluster_info()["cluster_state"] == "fail", "the others notice", 15
    )  # fmt: skip
    found = status(cluster.target, observe(cluster.target, cluster.access))
    assert not found.healthy
    assert any(slots in line and both[0].name in line and "start it" in line for line in found.reasons), found.reasons
    for process in both:
        process.start()
    assert_formed(formed(cluster))
    assert_filled(cluster)


def test_everything_restarts_at_once(start_cluster: StartCluster) -> None:
    cluster = formed(start_cluster(settings=PERSISTENT))
    fill(cluster)
    restart(cluster.nodes)
    assert run(cluster).steps == ()
    assert_formed(cluster)
    assert_filled(cluster)


def test_a_wiped_replica_joins_again_and_its_former_id_is_forgotten(start_cluster: StartCluster) -> None:
    cluster = formed(start_cluster())
    fill(cluster)
    (replica,) = cluster.replicas_of("2")
    former = replica.node_id
    replica.kill()
    replica.wipe()
    replica.start()
    replica.wait_until_up()
    assert replica.node_id != former
    lines = preview(cluster.target, cluster.access)[0].describe()
    assert any(line.startswith(f"{replica.name}: replicate") for line in lines), lines
    assert_formed(formed(cluster))
    assert_filled(cluster)
    assert not any(former == line[0] for process in cluster.nodes for line in process.known())


def test_a_wiped_primary_comes_back_as_a_replica_of_who_took_over(start_cluster: StartCluster) -> None:
    cluster = formed(start_cluster())
    fill(cluster)
    old, new = fail_over_by_killing(cluster, "0")
    old.wipe()
    old.start()
    old.wait_until_up()
    assert_formed(formed(cluster))
    assert cluster.primary_of("0") is new
    assert_filled(cluster)


def test_a_wiped_primary_without_a_copy_is_refused_with_its_slots(start_cluster: StartCluster) -> None:
    cluster = formed(start_cluster(replicas=0))
    fill(cluster)
    lost = cluster.shards["1"][0]
    former, slots = lost.node_id, run(cluster).slots["cache-test-1"]
    lost.kill()
    lost.wipe()
    lost.start()
    lost.wait_until_up()
    started = time.monotonic()
    with pytest.raises(FormationRefused, match=f"slots {slots} and lost its data.*CLUSTER FORGET {former}"):
        run(cluster)
    assert time.monotonic() - started < TIMEOUT_SECONDS
    for process in cluster.nodes:
        if process is not lost:
            process.ask("CLUSTER", "FORGET", former)
    assert_formed(formed(cluster))


def test_a_primary_that_is_wiped_before_anybody_notices_does_not_empty_its_replica(
    start_cluster: StartCluster,
) -> None:
    cluster = formed(start_cluster())
    fill(cluster)
    lost, replica = cluster.primary_of("1"), cluster.replicas_of("1")[0]
    lost.kill()
    lost.wipe()
    lost.start()
    lost.wait_until_up()
    wait_for(lambda: any("noaddr" in line[2] for line in replica.known()), "another node is found at its address")
    wait_for(lambda: replica.info()["master_link_status"] == "down", "the replica asks the new node for its data")
    lines = preview(cluster.target, cluster.access)[0].describe()
    assert lines == [f"{replica.name}: take over from its primary, which has lost its data"]
    assert_formed(formed(cluster))
    assert cluster.primary_of("1") is replica
    assert_filled(cluster)


def test_copies_come_and_go(start_cluster: StartCluster) -> None:
    cluster = formed(start_cluster(shards=2))
    fill(cluster)
    cluster.add_replicas()
    assert_formed(formed(cluster))
    assert {len(cluster.replicas_of(shard)) for shard in cluster.shards} == {2}
    for processes in cluster.shards.values():
        del processes[1:]
    report = run(cluster)
    assert_formed(cluster)
    assert_filled(cluster)
    assert all(replicas == () for replicas in report.replicas.values())
    gone = [process for process in cluster.all_nodes if process not in cluster.nodes]
    assert len(gone) == 4
    for process in gone:
        assert len(process.known()) == 1, "it has forgotten the cluster, too"
        assert process.ask("DBSIZE") == 0
    time.sleep(2)  # gossip has had its chance
    assert_formed(cluster)


def test_a_leaving_primary_hands_over_first(start_cluster: StartCluster) -> None:
    cluster = formed(start_cluster())
    fill(cluster)
    stays, leaves = cluster.shards["0"][1], cluster.shards["0"][0]
    cluster.shards["0"] = [stays]
    lines = preview(cluster.target, cluster.access)[0].describe()
    assert lines[0] == f"{stays.name}: take over from {leaves.name}, which leaves (its writes pause for a moment)"
    assert f"{leaves.name}: leave the cluster" in lines
    run(cluster)
    assert_formed(cluster)
    assert cluster.primary_of("0") is stays
    assert_filled(cluster)
    assert len(leaves.known()) == 1


def test_a_leaving_member_that_is_gone_already_is_forgotten(start_cluster: StartCluster) -> None:
    cluster = formed(start_cluster())
    (gone,) = cluster.replicas_of("1")
    gone.kill()
    cluster.shards["1"].remove(gone)
    run(cluster)
    assert_formed(cluster)


def test_a_hand_over_within_a_shard(start_cluster: StartCluster) -> None:
    cluster = formed(start_cluster())
    fill(cluster)
    (replica,) = cluster.replicas_of("0")
    hand_over(cluster.target, cluster.access, replica.name, progress=quiet)
    assert cluster.primary_of("0") is replica
    assert run(cluster).steps == ()
    assert_formed(cluster)
    assert_filled(cluster)
    hand_over(cluster.target, cluster.access, replica.name, progress=quiet)
    assert cluster.primary_of("0") is replica, "it is the primary already"
    other = cluster.replicas_of("0")[0]
    other.kill()
    with pytest.raises(HandOverFailed, match=f"{other.name}: not reachable"):
        hand_over(cluster.target, cluster.access, other.name, progress=quiet)


def test_settings_are_kept_live(start_cluster: StartCluster) -> None:
    cluster = formed(start_cluster(live_settings={"maxmemory": "64mb"}))
    before = {process.name: process.info()["run_id"] for process in cluster.nodes}
    cluster.live_settings = {"maxmemory": "65mb"}
    steps = run(cluster).steps
    assert len(steps) == 6
    assert {process.ask("CONFIG GET", "maxmemory")["maxmemory"] for process in cluster.nodes} == {str(65 * 1024**2)}
    assert {process.name: process.info()["run_id"] for process in cluster.nodes} == before, "nobody was restarted"
    assert_formed(cluster)


def test_every_node_can_be_restarted_one_after_the_other(start_cluster: StartCluster) -> None:
    cluster = formed(start_cluster())
    target, access = cluster.target, cluster.access
    fill(cluster)
    names = [process.name for process in cluster.nodes]
    done: list[str] = []
    while len(done) < len(names):
        left = [name for name in names if name not in done]
        node = cluster.process(stop_order(target, observe(target, access), left)[0])
        assert is_formed(target, access, node.name)
        make_safe_to_stop(target, access, node.name, prefer=done, progress=quiet, timeout_seconds=20)
        assert may_stop(target, access, node.name) == []
        node.kill()
        node.wipe()  # it comes back empty
        node.start()
        wait_until_back(target, access, node.name, timeout_seconds=20)
        done.append(node.name)
    assert_formed(formed(cluster))
    assert_filled(cluster)


def test_a_node_is_stopped_only_when_the_others_can_do_without_it(start_cluster: StartCluster) -> None:
    cluster = formed(start_cluster())
    target, access = cluster.target, cluster.access
    primary, replica = cluster.shards["0"]
    assert may_stop(target, access, replica.name) == []
    assert may_stop(target, access, primary.name) == [f"{primary.name}: it is a primary: hand it over first"]
    other = cluster.shards["1"][1]
    other.kill()
    assert any(other.name in reason for reason in may_stop(target, access, replica.name))
    assert may_stop(target, access, other.name) == [], "it has stopped already"


def test_proof_that_a_node_owns_nothing(start_cluster: StartCluster) -> None:
    cluster = formed(start_cluster())
    primary, replica = cluster.shards["0"]
    found = still_owns_slots(cluster.target, cluster.access, primary.member.announced)
    assert found is not None
    assert "still has 5462 slots" in found
    assert still_owns_slots(cluster.target, cluster.access, replica.member.announced) is None
    for process in cluster.nodes:
        process.kill()
    found = still_owns_slots(cluster.target, cluster.access, primary.member.announced)
    assert found is not None
    assert "nothing proves" in found


def test_a_disbanded_cluster_is_not_at_work_and_can_be_taken_back(start_cluster: StartCluster) -> None:
    cluster = formed(start_cluster())
    name = cluster.nodes[0].name
    disband(cluster.target, cluster.access)
    assert not is_formed(cluster.target, cluster.access, name)
    cluster.nodes[0].kill()
    wait_for(lambda: cluster.nodes[2].cluster_info()["cluster_state"] == "fail", "the others notice", 15)
    assert cluster.nodes[1].info()["role"] == "slave", "nobody takes over"
    cluster.nodes[0].start()
    form(cluster.target, cluster.access, progress=quiet, timeout_seconds=TIMEOUT_SECONDS)
    assert is_formed(cluster.target, cluster.access, name)
    assert_formed(cluster)


def test_status_says_what_is_wrong(start_cluster: StartCluster) -> None:
    cluster = formed(start_cluster())
    well = status(cluster.target, observe(cluster.target, cluster.access))
    assert well.healthy, well.reasons
    assert [(row.shard, row.role) for row in well.rows[:2]] == [
        ("cache-test-0", "primary"),
        ("cache-test-0", "replica"),
    ]
    assert [row.slots for row in well.rows] == [5462, None, 5461, None, 5461, None]
    assert well.rows[1].link == f"up, replicates {well.rows[0].name}"
    cluster.nodes[5].kill()
    ill = status(cluster.target, observe(cluster.target, cluster.access))
    assert not ill.healthy
    assert any(cluster.nodes[5].name in reason for reason in ill.reasons)
