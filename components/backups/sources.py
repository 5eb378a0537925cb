"""Finds out what there is to copy: for each shard its primary, and the node that a copy is best taken from.

Read with what user ``backup`` may do (INFO, CLUSTER NODES; of Sentinels who the primary is), at each member's own word.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import redis

from ..formation.cluster.observation import Known, KnownNode, Ranges, read_cluster_nodes, slots_of
from ..formation.cluster.slots import SLOT_COUNT, format_slots
from ..formation.connection import Connections, in_parallel, reason, without_errors
from ..formation.members import Access, Address, Member
from ..topologies import CLUSTER, topology_of
from .errors import SourceError

THE_SHARD = "redis"
"""What the one shard of a replicated deployment is called."""
_LOOK_AGAIN_SECONDS = 0.2


@dataclass(frozen=True)
class Source:
    """A shard to copy.

    Attributes:
        shard: its name.
        primary: who has its slots.
        copies: whom to copy from, best first: replicas in sync, the primary only when it is alone.
        offset: of the primary's replication stream when it was asked.
    """

    shard: str
    primary: Member
    copies: tuple[Member, ...]
    offset: int


@dataclass(frozen=True)
class Survey:
    """Every shard, and what serves them: ``server`` is ``redis`` or ``valkey``."""

    sources: tuple[Source, ...]
    server: str
    version: str


@dataclass(frozen=True)
class Answer:
    """What one node says of itself."""

    member: Member
    info: Mapping[str, Any]
    nodes: str = ""

    @property
    def is_primary(self) -> bool:
        """By its own account."""
        return bool(self.info["role"] == "master")

    @property
    def offset(self) -> int:
        """Of its replication stream."""
        return int(self.info["master_repl_offset"])


def survey(record: Mapping[str, Any], access: Access, *, primaries_too: bool = False) -> Survey:
    """Look once.

    ``record``: the deployment's topology record. ``primaries_too``: a primary is copied from when it has replicas, but
    none of them is in sync.

    Raises SourceError naming the shard or the slots that cannot be copied now.
    """
    with Connections(access) as connections:
        if topology_of(record) == CLUSTER:
            return _of_cluster(connections, record, primaries_too)
        return _of_replication(connections, record, primaries_too)


def settled_survey(record: Mapping[str, Any], access: Access, seconds: float) -> Survey:
    """The same, waiting so long for a failover or a restart to end. Raises SourceError.

    A replica that does not get in sync in this time is no reason to have no backup: its primary is copied from then.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            return survey(record, access)
        except SourceError:
            time.sleep(_LOOK_AGAIN_SECONDS)
    return survey(record, access, primaries_too=True)


def members_of(record: Mapping[str, Any]) -> list[Member]:
    """The Redis nodes of a record."""
    listed = [*record.get("nodes", ()), *(member for shard in record.get("shards", ()) for member in shard["members"])]
    return [Member.from_dict(each) for each in listed]


# --- replicated ------------------------------------------------------------------------------------------------------


def _of_replication(connections: Connections, record: Mapping[str, Any], primaries_too: bool) -> Survey:
    members = members_of(record)
    answers, silent = _answers(connections, members, with_nodes=False)
    primary = _primary_of(connections, record, [answer for answer in answers if answer.is_primary], silent)
    source = Source(THE_SHARD, primary.member, _copies(primary, answers, primaries_too), primary.offset)
    return Survey((source,), *_server(primary.info))


def primary_of_replication(connections: Connections, record: Mapping[str, Any]) -> Answer:
    """What the primary of a replicated deployment says. Raises SourceError if there is none."""
    answers, silent = _answers(connections, members_of(record), with_nodes=False)
    return _primary_of(connections, record, [answer for answer in answers if answer.is_primary], silent)


def _primary_of(
    connections: Connections, record: Mapping[str, Any], primaries: Sequence[Answer], silent: Sequence[str]
) -> Answer:
    """The one that Sentinels name: a former primary that was cut off says that it is one, too."""
    name = record["sentinel"]["master_name"]
    named: dict[Address, int] = {}
    sentinels = [Member.from_dict(each) for each in record["sentinels"]]

    def ask(sentinel: Member) -> Address | None:
        try:
            found = connections.ask(sentinel, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", name)
        except redis.RedisError:
            return None
        return Address(str(found[0]), int(found[1])) if found else None

    for address in in_parallel(sentinels, ask).values():
        if address is not None:
            named[address] = named.get(address, 0) + 1
    for answer in primaries:
        if named.get(answer.member.announced, 0) > len(sentinels) // 2:
            return answer
    raise SourceError(
        f"no node is the primary that most of the Sentinels of {name} name; "
        + (f"these do not answer: {'; '.join(silent)}" if silent else "a failover may be under way")
    )


# --- cluster ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ClusterLook:
    """What the nodes of a cluster say.

    Attributes:
        answers: of all that do.
        views: what each of these knows.
        silent: the others, with the reason.
        named: announced address -> name of its shard, by the record.
    """

    answers: tuple[Answer, ...]
    views: Mapping[Member, Known]
    silent: tuple[str, ...]
    named: Mapping[Address, str]

    def itself(self, answer: Answer) -> KnownNode:
        """The node that gave the answer, as it knows itself."""
        view = self.views[answer.member]
        return view.knowledge.nodes[view.node_id]

    def shard(self, address: Address) -> str:
        """Of the node there. One that is not in the record has none, and is called by its address."""
        return self.named.get(address) or f"shard-at-{address.host}-{address.port}"

    @property
    def primaries(self) -> list[Answer]:
        """Those that have slots. One that has none yet may hold the first keys that are arriving."""
        return [
            answer
            for answer in self.answers
            if answer.is_primary and (self.itself(answer).slots or self.views[answer.member].open_slots)
        ]

    @property
    def shard_of_node(self) -> dict[str, str]:
        """Id -> name of its shard, of every node that anybody knows; a replica of a stranger is its primary's."""
        known = {node_id: node for view in self.views.values() for node_id, node in view.knowledge.nodes.items()}
        shards = {}
        for node_id, node in known.items():
            leader = known.get(node.primary_id, node) if node.address not in self.named else node
            shards[node_id] = self.shard(leader.address)
        return shards


def look_at_cluster(connections: Connections, record: Mapping[str, Any]) -> ClusterLook:
    """Ask every node once."""
    named = {
        Member.from_dict(member).announced: str(shard["name"])
        for shard in record["shards"]
        for member in shard["members"]
    }
    members = members_of(record)
    answers, silent = _answers(connections, members, with_nodes=True)
    views = {answer.member: read_cluster_nodes(answer.nodes) for answer in answers}
    # A shard that is on its way out is not in the record any more, but the others know where it is.
    announced = {member.announced for member in members}
    known = {node.address for view in views.values() for node in view.knowledge.nodes.values() if node.slots}
    strangers = [Member(f"node at {address}", address, address) for address in sorted(known - announced)]
    more, silent_strangers = _answers(connections, strangers, with_nodes=True)
    views |= {answer.member: read_cluster_nodes(answer.nodes) for answer in more}
    return ClusterLook((*answers, *more), views, (*silent, *silent_strangers), named)


def check_one_primary_each(shards: Iterable[str]) -> None:
    """``shards``: of every primary. Raises SourceError where two are of the same one."""
    doubled = [shard for shard, count in Counter(shards).items() if count > 1]
    if doubled:
        raise SourceError(f"{', '.join(sorted(doubled))}: two nodes of it have slots; a failover may be under way")


def _of_cluster(connections: Connections, record: Mapping[str, Any], primaries_too: bool) -> Survey:
    look = look_at_cluster(connections, record)
    primaries = look.primaries
    _check_coverage([look.itself(answer).slots for answer in primaries], look.silent)
    sources = []
    for answer in primaries:
        itself = look.itself(answer)
        replicas = [other for other in look.answers if look.itself(other).primary_id == itself.node_id]
        copies = _copies(answer, replicas, primaries_too)
        sources.append(Source(look.shard(answer.member.announced), answer.member, copies, answer.offset))
    check_one_primary_each(source.shard for source in sources)
    return Survey(tuple(sorted(sources, key=lambda each: each.shard)), *_server(look.answers[0].info))


def _check_coverage(owned: Sequence[Ranges], silent: Sequence[str]) -> None:
    claims = Counter(slot for ranges in owned for slot in slots_of(ranges))
    missing = [slot for slot in range(SLOT_COUNT) if not claims[slot]]
    if missing:
        why = f"; these do not answer: {'; '.join(silent)}" if silent else ""
        raise SourceError(f"slots {format_slots(missing)} have no primary that answers{why}")
    twice = [slot for slot in range(SLOT_COUNT) if claims[slot] > 1]
    if twice:
        raise SourceError(f"slots {format_slots(twice)} are claimed by two nodes; a failover may be under way")


# --- both ------------------------------------------------------------------------------------------------------------


def _answers(
    connections: Connections, members: Sequence[Member], *, with_nodes: bool
) -> tuple[list[Answer], list[str]]:
    """What the members say, and of those that do not, why."""

    def ask(member: Member) -> Answer | str:
        commands: list[tuple[str | int, ...]] = [("INFO",), *([("CLUSTER", "NODES")] if with_nodes else [])]
        try:
            info, *nodes = without_errors(connections.ask_all(member, *commands))
        except redis.RedisError as error:
            return f"{member.name} ({reason(error)})"
        if info.get("loading"):
            return f"{member.name} (it is loading)"
        return Answer(member, info, str(nodes[0]) if nodes else "")

    found = in_parallel(members, ask)
    answers = [each for member in members if isinstance(each := found[member], Answer)]
    return answers, [each for member in members if isinstance(each := found[member], str)]


def _copies(primary: Answer, answers: Sequence[Answer], primaries_too: bool) -> tuple[Member, ...]:
    """Replicas in sync, the one that has most first; the primary when no replica of it answers.

    Raises SourceError when replicas answer, but none is in sync.
    """
    in_sync = [
        answer
        for answer in answers
        if not answer.is_primary
        and answer.info.get("master_link_status") == "up"
        and answer.info.get("master_replid") == primary.info.get("master_replid")
        and not int(answer.info.get("master_sync_in_progress", 0))
    ]
    if in_sync:
        return tuple(answer.member for answer in sorted(in_sync, key=lambda each: -each.offset))
    if not primaries_too and any(not answer.is_primary for answer in answers):
        raise SourceError(f"{primary.member.name}: none of its replicas is in sync")
    return (primary.member,)


def _server(info: Mapping[str, Any]) -> tuple[str, str]:
    name = str(info.get("server_name", "redis"))
    return name, str(info.get("valkey_version" if name == "valkey" else "redis_version", ""))
