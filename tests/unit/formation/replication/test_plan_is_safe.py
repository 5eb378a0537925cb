"""Whatever is observed, the plan is safe: properties over arbitrary topologies, possible or not."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from components.formation import Address, Member, Plan
from components.formation.replication import (
    RETIRED,
    UNFORMED,
    NodeView,
    Observation,
    ReplicationTarget,
    SentinelSettings,
    SentinelView,
    plan,
)
from components.formation.replication.observation import PRIMARY, REPLICA, AttachedReplica
from components.formation.replication.steps import (
    Follow,
    Forget,
    HandOver,
    MakePrimary,
    Monitor,
    Prove,
    Retire,
    StopMonitoring,
)

SETTINGS = SentinelSettings("cache", 2, 1000, 1, 3000, "sentinel", "secret")
NODE_ADDRESSES = [Address(f"redis-{ordinal}", 6379 + ordinal) for ordinal in range(4)]
SENTINEL_ADDRESSES = [Address(f"sentinel-{ordinal}", 26379 + ordinal) for ordinal in range(4)]
STRANGER = Address("stranger", 1234)
EVERYWHERE = [*NODE_ADDRESSES, STRANGER]


def member(name: str, address: Address) -> Member:
    return Member(name, address, Address("127.0.0.1", address.port))


NODES = tuple(member(address.host, address) for address in NODE_ADDRESSES)
SENTINELS = tuple(member(address.host, address) for address in SENTINEL_ADDRESSES)
# The fourth of each kind is about to leave.
TARGET = ReplicationTarget(NODES[:3], SENTINELS[:3], SETTINGS, leaving_nodes=NODES[3:], leaving_sentinels=SENTINELS[3:])

flags = st.booleans()
mostly = st.sampled_from([True, True, True, True, False])
rarely = mostly.map(lambda value: not value)


@st.composite
def node_views(draw: st.DrawFn, address: Address) -> NodeView:
    if not draw(mostly):
        return NodeView(address.host, address, reachable=False, error="refused")
    role = draw(st.sampled_from([PRIMARY, REPLICA, REPLICA]))
    follows = draw(st.sampled_from([UNFORMED, UNFORMED, RETIRED, *EVERYWHERE])) if role == REPLICA else None
    return NodeView(
        name=address.host,
        address=address,
        role=role,
        follows=follows,
        link_up=role == REPLICA and draw(flags),
        loading=draw(rarely),
        failing_over=draw(rarely) and draw(rarely),
        keys=draw(st.sampled_from([0, 0, 5, 9])),
        history=draw(st.sampled_from(["a", "b"])),
        earlier_history=draw(st.sampled_from(["", "a"])),
        offset=draw(st.integers(0, 100)),
        priority=draw(st.sampled_from([0, 100])),
        serves_stale=draw(flags),
        replicas=tuple(
            AttachedReplica(each, "online", 0)
            for each in draw(st.lists(st.sampled_from(EVERYWHERE), unique=True, max_size=4))
        ),
        differing_settings={"maxmemory": ("1", "2")} if draw(rarely) else {},
    )


@st.composite
def sentinel_views(draw: st.DrawFn, address: Address) -> SentinelView:
    if not draw(mostly):
        return SentinelView(address.host, address, reachable=False, error="refused")
    primary = draw(st.sampled_from([None, NODE_ADDRESSES[0], NODE_ADDRESSES[0], *EVERYWHERE]))
    if primary is None:
        return SentinelView(address.host, address, run_id=address.host)
    others = draw(st.lists(st.sampled_from([*SENTINEL_ADDRESSES, STRANGER]), unique=True, max_size=4))
    return SentinelView(
        name=address.host,
        address=address,
        run_id=address.host,
        primary=primary,
        flags=("master", "failover_in_progress") if draw(rarely) and draw(rarely) else ("master",),
        config_epoch=draw(st.integers(0, 2)),
        settings=SETTINGS.readable if draw(mostly) else {"quorum": 1},
        replicas=tuple(draw(st.lists(st.sampled_from(EVERYWHERE), unique=True, max_size=4))),
        sentinels={draw(st.sampled_from([other.host, f"former-{other.host}"])): other for other in others},
        milliseconds_without_access=draw(st.sampled_from([0, 0, 0, 10_000])),
    )


@st.composite
def observations(draw: st.DrawFn) -> Observation:
    nodes = [draw(node_views(address)) for address in NODE_ADDRESSES]
    sentinels = [draw(sentinel_views(address)) for address in SENTINEL_ADDRESSES]
    return Observation(tuple(nodes[:3]), tuple(sentinels[:3]), tuple(nodes[3:]), tuple(sentinels[3:]))


def more_than_half_name(observation: Observation, address: Address) -> bool:
    """Of all Sentinels that are to be, and of the leaving ones that still watch."""
    watching = [view for view in observation.leaving_sentinels if view.reachable and view.primary is not None]
    voters = [*observation.sentinels, *watching]
    return sum(2 for view in voters if view.reachable and view.primary == address) > len(voters)


def named(observation: Observation) -> set[Address]:
    return {view.primary for view in observation.every_sentinel if view.reachable and view.primary is not None}


def check_a_primary_is_only_made_where_it_cannot_cost_data(observation: Observation, found: Plan) -> None:
    made = [step for step in found.steps if isinstance(step, MakePrimary)]
    assert len(made) <= 1
    for step in made:
        node = observation.node(step.member)
        assert node is not None
        assert all(other.reachable and not other.loading for other in observation.every_node)
        assert not any(other.role == PRIMARY for other in observation.every_node)
        holders = [other for other in observation.every_node if other.keys]
        if more_than_half_name(observation, node.address):
            assert not holders or node in holders
            assert not any(other.proven for other in observation.every_node if other != node)
        else:
            assert all(view.reachable for view in observation.sentinels)
            assert named(observation) <= {node.address}
            assert holders in ([], [node])


def check_there_is_only_one_primary_to_follow_or_to_watch(observation: Observation, found: Plan) -> None:
    followed = {step.address for step in found.steps if isinstance(step, Follow | Monitor)}
    assert len(followed) <= 1
    made = {step.member for step in found.steps if isinstance(step, MakePrimary)}
    for address in followed:
        primary = observation.node_at(address)
        assert primary is not None
        assert primary.reachable
        assert primary.role == PRIMARY or primary.name in made
    primaries = {node.address for node in observation.every_node if node.reachable and node.role == PRIMARY}
    told = {step.member for step in found.steps if isinstance(step, Follow)}
    left = {address for address in primaries if (node := observation.node_at(address)) and node.name not in told}
    if len(left) > 1:
        # An empty one that leaves is retired when those that stay are complete; until then nobody follows it.
        left -= {node.address for node in observation.leaving_nodes if not node.keys} - followed
    if found.steps:
        assert len(left | {node.address for node in observation.every_node if node.name in made}) == 1


def check_no_node_follows_where_it_could_lose_the_only_copy(observation: Observation, found: Plan) -> None:
    for step in found.steps:
        if isinstance(step, Follow):
            node, primary = observation.node(step.member), observation.node_at(step.address)
            assert node is not None
            assert primary is not None
            assert node != primary
            shared = node.history in (primary.history, primary.earlier_history)
            assert node.keys == 0 or primary.keys > 0 or shared


def check_nothing_is_done_during_a_failover_or_beside_a_refusal(observation: Observation, found: Plan) -> None:
    every: tuple[NodeView | SentinelView, ...] = (*observation.every_node, *observation.every_sentinel)
    if any(view.reachable and view.failing_over for view in every):
        assert found.steps == ()
        assert found.waits
    if found.refusals:
        assert found.steps == ()
    assert all(line.strip() for line in (*found.waits, *found.refusals, *found.describe()))


def check_only_what_leaves_is_retired_and_never_the_primary(observation: Observation, found: Plan) -> None:
    handed_over: set[str] = set()
    for stage in found.stages:
        for step in stage:
            if isinstance(step, HandOver):
                handed_over.add(step.member)
                assert step.member == "redis-3"
            if isinstance(step, Retire):
                assert step.member == "redis-3"
                node = observation.node(step.member)
                assert node is not None
                assert node.role == REPLICA or node.keys == 0 or step.member in handed_over
            if isinstance(step, StopMonitoring):
                assert step.member == "sentinel-3"
            if isinstance(step, Prove):
                proven = observation.node(step.member)
                assert proven is not None
                assert proven.role == PRIMARY or proven.link_up


def check_sentinels_forget_one_at_a_time_and_only_when_all_are_there(observation: Observation, found: Plan) -> None:
    for stage in found.stages:
        if any(isinstance(step, Forget) for step in stage):
            assert len(stage) == 1
    if found.stages and isinstance(found.stages[0][0], Forget):
        assert found.waits == ()
        assert all(view.reachable for view in observation.sentinels)
        assert len({view.primary for view in observation.sentinels}) == 1


CHECKS: tuple[Callable[[Observation, Plan], None], ...] = (
    check_a_primary_is_only_made_where_it_cannot_cost_data,
    check_there_is_only_one_primary_to_follow_or_to_watch,
    check_no_node_follows_where_it_could_lose_the_only_copy,
    check_nothing_is_done_during_a_failover_or_beside_a_refusal,
    check_only_what_leaves_is_retired_and_never_the_primary,
    check_sentinels_forget_one_at_a_time_and_only_when_all_are_there,
)


@settings(max_examples=400, deadline=None)
@given(observations())
def test_whatever_is_observed_the_plan_is_safe(observation: Observation) -> None:
    found = plan(TARGET, observation)
    assert found == plan(TARGET, observation), "it depends on nothing else"
    for check in CHECKS:
        check(observation, found)
