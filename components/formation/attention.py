"""Lets Sentinels notice changes of the replicas at once, which they otherwise ask for every 10 s only."""

from __future__ import annotations

import contextlib
from types import TracebackType

import redis

from .connection import Connections
from .topology import Member

# Redis documentation, SENTINEL DEBUG (7.0): INFO-PERIOD, by default 10000 ms. Nothing but the asking is changed by it.
_OFTEN_MILLISECONDS = 100
_NORMALLY_MILLISECONDS = 10_000


class CloseAttention:
    """While it lasts, the Sentinels that were told to `begin` ask their nodes often (Redis before 7.0 cannot).

    A Sentinel also takes a primary that reports to be a replica for lost only after two such periods and down-after.
    """

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._attentive: set[Member] = set()

    def begin(self, sentinel: Member) -> None:
        """From now on; told twice, it makes no difference."""
        if sentinel not in self._attentive:
            self._attentive.add(sentinel)
            self._set(sentinel, _OFTEN_MILLISECONDS)

    def __enter__(self) -> CloseAttention:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for sentinel in self._attentive:
            self._set(sentinel, _NORMALLY_MILLISECONDS)

    def _set(self, sentinel: Member, milliseconds: int) -> None:
        with contextlib.suppress(redis.RedisError):
            self._connections.ask(sentinel, "SENTINEL", "DEBUG", "INFO-PERIOD", milliseconds)
