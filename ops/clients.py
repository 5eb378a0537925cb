"""Clients as an application has them."""

from __future__ import annotations

from typing import Any

import redis
from redis.backoff import ExponentialWithJitterBackoff
from redis.cluster import ClusterNode, RedisCluster
from redis.sentinel import Sentinel

from components.cluster_client import FollowingCluster
from components.sentinel_client import FailoverRetry, FollowingConnection

from .deployment import ClusterDeployment, Deployment, ReplicatedDeployment, replicated


def client_of(deployment: Deployment) -> redis.Redis | RedisCluster:
    """A client as user ``app`` that goes on through failovers."""
    if isinstance(deployment, ClusterDeployment):
        return cluster_client(deployment)
    return sentinel_client(replicated(deployment))


def sentinel_client(deployment: ReplicatedDeployment, retries: int = 150) -> redis.Redis:
    """A client of the current primary as user ``app``, that follows Sentinel and retries through a failover."""
    login = _login(deployment)
    sentinel = Sentinel(  # type: ignore[no-untyped-call]
        [(member.reach.host, member.reach.port) for member in deployment.target.sentinels],
        sentinel_kwargs=login,
        force_master_ip=deployment.target.sentinels[0].reach.host,
        **login,
    )
    client: redis.Redis = sentinel.master_for(  # type: ignore[no-untyped-call]
        deployment.target.sentinel.master_name,
        decode_responses=True,
        connection_class=FollowingConnection,
        retry=FailoverRetry(ExponentialWithJitterBackoff(base=0.05, cap=1), retries),
    )
    return client


def cluster_client(
    deployment: ClusterDeployment, kind: type[RedisCluster] = FollowingCluster, **options: Any
) -> RedisCluster:
    """A client of the cluster as user ``app``, that follows slots to where they are and waits through a failover.

    ``kind`` RedisCluster: one with redis-py's defaults. ``options``: further ones of RedisCluster.
    """
    reach = {member.announced.port: (member.reach.host, member.reach.port) for member in deployment.redis_nodes}
    # A node that has joined since is reached as the others are: by its port.
    host = deployment.redis_nodes[0].reach.host
    client: RedisCluster = kind(
        startup_nodes=[ClusterNode(*each) for each in reach.values()],  # type: ignore[no-untyped-call]
        address_remap=lambda announced: reach.get(announced[1], (host, announced[1])),
        decode_responses=True,
        **{**_login(deployment), **options},
    )
    return client


def _login(deployment: Deployment) -> dict[str, Any]:
    access = deployment.access("app")
    return {
        "username": access.username,
        "password": access.password,
        "ssl": True,
        "ssl_ca_data": access.ca_certificate,
        "socket_timeout": 5,
    }
