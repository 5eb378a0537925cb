"""Changes of a running deployment: by a number, live, or one node at a time; no write is lost."""

from __future__ import annotations

import pytest

from tests.docker.conftest import MakeStack
from tests.docker.stack import Live, PulumiStack
from tests.docker.test_failures import assert_no_changes, assert_nothing_to_do
from tests.docker.writer import Writer

pytestmark = [pytest.mark.docker, pytest.mark.pulumi]


def test_replicas_and_sentinels_come_and_go(make_stack: MakeStack) -> None:
    stack = make_stack()
    stack.up()
    live = stack.live()
    before = live.started()
    with Writer(live.client()) as writer:
        writer.wait_for_writes(20)
        stack.config |= {"replicas": 3, "sentinels": 5, "quorum": 3}
        stack.up()
        live = stack.live()
        assert len(live.observe().nodes) == 4
        assert len(live.observe().sentinels) == 5
        live.wait_until_healthy()
        live.assert_no_stale_entries()
        assert {name: at for name, at in live.started().items() if name in before} == before, "a node was restarted"
        # The primary itself is among those that go.
        live.deployment_failover("cache-redis-3")
        stack.config |= {"replicas": 1, "sentinels": 3, "quorum": 2}
        preview = stack.preview().text
        assert "cache-redis-3: hand over" in preview
        stack.up()
        live = stack.live()
        live.wait_until_healthy()
        live.assert_no_stale_entries()
        writer.wait_for_writes(20)
    assert writer.lost(live.client()) == []
    assert live.primary.name in ("cache-redis-0", "cache-redis-1")
    names = [
        name for name in stack.left_on_the_engine() if "redis-3" in name or "redis-2" in name or "sentinel-3" in name
    ]
    assert names == []
    assert_no_changes(stack)


def test_a_restart_goes_one_node_at_a_time_and_loses_no_write(shared_stack: PulumiStack) -> None:
    live = shared_stack.live()
    former = live.primary.name
    shared_stack.config["redis-directives"] = {"databases": 20}
    preview = shared_stack.preview()
    assert preview.text.count("one node at a time") == 3
    assert f"{former}: hand over to a replica" in preview.text
    with Writer(live.client()) as writer, Watcher(live) as watcher:
        writer.wait_for_writes(20)
        shared_stack.up()
        writer.wait_for_writes(20)
    assert watcher.most_away == 1, "two nodes were away at the same time"
    assert writer.lost(live.client()) == []
    live.wait_until_healthy()
    assert live.primary.name != former
    for member in live.deployment.target.nodes:
        assert live.node_client(member.name).config_get("databases")["databases"] == "20"
    assert_no_changes(shared_stack)


class Watcher:
    """Looks all the time how many Redis nodes are not in sync or not there."""

    def __init__(self, live: Live) -> None:
        import threading

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
            away = [node for node in self._live.observe().nodes if not node.reachable or node.unformed]
            self.most_away = max(self.most_away, len(away))


def test_a_limit_below_what_is_held_is_refused_at_preview(shared_stack: PulumiStack) -> None:
    live = shared_stack.live()
    client = live.client()
    for number in range(40):
        client.set(f"big:{number}", "x" * 1024 * 1024)
    memory, shared_stack.config["memory"] = shared_stack.config["memory"], "80mb"
    outcome = shared_stack.preview(check=False)
    shared_stack.config["memory"] = memory
    assert outcome.code != 0
    assert "maxmemory: cache-redis-0 uses" in outcome.text
    assert live.wait_until_healthy()


def test_live_settings_are_changed_without_a_restart(shared_stack: PulumiStack) -> None:
    live = shared_stack.live()
    before = live.started()
    shared_stack.config |= {
        "memory": "160mb",
        "maxmemory-policy": "allkeys-lru",
        "appendfsync": "always",
        "save-points": ["1800 5"],
        "app-key-pattern": "app:*",
        "redis-directives": {**shared_stack.config.get("redis-directives", {}), "hz": 20},
        "down-after-milliseconds": 3000,
    }
    preview = shared_stack.preview()
    assert "maxmemory-policy noeviction -> allkeys-lru" in preview.text
    assert "restart" not in preview.text.replace("restart-files", "")
    shared_stack.up()
    live = shared_stack.live()
    assert live.started() == before
    for member in live.deployment.target.nodes:
        found = live.node_client(member.name).config_get("*")
        assert found["maxmemory-policy"] == "allkeys-lru"
        assert found["appendfsync"] == "always"
        assert found["save"] == "1800 5"
        assert found["hz"] == "20"
    for view in live.observe().sentinels:
        assert view.settings["down-after-milliseconds"] == 3000
    client = live.client()
    client.set("app:key", "value")
    with pytest.raises(Exception, match=r"NOPERM|No permissions"):
        client.set("other:key", "value")
    assert_no_changes(shared_stack)
    # And it stays so when a node starts again.
    replica = live.replica_names()[0]
    live.container(replica).restart()
    live.wait_until_healthy()
    assert live.node_client(replica).config_get("save")["save"] == "1800 5"
    assert_no_changes(shared_stack)


@pytest.mark.long
def test_a_node_that_cannot_be_replaced_stops_the_others(stack: PulumiStack) -> None:
    live = stack.live()
    stack.config["image"] = "redis-production-no-such-image:1"
    outcome = stack.up(check=False)
    assert outcome.code != 0
    assert len([node for node in live.observe().nodes if node.reachable]) >= 2
    assert live.client().set("key", "value")
    stack.config.pop("image")
    stack.up()
    stack.live().wait_until_healthy()
    assert_nothing_to_do(stack)


@pytest.mark.long
def test_data_volumes_outlive_destroy_and_are_found_again(make_stack: MakeStack) -> None:
    stack = make_stack(**{"retain-data": True, "replicas": 1, "min-replicas-to-write": 0})
    stack.up()
    stack.live().client().set("key", "value")
    stack.destroy()
    volumes = [f"volume {stack.deployment_name}-{name}" for name in ("backups", "redis-0-data", "redis-1-data")]
    assert sorted(stack.left_on_the_engine()) == volumes, "only the volumes with data and backups stay"
    outcome = stack.up(check=False)
    assert outcome.code != 0
    assert "python -m ops promote" in outcome.text
    assert stack.ops("promote", "cache-redis-0", "--yes").code == 0
    stack.up()
    live = stack.live()
    live.wait_until_healthy()
    assert live.client().get("key") == "value"
