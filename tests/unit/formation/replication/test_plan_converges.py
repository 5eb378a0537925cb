"""Plans applied to a model of Redis and Sentinel lead to the target, and then there is nothing left to do."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from hypothesis import given, settings
from hypothesis import strategies as st

from components.formation import Address, Plan
from components.formation.replication import UNFORMED, NodeView, Observation, ReplicationTarget, SentinelView, plan
from components.formation.replication.observation import PRIMARY, REPLICA, AttachedReplica
from components.formation.replication.steps import (
    ChangeSentinelSettings,
    Follow,
    Forget,
    GiveAccess,
    HandOver,
    Introduce,
    MakePrimary,
    Monitor,
    Prove,
    Retire,
    StopMonitoring,
)
from components.formation.replication.target import RETIRED
from components.formation.steps import ChangeLiveSettings, Step
from tests.unit.formation.replication.test_plan_is_safe import NODES, SENTINELS, SETTINGS

MOST_ROUNDS = 40


@dataclass
class Node:
    name: str
    address: Address
    role: str = REPLICA
    follows: Address | None = UNFORMED
    keys: int = 0
    priority: int = 0
    settings_differ: bool = False


@dataclass
class Watcher:
    name: str
    address: Address
    run_id: str
    primary: Address | None = None
    settings: dict[str, int] = field(default_factory=dict)
    replicas: set[Address] = field(default_factory=set)
    sentinels: dict[str, Address] = field(default_factory=dict)
    without_access: bool = False


@dataclass
class World:
    """What Redis and Sentinel do with the steps, once everything has settled."""

    target: ReplicationTarget
    nodes: list[Node]
    watchers: list[Watcher]

    def node(self, address: Address | None) -> Node | None:
        return next((node for node in self.nodes if node.address == address), None)

    def followers(self, address: Address | None) -> set[Address]:
        return {node.address for node in self.nodes if node.follows == address}

    def settle(self) -> None:
        """Replicas synchronise, and Sentinels hear of them from their primary."""
        for node in self.nodes:
            primary = self.node(node.follows)
            if primary is not None and primary.role == PRIMARY:
                node.keys = primary.keys
        for watcher in self.watchers:
            watcher.replicas |= self.followers(watcher.primary) if watcher.primary else set()

    def observe(self) -> Observation:
        leaving_nodes = {member.name for member in self.target.leaving_nodes}
        leaving_sentinels = {member.name for member in self.target.leaving_sentinels}
        nodes = {node.name: self._node_view(node) for node in self.nodes}
        watchers = {watcher.name: self._sentinel_view(watcher) for watcher in self.watchers}
        return Observation(
            tuple(view for name, view in nodes.items() if name not in leaving_nodes),
            tuple(view for name, view in watchers.items() if name not in leaving_sentinels),
            tuple(view for name, view in nodes.items() if name in leaving_nodes),
            tuple(view for name, view in watchers.items() if name in leaving_sentinels),
        )

    def _node_view(self, node: Node) -> NodeView:
        primary = self.node(node.follows)
        return NodeView(
            name=node.name,
            address=node.address,
            role=node.role,
            follows=node.follows,
            link_up=primary is not None and primary.role == PRIMARY,
            keys=node.keys,
            priority=node.priority,
            serves_stale=node.priority > 0,
            replicas=tuple(AttachedReplica(each, "online", 0) for each in sorted(self.followers(node.address))),
            differing_settings={"maxmemory": ("1", "2")} if node.settings_differ else {},
        )

    def _sentinel_view(self, watcher: Watcher) -> SentinelView:
        if watcher.primary is None:
            return SentinelView(watcher.name, watcher.address, run_id=watcher.run_id)
        return SentinelView(
            name=watcher.name,
            address=watcher.address,
            run_id=watcher.run_id,
            primary=watcher.primary,
            flags=("master",),
            settings=dict(watcher.settings),
            replicas=tuple(sorted(watcher.replicas)),
            sentinels=dict(watcher.sentinels),
            milliseconds_without_access=60_000 if watcher.without_access else 0,
        )

    def apply(self, step: Step) -> None:
        node = next((node for node in self.nodes if node.name == step.member), None)
        watcher = next((watcher for watcher in self.watchers if watcher.name == step.member), None)
        if node is not None:
            self._apply_to_node(node, step)
        else:
            assert watcher is not None
            self._apply_to_watcher(watcher, step)

    def _apply_to_node(self, node: Node, step: Step) -> None:
        match step:
            case MakePrimary():
                node.role, node.follows, node.priority = PRIMARY, None, 100
            case Follow():
                node.role, node.follows = REPLICA, step.address
            case Prove():
                node.priority = step.priority
            case ChangeLiveSettings():
                node.settings_differ = False
            case Retire():
                node.role, node.follows, node.priority = REPLICA, RETIRED, 0
            case HandOver():
                self._hand_over(node)
            case _:
                raise AssertionError(step)

    def _hand_over(self, old: Node) -> None:
        staying = {member.announced for member in self.target.nodes}
        new = next(
            node for node in self.nodes if node.follows == old.address and node.address in staying and node.priority
        )
        new.role, new.follows = PRIMARY, None
        for node in self.nodes:
            if node.follows == old.address or node is old:
                node.role, node.follows = REPLICA, new.address
        for watcher in self.watchers:
            if watcher.primary == old.address:
                watcher.primary = new.address
                watcher.replicas = (watcher.replicas | {old.address}) - {new.address}

    def _apply_to_watcher(self, watcher: Watcher, step: Step) -> None:
        match step:
            case Monitor():
                assert watcher.primary == step.instead_of
                watcher.primary, watcher.settings = step.address, dict(SETTINGS.readable)
                watcher.replicas, watcher.sentinels = set(), {}
            case ChangeSentinelSettings():
                watcher.settings.update({name: wanted for name, _, wanted in step.changes})
            case GiveAccess():
                watcher.without_access = False
            case Introduce():
                for other in self.watchers:
                    if other.name in step.others:
                        watcher.sentinels[other.run_id] = other.address
            case Forget():
                watcher.replicas = set()
                # The step introduces the others of the target again; those that still watch say hello themselves.
                target = {member.name for member in self.target.sentinels}
                watcher.sentinels = {
                    other.run_id: other.address
                    for other in self.watchers
                    if other is not watcher and (other.name in target or other.primary is not None)
                }
            case StopMonitoring():
                watcher.primary, watcher.replicas, watcher.sentinels = None, set(), {}
            case _:
                raise AssertionError(step)


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """Nodes and Sentinels as a history of formations, interruptions, restarts and changes of size may leave them."""
    count, sentinel_count = draw(st.integers(1, 4)), draw(st.sampled_from([1, 3]))
    target = ReplicationTarget(
        NODES[:count],
        SENTINELS[:sentinel_count],
        replace(SETTINGS, quorum=sentinel_count // 2 + 1),
        leaving_nodes=NODES[count:],
        leaving_sentinels=SENTINELS[sentinel_count:],
    )
    nodes = [Node(member.name, member.announced) for member in NODES]
    watchers = [Watcher(member.name, member.announced, member.name) for member in SENTINELS]
    world = World(target, nodes, watchers)
    if draw(st.booleans()):
        return world  # just started
    primary = draw(st.sampled_from(nodes))
    primary.role, primary.follows, primary.priority = PRIMARY, None, draw(st.sampled_from([0, 100]))
    primary.keys = draw(st.sampled_from([0, 7]))
    for node in nodes:
        node.settings_differ = draw(st.booleans())
        if node is not primary:
            node.follows = draw(st.sampled_from([UNFORMED, RETIRED, primary.address, primary.address]))
            node.priority = draw(st.sampled_from([0, 100])) if node.follows == primary.address else 0
            node.keys = draw(st.sampled_from([0, primary.keys]))
    for watcher in watchers:
        if draw(st.booleans()):
            watcher.primary = primary.address
            watcher.settings = dict(SETTINGS.readable) if draw(st.booleans()) else {"quorum": 1}
            watcher.without_access = draw(st.booleans())
            stale = draw(st.lists(st.sampled_from(NODES), max_size=3))
            watcher.replicas = {member.announced for member in stale} - {primary.address}
            for other in draw(st.lists(st.sampled_from(watchers), max_size=3)):
                if other is not watcher:
                    run_id = draw(st.sampled_from([other.run_id, "a-former-one"]))
                    watcher.sentinels[run_id] = other.address
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


@settings(max_examples=200, deadline=None)
@given(worlds())
def test_every_history_ends_in_the_target(world: World) -> None:
    keys_before = max(node.keys for node in world.nodes)
    found = run(world)
    leaving = {member.name for member in world.target.leaving_nodes}
    primaries = [node for node in world.nodes if node.role == PRIMARY]
    assert len(primaries) == 1
    if primaries[0].name in leaving:
        # Only when nobody who stays could take over.
        assert found.waits
        return
    assert found.done, found
    assert primaries[0].keys == keys_before or keys_before == 0, "the data are where they were"
    members = {member.announced for member in world.target.nodes}
    for node in world.nodes:
        assert (node.address in members) == (node.follows == primaries[0].address or node is primaries[0])
    for watcher in world.watchers:
        if watcher.name in {member.name for member in world.target.sentinels}:
            assert watcher.primary == primaries[0].address
            assert watcher.replicas == members - {primaries[0].address}
            assert len(watcher.sentinels) == len(world.target.sentinels) - 1
        else:
            assert watcher.primary is None


@settings(max_examples=60, deadline=None)
@given(worlds(), st.integers(0, 10), st.integers(0, 10))
def test_an_interruption_anywhere_changes_nothing_about_the_end(world: World, rounds: int, steps: int) -> None:
    for _ in range(rounds):
        world.settle()
        stages = plan(world.target, world.observe()).stages
        if not stages:
            break
        for step in stages[0][:steps]:
            world.apply(step)
    run(world)
    assert len([node for node in world.nodes if node.role == PRIMARY]) == 1


@settings(max_examples=60, deadline=None)
@given(worlds())
def test_the_preview_names_every_member_that_is_touched(world: World) -> None:
    world.settle()
    said = {step.member for step in plan(world.target, world.observe()).steps}
    touched: set[str] = set()
    for _ in range(MOST_ROUNDS):
        world.settle()
        stages = plan(world.target, world.observe()).stages
        if not stages:
            break
        for step in stages[0]:
            touched.add(step.member)
            world.apply(step)
    assert touched <= said or not said
