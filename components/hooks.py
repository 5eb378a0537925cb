"""Binds formation to the lifecycle of nodes: one node at a time, and only when the others can do without it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import pulumi

from .config_files import Listener

if TYPE_CHECKING:
    from .live_deployment import LiveDeployment

START_SUFFIX = "-attachment"
"""What the name of a resource ends in without which a node does not start, as it brings the node's data."""
_SETTLE_SECONDS = 0.5


class RollingGate:
    """Orders the replacements of a deployment's nodes within one ``up``.

    Pulumi replaces resources in parallel. Here each one asks before its node is stopped, and reports after the new one
    was made. The gate lets one go at a time, replicas first, then primaries after a hand-over, then Sentinels; the
    next one goes when the new node is in sync. When one fails, all that still wait fail too: their nodes are not
    touched. The first creation is not slowed down: nobody asks before it. A node that leaves the deployment is only let
    go when nobody needs it any more.
    """

    def __init__(
        self,
        name: str,
        target: Mapping[str, Any],
        passwords: pulumi.Output[Mapping[str, str]],
        ca_certificate: pulumi.Output[str],
        listener_of: Callable[[str], Listener] | None = None,
    ) -> None:
        """``name`` is the component's; ``target`` the wanted topology without its password.

        ``listener_of``: where a node listens that ``target`` does not name any more, by its name; None where formation
        alone can tell that it is not needed.
        """
        self._target = target
        self._listener_of = listener_of
        self._access = pulumi.Output.all(passwords, ca_certificate)
        self._asking = 0
        self._waiting: list[str] = []
        self._next: str | None = None
        self._replaced: list[str] = []
        self._holder: str | None = None
        self._failure: str | None = None
        self._changed = asyncio.Condition()
        stop = pulumi.ResourceHook(f"{name}-before-stop", self._before_stop)
        start = pulumi.ResourceHook(f"{name}-after-start", self._after_start)
        on_error = [pulumi.ErrorHook(f"{name}-on-error", self._on_error)]
        self.options = _bound(before_delete=[stop], after_create=[start], on_error=on_error)
        """For a resource that is the node, and makes it start."""
        self.stop_options = _bound(before_delete=[stop], on_error=on_error)
        """For a resource that is the node, but does not start before another one, of the name that follows, is made."""
        self.start_options = _bound(after_create=[start], on_error=on_error)
        """For that other resource, which is named ``<node>`` and START_SUFFIX."""

    async def _before_stop(self, args: pulumi.ResourceHookArgs) -> None:
        live = await self._live()
        if not await self._is_needed(args.name, live):
            # Not formed yet, being destroyed, or already retired: nobody depends on this node.
            await self._prove_that_it_may_go(args.name, live)
            return
        await self._take(args.name, live)
        try:
            await asyncio.to_thread(live.make_safe_to_stop, args.name, tuple(self._replaced), pulumi.log.info)
        except Exception as error:
            await self._fail(f"{args.name}: {error}")
            raise

    async def _after_start(self, args: pulumi.ResourceHookArgs) -> None:
        node = args.name.removesuffix(START_SUFFIX)
        if self._holder != node:
            return
        live = await self._live()
        try:
            await asyncio.to_thread(live.wait_until_back, node, pulumi.log.info)
        except Exception as error:
            await self._fail(f"{node}: {error}")
            raise
        async with self._changed:
            self._replaced.append(node)
            self._holder = None
            self._changed.notify_all()

    async def _on_error(self, args: pulumi.ErrorHookArgs) -> bool:
        await self._fail(f"{args.name.removesuffix(START_SUFFIX)} could not be replaced")
        return False

    async def _is_needed(self, name: str, live: LiveDeployment) -> bool:
        """The answer may take seconds: nobody is let go before all that have asked are waiting."""
        self._asking += 1
        try:
            return await asyncio.to_thread(live.is_needed, name)
        finally:
            async with self._changed:
                self._asking -= 1
                self._changed.notify_all()

    async def _prove_that_it_may_go(self, name: str, live: LiveDeployment) -> None:
        if self._listener_of is None:
            return
        listener = self._listener_of(name)
        reason = await asyncio.to_thread(live.still_needed, name, listener.host, listener.port)
        if reason:
            raise RuntimeError(f"{name} was left as it is, because {reason}")

    async def _take(self, name: str, live: LiveDeployment) -> None:
        self._waiting.append(name)
        await asyncio.sleep(
            _SETTLE_SECONDS
        )  # the others of this `up` ask within moments; nothing tells how many there are
        async with self._changed:
            while True:
                if self._failure:
                    raise RuntimeError(f"{name} was left as it is, because {self._failure}")
                if self._holder is None and not self._asking:
                    if self._next not in self._waiting:
                        self._next = await asyncio.to_thread(live.next_to_stop, tuple(self._waiting))
                        self._changed.notify_all()
                    if self._next == name:
                        self._waiting.remove(name)
                        self._holder = name
                        return
                await self._changed.wait()

    async def _fail(self, reason: str) -> None:
        async with self._changed:
            self._failure = self._failure or reason
            self._changed.notify_all()

    async def _live(self) -> LiveDeployment:
        # Loaded when a node is replaced, which is rare: every preview starts sooner without it.
        from .live_deployment import live_deployment

        passwords, ca_certificate = await self._access.future() or ({}, "")
        return live_deployment(self._target, passwords, ca_certificate)


def _bound(**hooks: Any) -> pulumi.ResourceOptions:
    return pulumi.ResourceOptions(hooks=pulumi.ResourceHookBinding(**hooks))
