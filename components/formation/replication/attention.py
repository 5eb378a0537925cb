"""Lets Sentinels notice changes of the replicas at once, which they otherwise ask for every 10 s only."""

from __future__ import annotations

import contextlib
from types import TracebackType

import redis

from ..connection import Connections
from ..members import Member

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
        """From now on; to be told again while it matters, as a restart or a hand-over ends it."""
        self._attentive.add(sentinel)
        _ask_every(self._connections, sentinel, _OFTEN_MILLISECONDS)

    def __enter__(self) -> CloseAttention:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for sentinel in self._attentive:
            end_attention(self._connections, sentinel)


def end_attention(connections: Connections, sentinel: Member) -> None:
    """Back to the normal period, by which a Sentinel also judges whether what it knows of a replica is outdated.

    Three periods old is too old to promote it (Redis source, sentinel.c: sentinelSelectSlave): before a failover, more
    than 0.3 s of a busy machine must not make every replica unfit.
    """
    _ask_every(connections, sentinel, _NORMALLY_MILLISECONDS)


def _ask_every(connections: Connections, sentinel: Member, milliseconds: int) -> None:
    with contextlib.suppress(redis.RedisError):
        connections.ask(sentinel, "SENTINEL", "DEBUG", "INFO-PERIOD", milliseconds)
