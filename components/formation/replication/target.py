"""What a replicated deployment should look like: plain, immutable data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..members import Address, Member

# Nobody listens on these two. A node that follows the first has just started and waits for its role; a node that
# follows the second is being removed from the deployment and must be left alone.
UNFORMED = Address("127.0.0.1", 1)
RETIRED = Address("127.0.0.1", 2)


@dataclass(frozen=True)
class SentinelSettings:
    """What every Sentinel is told. `auth_user` and `auth_password` are how Sentinels log in to Redis nodes."""

    master_name: str
    quorum: int
    down_after_milliseconds: int
    parallel_syncs: int
    failover_timeout_milliseconds: int
    auth_user: str
    auth_password: str = field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Contains the password: treat as a secret."""
        return {
            "master_name": self.master_name,
            "quorum": self.quorum,
            "down_after_milliseconds": self.down_after_milliseconds,
            "parallel_syncs": self.parallel_syncs,
            "failover_timeout_milliseconds": self.failover_timeout_milliseconds,
            "auth_user": self.auth_user,
            "auth_password": self.auth_password,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> SentinelSettings:
        """The opposite of `to_dict`."""
        return cls(
            master_name=str(values["master_name"]),
            quorum=int(values["quorum"]),
            down_after_milliseconds=int(values["down_after_milliseconds"]),
            parallel_syncs=int(values["parallel_syncs"]),
            failover_timeout_milliseconds=int(values["failover_timeout_milliseconds"]),
            auth_user=str(values["auth_user"]),
            auth_password=str(values["auth_password"]),
        )

    @property
    def readable(self) -> dict[str, int]:
        """The settings that a Sentinel shows in SENTINEL MASTER, by the names that SENTINEL SET takes."""
        return {
            "quorum": self.quorum,
            "down-after-milliseconds": self.down_after_milliseconds,
            "parallel-syncs": self.parallel_syncs,
            "failover-timeout": self.failover_timeout_milliseconds,
        }


@dataclass(frozen=True)
class ReplicationTarget:
    """One primary, its replicas and their Sentinels, as they should be.

    `nodes` names no primary: on an empty deployment the first one becomes it, afterwards Redis and Sentinel decide.
    `live_settings`: redis.conf directive -> value, kept by CONFIG SET. `leaving_nodes` and `leaving_sentinels` are
    members that an earlier target had: they are handed over, retired and forgotten, if they still answer.
    """

    nodes: tuple[Member, ...]
    sentinels: tuple[Member, ...]
    sentinel: SentinelSettings
    live_settings: Mapping[str, str] = field(default_factory=dict, repr=False)
    replica_priority: int = 100
    leaving_nodes: tuple[Member, ...] = ()
    leaving_sentinels: tuple[Member, ...] = ()

    def __post_init__(self) -> None:
        if not self.nodes:
            raise ValueError("nodes: a deployment needs at least one Redis node")
        if not self.sentinels:
            raise ValueError("sentinels: a deployment needs at least one Sentinel")
        for members, what in (
            (self.nodes + self.leaving_nodes, "Redis nodes"),
            (self.sentinels + self.leaving_sentinels, "Sentinels"),
        ):
            if len({member.name for member in members}) < len(members):
                raise ValueError(f"two {what} have the same name")
            if len({member.announced for member in members}) < len(members):
                raise ValueError(f"two {what} announce the same address")
        if not 1 <= self.sentinel.quorum <= len(self.sentinels):
            raise ValueError(f"quorum: {self.sentinel.quorum} is not within 1..{len(self.sentinels)} (the Sentinels)")
        if self.replica_priority < 1:
            raise ValueError("replica_priority: must be at least 1, because 0 means never to be promoted")

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; contains the Sentinels' password: treat as a secret."""
        return {
            "nodes": [member.to_dict() for member in self.nodes],
            "sentinels": [member.to_dict() for member in self.sentinels],
            "sentinel": self.sentinel.to_dict(),
            "live_settings": dict(self.live_settings),
            "replica_priority": self.replica_priority,
            "leaving_nodes": [member.to_dict() for member in self.leaving_nodes],
            "leaving_sentinels": [member.to_dict() for member in self.leaving_sentinels],
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ReplicationTarget:
        """The opposite of `to_dict`."""

        def members(key: str) -> tuple[Member, ...]:
            return tuple(Member.from_dict(each) for each in values.get(key, ()))

        return cls(
            nodes=members("nodes"),
            sentinels=members("sentinels"),
            sentinel=SentinelSettings.from_dict(values["sentinel"]),
            live_settings={str(key): str(value) for key, value in values.get("live_settings", {}).items()},
            replica_priority=int(values.get("replica_priority", 100)),
            leaving_nodes=members("leaving_nodes"),
            leaving_sentinels=members("leaving_sentinels"),
        )
