"""What happens to a formed deployment: failures, changes of its size and settings, on bare processes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest
import redis
from redis.sentinel import Sentinel

from components.formation import FormationError, FormationRefused, HandOverFailed
from components.formation.connection import Connections
from components.formation.replication import form, plan, preview
from components.formation.replication.formation import apply_stage
from components.formation.replication.hand_over import hand_over
from components.formation.replication.health import status
from components.formation.replication.observation import observe, observe_sentinel
from components.formation.replication.promotion import promote
from components.formation.replication.safety import (
    is_formed,
    make_safe_to_stop,
    may_stop,
    wait_until_back,
    wait_until_in_sync,
)
from ops import deployment as ops
from ops.clients import sentinel_client
from tests.processes.certificates import Authority
from tests.processes.servers import DOWN_AFTER_MILLISECONDS, PASSWORDS, Deployment, Process, wait_for
from tests.processes.test_forming import TIMEOUT_SECONDS, Deploy, assert_formed, formed, quiet, restart

PERSISTENT = {"appendonly": "yes", "appendfsync": "always"}


def run_ids(deployment: Deployment) -> dict[str, str]:
    return {node.name: node.info()["run_id"] for node in deployment.nodes if node.running}


def settled(deployment: Deployment, primary: Process) -> bool:
    """Whether every running Sentinel names this primary and no failover is left."""
    with Connections(deployment.access) as connections:
        views = [observe_sentinel(deployment.target, connections, sentinel.member) for sentinel in deployment.sentinels]
    return all(view.primary == primary.member.announced and not view.failing_over for view in views if view.reachable)


def fail_over_by_killing(deployment: Deployment) -> tuple[Process, Process]:
    """Kills the primary; returns it and the one that the Sentinels promoted."""
    old = deployment.primary
    old.kill()
    new = wait_for(
        lambda: next(iter(deployment.primaries()), None), "a replica is promoted", DOWN_AFTER_MILLISECONDS / 1000 + 15
    )
    wait_for(lambda: settled(deployment, new), "the Sentinels agree")
    return old, new


def test_after_a_failover_nothing_is_changed_back(deploy: Deploy) -> None:
    deployment = formed(deploy())
    deployment.primary.ask("SET", "key", "value")
    old, new = fail_over_by_killing(deployment)
    found, _ = preview(deployment.target, deployment.access)
    assert found.steps == ()
    assert any("not reachable" in line and old.name in line for line in found.waits)
    old.start()
    old.wait_until_up()
    formed(deployment)
    assert_formed(deployment)
    assert deployment.primary is new
    assert old.ask("GET", "key") == "value"
    report = form(deployment.target, deployment.access, progress=quiet, timeout_seconds=TIMEOUT_SECONDS)
    assert report.steps == ()


def test_waits_for_a_failover_that_is_due(deploy: Deploy) -> None:
    deployment = formed(deploy())
    old = deployment.primary
    old.kill()
    found, _ = preview(deployment.target, deployment.access)
    assert found.steps == ()
    assert found.refusals == ()
    old.start()  # before anybody has noticed: it comes back empty
    formed(deployment)
    assert_formed(deployment)


def test_a_restarted_empty_primary_does_not_empty_its_replicas(deploy: Deploy) -> None:
    deployment = formed(deploy())
    old = deployment.primary
    old.ask("SET", "key", "value")
    wait_until_in_sync(deployment.target, deployment.access, deployment.replicas[0].name, 5)
    restart([old])  # without persistence it has lost everything
    formed(deployment)
    assert_formed(deployment)
    assert [node.ask("GET", "key") for node in deployment.nodes] == ["value"] * 3
    assert deployment.primary is not old


def test_everything_restarts_at_once(deploy: Deploy) -> None:
    # Sentinels are patient: on a busy machine a restart may take longer than what they usually take for a failure here.
    deployment = formed(deploy(settings=PERSISTENT, down_after_milliseconds=60000))
    primary = deployment.primary
    for number in range(100):
        primary.ask("SET", f"key-{number}", number)
    restart(deployment.all_sentinels + deployment.all_nodes)
    formed(deployment)
    assert_formed(deployment)
    assert deployment.primary is primary
    assert [node.info()["db0"]["keys"] for node in deployment.nodes] == [100] * 3


def test_sentinels_that_lost_their_state_watch_again(deploy: Deploy) -> None:
    deployment = formed(deploy())
    _, new = fail_over_by_killing(deployment)
    lost = [node for node in deployment.nodes if not node.running]
    for sentinel in deployment.sentinels:
        sentinel.kill()
        sentinel.wipe()
    for process in [*lost, *deployment.sentinels]:
        process.start()
        process.wait_until_up()
    formed(deployment)
    assert_formed(deployment)
    assert deployment.primary is new


def test_one_sentinel_that_lost_its_state_is_not_counted_twice(deploy: Deploy) -> None:
    deployment = formed(deploy())
    sentinel = deployment.sentinels[1]
    sentinel.kill()
    sentinel.wipe()
    sentinel.start()
    sentinel.wait_until_up()
    wait_until_back(deployment.target, deployment.access, sentinel.name, timeout_seconds=TIMEOUT_SECONDS)
    formed(deployment)
    assert_formed(deployment)


def test_a_wiped_replica_gets_everything_again(deploy: Deploy) -> None:
    deployment = formed(deploy(settings=PERSISTENT))
    primary = deployment.primary
    primary.ask("SET", "key", "value")
    replica = deployment.replicas[0]
    replica.kill()
    replica.wipe()
    replica.start()
    replica.wait_until_up()
    assert replica.info().get("db0") is None
    formed(deployment)
    assert_formed(deployment)
    assert deployment.primary is primary
    assert [node.ask("GET", "key") for node in deployment.nodes] == ["value"] * 3


def test_adds_and_removes_replicas_and_sentinels(deploy: Deploy) -> None:
    deployment = formed(deploy())
    deployment.primary.ask("SET", "key", "value")
    before = run_ids(deployment)
    deployment.add(nodes=1, sentinels=2)
    deployment.nodes, deployment.sentinels = list(deployment.all_nodes), list(deployment.all_sentinels)
    formed(deployment)
    assert_formed(deployment)
    assert deployment.nodes[3].ask("GET", "key") == "value"

    deployment.nodes, deployment.sentinels = deployment.all_nodes[:2], deployment.all_sentinels[:3]
    said, _ = preview(deployment.target, deployment.access)
    assert any(line == f"{deployment.all_nodes[3].name}: leave the deployment" for line in said.describe())
    formed(deployment)
    assert_formed(deployment)
    for retired in deployment.all_nodes[2:]:
        assert (retired.info()["master_host"], retired.info()["master_port"]) == ("127.0.0.1", 2)
    for sentinel in deployment.all_sentinels[3:]:
        assert sentinel.ask("SENTINEL", "MASTERS") == []
    time.sleep(2.5)  # hello messages come every 2 s: nobody comes back with them
    assert_formed(deployment)
    assert run_ids(deployment) == {name: before[name] for name in run_ids(deployment)}, "nobody was restarted"


def test_forgets_members_that_are_gone_already(deploy: Deploy) -> None:
    deployment = formed(deploy(nodes=4, sentinels=5))
    for process in (deployment.nodes[3], *deployment.sentinels[3:]):
        process.kill()
    deployment.nodes, deployment.sentinels = deployment.all_nodes[:3], deployment.all_sentinels[:3]
    formed(deployment)
    assert_formed(deployment)


def test_a_primary_that_leaves_is_handed_over_first(deploy: Deploy) -> None:
    deployment = formed(deploy())
    leaving = deployment.primary
    leaving.ask("SET", "key", "value")
    deployment.nodes = [node for node in deployment.nodes if node is not leaving]
    formed(deployment)
    assert leaving.info()["master_port"] == 2
    assert_formed(deployment)
    assert [node.ask("GET", "key") for node in deployment.nodes] == ["value"] * 2


@pytest.mark.parametrize("steps_before", [1, 3, 5, 8])
def test_a_change_of_size_interrupted_after_any_step_is_finished(deploy: Deploy, steps_before: int) -> None:
    deployment = formed(deploy())
    leaving = deployment.primary
    leaving.ask("SET", "key", "value")
    deployment.add(nodes=1, sentinels=1)
    deployment.nodes = [node for node in deployment.all_nodes if node is not leaving]
    deployment.sentinels = deployment.all_sentinels[1:]
    with Connections(deployment.access) as connections:
        for _ in range(steps_before):
            observation = observe(deployment.target, deployment.access)
            stages = plan(deployment.target, observation).stages
            if stages:
                apply_stage(stages[0][:1], deployment.target, observation, connections, quiet)
            time.sleep(0.1)
    formed(deployment)
    assert_formed(deployment)
    assert leaving.info()["master_port"] == 2
    assert [node.ask("GET", "key") for node in deployment.nodes] == ["value"] * 3


def test_a_primary_that_was_cut_off_becomes_a_replica(deploy: Deploy) -> None:
    deployment = formed(deploy())
    deployment.primary.ask("SET", "key", "value")
    old, others = deployment.primary, deployment.replicas
    old.pause()
    try:
        new = wait_for(
            lambda: next((node for node in others if node.info()["role"] == "master"), None), "a replica is promoted"
        )
        wait_for(lambda: settled(deployment, new), "the Sentinels agree")
        new.ask("SET", "key", "newer")
    finally:
        old.resume()
    found, _ = preview(deployment.target, deployment.access)
    assert found.steps == (), "two primaries: the Sentinels see to it"
    formed(deployment)
    assert_formed(deployment)
    assert deployment.primary is new
    assert [node.ask("GET", "key") for node in deployment.nodes] == ["newer"] * 3


def test_a_replica_that_still_replicates_is_not_forgotten_silently(deploy: Deploy) -> None:
    deployment = formed(deploy())
    stranger = deployment.replicas[0]
    deployment.nodes = [node for node in deployment.nodes if node is not stranger]
    deployment.all_nodes = [node for node in deployment.all_nodes if node is not stranger]
    try:
        with pytest.raises(FormationError, match="still replicates"):
            form(deployment.target, deployment.access, progress=quiet, timeout_seconds=0.5)
    finally:
        stranger.kill()
    formed(deployment)
    assert_formed(deployment)


def test_settings_are_changed_on_the_running_servers(deploy: Deploy) -> None:
    live = {"maxmemory": "64mb", "save": "900 1 300 10", "maxmemory-policy": "allkeys-lru", "appendonly": "no"}
    deployment = formed(deploy(live_settings=live))
    before = run_ids(deployment)
    assert {node.ask("CONFIG GET", "maxmemory")["maxmemory"] for node in deployment.nodes} == {str(64 * 1024**2)}
    deployment.live_settings["maxmemory"] = "65mb"
    for sentinel in deployment.sentinels[:2]:
        sentinel.ask("SENTINEL", "SET", deployment.name, "down-after-milliseconds", 7777, "quorum", 3)
    said, _ = preview(deployment.target, deployment.access)
    assert f"{deployment.nodes[0].name}: change live maxmemory {64 * 1024**2} -> 65mb" in said.describe()
    formed(deployment)
    assert_formed(deployment)
    assert {node.ask("CONFIG GET", "maxmemory")["maxmemory"] for node in deployment.nodes} == {str(65 * 1024**2)}
    assert "maxmemory 65mb" in (deployment.nodes[0].folder / "node.conf").read_text(), "kept over a restart"
    assert run_ids(deployment) == before


def test_a_setting_that_redis_refuses_is_named(deploy: Deploy) -> None:
    deployment = deploy(nodes=1, sentinels=1, live_settings={"maxmemory-policy": "no-such-policy"})
    with pytest.raises(FormationError, match=r"cache-test-redis-0: .*maxmemory-policy"):
        form(deployment.target, deployment.access, progress=quiet, timeout_seconds=5)


def with_data(node: Process, key: str) -> None:
    """Loads one key into a node of a deployment that is not formed, and leaves it unformed."""
    node.ask("REPLICAOF", "NO", "ONE")
    node.ask("SET", key, "value")
    node.kill()
    node.start()
    wait_for(lambda: node.info()["loading"] == 0, "the data are loaded")


def test_the_only_node_with_data_becomes_the_primary(deploy: Deploy) -> None:
    deployment = deploy(settings=PERSISTENT)
    with_data(deployment.nodes[1], "only")
    formed(deployment)
    assert_formed(deployment)
    assert deployment.primary is deployment.nodes[1]
    assert [node.ask("GET", "only") for node in deployment.nodes] == ["value"] * 3


def test_several_nodes_with_data_are_for_an_operator(deploy: Deploy) -> None:
    deployment = deploy(settings=PERSISTENT)
    with_data(deployment.nodes[1], "one")
    with_data(deployment.nodes[2], "two")
    with pytest.raises(FormationRefused, match=r"cache-test-redis-1 .*cache-test-redis-2 .*python -m ops promote"):
        form(deployment.target, deployment.access, progress=quiet, timeout_seconds=TIMEOUT_SECONDS)
    assert deployment.primaries() == []
    with pytest.raises(FormationRefused, match="empty while"):
        promote(deployment.target, deployment.access, deployment.nodes[0].name, progress=quiet, timeout_seconds=5)
    promote(
        deployment.target,
        deployment.access,
        deployment.nodes[2].name,
        progress=quiet,
        timeout_seconds=TIMEOUT_SECONDS,
    )
    assert_formed(deployment)
    assert deployment.primary is deployment.nodes[2]
    assert [node.ask("GET", "two") for node in deployment.nodes] == ["value"] * 3


def test_two_primaries_are_for_an_operator(deploy: Deploy) -> None:
    deployment = formed(deploy())
    first = deployment.primary
    second = deployment.replicas[0]
    for sentinel in deployment.sentinels:
        sentinel.ask("SENTINEL", "REMOVE", deployment.name)
    second.ask("REPLICAOF", "NO", "ONE")
    first.ask("SET", "key", "first")
    second.ask("SET", "key", "second")
    with pytest.raises(FormationRefused, match="2 primaries at once"):
        form(deployment.target, deployment.access, progress=quiet, timeout_seconds=TIMEOUT_SECONDS)
    assert (first.ask("GET", "key"), second.ask("GET", "key")) == ("first", "second")
    promote(deployment.target, deployment.access, second.name, progress=quiet, timeout_seconds=TIMEOUT_SECONDS)
    assert_formed(deployment)
    assert [node.ask("GET", "key") for node in deployment.nodes] == ["second"] * 3


def test_a_primary_at_work_is_not_replaced_by_promotion(deploy: Deploy) -> None:
    deployment = formed(deploy())
    with pytest.raises(FormationRefused, match="ops failover"):
        promote(deployment.target, deployment.access, deployment.replicas[0].name, progress=quiet, timeout_seconds=5)
    assert_formed(deployment)


class Writer:
    """Writes numbers one after the other through Sentinel, as a client does, and remembers what was acknowledged."""

    def __init__(self, deployment: Deployment) -> None:
        discovery = Sentinel(  # type: ignore[no-untyped-call]
            [("127.0.0.1", sentinel.port) for sentinel in deployment.sentinels],
            sentinel_kwargs={"username": "app", "password": PASSWORDS["app"]},
        )
        self._client: redis.Redis = discovery.master_for(  # type: ignore[no-untyped-call]
            deployment.name, username="app", password=PASSWORDS["app"], socket_timeout=2, retry=None
        )
        self.acknowledged = 0
        self.longest_stall_seconds = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        last, number = time.monotonic(), 0
        while not self._stop.is_set():
            try:
                self._client.rpush("written", number)
            except redis.RedisError:
                # Whether it was done is unknown: the next number tells the two apart.
                number += 1
                time.sleep(0.01)
                continue
            self.acknowledged += 1
            number += 1
            now = time.monotonic()
            self.longest_stall_seconds, last = max(self.longest_stall_seconds, now - last), now

    def __enter__(self) -> Writer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._client.close()


def test_a_hand_over_loses_no_acknowledged_write(deploy: Deploy) -> None:
    deployment = formed(deploy())
    for _ in range(2):
        old = deployment.primary
        before = int(old.ask("LLEN", "written"))
        with Writer(deployment) as writer:
            wait_for(lambda: writer.acknowledged > 200, "the writer is at work")
            name = hand_over(deployment.target, deployment.access, progress=quiet)
            at_hand_over = writer.acknowledged
            wait_for(lambda: writer.acknowledged > at_hand_over + 200, "the writer goes on")  # noqa: B023
        new = deployment.primary
        assert new is deployment.process(name)
        assert new is not old
        assert int(new.ask("LLEN", "written")) - before >= writer.acknowledged
        assert writer.longest_stall_seconds < 8
        formed(deployment)
        assert_formed(deployment)


def test_a_hand_over_goes_to_the_preferred_replica(deploy: Deploy) -> None:
    deployment = formed(deploy())
    for wanted in deployment.replicas:
        assert hand_over(deployment.target, deployment.access, progress=quiet, prefer=[wanted.name]) == wanted.name
        assert wanted.ask("CONFIG GET", "replica-priority") == {"replica-priority": "100"}
    formed(deployment)
    assert_formed(deployment)


def test_a_hand_over_succeeds_when_the_sentinels_cannot_keep_up_with_asking(deploy: Deploy) -> None:
    deployment = formed(deploy())
    former = deployment.primary
    for sentinel in deployment.sentinels:
        # What is three periods old is too old to promote a replica: here, whatever a Sentinel knows.
        sentinel.ask("SENTINEL", "DEBUG", "INFO-PERIOD", 1)
    wait_for(lambda: settled(deployment, former), "the Sentinels go on")
    with pytest.raises(redis.ResponseError, match="NOGOODSLAVE"):
        deployment.sentinels[-1].ask("SENTINEL", "FAILOVER", deployment.name)
    promoted = hand_over(deployment.target, deployment.access, progress=quiet)
    assert promoted == deployment.primary.name != former.name
    formed(deployment)
    assert_formed(deployment)


def test_a_failed_hand_over_leaves_nothing_paused(deploy: Deploy) -> None:
    deployment = formed(deploy(nodes=2))
    primary = deployment.primary
    for sentinel in deployment.sentinels:
        sentinel.ask("ACL", "SETUSER", "admin", "-sentinel|failover")
    lines: list[str] = []
    with pytest.raises(HandOverFailed, match="no permissions"):
        hand_over(deployment.target, deployment.access, progress=lines.append)
    assert any("pauses writes" in line for line in lines)
    started = time.monotonic()
    assert primary.ask("SET", "key", "value")
    assert time.monotonic() - started < 1
    assert deployment.primaries() == [primary]


def test_one_command_of_a_client_gets_from_the_former_primary_to_the_new_one(
    deploy: Deploy, authority: Authority
) -> None:
    deployment = formed(deploy(authority=authority))
    reached = ops.ReplicatedDeployment(
        record={}, target=deployment.target, ca_certificate=authority.certificate, passwords=PASSWORDS
    )
    client = sentinel_client(reached, retries=3)
    client.set("key", "before")
    hand_over(deployment.target, deployment.access, progress=quiet)
    assert client.set("key", "after")  # on a connection to what is a replica now, and stays one
    fail_over_by_killing(deployment)
    assert client.get("key") == "after"


def test_a_hand_over_needs_a_replica(deploy: Deploy) -> None:
    deployment = formed(deploy(nodes=1))
    with pytest.raises(HandOverFailed, match="nobody can take over"):
        hand_over(deployment.target, deployment.access, progress=quiet)


def test_a_node_is_stopped_only_when_the_others_can_do_without_it(deploy: Deploy) -> None:
    deployment = formed(deploy())
    target, access = deployment.target, deployment.access
    primary, (one, other) = deployment.primary, deployment.replicas
    assert may_stop(target, access, one.name) == []
    assert may_stop(target, access, deployment.sentinels[0].name) == []
    assert may_stop(target, access, primary.name) == [f"{primary.name}: it is the primary: hand it over first"]
    other.kill()
    assert any(other.name in reason for reason in may_stop(target, access, one.name))
    assert may_stop(target, access, other.name) == [], "it has stopped already"
    with pytest.raises(FormationError, match=other.name):
        make_safe_to_stop(target, access, one.name, progress=quiet, timeout_seconds=0.3)
    deployment.sentinels[1].kill()
    assert any("sentinel-1" in reason for reason in may_stop(target, access, deployment.sentinels[0].name))


def test_every_node_can_be_restarted_one_after_the_other(deploy: Deploy) -> None:
    deployment = formed(deploy())
    target, access = deployment.target, deployment.access
    deployment.primary.ask("SET", "key", "value")
    done: list[str] = []
    order: list[Callable[[], Process]] = [
        lambda: next(node for node in deployment.replicas if node.name not in done),
        lambda: next(node for node in deployment.replicas if node.name not in done),
        lambda: deployment.primary,
    ]
    for choose in order:
        node = choose()
        assert is_formed(target, access, node.name)
        make_safe_to_stop(target, access, node.name, prefer=done, progress=quiet, timeout_seconds=20)
        restart([node])  # without persistence: it comes back empty
        wait_until_back(target, access, node.name, timeout_seconds=20)
        done.append(node.name)
    assert len(set(done)) == 3
    formed(deployment)
    assert_formed(deployment)
    assert [node.ask("GET", "key") for node in deployment.nodes] == ["value"] * 3


def test_status_says_what_is_wrong(deploy: Deploy) -> None:
    deployment = formed(deploy())
    well = status(deployment.target, observe(deployment.target, deployment.access))
    assert well.healthy, well.reasons
    assert [row.role for row in well.rows] == ["primary", "replica", "replica", "sentinel", "sentinel", "sentinel"]
    assert well.rows[1].seen_by == "3 x replica"
    deployment.nodes[2].kill()
    ill = status(deployment.target, observe(deployment.target, deployment.access))
    assert not ill.healthy
    assert any(deployment.nodes[2].name in reason for reason in ill.reasons)
