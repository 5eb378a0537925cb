"""Pulumi killed at any step: the next `up` finishes what was begun."""

from __future__ import annotations

from typing import Any

import pytest

from tests.docker.conftest import MakeStack
from tests.docker.test_failures import assert_no_changes, assert_nothing_to_do

pytestmark = [pytest.mark.docker, pytest.mark.pulumi]


def now_and_then(always: list[str], long: list[str]) -> list[Any]:
    """Some moments in every run, the others in the long one."""
    return [*always, *(pytest.param(moment, marks=pytest.mark.long) for moment in long)]


@pytest.mark.parametrize(
    "moment",
    now_and_then(
        ["cache-redis-1 creating"],
        [
            "follow the primary",
            "cache-network created",
            "cache-redis-1-files creating",
            "become the primary",
            "cache-sentinel-0: monitor the primary",
            "cache-sentinel-2: introduce",
        ],
    ),
)
def test_killed_while_deploying(make_stack: MakeStack, moment: str) -> None:
    stack = make_stack()
    run = stack.start("up", "--yes", "--skip-preview")
    run.wait_for(moment)
    run.kill()
    stack.cancel()
    stack.up()
    live = stack.live()
    live.wait_until_healthy()
    live.assert_no_stale_entries()
    live.client().set("key", "value")
    assert_no_changes(stack)


@pytest.mark.parametrize("moment", ["pauses writes", "cache-redis-0 creating replacement", "cache-redis-1 deleting"])
@pytest.mark.long
def test_killed_while_nodes_are_replaced(make_stack: MakeStack, moment: str) -> None:
    stack = make_stack()
    stack.up()
    stack.live().client().set("key", "value")
    stack.config["redis-directives"] = {"databases": 20}
    run = stack.start("up", "--yes", "--skip-preview")
    run.wait_for(moment)
    run.kill()
    stack.cancel()
    stack.up()
    live = stack.live()
    live.wait_until_healthy()
    live.assert_no_stale_entries()
    for member in live.deployment.target.nodes:
        assert live.node_client(member.name).config_get("databases")["databases"] == "20"
    assert live.client().get("key") == "value"
    assert_nothing_to_do(stack)


def test_killed_while_destroying(make_stack: MakeStack) -> None:
    stack = make_stack()
    stack.up()
    run = stack.start("destroy", "--yes", "--skip-preview")
    run.wait_for("cache-redis-0 deleting")
    run.kill()
    stack.cancel()
    stack.destroy()
    assert stack.left_on_the_engine() == []
