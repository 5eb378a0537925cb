"""Whatever is observed, the plan is safe: properties over arbitrary topologies, possible or not."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from components.formation import Address, Member, Plan
from components.formation.cluster import ClusterTarget, NodeView, Observation, Shard, plan
from components.formation.cluster.observation import (
    PRIMARY,
    REPLICA,
    Knowledge,
    KnownNode,
    OpenSlot,
    Ranges,
    count_slots,
    slots_of,
)
from components.formation.cluster.steps import (
    Forget,
    HandOver,
    Meet,
    MoveSlots,
    Replicate,
    Reset,
    SettleSlots,
    TakeOver,
    TakeSlots,
)

THIRDS: tuple[Ranges, ...] = (((0, 5461),), ((5462, 10922),), ((10923, 16383),))


def member(name: str, port: int) -> Member:
    return Member(name, Address(name, port), Address("127.0.0.1", port))


SHARDS = tuple(
    Shard(f"shard-{shard}", tuple(member(f"redis-{shard}-{copy}", 7000 + 10 * shard + copy) for copy in range(2)))
    for shard in range(2)
)
LEAVING = tuple(member(f"redis-2-{copy}", 7020 + copy) for copy in range(2))
TARGET = ClusterTarget(SHARDS, leaving=LEAVING)
MEMBERS = TARGET.every_member
IDS = {each.name: f"id-of-{each.name}" for each in MEMBERS}
ADDRESSES = {
    **{IDS[each.name]: each.announced for each in MEMBERS},
    "former": MEMBERS[0].announced,
    "stranger": Address("stranger", 1234),
}

flags = st.booleans()
mostly = st.sampled_from([True, True, True, True, False])
rarely = mostly.map(lambda value: not value)
almost_never = st.integers(0, 30).map(lambda value: value == 0)


@st.composite
def layouts(draw: st.DrawFn) -> dict[str, tuple[str, Ranges]]:
    """Who is known to be what: id -> (id of its primary, slots)."""
    names = [*IDS.values(), *(["former"] if draw(rarely) else []), *(["stranger"] if draw(almost_never) else [])]
    owners = draw(st.lists(st.sampled_from(names), min_size=0, max_size=3, unique=True))
    layout: dict[str, tuple[str, Ranges]] = {}
    for place, owner in enumerate(owners):
        layout[owner] = ("", THIRDS[place])
    for name in names:
        if name not in layout:
            layout[name] = (draw(st.sampled_from(["", *owners])) if owners else "", ())
    return layout


@st.composite
def knowledges(draw: st.DrawFn, own_id: str, layout: dict[str, tuple[str, Ranges]]) -> Knowledge:
    alone = draw(rarely)
    nodes = {}
    for node_id, (primary_id, slots) in layout.items():
        if node_id != own_id and (alone or draw(almost_never)):
            continue
        extra = draw(st.sampled_from([*[""] * 40, "fail", "fail?", "noaddr", "handshake"])) if node_id != own_id else ""
        nodes[node_id] = KnownNode(
            node_id=node_id,
            address=ADDRESSES[node_id],
            ip="",
            flags=frozenset({"slave" if primary_id else "master", *([extra] if extra else [])}),
            primary_id=primary_id,
            slots=slots,
        )
    return Knowledge(nodes)


@st.composite
def observations(draw: st.DrawFn) -> Observation:
    layout = draw(layouts())
    other = draw(layouts())
    views = []
    calm = draw(flags)  # else nearly everything is a mess
    for each in MEMBERS:
        if draw(almost_never if calm else rarely):
            views.append(NodeView(each.name, each.announced, reachable=False, error="refused"))
            continue
        own_id = IDS[each.name]
        knows = draw(knowledges(own_id, other if draw(almost_never) else layout))
        itself = knows.nodes[own_id]
        views.append(
            NodeView(
                name=each.name,
                address=each.announced,
                node_id=own_id,
                role=REPLICA if itself.primary_id else PRIMARY,
                primary_id=itself.primary_id,
                slots=itself.slots,
                open_slots=(OpenSlot(7, draw(flags), IDS[draw(st.sampled_from(MEMBERS)).name]),)
                if draw(almost_never)
                else (),
                link_up=bool(itself.primary_id) and draw(mostly),
                loading=draw(almost_never),
                keys=draw(st.sampled_from([0, 0, 0, 5])) if not itself.slots else draw(st.sampled_from([0, 9])),
                memory_used=draw(st.sampled_from([10, 1000])),
                memory_max=draw(st.sampled_from([0, 1000])),
                dataset=draw(st.integers(0, 900)),
                offset=draw(st.integers(0, 100)),
                state_ok=draw(mostly) or calm,
                epoch=draw(st.integers(0, 5)),
                knows=knows,
                withholds=draw(rarely),
                differing_settings={"maxmemory": ("1", "2")} if draw(rarely) else {},
            )
        )
    return Observation(tuple(views[:4]), tuple(views[4:]))


def claims(observation: Observation) -> dict[str, set[int]]:
    """Whom anybody says to have slots."""
    found: dict[str, set[Ranges]] = {}
    for node in observation.every_node:
        for node_id, known in node.knows.nodes.items():
            if known.slots:
                found.setdefault(node_id, set()).add(known.slots)
    return {node_id: {slot for ranges in each for slot in slots_of(ranges)} for node_id, each in found.items()}


def view(observation: Observation, name: str) -> NodeView:
    return observation.by_name[name]


def check_slots_are_taken_only_when_nobody_claims_them(observation: Observation, found: Plan) -> None:
    claimed = {slot for slots in claims(observation).values() for slot in slots}
    taken: set[int] = set()
    for step in found.steps:
        if isinstance(step, TakeSlots):
            assert all(node.reachable and not node.loading for node in observation.nodes)
            assert not set(step.slots) & (claimed | taken)
            assert view(observation, step.member).role == PRIMARY
            taken |= set(step.slots)


def check_nothing_that_may_hold_the_only_copy_is_given_up(observation: Observation, found: Plan) -> None:
    emptied = {step.member for step in found.steps if isinstance(step, MoveSlots | HandOver)}
    emptied |= {step.primary for step in found.steps if isinstance(step, HandOver)}
    owners = claims(observation)
    for number, stage in enumerate(found.stages):
        for step in stage:
            node = observation.node(step.member)
            assert node is not None
            assert node.reachable
            if isinstance(step, Reset):
                assert node in observation.leaving
                now = number == 0  # what comes later is planned again when it is its turn
                assert node.role == REPLICA or not node.slots or (not now and node.name in emptied)
                assert node.role == REPLICA or not node.keys or (not now and node.name in emptied)
            if isinstance(step, Replicate):
                assert node in observation.nodes
                assert not node.slots
                assert node.role == REPLICA or not node.keys
                if node.role == REPLICA and node.primary_id in owners:
                    followed = observation.by_id.get(node.primary_id)
                    assert followed is not None, "its primary is gone: this may be the only copy"


def check_what_is_forgotten_is_gone_and_has_no_slots(observation: Observation, found: Plan) -> None:
    owners = claims(observation)
    leaving = {node.node_id for node in observation.leaving if node.reachable}
    reset = {view(observation, step.member).node_id for step in found.steps if isinstance(step, Reset)}
    for number, stage in enumerate(found.stages):
        for step in stage:
            if not isinstance(step, Forget):
                continue
            for node_id, _ in step.gone:
                assert node_id not in {node.node_id for node in observation.nodes}
                if node_id in leaving:
                    assert number > 0
                    assert node_id in reset
                else:
                    assert node_id not in owners


def check_nothing_is_done_while_an_owner_is_down_or_beside_a_refusal(observation: Observation, found: Plan) -> None:
    owners = claims(observation)
    for node in observation.every_node:
        for node_id, known in node.knows.nodes.items():
            reported = observation.by_id.get(node_id)
            really = reported is None or reported.slots
            if node_id in owners and really and not known.in_handshake and known.failing:
                assert found.steps == ()
                assert found.waits or found.refusals
    if found.refusals:
        assert found.steps == ()
    assert all(line.strip() for line in (*found.waits, *found.refusals, *found.describe()))


def check_another_clusters_nodes_are_never_met(observation: Observation, found: Plan) -> None:
    for node in observation.every_node:
        known = node.knows.nodes.get("stranger")
        if known is not None and not known.in_handshake and known.flags <= {"master", "slave"}:
            opinions = [other.knows.nodes.get("stranger") for other in observation.every_node]
            if all(each is None or each.flags <= {"master", "slave"} for each in opinions):
                assert found.refusals
    for step in found.steps:
        if isinstance(step, Meet):
            assert step.member not in step.others
            for other in (view(observation, name) for name in step.others):
                assert other.reachable
                assert other in observation.nodes or other.slots, "who leaves is needed only for its slots"


def check_taking_over_is_the_last_resort(observation: Observation, found: Plan) -> None:
    for step in found.steps:
        if isinstance(step, TakeOver):
            node = view(observation, step.member)
            assert node.primary_id == step.former_id
            assert step.former_id not in observation.by_id
            assert all(other.reachable and not other.loading for other in observation.nodes)
            assert len([other for other in found.steps if other == step]) == 1


def check_slots_move_only_from_who_has_them_and_when_all_is_well(observation: Observation, found: Plan) -> None:
    if not found.stages:
        return
    moved: dict[str, set[int]] = {}
    for step in found.steps:
        if isinstance(step, MoveSlots):
            assert step.to in {each.name for each in TARGET.members}
            assert not moved.setdefault(step.member, set()) & set(step.slots)
            moved[step.member] |= set(step.slots)
    for step in found.stages[0]:
        if isinstance(step, MoveSlots | SettleSlots | HandOver | Reset):
            assert all(node.reachable and not node.loading for node in observation.nodes)
            assert all(node.state_ok for node in observation.nodes)
            maps = {node.knows.owners for node in observation.nodes}
            assert len(maps) == 1
            assert not found.waits or isinstance(step, Reset)
        if isinstance(step, MoveSlots):
            assert set(step.slots) <= set(slots_of(view(observation, step.member).slots))
            assert not any(node.open_slots for node in observation.every_node), "what is open is settled first"


def check_the_receivers_have_room(observation: Observation, found: Plan) -> None:
    arriving: dict[str, int] = {}
    for step in found.steps:
        if isinstance(step, MoveSlots):
            arriving[step.to] = arriving.get(step.to, 0) + step.bytes
            arriving[step.member] = arriving.get(step.member, 0) - step.bytes
    for name, size in arriving.items():
        node = view(observation, name)
        assert size <= 0 or not node.memory_max or node.memory_used + size <= node.memory_max


CHECKS: tuple[Callable[[Observation, Plan], None], ...] = (
    check_slots_are_taken_only_when_nobody_claims_them,
    check_nothing_that_may_hold_the_only_copy_is_given_up,
    check_what_is_forgotten_is_gone_and_has_no_slots,
    check_nothing_is_done_while_an_owner_is_down_or_beside_a_refusal,
    check_another_clusters_nodes_are_never_met,
    check_taking_over_is_the_last_resort,
    check_slots_move_only_from_who_has_them_and_when_all_is_well,
    check_the_receivers_have_room,
)


@settings(max_examples=300, deadline=None)
@given(observations())
def test_whatever_is_observed_the_plan_is_safe(observation: Observation) -> None:
    found = plan(TARGET, observation)
    assert found == plan(TARGET, observation), "it depends on nothing else"
    for check in CHECKS:
        check(observation, found)


def test_the_thirds_are_all_slots() -> None:
    assert sum(map(count_slots, THIRDS)) == 16384
