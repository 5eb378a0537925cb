"""Clients as an application has them: they follow failovers and moving slots, and wait through them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import redis
from redis.backoff import ExponentialWithJitterBackoff
from redis.cluster import ClusterNode, RedisCluster
from redis.sentinel import Sentinel

from .cluster_client import FollowingCluster
from .formation import Access, Member
from .formation.cluster.target import ClusterTarget
from .formation.replication.target import ReplicationTarget
from .sentinel_client import FailoverRetry, FollowingConnection


def sentinel_client(target: ReplicationTarget, access: Access, retries: int = 150) -> redis.Redis:
    """A client of the current primary, that asks the Sentinels and retries through a failover. Over TLS."""
    login = _login(access)
    sentinel = Sentinel(  # type: ignore[no-untyped-call]
        [(member.reach.host, member.reach.port) for member in target.sentinels],
        sentinel_kwargs=login,
        force_master_ip=_only_host(target.nodes),
        **login,
    )
    client: redis.Redis = sentinel.master_for(  # type: ignore[no-untyped-call]
        target.sentinel.master_name,
        decode_responses=True,
        connection_class=FollowingConnection,
        retry=FailoverRetry(ExponentialWithJitterBackoff(base=0.05, cap=1), retries),
    )
    return client


def cluster_client(
    target: ClusterTarget, access: Access, kind: type[RedisCluster] = FollowingCluster, **options: Any
) -> RedisCluster:
    """A client of the cluster, that follows slots to where they are and waits through a failover. Over TLS.

    ``kind`` RedisCluster: one with redis-py's defaults. ``options``: further ones of RedisCluster.
    """
    reach = {
        (member.announced.host, member.announced.port): (member.reach.host, member.reach.port)
        for member in target.members
    }
    # A node that has joined since is reached as the others are: by its port, or by its name.
    host = _only_host(target.members)
    client: RedisCluster = kind(
        startup_nodes=[ClusterNode(*each) for each in reach.values()],  # type: ignore[no-untyped-call]
        address_remap=lambda announced: reach.get(announced, (host or announced[0], announced[1])),
        decode_responses=True,
        **{**_login(access), **options},
    )
    return client


def _only_host(members: Sequence[Member]) -> str | None:
    """Where all members are reached, if that is one host under which none of them is known to the others."""
    hosts = {member.reach.host for member in members}
    announced = {member.announced.host for member in members}
    return hosts.pop() if len(hosts) == 1 and hosts != announced else None


def _login(access: Access) -> dict[str, Any]:
    return {
        "username": access.username,
        "password": access.password,
        "ssl": True,
        "ssl_ca_data": access.ca_certificate,
        "socket_timeout": 5,
    }
