"""Production Redis as Pulumi components.

The components are imported when they are first used: ``components.formation`` serves without Pulumi, and must not load
it.
"""

from typing import TYPE_CHECKING, Any

from .settings import (
    RedisClusterSettings,
    ReplicatedRedisSettings,
    SavePoint,
    SettingsError,
    settings_from_mapping,
)

if TYPE_CHECKING:
    from .redis_cluster import RedisCluster
    from .replicated_redis import ReplicatedRedis

__all__ = [
    "RedisCluster",
    "RedisClusterSettings",
    "ReplicatedRedis",
    "ReplicatedRedisSettings",
    "SavePoint",
    "SettingsError",
    "settings_from_mapping",
]


def __getattr__(name: str) -> Any:
    if name == "RedisCluster":
        from .redis_cluster import RedisCluster

        return RedisCluster
    if name == "ReplicatedRedis":
        from .replicated_redis import ReplicatedRedis

        return ReplicatedRedis
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
