"""Decides what to do next: pure functions from the target and what was observed to the smallest safe change.

Rules (Redis documentation, "Redis Cluster specification"; Redis source, cluster_legacy.c):
* Which slots a node has is what the cluster says. A slot is given to a node without moving it only when no node claims
  it and every member could be asked.
* Slots whose owner is down are waited for: its replica takes over, or it comes back.
* A node leaves only without slots and without keys of its own; what is forgotten has no slots.
* Nothing is changed while a failover is under way, or while nodes contradict each other about who has which slot.
* Nodes that know others than this deployment's members are another cluster's: they are never met.

The cost grows with the number of members, not with its square, as long as they agree on what they know.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

from ..steps import ChangeLiveSettings, Plan, Step
from .agreement import disagreement, unfinished
from .observation import PRIMARY, REPLICA, NodeView, Observation, fresh, unclaimed
from .picture import Picture, contradictions, not_of_this_cluster, owners_down, several_clusters, silent_members
from .slots import fewest_moves, wanted_counts
from .steps import (
    RELEASING,
    Forget,
    HandOver,
    Meet,
    MoveSlots,
    Release,
    Replicate,
    Reset,
    SetEpoch,
    SettleSlots,
    TakeOver,
    TakeSlots,
    in_mebibytes,
    slots_in_words,
)
from .target import ClusterTarget, Shard

# With more to meet, each node meets so many, and gossip introduces the others within a second.
MEETINGS_AT_MOST = 64


def plan(target: ClusterTarget, observation: Observation) -> Plan:
    """The changes that bring `observation` to `target`, or why none may be made."""
    picture = Picture(target, observation)
    refusals = [*not_of_this_cluster(picture), *several_clusters(picture)]
    if refusals:
        return Plan(refusals=tuple(refusals))
    unsettled = [*contradictions(picture), *owners_down(picture)]
    if unsettled:
        return Plan(waits=tuple(dict.fromkeys([*silent_members(picture), *unsettled])))
    if not picture.owners and not picture.everybody_answers:
        return Plan(waits=(*silent_members(picture), "no cluster yet: it begins when all members can be asked"))
    return _Planning(picture).plan()


def plan_for_empty_deployment(target: ClusterTarget) -> Plan:
    """The plan for nodes that do not exist yet: all of them will have just started, and empty."""
    return plan(replace(target, leaving=()), Observation(tuple(fresh(member) for member in target.members)))


# --- the steps -------------------------------------------------------------------------------------------------------


@dataclass
class _Planning:
    """One plan in the making."""

    picture: Picture
    stages: list[list[Step]] = field(default_factory=list)
    waits: list[str] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    #: shard name -> its primary, now or as soon as the steps are done
    primaries: dict[str, NodeView] = field(default_factory=dict)
    #: node name -> slots, as they are when the earlier stages are done
    owned: dict[str, tuple[int, ...]] = field(default_factory=dict)

    def plan(self) -> Plan:
        picture = self.picture
        self.waits += silent_members(picture)
        self.owned = {
            picture.by_id[node_id].name: slots for node_id, slots in picture.owners.items() if node_id in picture.by_id
        }
        self._take_over_from_lost_primaries()
        for shard in picture.target.shards:
            primary = self._primary_of(shard)
            if primary is not None:
                self.primaries[shard.name] = primary
        if not self.refusals and not any(self.stages):
            self._join()
        if self.refusals:
            return Plan(waits=tuple(self.waits), refusals=tuple(self.refusals))
        if any(isinstance(step, TakeOver) for step in self.steps):
            return Plan((tuple(self.steps),), tuple(self.waits))
        if any(self.stages) or not (self.waits or self._disagreement()):
            self._balance_and_leave()
        if self.refusals:
            return Plan(refusals=tuple(self.refusals))
        if not any(self.stages):
            self.waits += [line for line in self._disagreement() if line not in self.waits]
            if not self.waits:
                self.waits += unfinished(picture.observation)
        return Plan(tuple(tuple(stage) for stage in self.stages if stage), tuple(self.waits))

    # - a primary for every shard

    def _take_over_from_lost_primaries(self) -> None:
        """Slots whose owner answers no more to its id, because it has lost its data and began anew."""
        picture = self.picture
        stage: list[Step] = []
        for node_id in picture.former.keys() & picture.owners.keys():
            slots = picture.owners[node_id]
            copies = picture.followers.get(node_id, ())
            if not picture.everybody_answers or any(node.loading for node in copies):
                self.waits.append(
                    f"{picture.name_of(node_id)}: has {slots_in_words(slots)} but is gone: cannot go on before all "
                    f"members can be asked"
                )
            elif copies:
                best = max(copies, key=lambda node: (node.keys > 0, node.offset, node.name))
                stage.append(TakeOver(best.name, node_id))
            else:
                self.refusals.append(
                    f"{picture.name_of(node_id)}: has {slots_in_words(slots)} and lost its data, and no replica has a "
                    f"copy: stop that member, put its data (with nodes.conf) back and start it; or, if the keys are "
                    f"lost for good, CLUSTER FORGET {node_id} on every node, and these slots begin anew, empty"
                )
        self.stages.append(stage)

    def _primary_of(self, shard: Shard) -> NodeView | None:
        """The shard's primary: who has its slots, else whom copies follow already, else the first member."""
        picture = self.picture
        by_name = picture.observation.by_name
        members = [by_name[member.name] for member in shard.members]
        answering = [node for node in members if node.reachable]
        owners = [node for node in answering if self.owned.get(node.name)]
        if owners:
            return max(owners, key=lambda node: len(self.owned[node.name]))
        leaving = self._leaving_primary(answering)
        if leaving is not None:
            return leaving
        followed = any(node.role == PRIMARY and picture.followers.get(node.node_id) for node in answering)
        if not followed and (len(answering) < len(members) or any(node.loading for node in answering)):
            return None  # whoever does not answer may be it; the waits say so
        primaries = [node for node in answering if node.role == PRIMARY]
        if not primaries:
            doing = ", ".join(f"{node.name} replicates {picture.name_of(node.primary_id)}" for node in answering)
            if any(node.primary_id in picture.former and picture.owners.get(node.primary_id) for node in answering):
                return None  # one of them takes over
            self.refusals.append(
                f"{shard.name}: no member can become its primary ({doing}): CLUSTER RESET SOFT the one that shall"
            )
            return None
        return max(primaries, key=lambda node: len(picture.followers.get(node.node_id, ())))

    def _leaving_primary(self, answering: Sequence[NodeView]) -> NodeView | None:
        """A member that leaves, has slots, and is replicated by members that stay."""
        for node in answering:
            followed = self.picture.by_id.get(node.primary_id)
            taken = followed is not None and followed.name in {each.name for each in self.primaries.values()}
            if followed is not None and not taken and self.owned.get(followed.name) and self.picture.leaves(followed):
                return followed
        return None

    # - everybody in the cluster, every replica at its primary

    def _join(self) -> None:
        self._take_unclaimed_slots()
        self._meet()
        self._replicate()
        self._release()
        self._change_settings()

    def _release(self) -> None:
        """Who has a place, but got it by none of the steps before; ahead of the replicas that want its data."""
        released = {step.member for step in self.steps if isinstance(step, RELEASING)}
        placed = {primary.name for _, primary in self._shards()} | {
            node.name for node in self.picture.nodes if node.primary_id
        }
        withholding = [node.name for node in self.picture.nodes if node.withholds and node.name in placed - released]
        self.stages.insert(-1, [Release(name) for name in withholding])

    def _take_unclaimed_slots(self) -> None:
        """Slots that nobody claims go to who holds their keys, and else where there are too few."""
        picture = self.picture
        free = unclaimed(picture.observation)
        if not free:
            return
        if not picture.everybody_answers or len(self.primaries) < len(picture.target.shards):
            self.waits.append(f"{slots_in_words(free)}: nobody has them, to be given when all members can be asked")
            return
        given = self._to_those_with_keys(free)
        rest = [slot for slot in free if slot not in given]
        owned = Counter({name: len(slots) for name, slots in self.owned.items()})
        owned.update(given.values())
        by_name = {primary.name: shard.weight for shard, primary in self._shards()}
        wanted = wanted_counts(by_name)
        start = 0
        for name, count in wanted.items():
            for slot in rest[start : start + max(count - owned[name], 0)]:
                given[slot] = name
            start += max(count - owned[name], 0)
        taken: dict[str, list[int]] = defaultdict(list)
        for slot, name in given.items():
            taken[name].append(slot)
        epochs = self._epochs()
        self.stages.append(
            [
                *(TakeSlots(name, tuple(sorted(slots)), epochs.pop(name, 0)) for name, slots in taken.items()),
                *(SetEpoch(name, epoch) for name, epoch in epochs.items()),
            ]
        )
        for name, slots in taken.items():
            self.owned[name] = tuple(sorted((*self.owned.get(name, ()), *slots)))

    def _to_those_with_keys(self, free: Iterable[int]) -> dict[int, str]:
        holders: dict[int, list[NodeView]] = defaultdict(list)
        for node in self.picture.observation.every_node:
            if node.role == PRIMARY:
                for slot in node.keys_in_unclaimed:
                    holders[slot].append(node)
                for opened in node.open_slots:
                    if not opened.migrating and node not in holders[opened.slot]:
                        holders[opened.slot].append(node)
        given = {}
        for slot in free:
            if slot not in holders:
                continue
            several = [node for node in holders[slot] if slot in node.keys_in_unclaimed] or holders[slot]
            if len(several) > 1:
                self.refusals.append(
                    f"slot {slot}: nobody claims it, and {', '.join(node.name for node in several)} hold keys of it: "
                    f"CLUSTER ADDSLOTS it where the newest ones are"
                )
            given[slot] = several[0].name
        return given

    def _epochs(self) -> dict[str, int]:
        """A configuration epoch of its own for every node that has met nobody yet and has none."""
        highest = max((node.epoch for node in self.picture.observation.every_node), default=0)
        waiting = [node.name for node in self.picture.nodes if node.alone and not node.epoch]
        return {name: highest + number for number, name in enumerate(waiting, start=1)}

    def _meet(self) -> None:
        """Everybody is to know everybody; of two that do not know each other, one begins."""
        nodes = [node for node in self.picture.observation.every_node if node.reachable and self._takes_part(node)]
        ids = {node.node_id: place for place, node in enumerate(nodes)}
        lacking: dict[int, frozenset[str]] = {}
        for node in nodes:
            if id(node.knows) not in lacking:
                lacking[id(node.knows)] = frozenset(ids.keys() - node.knows.ids)
        stage: list[Step] = []
        for place, node in enumerate(nodes):
            missing = lacking[id(node.knows)]
            if not missing:
                continue
            if len(missing) <= MEETINGS_AT_MOST:
                others = [nodes[other] for other in sorted(ids[each] for each in missing)]
            else:
                ahead = (nodes[(place + step) % len(nodes)] for step in range(1, len(nodes)))
                others = [each for each in islice(ahead, MEETINGS_AT_MOST) if each.node_id in missing]
            begins = tuple(
                other.name
                for other in others
                if (ids[other.node_id] > place or node.node_id not in lacking[id(other.knows)])
                and not _being_met(node, other)
            )
            if begins:
                stage.append(Meet(node.name, begins))
        self.stages.append(stage)

    def _takes_part(self, node: NodeView) -> bool:
        """Whether a node is to know the others: it stays, or others need its slots before it leaves."""
        return bool(node.slots) or not self.picture.leaves(node)

    def _replicate(self) -> None:
        stage: list[Step] = []
        by_name = self.picture.observation.by_name
        meeting = any(self.stages)
        for shard, primary in self._shards():
            for member in shard.members:
                node = by_name[member.name]
                if not node.reachable or node.loading or node.name == primary.name or self.owned.get(node.name):
                    continue  # who has slots of its own is drained first
                if node.primary_id == primary.node_id:
                    if not node.link_up:
                        doing = "is being synchronised" if node.syncing else f"has no link to {primary.name} yet"
                        self.waits.append(f"{node.name}: {doing}")
                elif node.role == PRIMARY and node.keys:
                    self.refusals.append(
                        f"{node.name}: holds {node.keys} keys but no slots, and replicating {primary.name} would "
                        f"delete them: save them and empty it (FLUSHALL)"
                    )
                elif node.role == REPLICA and self._has_the_only_copy(node):
                    self.waits.append(
                        f"{node.name}: may have the only copy of what {self.picture.name_of(node.primary_id)} had"
                    )
                elif primary.node_id in node.knows.ids or meeting:
                    stage.append(Replicate(node.name, primary.name))
                else:
                    self.waits.append(f"{node.name}: does not know its primary {primary.name} yet")
        self.stages.append(stage)

    def _has_the_only_copy(self, node: NodeView) -> bool:
        """Whether the primary that a replica follows has slots and does not answer."""
        return bool(self.picture.owners.get(node.primary_id)) and node.primary_id not in self.picture.by_id

    def _change_settings(self) -> None:
        """A node that has just started may need other settings until it has its data or is proven."""
        self.stages.append(
            [
                ChangeLiveSettings(
                    node.name, tuple((key, *values) for key, values in sorted(node.differing_settings.items()))
                )
                for node in self.picture.nodes
                if node.differing_settings and (node.link_up or (node.role == PRIMARY and not node.unproven))
            ]
        )
        self.waits += [
            f"{node.name}: accepts no write before its host has proven that it is still the primary"
            for node in self.picture.nodes
            if node.unproven and node.slots
        ]

    def _shards(self) -> list[tuple[Shard, NodeView]]:
        return [
            (shard, self.primaries[shard.name]) for shard in self.picture.target.shards if shard.name in self.primaries
        ]

    # - slots where they belong, and nobody left who leaves

    def _disagreement(self) -> list[str]:
        return disagreement(self.picture.observation)

    def _balance_and_leave(self) -> None:
        if len(self.primaries) < len(self.picture.target.shards) or not self.picture.everybody_answers:
            return
        self._hand_over()
        if any(self.picture.leaves(primary) for primary in self.primaries.values()):
            return
        if self.waits and not any(self.stages):
            return
        self._settle()
        self._move()
        self._leave()

    def _hand_over(self) -> None:
        """A shard that stays gets a primary that stays."""
        stage: list[Step] = []
        by_name = self.picture.observation.by_name
        for shard, primary in self._shards():
            if not self.picture.leaves(primary):
                continue
            copies = [by_name[member.name] for member in shard.members]
            ready = [node for node in copies if node.primary_id == primary.node_id and node.link_up]
            if not ready:
                self.waits.append(f"{primary.name}: leaves, but no replica that stays is in sync to take over from it")
                continue
            best = max(ready, key=lambda node: node.offset)
            stage.append(HandOver(best.name, primary.name))
            self.owned[best.name] = self.owned.pop(primary.name)
            self.primaries[shard.name] = best
        self.stages.append(stage)

    def _settle(self) -> None:
        self.stages.append(
            [
                SettleSlots(node.name, tuple(sorted(opened.slot for opened in node.open_slots)))
                for node in self.picture.observation.every_node
                if node.open_slots
            ]
        )

    def _move(self) -> None:
        weights = {primary.name: shard.weight for shard, primary in self._shards()}
        by_name = self.picture.observation.by_name
        stage: list[Step] = []
        for move in fewest_moves({name: self.owned.get(name, ()) for name in {**weights, **self.owned}}, weights):
            source = by_name[move.source]
            share = len(move.slots) / len(self.owned[move.source])
            keys = round(source.keys * share)
            stage.append(
                MoveSlots(move.source, move.target, move.slots, keys, round(source.dataset * share) if keys else 0)
            )
        self._refuse_too_much(stage)
        self.stages.append(stage)

    def _refuse_too_much(self, moves: Iterable[Step]) -> None:
        arriving: Counter[str] = Counter()
        for move in moves:
            if isinstance(move, MoveSlots):
                arriving[move.to] += move.bytes
                arriving[move.member] -= move.bytes
        for name, size in arriving.items():
            node = self.picture.observation.by_name[name]
            if size > 0 and node.memory_max and node.memory_used + size > node.memory_max:
                self.refusals.append(
                    f"{name}: would get about {in_mebibytes(size)} of keys and already uses "
                    f"{in_mebibytes(node.memory_used)}, which is more than its maxmemory of "
                    f"{in_mebibytes(node.memory_max)}: give it more memory, keep more shards, or delete keys first"
                )

    def _leave(self) -> None:
        """Who leaves goes when nothing is left on it; then everybody forgets all that are gone, at once."""
        picture = self.picture
        resets: list[Step] = []
        gone: dict[str, str] = {}
        for node in picture.observation.leaving:
            if not node.reachable or node.alone:
                continue  # gone already
            followed = picture.by_id.get(node.primary_id)
            # A copy stays as long as the primary that leaves with it needs one.
            holder = followed if followed is not None and picture.leaves(followed) else node
            if self._holds_something(holder):
                self.waits.append(f"{node.name}: cannot leave yet: {holder.name} holds {holder.keys} keys")
                continue
            resets.append(Reset(node.name))
            gone[node.node_id] = node.name
        self.stages.append(resets)
        dead = {
            *picture.former,
            *(node_id for node_id, (known, _) in picture.strangers.items() if "fail" in known.flags),
            *(node_id for node_id, member in picture.silent.items() if picture.leaves(member)),
        }
        gone.update({node_id: picture.name_of(node_id) for node_id in dead if node_id not in picture.owners})
        self.stages.append(self._forget(gone))

    def _holds_something(self, node: NodeView) -> bool:
        """Whether a node that leaves will have slots or keys that the steps so far do not move away."""
        for step in self.steps:
            if (isinstance(step, MoveSlots) and step.member == node.name) or (
                isinstance(step, HandOver) and step.primary == node.name
            ):
                return False
        return bool(self.owned.get(node.name)) or (node.role == PRIMARY and node.keys > 0)

    def _forget(self, gone: Mapping[str, str]) -> list[Step]:
        if not gone:
            return []
        known: dict[int, tuple[tuple[str, str], ...]] = {}
        for knowledge in self.picture.observation.knowledge:
            known[id(knowledge)] = tuple(sorted((node_id, gone[node_id]) for node_id in knowledge.ids & gone.keys()))
        return [Forget(node.name, known[id(node.knows)]) for node in self.picture.nodes if known[id(node.knows)]]

    @property
    def steps(self) -> list[Step]:
        """What is planned so far."""
        return [step for stage in self.stages for step in stage]


def _being_met(node: NodeView, other: NodeView) -> bool:
    """Whether one of two has already been told of the other."""
    return (other.ip, other.address.port) in node.knows.in_handshake or (
        node.ip,
        node.address.port,
    ) in other.knows.in_handshake
