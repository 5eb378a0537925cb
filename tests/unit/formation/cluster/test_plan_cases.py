"""The plan for situations that an operator would recognise, with the words it is explained in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from components.formation import Address, Member, Plan
from components.formation.cluster import ClusterTarget, NodeView, Observation, Shard, plan
from components.formation.cluster.gossip import unknown_as_they_are
from components.formation.cluster.health import status
from components.formation.cluster.observation import (
    PRIMARY,
    REPLICA,
    Knowledge,
    KnownNode,
    OpenSlot,
    Ranges,
    fresh,
)
from components.formation.cluster.plan import plan_for_empty_deployment

SLOTS: tuple[Ranges, ...] = (((0, 5461),), ((5462, 10922),), ((10923, 16383),))


def target_of(shards: int, copies: int) -> ClusterTarget:
    def member(shard: int, copy: int) -> Member:
        name = f"redis-{shard}-{copy}"
        return Member(name, Address(name, 6379), Address("127.0.0.1", 7000 + 100 * shard + copy))

    return ClusterTarget(
        tuple(Shard(f"shard-{shard}", tuple(member(shard, copy) for copy in range(copies))) for shard in range(shards))
    )


TARGET = target_of(3, 2)


def healthy(target: ClusterTarget = TARGET, slots: tuple[Ranges, ...] = SLOTS) -> Observation:
    """All is well; the first copy of each shard is its primary, with 100 keys of 10 bytes."""
    known = {}
    for shard, ranges in zip(target.shards, slots, strict=True):
        for member in shard.members:
            primary = member is shard.members[0]
            known[member.name] = KnownNode(
                node_id=member.name,
                address=member.announced,
                ip="",
                flags=frozenset({"master" if primary else "slave"}),
                primary_id="" if primary else shard.members[0].name,
                slots=ranges if primary else (),
            )
    return agreed(target, known)


def agreed(target: ClusterTarget, known: dict[str, KnownNode]) -> Observation:
    """Nodes that all know the same; the id of a node is its name."""
    knowledge = Knowledge(known)
    views = [
        NodeView(
            name=member.name,
            address=member.announced,
            node_id=member.name,
            role=REPLICA if known[member.name].primary_id else PRIMARY,
            primary_id=known[member.name].primary_id,
            slots=known[member.name].slots,
            link_up=bool(known[member.name].primary_id),
            keys=100,
            memory_used=1500,
            dataset=1000,
            state_ok=True,
            epoch=number,
            knows=knowledge,
        )
        for number, member in enumerate(target.every_member, start=1)
    ]
    staying = len(target.members)
    return Observation(tuple(views[:staying]), tuple(views[staying:]))


def changed(observation: Observation, name: str, **changes: Any) -> Observation:
    return Observation(
        tuple(replace(node, **changes) if node.name == name else node for node in observation.nodes),
        tuple(replace(node, **changes) if node.name == name else node for node in observation.leaving),
    )


def knowing(observation: Observation, node_id: str, **changes: Any) -> Observation:
    """Everybody knows something else about a node."""
    before = observation.nodes[0].knows.nodes
    knowledge = Knowledge({**before, node_id: replace(before[node_id], **changes)})
    return Observation(
        tuple(replace(node, knows=knowledge) if node.reachable else node for node in observation.nodes),
        tuple(replace(node, knows=knowledge) if node.reachable else node for node in observation.leaving),
    )


def down(observation: Observation, name: str) -> Observation:
    index = [node.name for node in observation.nodes].index(name)
    view = NodeView(name, observation.nodes[index].address, reachable=False, error="refused")
    return Observation((*observation.nodes[:index], view, *observation.nodes[index + 1 :]), observation.leaving)


def failed(observation: Observation, name: str) -> Observation:
    return down(knowing(observation, name, flags=frozenset({"master", "fail"})), name)


def wiped(observation: Observation, name: str) -> Observation:
    """It answers to another id; everybody else knows that nobody answers to the former one any more."""
    member = next(member for member in TARGET.members if member.name == name)
    observation = knowing(observation, name, flags=observation.nodes[0].knows.nodes[name].flags | {"noaddr"})
    index = [node.name for node in observation.nodes].index(name)
    return Observation((*observation.nodes[:index], fresh(member), *observation.nodes[index + 1 :]))


def stranger(observation: Observation, **changes: Any) -> Observation:
    node = KnownNode("stranger", Address("elsewhere", 6379), "", frozenset({"master"}), "", ())
    knowledge = Knowledge({**observation.nodes[0].knows.nodes, "stranger": replace(node, **changes)})
    return Observation(tuple(replace(node, knows=knowledge) for node in observation.nodes))


def test_nothing_to_do() -> None:
    assert plan(TARGET, healthy()) == Plan()
    found = status(TARGET, healthy())
    assert found.healthy, found.reasons
    assert [(row.shard, row.role, row.slots, row.lag_bytes) for row in found.rows[:3]] == [
        ("shard-0", "primary", 5462, None),
        ("shard-0", "replica", None, 0),
        ("shard-1", "primary", 5461, None),
    ]


def test_the_first_formation() -> None:
    assert plan_for_empty_deployment(TARGET).describe() == [
        "redis-0-0: take slots 0-5461, which nobody has",
        "redis-1-0: take slots 5462-10922, which nobody has",
        "redis-2-0: take slots 10923-16383, which nobody has",
        "redis-0-1: begin with configuration epoch 2",
        "redis-1-1: begin with configuration epoch 4",
        "redis-2-1: begin with configuration epoch 6",
        "redis-0-0: meet 5 other nodes",
        "redis-0-1: meet 4 other nodes",
        "redis-1-0: meet redis-1-1, redis-2-0, redis-2-1",
        "redis-1-1: meet redis-2-0, redis-2-1",
        "redis-2-0: meet redis-2-1",
        "redis-0-1: replicate redis-0-0",
        "redis-1-1: replicate redis-1-0",
        "redis-2-1: replicate redis-2-0",
    ]


STEPS: list[tuple[str, Callable[[Observation], Observation], list[str]]] = [
    (
        "a replica lost its data",
        lambda o: wiped(o, "redis-2-1"),
        [
            "redis-0-0: meet redis-2-1",
            "redis-0-1: meet redis-2-1",
            "redis-1-0: meet redis-2-1",
            "redis-1-1: meet redis-2-1",
            "redis-2-0: meet redis-2-1",
            "redis-2-1: replicate redis-2-0",
            *(
                f"{name}: forget the former node redis-2- at redis-2-1:6379"
                for name in ("redis-0-0", "redis-0-1", "redis-1-0", "redis-1-1", "redis-2-0")
            ),
        ],
    ),
    (
        "a primary lost its data and nobody noticed it fail",
        lambda o: wiped(o, "redis-1-0"),
        ["redis-1-1: take over from its primary, which has lost its data"],
    ),
    (
        "a setting was changed by hand",
        lambda o: changed(o, "redis-0-1", differing_settings={"maxmemory": ("1", "2mb")}),
        ["redis-0-1: change live maxmemory 1 -> 2mb"],
    ),
    (
        "a move was interrupted",
        lambda o: changed(o, "redis-0-0", open_slots=(OpenSlot(7, True, "redis-1-0"),)),
        ["redis-0-0: settle slots 7, left open by an interrupted move"],
    ),
    (
        "slots were taken away by hand",
        lambda o: changed(knowing(o, "redis-0-0", slots=((0, 5000),)), "redis-0-0", slots=((0, 5000),)),
        ["redis-0-0: take slots 5001-5461, which nobody has"],
    ),
    (
        "a node that is gone is still known",
        lambda o: stranger(o, flags=frozenset({"master", "fail"})),
        [
            f"redis-{shard}-{copy}: forget the former node stranger at elsewhere:6379"
            for shard in range(3)
            for copy in range(2)
        ],
    ),
]


@pytest.mark.parametrize(("change", "steps"), [case[1:] for case in STEPS], ids=[case[0] for case in STEPS])
def test_steps(change: Callable[[Observation], Observation], steps: list[str]) -> None:
    found = plan(TARGET, change(healthy()))
    assert found.refusals == ()
    assert found.describe() == steps


PROBLEMS: list[tuple[str, Callable[[Observation], Observation], str, str]] = [
    ("a replica is down", lambda o: down(o, "redis-2-1"), "waits", "redis-2-1: not reachable (refused): start it"),
    (
        "a primary is down",
        lambda o: failed(o, "redis-0-0"),
        "waits",
        "redis-0-0: is down and has slots 0-5461: redis-0-1 can take over",
    ),
    (
        "a shard is down",
        lambda o: down(failed(o, "redis-0-0"), "redis-0-1"),
        "waits",
        "redis-0-0: is down and has slots 0-5461: nobody else that answers has a copy: start it",
    ),
    (
        "a primary is suspected",
        lambda o: knowing(o, "redis-1-0", flags=frozenset({"master", "fail?"})),
        "waits",
        "redis-1-0: is suspected to be down by other nodes and has slots 5462-10922",
    ),
    (
        "a former primary has not heard of its successor",
        lambda o: changed(o, "redis-0-1", slots=((0, 5461),), role=PRIMARY, primary_id=""),
        "waits",
        "redis-0-1: claims slots 0-5461, of which another node has some, too",
    ),
    (
        "a replica is not in sync",
        lambda o: changed(o, "redis-1-1", link_up=False, syncing=True),
        "waits",
        "redis-1-1: is being synchronised",
    ),
    (
        "a primary is not proven yet",
        lambda o: changed(o, "redis-1-0", unproven=True),
        "waits",
        "redis-1-0: accepts no write before its host has proven that it is still the primary",
    ),
    (
        "a primary lost its data, and not everybody has heard who has taken over",
        lambda o: changed(wiped(o, "redis-1-0"), "redis-1-1", slots=((5462, 10922),), role=PRIMARY, primary_id=""),
        "waits",
        "slots 5462-10922: some nodes still know the former node redis-1- at redis-1-0:6379 as the owner",
    ),
    (
        "a primary lost its data, and there is no copy",
        lambda o: wiped(wiped(o, "redis-1-1"), "redis-1-0"),
        "refusals",
        "has slots 5462-10922 and lost its data, and no replica has a copy",
    ),
    (
        "another cluster's node is known",
        stranger,
        "refusals",
        "redis-0-0: knows elsewhere:6379 (stranger), which is no member of this deployment",
    ),
    (
        "slots belong to a node that is no member and is down",
        lambda o: stranger(
            changed(knowing(o, "redis-0-0", slots=((0, 5000),)), "redis-0-0", slots=((0, 5000),)),
            slots=((5001, 5461),),
            flags=frozenset({"master", "fail"}),
        ),
        "waits",
        "elsewhere:6379: is down and has slots 5001-5461",
    ),
    (
        "a node joins with keys",
        lambda o: changed(wiped(o, "redis-2-1"), "redis-2-1", keys=3),
        "refusals",
        "redis-2-1 (3 keys): holds keys but belongs to no cluster",
    ),
    (
        "a node is no cluster node",
        lambda o: changed(down(o, "redis-2-1"), "redis-2-1", cluster_enabled=False),
        "refusals",
        "redis-2-1: runs without cluster-enabled yes",
    ),
]


@pytest.mark.parametrize(
    ("change", "kind", "words"), [case[1:] for case in PROBLEMS], ids=[case[0] for case in PROBLEMS]
)
def test_problems(change: Callable[[Observation], Observation], kind: str, words: str) -> None:
    observation = change(healthy())
    found = plan(TARGET, observation)
    assert found.steps == ()
    assert words in "; ".join(found.refusals if kind == "refusals" else found.waits)
    if kind == "waits":
        assert found.refusals == ()
    ill = status(TARGET, observation)
    assert not ill.healthy
    assert words in "; ".join(ill.reasons)


def larger(observation: Observation) -> tuple[ClusterTarget, Observation]:
    """A fourth shard, whose nodes have just started."""
    target = target_of(4, 2)
    return target, replace(observation, nodes=(*observation.nodes, *(fresh(each) for each in target.shards[3].members)))


def test_a_shard_more_gets_an_equal_part_from_every_other() -> None:
    lines = plan(*larger(healthy())).describe()
    assert lines[-4:] == [
        "redis-3-1: replicate redis-3-0",
        "redis-0-0: move 1366 slots with about 25 keys (0.0 MiB) to redis-3-0",
        "redis-1-0: move 1365 slots with about 25 keys (0.0 MiB) to redis-3-0",
        "redis-2-0: move 1365 slots with about 25 keys (0.0 MiB) to redis-3-0",
    ]


def without_last_shard(observation: Observation) -> tuple[ClusterTarget, Observation]:
    shards = TARGET.shards
    return ClusterTarget(shards[:2], leaving=shards[2].members), Observation(
        observation.nodes[:4], observation.nodes[4:]
    )


def test_a_shard_that_leaves_is_drained_then_its_nodes_go_and_are_forgotten() -> None:
    assert plan(*without_last_shard(healthy())).describe() == [
        "redis-2-0: move 2731 slots with about 50 keys (0.0 MiB) to redis-1-0",
        "redis-2-0: move 2730 slots with about 50 keys (0.0 MiB) to redis-0-0",
        "redis-2-0: leave the cluster",
        "redis-2-1: leave the cluster",
        *(f"redis-{shard}-{copy}: forget redis-2-0, redis-2-1" for shard in range(2) for copy in range(2)),
    ]


def test_the_shards_that_stay_must_have_room() -> None:
    observation = changed(healthy(), "redis-1-0", memory_max=1900)
    assert plan(*without_last_shard(observation)).refusals == (
        "redis-1-0: would get about 0.0 MiB of keys and already uses 0.0 MiB, which is more than its maxmemory of "
        "0.0 MiB: give it more memory, keep more shards, or delete keys first",
    )
    observation = changed(healthy(), "redis-1-0", memory_max=2100)
    assert plan(*without_last_shard(observation)).refusals == ()


def test_who_leaves_with_keys_that_no_slot_of_its_has_stays() -> None:
    drained = knowing(healthy(), "redis-2-0", slots=())
    drained = knowing(drained, "redis-1-0", slots=((5462, 16383),))
    drained = changed(changed(drained, "redis-2-0", slots=()), "redis-1-0", slots=((5462, 16383),))
    target, observation = without_last_shard(drained)
    found = plan(replace(target, shards=(target.shards[0], replace(target.shards[1], weight=2))), observation)
    assert found.steps == ()
    assert "redis-2-0: cannot leave yet: redis-2-0 holds 100 keys" in found.waits
    assert "redis-2-1: cannot leave yet: redis-2-0 holds 100 keys" in found.waits


def test_a_leaving_primary_whose_shard_stays_hands_over_first() -> None:
    shard = TARGET.shards[0]
    target = ClusterTarget((Shard(shard.name, shard.members[1:]), *TARGET.shards[1:]), leaving=shard.members[:1])
    nodes = healthy().nodes
    found = plan(target, Observation(nodes[1:], nodes[:1]))
    assert found.describe()[:3] == [
        "redis-0-1: take over from redis-0-0, which leaves (its writes pause for a moment)",
        "redis-0-0: leave the cluster",
        "redis-0-1: forget redis-0-0",
    ]
    behind = changed(Observation(nodes[1:], nodes[:1]), "redis-0-1", link_up=False)
    assert plan(target, behind).steps == ()


def test_nobody_leaves_and_no_slot_moves_while_somebody_is_missing() -> None:
    target, observation = without_last_shard(down(healthy(), "redis-0-1"))
    assert plan(target, observation).steps == ()


def test_a_member_of_which_only_the_ip_address_is_known_is_no_stranger() -> None:
    observation = down(healthy(), "redis-2-1")
    known = dict(observation.nodes[0].knows.nodes)
    known["redis-2-1"] = replace(known["redis-2-1"], address=Address("10.0.0.7", 6379), ip="10.0.0.7")
    nodes = tuple(replace(node, knows=Knowledge(known)) if node.reachable else node for node in observation.nodes)
    found = plan(TARGET, Observation(nodes))
    assert found.refusals == ()
    assert found.waits == ("redis-2-1: not reachable (refused): start it",)


def test_two_clusters_are_refused() -> None:
    both = target_of(6, 1)
    one = healthy(ClusterTarget(both.shards[:3]))
    other = healthy(ClusterTarget(both.shards[3:]))
    found = plan(both, Observation((*one.nodes, *other.nodes)))
    assert found.steps == ()
    assert "belong to different clusters" in found.refusals[0]


def test_of_whom_others_do_not_know_enough() -> None:
    def names(observation: Observation) -> list[str]:
        return [node.name for node in unknown_as_they_are(observation)]

    assert names(healthy()) == []
    assert names(changed(healthy(), "redis-2-1", primary_id="redis-0-0")) == ["redis-2-1"]
    assert names(knowing(healthy(), "redis-0-0", address=Address("10.0.0.7", 6379))) == ["redis-0-0"]
    assert names(wiped(healthy(), "redis-2-1")) == [], "it is not known at all yet"


def test_as_many_nodes_as_a_cluster_can_have_are_planned_for() -> None:
    target = target_of(500, 2)
    size = 16384 / 500
    slots = tuple(((round(number * size), round((number + 1) * size) - 1),) for number in range(500))
    assert plan(target, healthy(target, slots)).steps == ()
    found = plan(target, Observation(tuple(fresh(member) for member in target.members)))
    assert found.steps
    assert found.refusals == ()
