"""The gate lets one node go at a time, and the right one first, however long a live deployment takes to answer."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

import pulumi
import pytest

from components import hooks
from components.hooks import RollingGate


class Live:
    """A deployment in which replicas go before the primary; ``slow`` is a node about which it answers late."""

    def __init__(self, slow: str = "") -> None:
        self.slow = slow
        self.others_asked = threading.Event()
        self.asked: list[tuple[str, ...]] = []
        self.stopped: list[str] = []

    def is_needed(self, name: str) -> bool:
        if name == self.slow:
            assert self.others_asked.wait(10)
        return True

    def next_to_stop(self, names: Sequence[str]) -> str:
        self.asked.append(tuple(sorted(names)))
        return min(names)

    def make_safe_to_stop(self, name: str, replaced: Sequence[str], progress: Any) -> None:
        self.stopped.append(name)

    def wait_until_back(self, name: str, progress: Any) -> None:
        pass


@pytest.fixture
def replace_all(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Replaces nodes at once, as Pulumi does."""
    monkeypatch.setattr(hooks, "_SETTLE_SECONDS", 0)
    for kind in (pulumi.ResourceHook, pulumi.ErrorHook):
        monkeypatch.setattr(kind, "__init__", lambda self, name, callback, *_: setattr(self, "callback", callback))

    def run(live: Live, names: Sequence[str]) -> None:
        async def found(_: RollingGate) -> Live:
            return live

        monkeypatch.setattr(RollingGate, "_live", found)
        loop = asyncio.new_event_loop()  # asyncio.run would leave the thread without one, which Pulumi's mocks need
        try:
            loop.run_until_complete(asyncio.wait_for(replace(live, names), 30))
        finally:
            loop.close()

    async def replace(live: Live, names: Sequence[str]) -> None:
        passwords: pulumi.Output[Any] = pulumi.Output.from_input({})
        bound = RollingGate("cache", {}, passwords, pulumi.Output.from_input("")).options.hooks
        assert bound is not None
        assert bound.before_delete
        assert bound.after_create
        before: Any = bound.before_delete[0]
        after: Any = bound.after_create[0]

        async def one(name: str) -> None:
            args = pulumi.ResourceHookArgs(urn="", id="", name=name, type="", old_inputs={}, old_outputs={})
            await before.callback(args)
            await after.callback(args)

        async def release() -> None:
            await asyncio.sleep(0.1)  # long enough for everybody else to be waiting at the gate
            live.others_asked.set()

        await asyncio.gather(*map(one, names), release())

    return run


def test_the_right_one_goes_first_though_its_answer_comes_last(replace_all: Any) -> None:
    live = Live(slow="a-replica")
    replace_all(live, ["z-primary", "m-replica", "a-replica"])

    assert live.stopped == ["a-replica", "m-replica", "z-primary"]


def test_it_is_asked_once_for_each_that_goes(replace_all: Any) -> None:
    live = Live()
    replace_all(live, ["c", "b", "a"])

    assert live.asked == [("a", "b", "c"), ("b", "c"), ("c",)]
