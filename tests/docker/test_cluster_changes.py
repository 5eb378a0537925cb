"""Changes of a running cluster: shards and replicas by number under load, live settings, one restart at a time."""

from __future__ import annotations

import threading

import pytest

from tests.docker.cluster_load import ClusterLoad
from tests.docker.conftest import MakeStack
from tests.docker.stack import LiveCluster, PulumiStack
from tests.docker.test_failures import assert_no_changes, assert_nothing_to_do

pytestmark = [pytest.mark.docker, pytest.mark.pulumi]


def changed_to(stack: PulumiStack, **settings: int) -> LiveCluster:
    """After an `up` with these settings: well, and with no trace of those that left."""
    stack.config |= {name.replace("_", "-"): value for name, value in settings.items()}
    stack.up()
    live = stack.cluster()
    live.wait_until_healthy()
    live.assert_no_stale_entries()
    return live


def test_shards_and_replicas_come_and_go_under_load(make_stack: MakeStack) -> None:
    stack = make_stack(topology="cluster")
    stack.up()
    live = stack.cluster()
    before = live.started()
    with ClusterLoad(live.client) as load:
        load.wait_for_writes(200)
        stack.config["shards"] = 4
        preview = stack.preview().text
        assert "cache-redis-3-0: " in preview
        assert "4096 slots" in preview or "1365 slots" in preview, preview
        live = changed_to(stack, shards=4)
        assert {name: at for name, at in live.started().items() if name in before} == before, "a node was restarted"
        assert sorted(node.slot_count for node in live.observe().nodes if node.slots) == [4096] * 4
        load.wait_for_writes(200)

        live = changed_to(stack, shards=3, replicas_per_shard=2)
        assert len(live.members) == 9
        load.wait_for_writes(200)

        # A primary is among those that go.
        assert stack.ops("failover", "--node", "cache-redis-1-2").code == 0
        stack.config["replicas-per-shard"] = 0
        assert "cache-redis-1-2" in stack.preview().text
        live = changed_to(stack, replicas_per_shard=0)
        assert live.primaries() == {f"cache-redis-{shard}": f"cache-redis-{shard}-0" for shard in range(3)}
        load.wait_for_writes(200)
    assert load.errors == []
    assert load.lost(live.client()) == []
    stays = ("-0", "-0-data", "-0-config", "-0-files")
    left = [name for name in stack.left_on_the_engine() if "-backup" not in name and not name.endswith(stays)]
    assert left == [f"network {stack.deployment_name}"]
    assert_no_changes(stack)


@pytest.mark.long
def test_weights_and_settings_are_changed_live(make_stack: MakeStack) -> None:
    stack = make_stack(topology="cluster", **{"replicas-per-shard": 0})
    stack.up()
    before = stack.cluster().started()
    stack.config |= {
        "shard-weights": [2, 1, 1],
        "cluster-node-timeout": 6000,
        "cluster-require-full-coverage": False,
        "memory": "160mb",
        "app-key-pattern": "app:*",
    }
    preview = stack.preview().text
    assert "cluster-node-timeout 4000 -> 6000" in preview
    stack.up()
    live = stack.cluster()
    live.wait_until_healthy()
    assert live.started() == before
    assert [node.slot_count for node in live.observe().nodes] == [8192, 4096, 4096]
    for name in live.members:
        assert live.node_client(name).config_get("cluster-*")["cluster-require-full-coverage"] == "no"
    with pytest.raises(Exception, match=r"NOPERM|No permissions"):
        live.client().set("other:key", "value")
    live.client().set("app:key", "value")
    assert_nothing_to_do(stack)


@pytest.mark.long
def test_a_restart_goes_one_node_at_a_time_and_loses_no_write(make_stack: MakeStack) -> None:
    stack = make_stack(topology="cluster")
    stack.up()
    live = stack.cluster()
    former = live.primaries()
    stack.config["redis-directives"] = {"tcp-backlog": 400}
    preview = stack.preview().text
    assert preview.count("one node at a time") == 6
    assert preview.count("hand over to a replica, then restart") == 3
    with ClusterLoad(live.client) as load, Watcher(live) as watcher:
        load.wait_for_writes(100)
        stack.up()
        load.wait_for_writes(100)
    assert watcher.most_away == 1, "two nodes were away at the same time"
    assert load.errors == []
    assert load.lost(live.client()) == []
    live.wait_until_healthy()
    assert all(live.primaries()[shard] != name for shard, name in former.items())
    for name in live.members:
        assert live.node_client(name).config_get("tcp-backlog")["tcp-backlog"] == "400"
    assert_nothing_to_do(stack)


@pytest.mark.long
def test_shards_and_restarts_in_one_go(make_stack: MakeStack) -> None:
    stack = make_stack(topology="cluster")
    stack.up()
    with ClusterLoad(stack.cluster().client) as load:
        load.wait_for_writes(100)
        stack.config["redis-directives"] = {"tcp-backlog": 400}
        changed_to(stack, shards=4)
        stack.config["redis-directives"] = {"tcp-backlog": 300}
        live = changed_to(stack, shards=3)
        load.wait_for_writes(100)
    assert load.errors == []
    assert load.lost(live.client()) == []
    for name in live.members:
        assert live.node_client(name).config_get("tcp-backlog")["tcp-backlog"] == "300"
    assert_nothing_to_do(stack)


class Watcher:
    """Looks all the time how many nodes do not answer."""

    def __init__(self, live: LiveCluster) -> None:
        self._live = live
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.most_away = 0

    def __enter__(self) -> Watcher:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.05):
            away = [node for node in self._live.observe().nodes if not node.reachable]
            self.most_away = max(self.most_away, len(away))


@pytest.mark.long
def test_too_little_memory_on_the_shards_that_stay_is_refused_at_preview(make_stack: MakeStack) -> None:
    stack = make_stack(topology="cluster", **{"shards": 5, "replicas-per-shard": 0, "memory": "64mb"})
    stack.up()
    client = stack.cluster().client()
    for number in range(600):
        client.set(f"big:{number}", "x" * 100_000)  # 12 MB for each of five shards, 20 MB for each of three
    stack.config["shards"] = 3
    outcome = stack.preview(check=False)
    assert outcome.code != 0
    assert "more than its maxmemory" in outcome.text, outcome.text
    assert "Traceback" not in outcome.text
    stack.cluster().wait_until_healthy()


@pytest.mark.long
def test_keys_of_50_mb_move_with_their_slots(make_stack: MakeStack) -> None:
    stack = make_stack(topology="cluster", **{"replicas-per-shard": 0, "memory": "512mb"})
    stack.up()
    live = stack.cluster()
    client = live.client(socket_timeout=30)
    value = "0123456789" * 5_000_000
    for number in range(6):
        client.set(f"huge:{number}", value)
    with ClusterLoad(live.client) as load:
        load.wait_for_writes(50)
        changed_to(stack, shards=4)
        live = changed_to(stack, shards=3)
        load.wait_for_writes(50)
    assert load.errors == []
    assert load.lost(live.client()) == []
    for number in range(6):
        assert client.get(f"huge:{number}") == value
