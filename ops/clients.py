"""Clients of a deployment as an application has them, as user ``app``."""

from __future__ import annotations

from typing import Any

import redis
from redis.cluster import RedisCluster

from components import clients
from components.cluster_client import FollowingCluster

from .deployment import ClusterDeployment, ReplicatedDeployment


def sentinel_client(deployment: ReplicatedDeployment, retries: int = 150) -> redis.Redis:
    """See :func:`components.clients.sentinel_client`."""
    return clients.sentinel_client(deployment.target, deployment.access("app"), retries)


def cluster_client(
    deployment: ClusterDeployment, kind: type[RedisCluster] = FollowingCluster, **options: Any
) -> RedisCluster:
    """See :func:`components.clients.cluster_client`."""
    return clients.cluster_client(deployment.target, deployment.access("app"), kind, **options)
