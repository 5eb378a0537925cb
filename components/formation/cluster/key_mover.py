"""Moves slots between two primaries with MIGRATE, for servers without atomic slot migration.

Redis's own way (documentation of CLUSTER SETSLOT) opens a slot on both sides and then moves key after key. For as long
as that takes, commands with several keys of the slot are refused (TRYAGAIN), which redis-py's transactions do not
absorb; a failover of the source makes it forget that the slot is open, and keys that have gone are missed; and a key
whose only copy just arrived at a target that fails is lost. So here a slot is moved as a whole:

1. The target is told to import it (CLUSTER SETSLOT IMPORTING). The source goes on as if nothing was.
2. The source's keys are watched (WATCH) and copied (MIGRATE COPY), and the target's replicas have received them (WAIT).
3. In one transaction, that only happens if none of the keys has changed (WATCH) and no key was added, the source
   is told that the slot goes to the target (SETSLOT MIGRATING) and removes its copies. From here on the source sends
   clients to the target (ASK), one moment it has all keys, the next it has none.
4. The target is told that it is the owner (SETSLOT NODE), and tells every node at once (PONG); then the source is told,
   too. In this order: so somebody always serves the slot.

A slot that is written to so often that step 3 does not succeed, or that has too many keys, is moved in the usual way.
Where it is interrupted, `slot_migration.settle` finds what to do from which side the slot is open on.
"""

from __future__ import annotations

import contextlib
import secrets
import threading
import time
from collections import deque
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from ..connection import Connections, reason
from ..errors import FormationError
from ..members import NO_PORT, Member
from .slots import SLOT_COUNT, format_slots, slot_of
from .wire import PATIENCE_SECONDS, Keys, Wire, command


@dataclass(frozen=True)
class Limits:
    """How gently slots are moved.

    Args:
        blocked_milliseconds: for how long a batch of keys should keep a node from serving its clients; what is sent at
            once is adapted to it. A key that takes longer by itself is moved alone.
        open_slots: how many slots of a pair of nodes are under way at a time; an interruption leaves no more.
        keys_at_once: a slot with more keys is moved part by part.
        attempts: how often a slot that is written to meanwhile is tried to be moved as a whole.
    """

    blocked_milliseconds: float = 20.0
    open_slots: int = 64
    keys_at_once: int = 20_000
    attempts: int = 6

    def __post_init__(self) -> None:
        if self.blocked_milliseconds <= 0 or min(self.open_slots, self.keys_at_once, self.attempts) < 1:
            raise ValueError("limits must be positive")


class Tally:
    """Counts what has been moved; several movers add to it. `stopped`: they are to end after what they are at."""

    def __init__(self, slots: int) -> None:
        self.stopped = threading.Event()
        self._all_slots = slots
        self._slots = self._keys = self._bytes = 0
        self._began = time.monotonic()
        self._lock = threading.Lock()

    def add(self, *, slots: int = 0, keys: int = 0, size: int = 0) -> None:
        """Adds what has been moved."""
        with self._lock:
            self._slots += slots
            self._keys += keys
            self._bytes += size

    def __str__(self) -> str:
        seconds = max(time.monotonic() - self._began, 0.001)
        return (
            f"{self._slots} of {self._all_slots} slots moved, {self._keys} keys, {self._bytes / 1024**2:.1f} MiB "
            f"({self._keys / seconds:.0f} keys/s)"
        )


# Bytes of all keys, then place and bytes of each big one. One key in so many is asked for its size, and all of them if
# that one is big; MEMORY USAGE of a key that has just expired is nil.
_SIZES = """
local step, most = tonumber(ARGV[1]), tonumber(ARGV[2])
local whole, count, big = 0, 0, {}
local place = 1
while place <= #KEYS do
  local size = redis.call('MEMORY', 'USAGE', KEYS[place]) or 0
  if size > most and step > 1 then
    step, place, whole, count, big = 1, 0, 0, 0, {}
  else
    whole, count = whole + size, count + 1
    if size > most then big[#big + 1] = place big[#big + 1] = size end
  end
  place = place + step
end
return {math.floor(whole / count * #KEYS), big}
"""
# 0: a key was added, nothing is done. 1: the slot has gone. 2: some keys are left, the slot is open.
_RELEASE = """
if redis.call('CLUSTER', 'COUNTKEYSINSLOT', ARGV[1]) ~= #KEYS then return 0 end
redis.call('CLUSTER', 'SETSLOT', ARGV[1], 'MIGRATING', ARGV[2])
for first = 1, #KEYS, 1000 do
  local answer = redis.pcall('UNLINK', unpack(KEYS, first, math.min(first + 999, #KEYS)))
  if type(answer) == 'table' and answer.err then return 2 end
end
return 1
"""
# WAIT waits for what its own connection has written: something that leaves nothing behind.
_TOUCH = "redis.call('SET', KEYS[1], '') return redis.call('DEL', KEYS[1])"

_BIG_BYTES = 64 * 1024
_ONE_MEASURED_IN = 8
_FEWEST_BYTES, _FIRST_BYTES, _MOST_BYTES = 32 * 1024, 64 * 1024, 32 * 1024**2
_KEYS_MEASURED = 1000
_REPLICATED_SECONDS = 30.0
_SLOWEST_BYTES_PER_SECOND = 10 * 1024**2
_MIGRATE_PATIENCE_SECONDS = 15.0


@dataclass(eq=False)
class _Slot:
    """A slot under way: its keys, how many bytes they have, and the big ones among them (place -> bytes)."""

    number: int
    attempts: int = 0
    keys: Keys = field(default_factory=lambda: Keys(()))
    size: int = 0
    big: dict[int, int] = field(default_factory=dict)


@dataclass(frozen=True)
class _Chunk:
    """Keys that are sent by one MIGRATE."""

    keys: Keys
    size: int


class KeyMover:
    """Moves slots from one primary to another, and to be used by one thread.

    ``turns``: taken, in order, while keys are sent. A node that sends waits for the one that receives and serves nobody
    meanwhile: with a lock for each node, it waits for what it sends itself, and not for what others send.

    Raises FormationError naming the node that refused or did not answer; what the target then imports and the source
    still has all of is closed again, other slots are as the steps above have left them.
    """

    def __init__(
        self,
        connections: Connections,
        source: Member,
        target: Member,
        *,
        ids: tuple[str, str],
        limits: Limits,
        tally: Tally,
        turns: Sequence[threading.Lock] = (),
    ) -> None:
        self._connections = connections
        self._turns = turns
        self._source_id, self._target_id = ids
        self._limits = limits
        self._tally = tally
        self._bytes_at_once = float(_FIRST_BYTES)
        self._imported: set[int] = set()
        self._wires: list[Wire] = []
        try:
            self._source = self._wire(source)
            self._target = self._wire(target)
            self._lanes = [self._wire(source)]
        except BaseException:
            self.close()
            raise
        self._replicas = self._online_replicas()

    def close(self) -> None:
        """Ends all connections."""
        for wire in self._wires:
            wire.close()

    def __enter__(self) -> KeyMover:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def move(self, slots: Collection[int]) -> None:
        """Moves slots that the source owns, until done or until the tally says that everybody stops."""
        waiting = deque(_Slot(slot) for slot in slots)
        try:
            while waiting and not self._tally.stopped.is_set():
                batch = [waiting.popleft() for _ in range(min(self._limits.open_slots, len(waiting)))]
                self._import(batch)
                missed = self._move_whole([slot for slot in batch if self._may_go_whole(slot)])
                waiting.extendleft(missed)
                self.finish([slot.number for slot in batch if not self._may_go_whole(slot) and slot not in missed])
        finally:
            self._abandon()

    def finish(self, slots: Sequence[int]) -> None:
        """Moves the keys that are left on the source part by part, then gives the slots away.

        The source's copy of a key counts: it has served it for as long as it has had it. For slots that the target
        imports; also for those that are migrating already.
        """
        for slot in slots:
            self._imported.discard(slot)
            self._source.ask(command("CLUSTER", "SETSLOT", slot, "MIGRATING", self._target_id))
            while True:
                keys = Keys(self._source.ask(command("CLUSTER", "GETKEYSINSLOT", slot, self._limits.keys_at_once))[0])
                if not keys:
                    break
                part = _Slot(slot, keys=keys)
                self._measure([part])
                self._send([(0, chunk) for chunk in self._chunks(part)], copy=False)
                self._tally.add(keys=len(keys), size=part.size)
            self._wait_for_replicas(slot)
            self.give_away([slot])

    def give_away(self, slots: Sequence[int]) -> None:
        """SETSLOT NODE on both sides, for slots of which the source has no key any more."""
        for slot in slots:
            self._target.send(self._belongs(slot))
        self._taken(slots)

    def _taken(self, slots: Sequence[int]) -> None:
        """The target has been told that it has the slots; when it has answered, the source is."""
        for answer in self._target.receive():
            self._target.refused(answer)
        self._source.ask(*(self._belongs(slot) for slot in slots))
        self._tally.add(slots=len(slots))

    def _belongs(self, slot: int) -> bytes:
        return command("CLUSTER", "SETSLOT", slot, "NODE", self._target_id)

    def discard(self, slots: Iterable[int]) -> None:
        """Removes the target's keys of slots that it imports. Only for what is on the source, which still serves it."""
        for slot in slots:
            while True:
                keys: list[bytes] = self._target.ask(command("CLUSTER", "GETKEYSINSLOT", slot, _KEYS_MEASURED))[0]
                if not keys:
                    break
                removals = [command("UNLINK", keys=Keys([key])) for key in keys]
                self._target.ask(*(each for removal in removals for each in (command("ASKING"), removal)))

    def _import(self, batch: Sequence[_Slot]) -> None:
        """Opens slots on the target. What it has of them is left from an earlier attempt: the source has it all."""
        count = len(batch)
        self._imported.update(slot.number for slot in batch)
        answers = self._target.ask(
            *(command("CLUSTER", "SETSLOT", slot.number, "IMPORTING", self._source_id) for slot in batch),
            *(command("CLUSTER", "COUNTKEYSINSLOT", slot.number) for slot in batch),
        )
        self.discard(slot.number for slot, keys in zip(batch, answers[count:], strict=True) if keys)

    def _abandon(self) -> None:
        """Closes what the target imports and the source still has all of, if the target can be asked.

        A node does not learn by gossip who has a slot that it imports: should the source fail over, it would take the
        slot for lost, and serve nobody (Redis source, cluster_legacy.c: clusterUpdateSlotsConfigWith).
        """
        if not self._imported:
            return
        slots, self._imported = self._imported, set()
        with contextlib.suppress(FormationError):
            self._target = self._wire(self._target.member)  # the other one may have answers that nobody waited for
            try:
                self.discard(slots)
            finally:
                self._target.ask(*(command("CLUSTER", "SETSLOT", slot, "STABLE") for slot in slots))

    def _may_go_whole(self, slot: _Slot) -> bool:
        return slot.attempts < self._limits.attempts and len(slot.keys) <= self._limits.keys_at_once

    def _move_whole(self, slots: Sequence[_Slot]) -> list[_Slot]:
        """Returns the slots that changed meanwhile; they are imported by the target, and otherwise untouched."""
        most = self._limits.keys_at_once
        listed = self._source.ask(*(command("CLUSTER", "GETKEYSINSLOT", slot.number, most + 1) for slot in slots))
        for slot, names in zip(slots, listed, strict=True):
            slot.keys, slot.size, slot.big = Keys(names), 0, {}
        slots = [slot for slot in slots if self._may_go_whole(slot)]
        self._lanes += [self._wire(self._source.member) for _ in range(len(slots) - len(self._lanes))]
        self._measure(slots, watch=True)
        self._send([(place, chunk) for place, slot in enumerate(slots) for chunk in self._chunks(slot)], copy=True)
        if any(slot.keys for slot in slots):
            self._wait_for_replicas(slots[0].number)
        outcomes = self._release(slots)
        gone = [slot for slot in slots if outcomes[slot.number] == 1]
        self._taken([slot.number for slot in gone])
        self._tally.add(keys=sum(len(slot.keys) for slot in gone), size=sum(slot.size for slot in gone))
        self.finish([slot.number for slot in slots if outcomes[slot.number] == 2])
        missed = [slot for slot in slots if outcomes[slot.number] == 0]
        for slot in missed:
            slot.attempts += 1
        return missed

    def _release(self, slots: Sequence[_Slot]) -> dict[int, int]:
        """Step 3 for every slot: what the script answered, 0 also for a change that WATCH has seen.

        The target is told of each slot at once: until then, clients need ASK to get there. (redis-py's cannot follow
        it to a node that they have not met by MOVED: the shorter, the better.)
        """
        self._imported.difference_update(slot.number for slot in slots)
        for slot, lane in zip(slots, self._lanes, strict=False):
            release = command("EVAL", _RELEASE, len(slot.keys), keys=slot.keys, then=(slot.number, self._target_id))
            lane.send(command("MULTI"), release, command("EXEC"))
        outcomes = {}
        for slot, lane in zip(slots, self._lanes, strict=False):
            *queued, executed = lane.receive()
            # A key that has expired is not there any more: queueing is refused with ASK or the like.
            changed = executed is None or any(isinstance(answer, Exception) for answer in queued)
            outcomes[slot.number] = 0 if changed else int(lane.refused(lane.refused(executed)[0]))
            if outcomes[slot.number] == 1:
                self._target.send(self._belongs(slot.number))
            elif outcomes[slot.number] == 0:
                self._imported.add(slot.number)
        return outcomes

    def _measure(self, slots: Sequence[_Slot], *, watch: bool = False) -> None:
        """Asks how many bytes the keys of each slot take, on the slot's own lane, which watches them from then on."""
        parts = [
            (slot, lane, start)
            for slot, lane in zip(slots, self._lanes, strict=False)
            for start in range(0, len(slot.keys), _KEYS_MEASURED)
        ]
        for wave in _waves(parts, lambda part: min(len(part[0].keys) - part[2], _KEYS_MEASURED), 2 * _KEYS_MEASURED):
            for slot, lane, start in wave:
                if watch and not start:
                    lane.send(command("WATCH", keys=slot.keys))
                few = len(slot.keys) <= _KEYS_MEASURED
                keys = slot.keys if few else Keys(slot.keys[start : start + _KEYS_MEASURED])
                lane.send(command("EVAL", _SIZES, len(keys), keys=keys, then=(_ONE_MEASURED_IN, _BIG_BYTES)))
            for slot, lane, start in wave:
                if watch and not start:
                    lane.refused(lane.receive(count=1)[0])
                whole, big = lane.refused(lane.receive(count=1)[0])
                slot.size += whole
                slot.big.update({start + place - 1: size for place, size in zip(big[::2], big[1::2], strict=True)})

    def _chunks(self, slot: _Slot) -> list[_Chunk]:
        """Cuts a slot's keys into what is sent at once: by bytes, big keys alone."""
        chunks = [_Chunk(Keys([slot.keys[place]]), size) for place, size in slot.big.items()]
        small = slot.keys
        if slot.big:
            small = Keys([key for place, key in enumerate(slot.keys) if place not in slot.big])
        size = slot.size - sum(slot.big.values())
        pieces = max(1, -int(-size // self._bytes_at_once))
        if pieces == 1:
            return [*chunks, _Chunk(small, size)] if small else chunks
        length = -(-len(small) // pieces)
        return chunks + [
            _Chunk(Keys(small[start : start + length]), size // pieces) for start in range(0, len(small), length)
        ]

    def _send(self, chunks: Sequence[tuple[int, _Chunk]], *, copy: bool) -> None:
        """Sends chunks, each on the lane of that place, so many at once as do not block a node for too long."""
        to, access = self._target.member.announced, self._connections.access
        for wave in _waves(chunks, lambda each: each[1].size, lambda: self._bytes_at_once):
            size = sum(chunk.size for _, chunk in wave)
            patience = _MIGRATE_PATIENCE_SECONDS + size / _SLOWEST_BYTES_PER_SECOND
            options = (*(("COPY",) if copy else ()), "REPLACE", "AUTH2", access.username, access.password, "KEYS")
            with contextlib.ExitStack() as stack:
                for turn in self._turns:
                    stack.enter_context(turn)
                began = time.monotonic()
                for place, chunk in wave:
                    head = ("MIGRATE", to.host, to.port, "", 0, round(patience * 1000), *options)
                    self._lanes[place].send(command(*head, keys=chunk.keys))
                answers = [
                    answer for place, _ in wave for answer in self._lanes[place].receive(PATIENCE_SECONDS + patience)
                ]
                seconds = time.monotonic() - began
            for answer in answers:
                if isinstance(answer, Exception):
                    names = self._source.member.name, self._target.member.name
                    raise FormationError(f"{names[0]}: its keys do not get to {names[1]}: {reason(answer)}") from answer
            self._adapt(size, seconds)

    def _adapt(self, size: int, seconds: float) -> None:
        """Learns from how long it took how much may be sent at once."""
        ratio = self._limits.blocked_milliseconds / 1000 / max(seconds, 0.0001)
        if ratio < 1 or size > self._bytes_at_once / 2:
            wanted = self._bytes_at_once * min(max(ratio, 0.8), 1.2)
            self._bytes_at_once = min(max(wanted, _FEWEST_BYTES), _MOST_BYTES)

    def _wait_for_replicas(self, slot: int) -> None:
        """Until the target's replicas have received all that the target has; a failover then loses none of it."""
        deadline = time.monotonic() + _REPLICATED_SECONDS
        while self._replicas:
            key = f"{{{_tags()[slot]}}}formation:{secrets.token_hex(8)}"
            received = self._target.ask(
                command("ASKING"), command("EVAL", _TOUCH, 1, key), command("WAIT", self._replicas, 500)
            )[-1]
            if received >= self._replicas:
                return
            self._replicas = self._online_replicas()
            if time.monotonic() > deadline:
                if received:
                    return
                raise FormationError(
                    f"{self._target.member.name}: no replica received its new keys within {_REPLICATED_SECONDS:.0f} s"
                )

    def _online_replicas(self) -> int:
        text: bytes = self._target.ask(command("INFO", "replication"))[0]
        return text.count(b",state=online,") - text.count(b",port=%d,state=online," % NO_PORT)

    def _wire(self, member: Member) -> Wire:
        wire = Wire(self._connections, member)
        self._wires.append(wire)
        return wire


def _waves(items: Sequence[Any], weight: Any, most: Any) -> Iterable[list[Any]]:
    """Groups of items, in order, that weigh no more than ``most`` together, or are one item."""
    wave: list[Any] = []
    weighs = 0
    for item in items:
        if wave and weighs + weight(item) > (most() if callable(most) else most):
            yield wave
            wave, weighs = [], 0
        wave.append(item)
        weighs += weight(item)
    if wave:
        yield wave


@cache
def _tags() -> list[int]:
    """For every slot a number that, as a hash tag, falls into it."""
    tags: dict[int, int] = {}
    number = 0
    while len(tags) < SLOT_COUNT:
        tags.setdefault(slot_of(str(number)), number)
        number += 1
    return [tags[slot] for slot in range(SLOT_COUNT)]


def described(slots: Collection[int]) -> str:
    """Slots, for a message; at most the first few ranges."""
    text = format_slots(slots)
    return text if len(text) <= 80 else f"{text[:80].rpartition(',')[0]} and more"
