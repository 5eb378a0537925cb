"""Takes a cluster apart before its nodes are destroyed."""

from __future__ import annotations

import contextlib

import redis

from ..connection import Connections, in_parallel
from ..members import Access, Member
from .observation import NO_FAILOVER
from .target import ClusterTarget


def disband(target: ClusterTarget, access: Access) -> None:
    """Let no replica take over any more, so that no failover starts while nodes go one after the other.

    From then on the cluster is not at work (see ``safety.is_formed``); formation takes it back. Members that do not
    answer are passed over: they are going away.
    """
    with Connections(access, connect_timeout_seconds=1.0) as connections:

        def stand_down(node: Member) -> None:
            with contextlib.suppress(redis.RedisError):
                connections.ask(node, "CONFIG", "SET", NO_FAILOVER, "yes")

        in_parallel(target.every_member, stand_down)
