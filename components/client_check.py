"""Proves a deployment from a client's side."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable

import redis
from redis.cluster import RedisCluster

from .clients import cluster_client, sentinel_client
from .formation import Access, FormationError, Member
from .formation.cluster.observation import observe as observe_cluster
from .formation.cluster.slots import slot_of
from .formation.cluster.target import ClusterTarget
from .formation.connection import Connections, as_mapping, without_errors
from .formation.replication.observation import REPLICA, observe
from .formation.replication.target import ReplicationTarget
from .key_patterns import key_within

_REPLICATION_TIMEOUT_SECONDS = 10
_POLL_SECONDS = 0.05


def verify_replicated(target: ReplicationTarget, admin: Access, app: Access) -> str:
    """Write a key through Sentinel, read it from a replica, delete it. Returns what was done, in one line.

    Raises FormationError saying what did not work.
    """

    def replica_of(_: str) -> Member | None:
        names = {node.name for node in observe(target, admin).nodes if node.role == REPLICA}
        return next((member for member in target.nodes if member.name in names), None)

    read = _verify(lambda: sentinel_client(target, app), target.nodes[0], admin, _Replica(app, replica_of, ()))
    return f"a key written through Sentinel as user {app.username} over TLS{read}"


def verify_cluster(target: ClusterTarget, admin: Access, app: Access) -> str:
    """The same through a client of the cluster."""

    def replica_of(key: str) -> Member | None:
        slot = slot_of(key)
        nodes = observe_cluster(target, admin).nodes
        owners = {node.node_id for node in nodes if any(first <= slot <= last for first, last in node.slots)}
        names = {node.name for node in nodes if node.reachable and node.primary_id in owners}
        return next((member for member in target.members if member.name in names), None)

    # A replica of a cluster sends clients to its primary unless they say that they are content with what it has.
    replica = _Replica(app, replica_of, (("READONLY",),))
    read = _verify(lambda: cluster_client(target, app), target.members[0], admin, replica)
    return f"a key written through RedisCluster as user {app.username} over TLS{read}"


class _Replica:
    """Reads a key from a replica of it, if there is one; ``before``: what to tell it first."""

    def __init__(
        self, access: Access, replica_of: Callable[[str], Member | None], before: tuple[tuple[str | int, ...], ...]
    ) -> None:
        self._access = access
        self._replica_of = replica_of
        self._before = before

    def wait_until_read(self, key: str, value: str) -> str:
        """Returns the replica's name, empty if there is none."""
        replica = self._replica_of(key)
        if replica is None:
            return ""
        deadline = time.monotonic() + _REPLICATION_TIMEOUT_SECONDS
        with Connections(self._access) as connections:
            while without_errors(connections.ask_all(replica, *self._before, ("GET", key)))[-1] != value:
                if time.monotonic() > deadline:
                    raise FormationError(
                        f"{replica.name} did not receive a written key within {_REPLICATION_TIMEOUT_SECONDS} s; "
                        "see python -m ops status"
                    )
                time.sleep(_POLL_SECONDS)
        return replica.name


def _verify(
    connect: Callable[[], redis.Redis | RedisCluster], any_node: Member, admin: Access, replica: _Replica
) -> str:
    value = secrets.token_hex(8)
    try:
        with Connections(admin) as connections:
            user = as_mapping(connections.ask(any_node, "ACL", "GETUSER", "app"))
        key = key_within(str(user["keys"]).split()[0].removeprefix("~"), f"verify:{secrets.token_hex(4)}")
        client = connect()
        client.set(key, value, ex=60)
        name = replica.wait_until_read(key, value)
        client.delete(key)
        client.close()
    except (redis.RedisError, redis.RedisClusterException) as error:
        raise FormationError(f"a client could not use the deployment: {error}") from None
    return f", read from {name}" if name else ""
