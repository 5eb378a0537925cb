"""Clients as an application has them."""

from __future__ import annotations

import redis
from redis.backoff import ExponentialWithJitterBackoff
from redis.sentinel import Sentinel

from components.sentinel_client import FailoverRetry, FollowingConnection

from .deployment import Deployment


def sentinel_client(deployment: Deployment, retries: int = 150) -> redis.Redis:
    """A client of the current primary as user ``app``, that follows Sentinel and retries through a failover."""
    access = deployment.access("app")
    login = {
        "username": access.username,
        "password": access.password,
        "ssl": True,
        "ssl_ca_data": access.ca_certificate,
        "socket_timeout": 5,
    }
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
