"""Reads the live topology of a deployment: every member at once, one round trip each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import redis

from .. import live_settings
from ..connection import Connections, as_mapping, in_parallel, reason, without_errors
from ..members import NO_PORT, Access, Address, Member
from .target import RETIRED, UNFORMED, ReplicationTarget

PRIMARY = "primary"
REPLICA = "replica"


@dataclass(frozen=True)
class AttachedReplica:
    """A replica as its primary lists it (INFO replication, `slaveN`)."""

    address: Address
    state: str
    offset: int


@dataclass(frozen=True)
class NodeView:
    """One Redis node as it is now. `offset`: its replication offset in bytes; `keys`: how many all its databases hold.

    `differing_settings`: directives whose live value is not the wanted one -> (found, wanted), secrets masked.
    """

    name: str
    address: Address
    reachable: bool = True
    error: str = ""
    run_id: str = ""
    role: str = ""
    follows: Address | None = None
    link_up: bool = False
    syncing: bool = False
    loading: bool = False
    failing_over: bool = False
    offset: int = 0
    history: str = ""
    earlier_history: str = ""
    keys: int = 0
    priority: int = 0
    serves_stale: bool = False
    replicas: tuple[AttachedReplica, ...] = ()
    differing_settings: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    memory_used: int = 0
    memory_max: int = 0
    version: str = ""

    @property
    def unformed(self) -> bool:
        """It has just started and nobody has given it a role yet."""
        return self.role == REPLICA and self.follows == UNFORMED

    @property
    def retired(self) -> bool:
        """It is being removed from the deployment."""
        return self.role == REPLICA and self.follows == RETIRED

    @property
    def proven(self) -> bool:
        """It is known to hold the deployment's data: Sentinel may promote it."""
        return self.priority > 0 and self.serves_stale


@dataclass(frozen=True)
class SentinelView:
    """One Sentinel as it is now; `primary` is None when it does not monitor the deployment."""

    name: str
    address: Address
    reachable: bool = True
    error: str = ""
    run_id: str = ""
    primary: Address | None = None
    flags: tuple[str, ...] = ()
    config_epoch: int = 0
    settings: Mapping[str, int] = field(default_factory=dict)
    replicas: tuple[Address, ...] = ()
    replica_flags: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    replica_priorities: Mapping[str, int] = field(default_factory=dict)
    sentinels: Mapping[str, Address] = field(default_factory=dict)
    other_deployments: tuple[str, ...] = ()
    milliseconds_without_access: int = 0

    @property
    def failing_over(self) -> bool:
        """Whether this Sentinel leads a failover now."""
        return "failover_in_progress" in self.flags


@dataclass(frozen=True)
class Observation:
    """All members of a target, in the target's order: `nodes` and `sentinels`, then those that are leaving."""

    nodes: tuple[NodeView, ...]
    sentinels: tuple[SentinelView, ...]
    leaving_nodes: tuple[NodeView, ...] = ()
    leaving_sentinels: tuple[SentinelView, ...] = ()

    @property
    def every_node(self) -> tuple[NodeView, ...]:
        """The Redis nodes, leaving ones last."""
        return self.nodes + self.leaving_nodes

    @property
    def every_sentinel(self) -> tuple[SentinelView, ...]:
        """The Sentinels, leaving ones last."""
        return self.sentinels + self.leaving_sentinels

    def node_at(self, address: Address | None) -> NodeView | None:
        """The node that announces an address, leaving ones included."""
        return next((node for node in self.every_node if node.address == address), None)

    def node(self, name: str) -> NodeView | None:
        """The node of a name, leaving ones included."""
        return next((node for node in self.every_node if node.name == name), None)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self)


def observe(target: ReplicationTarget, access: Access) -> Observation:
    """What the members of `target` are now. A member that does not answer is part of the answer, not an error."""
    with Connections(access) as connections:
        return observe_through(connections, target)


def observe_through(connections: Connections, target: ReplicationTarget) -> Observation:
    """The same, through connections that are already open."""
    nodes = target.nodes + target.leaving_nodes
    sentinels = target.sentinels + target.leaving_sentinels
    views = in_parallel(
        [*((member, False) for member in nodes), *((member, True) for member in sentinels)],
        lambda item: (
            observe_sentinel(target, connections, item[0])
            if item[1]
            else observe_node(connections, item[0], {} if item[0] in target.leaving_nodes else target.live_settings)
        ),
    )

    def of(members: tuple[Member, ...], sentinel: bool) -> list[Any]:
        return [views[member, sentinel] for member in members]

    return Observation(
        nodes=tuple(of(target.nodes, False)),
        sentinels=tuple(of(target.sentinels, True)),
        leaving_nodes=tuple(of(target.leaving_nodes, False)),
        leaving_sentinels=tuple(of(target.leaving_sentinels, True)),
    )


def observe_node(connections: Connections, member: Member, wanted_settings: Mapping[str, str]) -> NodeView:
    """One Redis node, in one round trip; `wanted_settings` are compared with its live settings."""
    names = ["replica-priority", "replica-serve-stale-data", *wanted_settings]
    try:
        answers = connections.ask_all(member, ("INFO",), ("CONFIG GET", *names))
        info, config = without_errors(answers)
    except redis.RedisError as error:
        return NodeView(member.name, member.announced, reachable=False, error=reason(error))
    found = as_mapping(config)
    role = PRIMARY if info["role"] == "master" else REPLICA
    differing = live_settings.differing(wanted_settings, found)
    return NodeView(
        name=member.name,
        address=member.announced,
        run_id=str(info["run_id"]),
        role=role,
        follows=Address(str(info["master_host"]), int(info["master_port"])) if role == REPLICA else None,
        link_up=role == REPLICA and info["master_link_status"] == "up",
        syncing=role == REPLICA and bool(info.get("master_sync_in_progress")),
        loading=bool(info.get("loading")) or bool(info.get("async_loading")),
        failing_over=str(info.get("master_failover_state", "no-failover")) != "no-failover",
        offset=int(info["master_repl_offset"] if role == PRIMARY else info.get("slave_repl_offset", 0)),
        history=str(info.get("master_replid", "")),
        earlier_history=str(info.get("master_replid2", "")).strip("0"),
        keys=sum(int(value["keys"]) for value in info.values() if isinstance(value, dict) and "keys" in value),
        priority=int(found["replica-priority"]),
        serves_stale=found["replica-serve-stale-data"] == "yes",
        replicas=tuple(
            AttachedReplica(Address(str(each["ip"]), int(each["port"])), str(each["state"]), int(each["offset"]))
            for key, each in info.items()
            if key.startswith("slave") and isinstance(each, dict) and "ip" in each and int(each["port"]) != NO_PORT
        ),
        differing_settings={
            key: (live_settings.shown(key, found.get(key, "")), live_settings.shown(key, value))
            for key, value in differing.items()
        },
        memory_used=int(info.get("used_memory", 0)),
        memory_max=int(info.get("maxmemory", 0)),
        version=str(info.get("redis_version", "")),
    )


def observe_sentinel(target: ReplicationTarget, connections: Connections, member: Member) -> SentinelView:
    """One Sentinel, in one round trip."""
    name = target.sentinel.master_name
    try:
        *always, replicas, sentinels = connections.ask_all(
            member,
            ("SENTINEL", "MYID"),
            ("SENTINEL", "MASTERS"),
            ("SENTINEL", "REPLICAS", name),
            ("SENTINEL", "SENTINELS", name),
        )
        run_id, masters = without_errors(always)
    except redis.RedisError as error:
        return SentinelView(member.name, member.announced, reachable=False, error=reason(error))
    monitored = {entry["name"]: entry for entry in map(as_mapping, masters)}
    others = tuple(sorted(other for other in monitored if other != name))
    mine = monitored.get(name)
    # REPLICAS and SENTINELS answer with an error when the deployment is not monitored.
    if mine is None or isinstance(replicas, Exception) or isinstance(sentinels, Exception):
        return SentinelView(member.name, member.announced, run_id=str(run_id), other_deployments=others)
    known_replicas = [as_mapping(entry) for entry in replicas]
    known_sentinels = [as_mapping(entry) for entry in sentinels]
    age = int(mine["role-reported-time"])
    return SentinelView(
        name=member.name,
        address=member.announced,
        run_id=str(run_id),
        primary=_address(mine),
        flags=tuple(mine["flags"].split(",")),
        config_epoch=int(mine["config-epoch"]),
        settings={
            "quorum": int(mine["quorum"]),
            "down-after-milliseconds": int(mine["down-after-milliseconds"]),
            "parallel-syncs": int(mine["parallel-syncs"]),
            "failover-timeout": int(mine["failover-timeout"]),
        },
        replicas=tuple(sorted(_address(entry) for entry in known_replicas)),
        replica_flags={str(_address(entry)): tuple(entry["flags"].split(",")) for entry in known_replicas},
        replica_priorities={str(_address(entry)): int(entry["slave-priority"]) for entry in known_replicas},
        sentinels={entry["runid"]: _address(entry) for entry in known_sentinels},
        other_deployments=others,
        milliseconds_without_access=_without_access(age, int(mine["info-refresh"])),
    )


def _without_access(age: int, info_refresh: int) -> int:
    """For how many milliseconds the primary has not answered a Sentinel's INFO, which is asked every 10 s; 0: it does.

    Sentinel counts info-refresh from 1970 until its first INFO is answered.
    """
    if info_refresh > age + 86_400_000:
        return age
    return info_refresh if info_refresh > 30_000 else 0


def _address(entry: Mapping[str, str]) -> Address:
    return Address(entry["ip"], int(entry["port"]))
