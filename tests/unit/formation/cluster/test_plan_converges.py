"""Plans applied to a model of Redis Cluster lead to the target without losing a key, and then nothing is left to do."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from components.formation import Address, Member, Plan
from components.formation.cluster import ClusterTarget, NodeView, Observation, Shard, plan
from components.formation.cluster.observation import PRIMARY, REPLICA, Knowledge, KnownNode
from components.formation.cluster.slots import SLOT_COUNT, slot_ranges
from components.formation.cluster.steps import (
    Forget,
    HandOver,
    Meet,
    MoveSlots,
    Release,
    Replicate,
    Reset,
    SetEpoch,
    TakeOver,
    TakeSlots,
)
from components.formation.steps import ChangeLiveSettings, Step

MOST_ROUNDS = 30
_numbers = count(1)


@dataclass(eq=False)
class Node:
    name: str
    address: Address
    node_id: str = field(default_factory=lambda: f"id-{next(_numbers)}")
    primary_id: str = ""
    slots: set[int] = field(default_factory=set)
    keys: set[int] = field(default_factory=set)
    knows: set[str] = field(default_factory=set)
    epoch: int = 0
    withholds: bool = True
    settings_differ: bool = False

    def begin_anew(self) -> None:
        """As on an empty volume."""
        self.node_id, self.primary_id = f"id-{next(_numbers)}", ""
        self.slots, self.keys, self.knows, self.epoch, self.withholds = set(), set(), set(), 0, True


@dataclass
class World:
    """What Redis does with the steps, once everything has settled. A key is named by its slot."""

    target: ClusterTarget
    nodes: dict[str, Node]
    # ids that nobody answers to -> their address, whom they replicated, the slots they had
    gone: dict[str, tuple[Address, str, set[int]]] = field(default_factory=dict)

    @property
    def by_id(self) -> dict[str, Node]:
        return {node.node_id: node for node in self.nodes.values()}

    def settle(self) -> None:
        """Everybody who is known, directly or through others, knows and is known; replicas have what primaries have."""
        by_id = self.by_id
        changed = True
        while changed:
            changed = False
            for node in self.nodes.values():
                for other_id in list(node.knows & by_id.keys()):
                    other = by_id[other_id]
                    everybody = node.knows | other.knows | {node.node_id, other_id}
                    if node.knows != everybody - {node.node_id} or other.knows != everybody - {other_id}:
                        node.knows, other.knows = everybody - {node.node_id}, everybody - {other_id}
                        changed = True
        for node in self.nodes.values():
            primary = by_id.get(node.primary_id)
            if primary is not None and primary.node_id in node.knows:
                node.keys = set(primary.keys)

    def observe(self) -> Observation:
        known: dict[str, KnownNode] = {}
        for node in self.nodes.values():
            kind = "slave" if node.primary_id else "master"
            known[node.node_id] = KnownNode(
                node.node_id, node.address, "", frozenset({kind}), node.primary_id, slot_ranges(node.slots)
            )
        for node_id, (address, primary_id, slots) in self.gone.items():
            known[node_id] = KnownNode(
                node_id, address, "", frozenset({"master", "noaddr"}), primary_id, slot_ranges(slots)
            )
        shared: dict[frozenset[str], Knowledge] = {}
        owned = set().union(
            *(node.slots for node in self.nodes.values()), *(slots for _, _, slots in self.gone.values())
        )
        views = {}
        for node in self.nodes.values():
            ids = frozenset(node.knows | {node.node_id})
            knowledge = shared.setdefault(ids, Knowledge({node_id: known[node_id] for node_id in sorted(ids)}))
            views[node.name] = NodeView(
                name=node.name,
                address=node.address,
                node_id=node.node_id,
                role=REPLICA if node.primary_id else PRIMARY,
                primary_id=node.primary_id,
                slots=slot_ranges(node.slots),
                link_up=node.primary_id in self.by_id,
                keys=len(node.keys),
                keys_in_unclaimed=tuple(sorted(node.keys - owned)),
                dataset=1000 * len(node.keys),
                state_ok=len(owned) == SLOT_COUNT,
                epoch=node.epoch,
                knows=knowledge,
                withholds=node.withholds,
                differing_settings={"maxmemory": ("1", "2")} if node.settings_differ else {},
            )
        return Observation(
            tuple(views[member.name] for member in self.target.members),
            tuple(views[member.name] for member in self.target.leaving),
        )

    def apply(self, step: Step) -> None:
        node = self.nodes[step.member]
        match step:
            case TakeSlots():
                claimed = [other.slots for other in self.nodes.values()] + [slots for _, _, slots in self.gone.values()]
                assert not any(set(step.slots) & slots for slots in claimed)
                assert not node.primary_id
                node.slots |= set(step.slots)
                node.epoch, node.withholds = node.epoch or step.epoch, False
            case SetEpoch():
                assert not node.knows
                node.epoch, node.withholds = step.epoch, False
            case Release():
                node.withholds = False
            case Meet():
                node.knows |= {self.nodes[name].node_id for name in step.others}
                for name in step.others:
                    self.nodes[name].knows.add(node.node_id)
            case Replicate():
                assert not node.slots
                assert node.primary_id or not node.keys, "Redis refuses it"
                node.primary_id, node.withholds = self.nodes[step.primary].node_id, False
            case TakeOver():
                address, primary_id, slots = self.gone[step.former_id]
                assert node.primary_id == step.former_id
                node.slots, node.primary_id = set(slots), ""
                self.gone[step.former_id] = (address, primary_id, set())
                node.epoch = self._next_epoch()
                for other in self.nodes.values():
                    if other.primary_id == step.former_id:
                        other.primary_id = node.node_id
            case HandOver():
                self._hand_over(node, self.nodes[step.primary])
            case MoveSlots():
                to = self.nodes[step.to]
                assert set(step.slots) <= node.slots
                assert not to.primary_id
                node.slots -= set(step.slots)
                to.slots |= set(step.slots)
                moved = node.keys & set(step.slots)
                node.keys -= moved
                to.keys |= moved
                to.epoch = to.epoch or self._next_epoch()
            case Reset():
                assert not node.slots
                assert node.primary_id or not node.keys, "Redis refuses it"
                self.gone[node.node_id] = (node.address, node.primary_id, set())
                node.begin_anew()
            case Forget():
                ids = {node_id for node_id, _ in step.gone}
                assert not ids & self.by_id.keys()
                assert not any(self.gone[node_id][2] for node_id in ids)
                node.knows -= ids
            case ChangeLiveSettings():
                node.settings_differ = False
            case _:
                raise AssertionError(step)

    def _hand_over(self, replica: Node, primary: Node) -> None:
        assert replica.primary_id == primary.node_id
        assert replica.keys == primary.keys
        for other in self.nodes.values():
            if other.primary_id == primary.node_id:
                other.primary_id = replica.node_id
        replica.primary_id, primary.primary_id = "", replica.node_id
        replica.slots, primary.slots = primary.slots, set()
        replica.epoch = self._next_epoch()

    def _next_epoch(self) -> int:
        return max(node.epoch for node in self.nodes.values()) + 1

    def lose(self, node: Node) -> None:
        """Its volume is lost, and it comes back before anybody has noticed."""
        self.gone[node.node_id] = (node.address, node.primary_id, set(node.slots))
        node.begin_anew()

    def everything_there(self) -> set[int]:
        """The keys of all slots, where clients would find them."""
        return {key for node in self.nodes.values() if not node.primary_id for key in node.keys & node.slots}


def members_of(shard: int, copies: int) -> tuple[Member, ...]:
    addresses = (Address(f"redis-{shard}-{copy}", 7000 + 10 * shard + copy) for copy in range(copies))
    return tuple(Member(address.host, address, Address("127.0.0.1", address.port)) for address in addresses)


def shards_of(sizes: dict[int, int], weights: dict[int, int]) -> tuple[Shard, ...]:
    return tuple(
        Shard(f"shard-{shard}", members_of(shard, copies), weights.get(shard, 1)) for shard, copies in sizes.items()
    )


sizes = st.dictionaries(st.integers(0, 3), st.integers(1, 3), min_size=1, max_size=4)


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """Nodes as a history of formations, interruptions, failovers, losses and changes of size may leave them."""
    before, after = draw(sizes), draw(sizes)
    weights = draw(st.dictionaries(st.integers(0, 3), st.integers(1, 3), max_size=2))
    wanted = shards_of(after, weights)
    staying = {member.name for shard in wanted for member in shard.members}
    earlier = [member for shard in shards_of(before, {}) for member in shard.members]
    target = ClusterTarget(wanted, leaving=tuple(member for member in earlier if member.name not in staying))
    nodes = {member.name: Node(member.name, member.announced) for member in target.every_member}
    world = World(target, nodes)
    if draw(st.integers(0, 4)) == 0:
        return world  # just started
    keys = set(draw(st.lists(st.integers(0, SLOT_COUNT - 1), max_size=20)))
    bounds = sorted({0, *draw(st.lists(st.integers(1, SLOT_COUNT - 1), min_size=len(before), max_size=len(before)))})
    ranges = list(zip(bounds, [*bounds[1:], SLOT_COUNT], strict=True))
    primaries = []
    for number, (shard, copies) in enumerate(before.items()):
        group = [nodes[member.name] for member in members_of(shard, copies)]
        primary = draw(st.sampled_from(group))
        primaries.append(primary)
        for first, last in ranges[number :: len(before)]:
            primary.slots |= set(range(first, last))
        primary.keys = keys & primary.slots
        for node in group:
            node.epoch, node.withholds = number + 1, False
            node.settings_differ = draw(st.booleans())
            node.primary_id = "" if node is primary else primary.node_id
    joined = [nodes[member.name] for member in earlier]
    for node in joined:
        node.knows = {other.node_id for other in joined} - {node.node_id}
    world.settle()
    if draw(st.integers(0, 3)) == 0:
        lost = draw(st.sampled_from(joined))
        copies_left = [node for node in joined if node.primary_id == lost.node_id]
        if lost.primary_id or copies_left:  # else an operator has to decide
            world.lose(lost)
    if draw(st.integers(0, 3)) == 0:  # the creation was interrupted, or slots were taken away by hand
        orphan = draw(st.sampled_from(primaries))
        if orphan in joined and orphan.slots:
            cut = set(draw(st.lists(st.sampled_from(sorted(orphan.slots)), max_size=50)))
            orphan.slots -= cut
    return world


def run(world: World) -> Plan:
    """Goes on until there is nothing left to apply."""
    for _ in range(MOST_ROUNDS):
        world.settle()
        found = plan(world.target, world.observe())
        if not found.stages:
            return found
        for step in found.stages[0]:
            world.apply(step)
    raise AssertionError(f"does not come to an end: {found.describe()}")


def keys_of(world: World) -> set[int]:
    return set().union(*(node.keys for node in world.nodes.values()))


def assert_as_wanted(world: World) -> None:
    by_id = world.by_id
    total = sum(shard.weight for shard in world.target.shards)
    members = {world.nodes[member.name].node_id for member in world.target.members}
    for shard in world.target.shards:
        copies = [world.nodes[member.name] for member in shard.members]
        (primary,) = [node for node in copies if not node.primary_id]
        assert abs(len(primary.slots) - SLOT_COUNT * shard.weight / total) < 1
        for node in copies:
            assert node is primary or by_id[node.primary_id] is primary
            assert node.knows == members - {node.node_id}
            assert not node.withholds
            assert not node.settings_differ
    for member in world.target.leaving:
        assert not world.nodes[member.name].knows
        assert not world.nodes[member.name].slots


@settings(max_examples=60, deadline=None)
@given(worlds())
def test_every_history_ends_in_the_target_with_all_keys(world: World) -> None:
    keys = keys_of(world)
    found = run(world)
    assume(not found.refusals)
    assert found.done, found
    assert world.everything_there() == keys
    assert_as_wanted(world)


@settings(max_examples=25, deadline=None)
@given(worlds(), st.integers(0, 6), st.integers(0, 5))
def test_an_interruption_anywhere_changes_nothing_about_the_end(world: World, rounds: int, steps: int) -> None:
    keys = keys_of(world)
    for _ in range(rounds):
        world.settle()
        stages = plan(world.target, world.observe()).stages
        if not stages:
            break
        for step in stages[0][:steps]:
            world.apply(step)
    found = run(world)
    assume(not found.refusals)
    assert found.done, found
    assert world.everything_there() == keys
    assert_as_wanted(world)


@settings(max_examples=25, deadline=None)
@given(worlds())
def test_the_preview_names_every_member_that_is_touched(world: World) -> None:
    world.settle()
    first = plan(world.target, world.observe())
    assume(first.stages and not any(isinstance(step, TakeOver) for step in first.steps))
    said = {step.member for step in first.steps}
    touched: set[str] = set()
    for _ in range(MOST_ROUNDS):
        world.settle()
        stages = plan(world.target, world.observe()).stages
        if not stages:
            break
        for step in stages[0]:
            touched.add(step.member)
            world.apply(step)
    assert touched <= said
