"""Reads the live topology of a cluster: every member at once, one round trip each.

What a node knows of the others (CLUSTER NODES) is read so that nodes which agree share one `Knowledge`: comparing all
views of a large cluster then costs little more than comparing two.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import redis

from .. import live_settings
from ..connection import Connections, as_mapping, in_parallel, reason, without_errors
from ..members import Access, Address, Member
from .slots import SLOT_COUNT
from .target import ClusterTarget

PRIMARY = "primary"
REPLICA = "replica"
# Set to yes, a replica does not take over: what a cluster is given that is about to be destroyed.
NO_FAILOVER = "cluster-replica-no-failover"
# How long a primary waits before it sends its data to a new replica. A node that knows no other starts with the longer
# time: it may have lost its data, and would else empty its replicas, which ask it for them before anybody has noticed.
SYNC_DELAY = "repl-diskless-sync-delay"
WITHHOLDING_SECONDS = "86400"
# How many replicas a primary must have to accept a write. A primary that has just started asks for more than there can
# be, until it is proven on its host that it was not replaced meanwhile.
WRITE_REPLICAS = "min-replicas-to-write"
MORE_THAN_THERE_ARE = "2147483647"

Ranges = tuple[tuple[int, int], ...]
"""Slots as (first, last) pairs, both inclusive, in order."""


@dataclass(frozen=True)
class KnownNode:
    """A node as a member knows it. `address`: announced hostname (else the IP address) and port.

    `flags` are those of CLUSTER NODES without `myself`. `primary_id`: whom it replicates; empty for a primary.
    """

    node_id: str
    address: Address
    ip: str
    flags: frozenset[str]
    primary_id: str
    slots: Ranges

    @property
    def in_handshake(self) -> bool:
        """It was told of, but has not answered yet: its id is not its own."""
        return "handshake" in self.flags

    @property
    def failing(self) -> bool:
        """It is suspected (`fail?`) or agreed (`fail`) to be down."""
        return "fail" in self.flags or "fail?" in self.flags


@dataclass(frozen=True)
class Knowledge:
    """All nodes that a member knows, itself included, by id; equal for members that agree on everything."""

    nodes: Mapping[str, KnownNode] = field(default_factory=dict)

    @cached_property
    def owners(self) -> tuple[tuple[Ranges, str], ...]:
        """The slot map: which slots belong to which id, in the order of the slots."""
        return tuple(sorted((node.slots, node_id) for node_id, node in self.nodes.items() if node.slots))

    @cached_property
    def ids(self) -> frozenset[str]:
        """The ids of the nodes that are known by their own id."""
        return frozenset(node_id for node_id, node in self.nodes.items() if not node.in_handshake)

    @cached_property
    def in_handshake(self) -> frozenset[tuple[str, int]]:
        """(IP address, port) of the nodes that have not answered yet."""
        return frozenset((node.ip, node.address.port) for node in self.nodes.values() if node.in_handshake)


@dataclass(frozen=True)
class OpenSlot:
    """A slot that a node is moving: `migrating` to, else importing from, the node of `other_id`."""

    slot: int
    migrating: bool
    other_id: str


@dataclass(frozen=True)
class NodeView:
    """One member as it is now.

    `offset`: its replication offset; `keys`: how many it holds; `memory_used`, `memory_max` and `dataset` (memory of
    the keys alone) are in bytes, and `memory_max` 0 means no limit. `knows`: its CLUSTER NODES. `unconnected`: the ids
    of nodes to which it has no link. `ip`: where other nodes reach it. `keys_in_unclaimed`: slots that no node claims,
    of which it has keys. `stands_down`: it was told not to take over. `withholds`: it sends no replica its data yet.
    `unproven`: it accepts no write, as it may have been replaced while it was away.
    `differing_settings`: directives whose live value is not the wanted one -> (found, wanted), secrets masked.
    """

    name: str
    address: Address
    reachable: bool = True
    error: str = ""
    node_id: str = ""
    ip: str = ""
    role: str = PRIMARY
    primary_id: str = ""
    slots: Ranges = ()
    open_slots: tuple[OpenSlot, ...] = ()
    link_up: bool = False
    syncing: bool = False
    loading: bool = False
    offset: int = 0
    keys: int = 0
    keys_in_unclaimed: tuple[int, ...] = ()
    memory_used: int = 0
    memory_max: int = 0
    dataset: int = 0
    state_ok: bool = False
    epoch: int = 0
    knows: Knowledge = field(default_factory=Knowledge, repr=False)
    unconnected: frozenset[str] = frozenset()
    stands_down: bool = False
    withholds: bool = False
    unproven: bool = False
    cluster_enabled: bool = True
    version: str = ""
    differing_settings: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    @property
    def slot_count(self) -> int:
        """How many slots it owns by its own account."""
        return count_slots(self.slots)

    @property
    def alone(self) -> bool:
        """It knows no other node, nor has it been told of one."""
        return len(self.knows.nodes) <= 1


@dataclass(frozen=True)
class Observation:
    """All members of a target, in the target's order: the shards' members in `nodes`, then those that are leaving."""

    nodes: tuple[NodeView, ...]
    leaving: tuple[NodeView, ...] = ()

    @property
    def every_node(self) -> tuple[NodeView, ...]:
        """All members, leaving ones last."""
        return self.nodes + self.leaving

    @cached_property
    def by_name(self) -> Mapping[str, NodeView]:
        """Member name -> what it is now."""
        return {node.name: node for node in self.every_node}

    @cached_property
    def by_id(self) -> Mapping[str, NodeView]:
        """Node id -> the member that answers to it now."""
        return {node.node_id: node for node in self.every_node if node.node_id}

    @cached_property
    def knowledge(self) -> tuple[Knowledge, ...]:
        """What the members know, each distinct view once."""
        distinct = {id(node.knows): node.knows for node in self.every_node if node.reachable}
        return tuple(distinct.values())

    def node(self, name: str) -> NodeView | None:
        """The member of a name."""
        return self.by_name.get(name)


def observe(target: ClusterTarget, access: Access) -> Observation:
    """What the members of `target` are now. A member that does not answer is part of the answer, not an error."""
    with Connections(access) as connections:
        return observe_through(connections, target)


def observe_through(connections: Connections, target: ClusterTarget) -> Observation:
    """The same, through connections that are already open."""
    leaving = set(target.leaving)
    wanted = wanted_settings(target)
    reading = _Reading()
    views = in_parallel(
        target.every_member,
        lambda member: _observe_node(connections, member, {} if member in leaving else wanted, reading),
    )
    observation = Observation(
        tuple(views[member] for member in target.members), tuple(views[member] for member in target.leaving)
    )
    return _with_keys_of_unclaimed_slots(connections, target, observation)


def observe_node(connections: Connections, member: Member, wanted: Mapping[str, str]) -> NodeView:
    """One member, in one round trip; the `wanted` settings are compared with its live ones."""
    return _observe_node(connections, member, wanted, _Reading())


def wanted_settings(target: ClusterTarget) -> dict[str, str]:
    """What formation keeps by CONFIG SET on every member: the target's live settings, and that replicas take over."""
    return {NO_FAILOVER: "no", **target.live_settings}


def fresh(member: Member) -> NodeView:
    """A member that does not exist yet, as it will be: a primary without slots and keys that knows nobody."""
    node_id = f"of {member.name}"
    itself = KnownNode(node_id, member.announced, "", frozenset({"master"}), "", ())
    return NodeView(
        name=member.name,
        address=member.announced,
        node_id=node_id,
        ip=member.announced.host,
        knows=Knowledge({node_id: itself}),
    )


def read_cluster_nodes(text: str) -> Known:
    """What an answer to CLUSTER NODES says."""
    return _Reading().read(text)


def count_slots(ranges: Ranges) -> int:
    """How many slots there are in `ranges`."""
    return sum(last - first + 1 for first, last in ranges)


def slots_of(ranges: Ranges) -> Iterable[int]:
    """Every slot in `ranges`."""
    return (slot for first, last in ranges for slot in range(first, last + 1))


def unclaimed(observation: Observation) -> tuple[int, ...]:
    """The slots that, by what every reachable member knows, belong to nobody."""
    claimed = bytearray(SLOT_COUNT)
    for knowledge in observation.knowledge:
        for ranges, _ in knowledge.owners:
            for first, last in ranges:
                claimed[first : last + 1] = b"\1" * (last - first + 1)
    return tuple(slot for slot in range(SLOT_COUNT) if not claimed[slot])


class _Reading:
    """Reads CLUSTER NODES of many members; lines and whole answers that were seen before are not read again."""

    def __init__(self) -> None:
        self._nodes: dict[tuple[str, ...], KnownNode] = {}
        self._knowledge: dict[tuple[tuple[str, ...], ...], Knowledge] = {}

    def read(self, text: str) -> Known:
        """`text` is the answer to CLUSTER NODES (redis.io, "CLUSTER NODES": the format of a line)."""
        keys: list[tuple[str, ...]] = []
        unconnected: list[str] = []
        itself: list[str] = []
        for line in text.splitlines():
            # id, address, flags, primary, ping, pong, epoch, link, slots...
            node_id, address, flags, primary, _, _, _, link, *slots = line.split(" ", 8)
            owned = slots[0] if slots else ""
            if "myself" in flags:
                itself = [node_id]
                flags = flags.removeprefix("myself,")
                if "[" in owned:
                    owned, itself = _without_open(owned), [node_id, *_open(owned)]
            elif link != "connected":
                unconnected.append(node_id)
            keys.append((node_id, _announced(address), flags, primary, owned))
        keys.sort()
        whole = tuple(keys)
        knowledge = self._knowledge.get(whole)
        if knowledge is None:
            # Two threads at once may both come here: the first one's stays.
            knowledge = self._knowledge.setdefault(whole, Knowledge({key[0]: self._node(key) for key in keys}))
        return Known(knowledge, itself[0], _open_slots(itself[1:]), frozenset(unconnected), _own_ip(text))

    def _node(self, key: tuple[str, ...]) -> KnownNode:
        node = self._nodes.get(key)
        if node is None:
            node_id, address, flags, primary, owned = key
            host, port, ip = address.split(" ")
            node = KnownNode(
                node_id=node_id,
                address=Address(host, int(port)),
                ip=ip,
                flags=frozenset(flags.split(",")) - {"noflags"},
                primary_id="" if primary == "-" else primary,
                slots=_ranges(owned),
            )
            self._nodes[key] = node
        return node


@dataclass(frozen=True)
class Known:
    """What one answer to CLUSTER NODES says: of all nodes, and of the one that gave it."""

    knowledge: Knowledge
    node_id: str
    open_slots: tuple[OpenSlot, ...]
    unconnected: frozenset[str]
    ip: str


def _announced(address: str) -> str:
    """`ip:port@busport[,hostname]` as `host port ip`; the IP address only where there is no hostname.

    A node that nobody has met does not know its own IP address; those that agree must not differ by that.
    """
    place, _, hostname = address.partition(",")
    place = place.partition("@")[0]
    ip, _, port = place.rpartition(":")
    hostname = hostname.partition(",")[0]
    return f"{hostname} {port} " if hostname else f"{ip} {port} {ip}"


def _own_ip(text: str) -> str:
    start = text.find("myself")
    line = text[text.rfind("\n", 0, start) + 1 : start]
    return line.partition(" ")[2].partition("@")[0].rpartition(":")[0]


def _without_open(owned: str) -> str:
    return " ".join(word for word in owned.split(" ") if not word.startswith("["))


def _open(owned: str) -> list[str]:
    return [word for word in owned.split(" ") if word.startswith("[")]


def _open_slots(words: Iterable[str]) -> tuple[OpenSlot, ...]:
    """`[93-<-id]` is being imported from, `[77->-id]` is migrating to that id."""
    opened = []
    for word in words:
        migrating = "->-" in word
        slot, _, other_id = word.strip("[]").partition("->-" if migrating else "-<-")
        opened.append(OpenSlot(int(slot), migrating, other_id))
    return tuple(opened)


def _ranges(owned: str) -> Ranges:
    ranges = []
    for word in owned.split():
        first, _, last = word.partition("-")
        ranges.append((int(first), int(last or first)))
    return tuple(sorted(ranges))


def _observe_node(connections: Connections, member: Member, wanted: Mapping[str, str], reading: _Reading) -> NodeView:
    names = ["cluster-announce-ip", NO_FAILOVER, SYNC_DELAY, WRITE_REPLICAS, *wanted]
    try:
        answers = connections.ask_all(
            member,
            ("INFO",),
            ("CONFIG GET", *names),
            ("CLUSTER", "INFO"),
            ("CLUSTER", "NODES"),
            ("CLIENT", "INFO"),
        )
        info, config = without_errors(answers[:2])
        if not info.get("cluster_enabled"):
            return NodeView(
                member.name, member.announced, False, "runs without cluster-enabled yes", cluster_enabled=False
            )
        _, _, state_text, nodes_text, client_text = without_errors(answers)
    except redis.RedisError as error:
        return NodeView(member.name, member.announced, reachable=False, error=reason(error))
    found = as_mapping(config)
    state = dict(line.partition(":")[::2] for line in state_text.split("\r\n"))
    known = reading.read(nodes_text)
    itself = known.knowledge.nodes[known.node_id]
    replica = bool(itself.primary_id)
    unproven = found.get(WRITE_REPLICAS) == MORE_THAN_THERE_ARE
    withholds = found.get(SYNC_DELAY) == WITHHOLDING_SECONDS
    # These two are not settings that somebody has changed.
    special = {*([WRITE_REPLICAS] if unproven else []), *([SYNC_DELAY] if withholds else [])}
    differing = live_settings.differing({key: wanted[key] for key in wanted.keys() - special}, found)
    return NodeView(
        name=member.name,
        address=member.announced,
        node_id=known.node_id,
        ip=_reached_at(member, found.get("cluster-announce-ip", ""), known.ip, client_text),
        role=REPLICA if replica else PRIMARY,
        primary_id=itself.primary_id,
        slots=itself.slots,
        open_slots=known.open_slots,
        link_up=replica and info.get("master_link_status") == "up",
        syncing=replica and bool(info.get("master_sync_in_progress")),
        loading=bool(info.get("loading")) or bool(info.get("async_loading")),
        offset=int(info.get("slave_repl_offset" if replica else "master_repl_offset", 0)),
        keys=sum(int(value["keys"]) for value in info.values() if isinstance(value, dict) and "keys" in value),
        memory_used=int(info.get("used_memory", 0)),
        memory_max=int(info.get("maxmemory", 0)),
        dataset=int(info.get("used_memory_dataset", 0)),
        state_ok=state.get("cluster_state") == "ok",
        epoch=int(state.get("cluster_my_epoch", 0)),
        knows=known.knowledge,
        unconnected=known.unconnected,
        stands_down=found.get(NO_FAILOVER) == "yes",
        unproven=unproven,
        withholds=withholds,
        version=str(info.get("valkey_version") or info.get("redis_version", "")),
        differing_settings={
            key: (live_settings.shown(key, found.get(key, "")), live_settings.shown(key, value))
            for key, value in differing.items()
        },
    )


def _reached_at(member: Member, announced_ip: str, own_ip: str, client: str) -> str:
    """Where other nodes reach a member; CLUSTER MEET takes an IP address only.

    In this order: what it announces, what the cluster knows, an announced host that is an IP address, and the address
    at which this connection reached it (CLIENT INFO, `laddr`), which is its own behind a published port, too.
    """
    if announced_ip or own_ip:
        return announced_ip or own_ip
    try:
        return str(ipaddress.ip_address(member.announced.host))
    except ValueError:
        fields = dict(word.partition("=")[::2] for word in client.split())
        return fields.get("laddr", "").rpartition(":")[0].strip("[]")


def _with_keys_of_unclaimed_slots(
    connections: Connections, target: ClusterTarget, observation: Observation
) -> Observation:
    """Who holds keys of slots that nobody claims; only asked when there are both."""
    if not any(knowledge.owners for knowledge in observation.knowledge):
        return observation
    holders = [node for node in observation.every_node if node.keys]
    slots = unclaimed(observation) if holders else ()
    if not slots:
        return observation
    members = {member.name: member for member in target.every_member}

    def count(name: str) -> tuple[int, ...]:
        commands: list[tuple[str | int, ...]] = [("CLUSTER", "COUNTKEYSINSLOT", slot) for slot in slots]
        try:
            counts: list[Any] = without_errors(connections.ask_all(members[name], *commands))
        except redis.RedisError:
            return slots  # it may hold keys of all of them
        return tuple(slot for slot, keys in zip(slots, counts, strict=True) if keys)

    found = in_parallel([node.name for node in holders], count)
    counted = {node.name: replace(node, keys_in_unclaimed=found[node.name]) for node in holders}
    return Observation(
        tuple(counted.get(node.name, node) for node in observation.nodes),
        tuple(counted.get(node.name, node) for node in observation.leaving),
    )
