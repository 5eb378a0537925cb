"""Where a cluster's shards are cut, so that together they have every key once, also while slots move. Pure.

No two nodes can be asked at the same moment. So each primary is asked at a moment of its own, in a known order, for all
of this at once: its offset, its slots, and the slots that are open on it. Its copy is cut at that offset. A slot's keys
are then with whoever says *first*, in this order, that it has the slot:

* If that node is not giving the slot away (not ``migrating``), it had all of its keys at its moment, whatever another
  has got by a later moment. Those that another one imports are copies which the mover has sent ahead, and which may be
  older: they are ignored.
* If it is giving the slot away, it had those keys that had not gone, each as clients had last written it: a node serves
  a key that it has (Redis documentation: "Redis Cluster specification", ASK redirection). The others are at the
  target, provided that the target was asked later: a key arrives there before it is removed here. So a key that is in
  both copies is taken from the owner's, and the target counts for what the owner does not have.
* If a failover has made another node the owner, that one does not know that the slot was open. Then the importing node
  names an owner that is not the present one, and counts for what the present one does not have.

When nobody said that it has a slot, or the target was asked before the owner, or has given the slot away already, all
are asked again, in another order. Not noticed is only a slot that goes from one shard to another, back, and there again
between two of the questions, which are milliseconds apart. And while a slot is moved key by key, what a transaction
wrote in those milliseconds may be there in part; what was acknowledged before is not concerned.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ..formation.cluster.slots import SLOT_COUNT, format_slots
from .errors import SourceError

Move = tuple[str, str]
"""Shards between which a slot moves: from, to."""


class AskAgain(SourceError):
    """What the primaries said does not make a cut: slots have moved while they were asked."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What a primary said at one moment.

    Attributes:
        shard: whose primary it is.
        node_id: by which the cluster knows it.
        replication_id: of the history that the offset is of.
        offset: of its replication stream.
        slots: that it has by its own account.
        migrating: slot -> id of the node that it gives the slot to.
        importing: slot -> id of the node that it gets the slot from.
    """

    shard: str
    node_id: str
    replication_id: str
    offset: int
    slots: frozenset[int]
    migrating: Mapping[int, str] = field(default_factory=dict)
    importing: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Part:
    """What a shard's copy counts for: see :class:`manifest.ShardCopy`."""

    slots: frozenset[int]
    importing: frozenset[int]
    ignored: frozenset[int]


def reading_order(shards: Iterable[str], moves: Iterable[Move]) -> tuple[str, ...] | None:
    """All shards, the source of every move before its target; None when the moves go round in a circle."""
    waiting = {shard: {source for source, target in moves if target == shard != source} for shard in sorted(shards)}
    order: list[str] = []
    while waiting:
        ready = [shard for shard, sources in waiting.items() if sources.isdisjoint(waiting)]
        if not ready:
            return None
        order += ready
        for shard in ready:
            del waiting[shard]
    return tuple(order)


def moves_between(
    before: Sequence[Reading], now: Sequence[Reading], shard_of_node: Mapping[str, str]
) -> frozenset[Move]:
    """Who gives slots to whom: by the slots that are open, and by those that have another owner than before."""
    moves: set[Move] = set()
    for reading in (*before, *now):
        moves |= {(reading.shard, shard_of_node[to]) for to in set(reading.migrating.values()) & shard_of_node.keys()}
        moves |= {(shard_of_node[of], reading.shard) for of in set(reading.importing.values()) & shard_of_node.keys()}
    for old in before:
        for new in now:
            if old.shard != new.shard and (old.slots & new.slots) - _slots_of(now, old.shard):
                moves.add((old.shard, new.shard))
    return frozenset(move for move in moves if move[0] != move[1])


def parts_of(readings: Sequence[Reading], shard_of_node: Mapping[str, str]) -> dict[str, Part]:
    """What each shard's copy counts for when it is cut at the offset that was read; readings in their order.

    ``shard_of_node``: id -> shard, of every node that is known. Raises AskAgain when that is no cut.
    """
    place = {reading.shard: number for number, reading in enumerate(readings)}
    owners: dict[int, Reading] = {}
    unsettled: set[int] = set()
    for reading in readings:
        unsettled |= reading.migrating.keys() | reading.importing.keys() | (owners.keys() & reading.slots)
        owners = dict.fromkeys(reading.slots, reading) | owners
    missing = set(range(SLOT_COUNT)) - owners.keys()
    if missing:
        raise AskAgain(f"slots {format_slots(missing)} were nobody's while the primaries were asked")
    importing: dict[str, set[int]] = {shard: set() for shard in place}
    ignored: dict[str, set[int]] = {shard: set() for shard in place}
    for slot in unsettled:
        owner = owners[slot]
        target = None
        if slot in owner.migrating:
            target = shard_of_node.get(owner.migrating[slot])
            if target is None or place.get(target, -1) <= place[owner.shard]:
                raise AskAgain(f"slot {slot} moves away from {owner.shard}, to a node that is not asked after it")
            _check_still_there(slot, owner, readings[place[target]])
            importing[target].add(slot)
        for other in readings:
            if other is owner or other.shard == target:
                continue
            if slot in other.slots and target is not None:
                raise AskAgain(f"slot {slot} has moved on from {target} to {other.shard}")
            ahead = target is None and other.importing.get(slot) == owner.node_id
            if ahead or slot in other.slots:
                ignored[other.shard].add(slot)
            elif slot in other.importing:
                importing[other.shard].add(slot)
    return {
        reading.shard: Part(
            frozenset(slot for slot in reading.slots if owners[slot] is reading),
            frozenset(importing[reading.shard]),
            frozenset(ignored[reading.shard]),
        )
        for reading in readings
    }


def _check_still_there(slot: int, owner: Reading, target: Reading) -> None:
    """What the owner has given away must not have gone on before the target was asked, nor come back."""
    if slot in target.migrating:
        raise AskAgain(f"slot {slot} moves on from {target.shard} already")
    # One that has taken over from the target does not know that the slot is open, but has what came.
    taken_over = owner.migrating[slot] != target.node_id
    if not taken_over and slot not in target.importing and slot not in target.slots:
        raise AskAgain(
            f"slot {slot} is open on {owner.shard}, which gives it to {target.shard}, and there it is not: unless it "
            f"moves at the moment, end that with CLUSTER SETSLOT {slot} STABLE on {owner.shard}"
        )


def _slots_of(readings: Sequence[Reading], shard: str) -> frozenset[int]:
    return next((reading.slots for reading in readings if reading.shard == shard), frozenset())
