"""Moves slots with their keys from shard to shard, and settles what an interrupted move has left open."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from typing import Any

import redis

from ..connection import Connections, reason
from ..convergence import Progress
from ..errors import FormationError, NodeUnreachable
from ..members import Member
from .atomic_migration import AtomicMover
from .key_mover import KeyMover, Limits, Tally, described
from .observation import PRIMARY, NodeView, Observation, observe_node, observe_through
from .slots import SlotMove
from .target import ClusterTarget
from .wire import PATIENCE_SECONDS, Wire, command

__all__ = ["Limits", "SlotMove", "move_slots", "settle"]

_PAIRS_AT_ONCE = 32
_PROGRESS_SECONDS = 1.0
_SERVING_SECONDS = 20.0
_POLL_SECONDS = 0.02

_Pair = tuple[Member, Member]
_Work = Callable[[], None]


def move_slots(
    connections: Connections,
    target: ClusterTarget,
    observation: Observation,
    moves: Sequence[SlotMove],
    *,
    progress: Progress,
    limits: Limits = Limits(),  # noqa: B008 - immutable
) -> None:
    """Moves slots between primaries, for all pairs of them at once; returns when every one has its new owner.

    The members of ``moves`` are primaries, named as in ``target``. Clients go on; no key and no acknowledged write is
    lost, not even when this program or a node dies meanwhile: what is then left is for `settle`. ``progress`` gets
    about a line per second. Raises FormationError naming the node that refused or does not answer.
    """
    pairs: defaultdict[_Pair, list[int]] = defaultdict(list)
    members = {member.name: member for member in target.every_member}
    for move in moves:
        pairs[members[move.source], members[move.target]].extend(move.slots)
    tally = Tally(sum(map(len, pairs.values())))
    turns = {member: threading.Lock() for pair in pairs for member in pair}
    with ExitStack() as stack:
        wires = stack.enter_context(
            Connections(connections.access, answer_timeout_seconds=PATIENCE_SECONDS, decode=False)
        )
        views = {member: _primary(connections, member) for pair in pairs for member in pair}
        movers = {
            pair: stack.enter_context(AtomicMover(wires, *pair, target_id=views[pair[1]].node_id, tally=tally))
            for pair in pairs
        }
        for mover in movers.values():
            mover.cancel()
        for (source, _), slots in pairs.items():
            _check_owner(_primary(connections, source), slots)

        def work(pair: _Pair) -> _Work:
            def move() -> None:
                if movers[pair].possible:
                    movers[pair].move(pairs[pair])
                    return
                ids = (views[pair[0]].node_id, views[pair[1]].node_id)
                taken = [turns[member] for member in sorted(pair, key=lambda member: member.name)]
                with KeyMover(wires, *pair, ids=ids, limits=limits, tally=tally, turns=taken) as mover:
                    mover.move(pairs[pair])

            return move

        _all_at_once([work(pair) for pair in pairs], tally, progress)


def settle(
    connections: Connections,
    target: ClusterTarget,
    observation: Observation,
    slots: Iterable[int],
    *,
    progress: Progress,
    limits: Limits = Limits(),  # noqa: B008 - immutable
) -> None:
    """Finishes or rolls back the moves of ``slots`` that were interrupted: by the end of the mover, by a failover.

    What happens to a slot is decided by which side it is open on:

    * migrating on its owner: part of its keys, or all, are at the target. Finished; if the target has failed over, with
      its successor, which has those keys as a replica had received them.
    * only imported, from its owner: the owner still has all keys. Rolled back: the copies are removed.
    * only imported, and its owner has failed over since: it may have been migrating, which a replica does not learn. If
      all keys are on the new owner, rolled back. Otherwise finished: no key is given up, and one that is on both
      sides counts as the new owner has it, since that is what clients have seen from then on.
    * without an owner: the importing node becomes it.

    Raises FormationError naming the node that is needed, and does not answer or refuses.
    """
    now = _primaries_known_to_each_other(connections, target)
    members = {member.name: member for member in target.every_member}
    slots = sorted(set(slots))
    with Connections(connections.access, answer_timeout_seconds=PATIENCE_SECONDS, decode=False) as wires:
        settlements = [_Settlement(wires, target, members, now, slot, limits) for slot in slots]
        told = {name for settlement in settlements for name in settlement.tell_who_owns_it()}
        for name in sorted(told):
            _wait_until_serving(wires, members[name])
        for settlement in settlements:
            settlement.settle()
    if slots:
        progress(f"settled slots {described(slots)}, which an interrupted move had left open")


def _primary(connections: Connections, member: Member) -> NodeView:
    try:
        view = observe_node(connections, member, {})
    except redis.RedisError as error:
        raise NodeUnreachable(f"{member.name}: {reason(error)}") from error
    if not view.reachable:
        raise NodeUnreachable(f"{member.name}: {view.error}")
    if view.role != PRIMARY:
        raise FormationError(f"{member.name}: is no primary any more")
    return view


def _check_owner(source: NodeView, slots: Collection[int]) -> None:
    """The source must be the one who has all keys of the slots: the target's are removed before anything is copied."""
    missing = [slot for slot in slots if not _has(source, slot)]
    if missing:
        raise FormationError(f"{source.name}: does not have slots {described(missing)} any more")
    migrating = {opened.slot for opened in source.open_slots if opened.migrating} & set(slots)
    if migrating:
        raise FormationError(f"{source.name}: slots {described(migrating)} are open from a move that was interrupted")


def _primaries_known_to_each_other(connections: Connections, target: ClusterTarget) -> Observation:
    """What is observed once primaries know each other as such: just after a failover they refuse SETSLOT until they do.

    One that does not learn it in time refuses it then.
    """
    deadline = time.monotonic() + _SERVING_SECONDS
    while True:
        now = observe_through(connections, target)
        # A member that has left already is alone, and known to nobody.
        primaries = [view for view in now.every_node if view.reachable and view.role == PRIMARY and not view.alone]
        ids = {view.node_id for view in primaries}
        known = [{node_id for node_id, node in view.knows.nodes.items() if not node.primary_id} for view in primaries]
        if all(ids <= others for others in known) or time.monotonic() > deadline:
            return now
        time.sleep(_POLL_SECONDS)


def _wait_until_serving(wires: Connections, member: Member) -> None:
    """Until a node that has just been told who has a slot serves its own slots again."""
    wire = Wire(wires, member)
    deadline = time.monotonic() + _SERVING_SECONDS
    try:
        while b"cluster_state:ok" not in wire.ask(command("CLUSTER", "INFO"))[0]:
            if time.monotonic() > deadline:
                raise FormationError(f"{member.name}: takes the cluster for down")
            time.sleep(_POLL_SECONDS)
    finally:
        wire.close()


def _has(view: NodeView, slot: int) -> bool:
    return any(first <= slot <= last for first, last in view.slots)


def _all_at_once(works: Sequence[_Work], tally: Tally, progress: Progress) -> None:
    """Does all the work, each in a thread of its own. When one fails, or this is interrupted, the others stop soon."""
    if not works:
        return
    with ThreadPoolExecutor(max_workers=min(len(works), _PAIRS_AT_ONCE), thread_name_prefix="slots") as pool:
        futures: list[Future[None]] = [pool.submit(work) for work in works]
        try:
            pending: Collection[Future[None]] = futures
            while pending:
                done, pending = wait(pending, timeout=_PROGRESS_SECONDS, return_when=FIRST_EXCEPTION)
                if any(future.exception() for future in done):
                    break
                progress(str(tally))
        finally:
            tally.stopped.set()
    for future in futures:
        future.result()


class _Settlement:
    """What is known of one slot, and what is done about it."""

    def __init__(
        self,
        wires: Connections,
        target: ClusterTarget,
        members: dict[str, Member],
        now: Observation,
        slot: int,
        limits: Limits,
    ) -> None:
        self._wires = wires
        self._target = target
        self._members = members
        self._now = now
        self._slot = slot
        self._limits = limits
        self._primaries = [view for view in now.every_node if view.reachable and view.role == PRIMARY]
        self._open = {
            view.name: opened for view in self._primaries for opened in view.open_slots if opened.slot == slot
        }

    def tell_who_owns_it(self) -> list[str]:
        """Tells the importing nodes, which do not learn it from others; returns which ones have been told."""
        owner = self._owner()
        importing = [
            view
            for view in self._primaries
            if owner is not None
            and view is not owner
            and view.name in self._open
            and not self._open[view.name].migrating
        ]
        for view in importing:
            assert owner is not None
            self._ask(view, command("CLUSTER", "SETSLOT", self._slot, "NODE", owner.node_id))
        return [view.name for view in importing]

    def _owner(self) -> NodeView | None:
        # Two may claim it for the moment in which one has not heard of the other.
        owners = [view for view in self._primaries if _has(view, self._slot)]
        return max(owners, key=lambda view: view.epoch, default=None)

    def settle(self) -> None:
        """Finishes the move of the slot, or rolls it back."""
        owner = self._owner()
        if owner is None:
            self._claim()
            return
        opened = self._open.pop(owner.name, None)
        if opened is not None and opened.migrating:
            self._finish(owner, self._destination(opened.other_id, owner))
        elif opened is not None:
            self._stable(owner)
        for view in self._primaries:
            if view.name in self._open:
                self._close(view, owner)

    def _close(self, view: NodeView, owner: NodeView) -> None:
        """Closes the slot on a node that does not own it."""
        opened = self._open[view.name]
        if not opened.migrating:
            held = self._keys(view)
            if held and opened.other_id != owner.node_id and not held <= self._keys(owner):
                self._finish(owner, view)
                return
            with self._mover(owner, view) as mover:
                mover.discard([self._slot])
        self._stable(view)

    def _claim(self) -> None:
        importing = [view for view in self._primaries if view.name in self._open]
        if not importing:
            raise FormationError(f"slot {self._slot}: no node that has it answers")
        claimant = max(importing, key=lambda view: len(self._keys(view)))
        self._ask(claimant, command("CLUSTER", "SETSLOT", self._slot, "NODE", claimant.node_id))
        self._open.pop(claimant.name)

    def _finish(self, owner: NodeView, view: NodeView) -> None:
        self._ask(view, command("CLUSTER", "SETSLOT", self._slot, "IMPORTING", owner.node_id))
        with self._mover(owner, view) as mover:
            mover.finish([self._slot])
        self._open.pop(view.name, None)

    def _destination(self, node_id: str, owner: NodeView) -> NodeView:
        """Where the slot was going: the node of that id, or who has taken over from it."""
        for view in self._primaries:
            if view.node_id == node_id:
                return view
        shard = self._shard_of(node_id)
        heirs = [view for view in self._primaries if view.name in shard and view is not owner]
        heirs = heirs or [view for view in self._primaries if view is not owner and self._keys(view)]
        if not heirs:
            raise FormationError(
                f"{self._name_of(node_id)}: slot {self._slot} was moving to it from {owner.name}, and neither it nor "
                "a successor answers as a primary"
            )
        return heirs[0]

    def _shard_of(self, node_id: str) -> set[str]:
        name = self._name_of(node_id)
        shards = ({member.name for member in shard.members} for shard in self._target.shards)
        return next((shard for shard in shards if name in shard), set())

    def _name_of(self, node_id: str) -> str:
        """The member that has, or had, this id: a node that is down does not tell, but the others know its address."""
        addresses = {member.announced: member.name for member in self._members.values()}
        for knowledge in self._now.knowledge:
            node = knowledge.nodes.get(node_id)
            if node is not None and node.address in addresses:
                return addresses[node.address]
        return node_id

    def _mover(self, owner: NodeView, view: NodeView) -> KeyMover:
        return KeyMover(
            self._wires,
            self._members[owner.name],
            self._members[view.name],
            ids=(owner.node_id, view.node_id),
            limits=self._limits,
            tally=Tally(1),
        )

    def _stable(self, view: NodeView) -> None:
        self._ask(view, command("CLUSTER", "SETSLOT", self._slot, "STABLE"))

    def _keys(self, view: NodeView) -> frozenset[bytes]:
        (count,) = self._ask(view, command("CLUSTER", "COUNTKEYSINSLOT", self._slot))
        (keys,) = self._ask(view, command("CLUSTER", "GETKEYSINSLOT", self._slot, count))
        return frozenset(keys)

    def _ask(self, view: NodeView, words: bytes) -> list[Any]:
        wire = Wire(self._wires, self._members[view.name])
        try:
            return wire.ask(words)
        finally:
            wire.close()
