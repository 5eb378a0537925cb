"""The plan for situations that an operator would recognise, with the words it is explained in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from components.formation import Plan
from components.formation.replication import RETIRED, UNFORMED, NodeView, Observation, SentinelView, plan
from components.formation.replication.health import status
from components.formation.replication.observation import PRIMARY, REPLICA, AttachedReplica
from components.formation.replication.plan import plan_for_empty_deployment
from tests.unit.formation.replication.test_plan_is_safe import NODE_ADDRESSES, SETTINGS, TARGET

WHOLE = replace(TARGET, leaving_nodes=(), leaving_sentinels=())
FIRST = NODE_ADDRESSES[0]


def healthy() -> Observation:
    """Three nodes, three Sentinels, all is well; the first node is the primary and holds seven keys."""
    replicas = tuple(AttachedReplica(address, "online", 90) for address in NODE_ADDRESSES[1:3])
    nodes = [
        NodeView(
            name=member.name,
            address=member.announced,
            role=REPLICA,
            follows=FIRST,
            link_up=True,
            offset=90,
            history="a",
            keys=7,
            priority=100,
            serves_stale=True,
        )
        for member in WHOLE.nodes
    ]
    nodes[0] = replace(nodes[0], role=PRIMARY, follows=None, link_up=False, offset=100, replicas=replicas)
    sentinels = tuple(
        SentinelView(
            name=member.name,
            address=member.announced,
            run_id=member.name,
            primary=FIRST,
            flags=("master",),
            settings=SETTINGS.readable,
            replicas=tuple(NODE_ADDRESSES[1:3]),
            replica_flags={str(address): ("slave",) for address in NODE_ADDRESSES[1:3]},
            sentinels={other.name: other.announced for other in WHOLE.sentinels if other is not member},
        )
        for member in WHOLE.sentinels
    )
    return Observation(tuple(nodes), sentinels)


def with_node(observation: Observation, ordinal: int, **changes: Any) -> Observation:
    nodes = list(observation.nodes)
    nodes[ordinal] = replace(nodes[ordinal], **changes)
    return replace(observation, nodes=tuple(nodes))


def with_sentinel(observation: Observation, ordinal: int, **changes: Any) -> Observation:
    sentinels = list(observation.sentinels)
    sentinels[ordinal] = replace(sentinels[ordinal], **changes)
    return replace(observation, sentinels=tuple(sentinels))


def unformed(observation: Observation, ordinal: int, **changes: Any) -> Observation:
    just_started = {
        "role": REPLICA,
        "follows": UNFORMED,
        "link_up": False,
        "priority": 0,
        "serves_stale": False,
        "replicas": (),
    }
    return with_node(observation, ordinal, **{**just_started, **changes})


def test_nothing_to_do() -> None:
    assert plan(WHOLE, healthy()) == Plan()
    found = status(WHOLE, healthy())
    assert found.healthy, found.reasons
    assert [(row.role, row.lag_bytes) for row in found.rows[:3]] == [
        ("primary", None),
        ("replica", 10),
        ("replica", 10),
    ]
    assert found.rows[0].seen_by == "3 x primary"


def test_the_first_formation() -> None:
    assert plan_for_empty_deployment(WHOLE).describe()[:3] == [
        "redis-0: become the primary (no node holds a key)",
        "redis-1: follow the primary redis-0",
        "redis-2: follow the primary redis-0",
    ]


def everything_restarted(observation: Observation) -> Observation:
    for ordinal in range(3):
        observation = unformed(observation, ordinal)
    return observation


def sentinels_forgot(observation: Observation) -> Observation:
    for ordinal in range(3):
        observation = with_sentinel(observation, ordinal, primary=None, settings={}, replicas=(), sentinels={})
    return observation


def second_primary(observation: Observation) -> Observation:
    return with_node(observation, 1, role=PRIMARY, follows=None, keys=3)


def unknown_second_primary(observation: Observation) -> Observation:
    observation = second_primary(observation)
    for ordinal in range(3):
        observation = with_sentinel(observation, ordinal, replicas=())
    return observation


def one_says_otherwise(observation: Observation) -> Observation:
    observation = with_sentinel(observation, 0, primary=NODE_ADDRESSES[1])
    return with_sentinel(observation, 1, reachable=False, primary=None, error="refused")


def only_one_sentinel_answers(observation: Observation) -> Observation:
    for ordinal in (1, 2):
        observation = with_sentinel(observation, ordinal, reachable=False, primary=None, error="refused")
    return observation


STEPS: list[tuple[str, Callable[[Observation], Observation], list[str]]] = [
    ("a replica restarted", lambda o: unformed(o, 2), ["redis-2: follow the primary redis-0"]),
    (
        "a retired node is wanted again",
        lambda o: unformed(o, 2, follows=RETIRED),
        ["redis-2: follow the primary redis-0"],
    ),
    (
        "an interrupted hand-over left a priority",
        lambda o: with_node(o, 1, priority=1),
        ["redis-1: in sync, may be promoted (replica-priority 100)"],
    ),
    (
        "everything restarted",
        everything_restarted,
        [
            "redis-0: become the primary (named by the Sentinel majority)",
            "redis-1: follow the primary redis-0",
            "redis-2: follow the primary redis-0",
        ],
    ),
    (
        "a setting was changed by hand",
        lambda o: with_node(o, 2, differing_settings={"maxmemory": ("1", "2mb")}),
        ["redis-2: change live maxmemory 1 -> 2mb"],
    ),
    (
        "a Sentinel was changed by hand",
        lambda o: with_sentinel(o, 2, settings={**SETTINGS.readable, "quorum": 1}),
        ["sentinel-2: change quorum 1 -> 2"],
    ),
    (
        "a Sentinel cannot log in",
        lambda o: with_sentinel(o, 2, milliseconds_without_access=40_000),
        ["sentinel-2: set the user and password for the Redis nodes again"],
    ),
    (
        "a Sentinel was made anew",
        lambda o: with_sentinel(o, 2, run_id="new", primary=None, settings={}, replicas=(), sentinels={}),
        [
            "sentinel-2: monitor the primary redis-0",
            "sentinel-0: introduce to sentinel-2",
            "sentinel-1: introduce to sentinel-2",
            "sentinel-2: introduce to sentinel-0, sentinel-1",
            "sentinel-0: forget a former Sentinel at sentinel-2:26381",
            "sentinel-1: forget a former Sentinel at sentinel-2:26381",
        ],
    ),
    (
        "a former replica is still known",
        lambda o: with_sentinel(o, 1, replicas=(*NODE_ADDRESSES[1:4],)),
        [f"sentinel-1: forget {NODE_ADDRESSES[3]}"],
    ),
]


@pytest.mark.parametrize(("change", "steps"), [case[1:] for case in STEPS], ids=[case[0] for case in STEPS])
def test_steps(change: Callable[[Observation], Observation], steps: list[str]) -> None:
    found = plan(WHOLE, change(healthy()))
    assert found.refusals == ()
    assert found.describe() == steps


PROBLEMS: list[tuple[str, Callable[[Observation], Observation], str, str]] = [
    (
        "a replica is down",
        lambda o: with_node(o, 2, reachable=False, error="refused"),
        "waits",
        "redis-2: not reachable",
    ),
    (
        "the primary is down",
        lambda o: with_node(o, 0, reachable=False, error="refused"),
        "waits",
        "redis-0: the primary is not reachable",
    ),
    ("the primary restarted, its replicas stand", lambda o: unformed(o, 0), "waits", "the Sentinels have to decide"),
    (
        "the primary lost its data in a restart of everything",
        lambda o: with_node(everything_restarted(o), 0, keys=0),
        "refusals",
        "redis-0: the Sentinels name it as the primary, but it is empty and would empty redis-1 (7 keys), redis-2",
    ),
    (
        "everything restarted and one node is missing",
        lambda o: with_node(everything_restarted(o), 2, reachable=False, error="refused"),
        "waits",
        "cannot go on as the primary before all nodes can be asked",
    ),
    (
        "everything restarted and no Sentinel remembers",
        lambda o: sentinels_forgot(everything_restarted(o)),
        "refusals",
        "no Sentinel knows the primary, and data are on redis-0 (7 keys), redis-1 (7 keys)",
    ),
    ("a former primary came back", second_primary, "waits", "redis-1: a former primary that the Sentinels will turn"),
    (
        "a second primary that no Sentinel knows",
        unknown_second_primary,
        "refusals",
        "redis-1: a second primary with 3 keys beside redis-0",
    ),
    ("two primaries, no Sentinel", lambda o: second_primary(sentinels_forgot(o)), "refusals", "2 primaries at once"),
    ("Sentinels disagree", one_says_otherwise, "refusals", "the Sentinels disagree and none has a majority"),
    (
        "a node and two Sentinels are cut off",
        lambda o: with_node(only_one_sentinel_answers(o), 2, reachable=False, error="refused"),
        "waits",
        "redis-0: no Sentinel majority confirms that it is the primary",
    ),
    (
        "Sentinels disagree, but one opinion is newer",
        lambda o: with_sentinel(one_says_otherwise(o), 0, config_epoch=3),
        "waits",
        "the Sentinels do not agree yet",
    ),
    (
        "a node with data joins an empty primary",
        lambda o: unformed(with_node(o, 0, keys=0, history="b"), 1, keys=5),
        "refusals",
        "redis-1: holds 5 keys while the primary redis-0 holds none",
    ),
    (
        "a failover is going on",
        lambda o: with_sentinel(unformed(o, 2), 1, flags=("master", "failover_in_progress")),
        "waits",
        "sentinel-1: a failover is in progress",
    ),
    (
        "the Sentinels watch something else",
        lambda o: Observation(o.nodes, tuple(replace(view, primary=NODE_ADDRESSES[3]) for view in o.sentinels)),
        "waits",
        "redis-3:6382, which is no node of this deployment",
    ),
]


@pytest.mark.parametrize(
    ("change", "kind", "words"), [case[1:] for case in PROBLEMS], ids=[case[0] for case in PROBLEMS]
)
def test_problems(change: Callable[[Observation], Observation], kind: str, words: str) -> None:
    observation = change(healthy())
    found = plan(WHOLE, observation)
    assert found.steps == ()
    assert words in "; ".join(found.refusals if kind == "refusals" else found.waits)
    if kind == "refusals":
        assert all("python -m ops promote" in line for line in found.refusals)
    else:
        assert found.refusals == ()
    ill = status(WHOLE, observation)
    assert not ill.healthy
    assert words in "; ".join(ill.reasons)


def test_a_primary_that_leaves_hands_over_before_anything_forgets_it() -> None:
    leaving = replace(WHOLE, nodes=WHOLE.nodes[1:], leaving_nodes=WHOLE.nodes[:1])
    whole = healthy()
    found = plan(leaving, replace(whole, nodes=whole.nodes[1:], leaving_nodes=whole.nodes[:1]))
    assert found.describe() == [
        "redis-0: hand over to a replica that stays (writes pause for a few seconds)",
        "redis-0: leave the deployment",
        "sentinel-0: forget redis-0",
        "sentinel-1: forget redis-0",
        "sentinel-2: forget redis-0",
    ]


def test_a_replica_that_leaves() -> None:
    leaving = replace(WHOLE, nodes=WHOLE.nodes[:2], leaving_nodes=WHOLE.nodes[2:])
    whole = healthy()
    found = plan(leaving, replace(whole, nodes=whole.nodes[:2], leaving_nodes=whole.nodes[2:]))
    assert found.describe()[0] == "redis-2: leave the deployment"
    assert found.describe()[1:] == [f"sentinel-{ordinal}: forget redis-2" for ordinal in range(3)]


def test_nobody_leaves_while_somebody_is_missing() -> None:
    leaving = replace(WHOLE, nodes=WHOLE.nodes[:2], leaving_nodes=WHOLE.nodes[2:])
    whole = with_node(healthy(), 1, link_up=False)
    found = plan(leaving, replace(whole, nodes=whole.nodes[:2], leaving_nodes=whole.nodes[2:]))
    assert found.steps == ()
    assert "redis-2: leave after that" in found.waits


def test_half_of_the_sentinels_is_no_majority() -> None:
    leaving = replace(WHOLE, leaving_sentinels=TARGET.leaving_sentinels)
    restarted = everything_restarted(healthy())
    views = (restarted.sentinels[0], *(replace(view, primary=None) for view in restarted.sentinels[1:]))
    fourth = replace(restarted.sentinels[0], name="sentinel-3", address=leaving.leaving_sentinels[0].announced)
    two_of_four = replace(restarted, sentinels=views, leaving_sentinels=(fourth,))
    assert plan(leaving, two_of_four).steps == ()
    assert "only a minority of the Sentinels names one" in plan(leaving, two_of_four).refusals[0]
