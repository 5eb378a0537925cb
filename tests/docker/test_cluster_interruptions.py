"""Pulumi killed at any step of a cluster's change: the next `up` finishes what was begun."""

from __future__ import annotations

import pytest

from tests.docker.cluster_load import ClusterLoad
from tests.docker.conftest import MakeStack
from tests.docker.test_failures import assert_no_changes, assert_nothing_to_do
from tests.docker.test_interruptions import now_and_then

pytestmark = [pytest.mark.docker, pytest.mark.pulumi]


@pytest.mark.parametrize(
    "shards",
    [
        4,
        # Somebody has changed their mind: the new nodes are in the cluster, but in no state.
        pytest.param(3, marks=pytest.mark.long),
    ],
)
def test_killed_while_slots_move(make_stack: MakeStack, shards: int) -> None:
    stack = make_stack(topology="cluster", **{"replicas-per-shard": 0})
    stack.up()
    live = stack.cluster()
    client = live.client()
    values = {f"key:{number}": "x" * 1000 for number in range(4000)}
    client.mset_nonatomic(values)
    with ClusterLoad(live.client) as load:
        load.wait_for_writes(50)
        stack.config["shards"] = 4
        run = stack.start("up", "--yes", "--skip-preview")
        run.wait_for("slots")
        run.kill()
        stack.cancel()
        assert client.cluster_info()["cluster_state"] == "ok"
        stack.config["shards"] = shards
        stack.up()
        load.wait_for_writes(50)
    live = stack.cluster()
    live.wait_until_healthy()
    live.assert_no_stale_entries()
    assert load.errors == []
    assert load.lost(live.client()) == []
    assert live.client().mget_nonatomic(list(values)) == list(values.values())
    assert_no_changes(stack)


@pytest.mark.long
@pytest.mark.parametrize(
    "moment",
    ["cache-redis-1-0 creating", "cache-redis-2-1-files creating", "meet", "slots", "replicate"],
)
def test_killed_while_deploying(make_stack: MakeStack, moment: str) -> None:
    stack = make_stack(topology="cluster")
    run = stack.start("up", "--yes", "--skip-preview")
    run.wait_for(moment)
    run.kill()
    stack.cancel()
    stack.up()
    live = stack.cluster()
    live.wait_until_healthy()
    live.assert_no_stale_entries()
    live.client().set("key", "value")
    assert_nothing_to_do(stack)


@pytest.mark.long
@pytest.mark.parametrize(
    "moment", ["pauses writes", "cache-redis-0-0 creating replacement", "cache-redis-1-1 deleting"]
)
def test_killed_while_nodes_are_replaced(make_stack: MakeStack, moment: str) -> None:
    stack = make_stack(topology="cluster")
    stack.up()
    stack.cluster().client().set("key", "value")
    stack.config["redis-directives"] = {"tcp-backlog": 400}
    run = stack.start("up", "--yes", "--skip-preview")
    run.wait_for(moment)
    run.kill()
    stack.cancel()
    stack.up()
    live = stack.cluster()
    live.wait_until_healthy()
    live.assert_no_stale_entries()
    for name in live.members:
        assert live.node_client(name).config_get("tcp-backlog")["tcp-backlog"] == "400"
    assert live.client().get("key") == "value"
    assert_nothing_to_do(stack)


@pytest.mark.long
@pytest.mark.parametrize("moment", now_and_then([], ["cache-redis-3-0 deleting", "cache-redis-3-1 deleting"]))
def test_killed_while_a_shard_is_removed(make_stack: MakeStack, moment: str) -> None:
    stack = make_stack(topology="cluster", shards=4)
    stack.up()
    stack.cluster().client().set("key", "value")
    stack.config["shards"] = 3
    run = stack.start("up", "--yes", "--skip-preview")
    run.wait_for(moment)
    run.kill()
    stack.cancel()
    stack.up()
    live = stack.cluster()
    live.wait_until_healthy()
    live.assert_no_stale_entries()
    assert live.client().get("key") == "value"
    assert_nothing_to_do(stack)


@pytest.mark.long
def test_killed_while_destroying(make_stack: MakeStack) -> None:
    stack = make_stack(topology="cluster", **{"replicas-per-shard": 0})
    stack.up()
    run = stack.start("destroy", "--yes", "--skip-preview")
    run.wait_for("cache-redis-0-0 deleting")
    run.kill()
    stack.cancel()
    stack.destroy()
    assert stack.left_on_the_engine() == []
