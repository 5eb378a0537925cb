"""What a cluster should look like: plain, immutable data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..members import Member


@dataclass(frozen=True)
class Shard:
    """One shard: its copies, and its share of the slots beside the other shards' (`weight`, at least 1).

    Which of the members is the primary is not said: at the first formation the first one, afterwards Redis decides.
    """

    name: str
    members: tuple[Member, ...]
    weight: int = 1

    def __post_init__(self) -> None:
        if not self.members:
            raise ValueError(f"{self.name}: a shard needs at least one member")
        if self.weight < 1:
            raise ValueError(f"{self.name}: weight {self.weight} is less than 1; take the shard away instead")
        hosts = Counter(member.host for member in self.members if member.host)
        shared = [host for host, count in hosts.items() if count > 1]
        if shared:
            raise ValueError(f"{self.name}: several copies on {', '.join(shared)}: they would be lost together")

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "name": self.name,
            "members": [member.to_dict() for member in self.members],
            "weight": self.weight,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Shard:
        """The opposite of `to_dict`."""
        return cls(
            str(values["name"]),
            tuple(Member.from_dict(each) for each in values["members"]),
            int(values.get("weight", 1)),
        )


@dataclass(frozen=True)
class ClusterTarget:
    """The shards of a cluster, as they should be.

    Which slots a shard has is read from the live cluster; wanted is only how many, by weight. `live_settings`:
    redis.conf directive -> value, kept by CONFIG SET. `leaving`: members that an earlier target had: they hand over,
    give up their slots, are reset and forgotten.
    """

    shards: tuple[Shard, ...]
    live_settings: Mapping[str, str] = field(default_factory=dict, repr=False)
    leaving: tuple[Member, ...] = ()

    def __post_init__(self) -> None:
        if not self.shards:
            raise ValueError("shards: a cluster needs at least one shard")
        if len({shard.name for shard in self.shards}) < len(self.shards):
            raise ValueError("two shards have the same name")
        every = self.every_member
        if len({member.name for member in every}) < len(every):
            raise ValueError("two members have the same name")
        if len({member.announced for member in every}) < len(every):
            raise ValueError("two members announce the same address")

    @property
    def members(self) -> tuple[Member, ...]:
        """The members of all shards, shard after shard."""
        return tuple(member for shard in self.shards for member in shard.members)

    @property
    def every_member(self) -> tuple[Member, ...]:
        """The same, and then those that leave."""
        return self.members + self.leaving

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; secrets among the live settings are in it."""
        return {
            "shards": [shard.to_dict() for shard in self.shards],
            "live_settings": dict(self.live_settings),
            "leaving": [member.to_dict() for member in self.leaving],
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ClusterTarget:
        """The opposite of `to_dict`."""
        return cls(
            shards=tuple(Shard.from_dict(each) for each in values["shards"]),
            live_settings={str(key): str(value) for key, value in values.get("live_settings", {}).items()},
            leaving=tuple(Member.from_dict(each) for each in values.get("leaving", ())),
        )
