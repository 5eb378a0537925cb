"""Takes a deployment apart before its nodes are destroyed."""

from __future__ import annotations

import contextlib

import redis

from ..connection import Connections, in_parallel
from ..members import Access, Member
from .target import ReplicationTarget


def disband(target: ReplicationTarget, access: Access) -> None:
    """Stop the Sentinels from watching (SENTINEL REMOVE), so that no failover starts while nodes go one after the
    other.

    Nodes lose the mark that they may be promoted: from then on the deployment is not at work (see
    ``safety.is_formed``). Members that do not answer are passed over: they are going away.
    """
    with Connections(access, connect_timeout_seconds=1.0) as connections:

        def stop_watching(sentinel: Member) -> None:
            with contextlib.suppress(redis.RedisError):
                connections.ask(sentinel, "SENTINEL", "REMOVE", target.sentinel.master_name)

        def stand_down(node: Member) -> None:
            with contextlib.suppress(redis.RedisError):
                connections.ask(node, "CONFIG", "SET", "replica-priority", 0)

        in_parallel(target.sentinels, stop_watching)
        in_parallel(target.nodes, stand_down)
