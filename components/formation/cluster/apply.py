"""Carries out single steps of a plan. Every step may be repeated."""

from __future__ import annotations

import contextlib

import redis

from ..connection import Connections, reason, without_errors
from ..errors import FormationError
from ..live_settings import change_live_settings
from ..members import Member
from ..steps import ChangeLiveSettings, Step
from .observation import SYNC_DELAY, Observation, wanted_settings
from .slots import slot_ranges
from .steps import RELEASING, Forget, Meet, Release, Replicate, Reset, SetEpoch, TakeOver, TakeSlots
from .target import ClusterTarget


def apply_step(step: Step, target: ClusterTarget, observation: Observation, connections: Connections) -> None:
    """Does what `step` says; `observation` is what it was planned from.

    Raises redis.RedisError when the member does not answer, FormationError when it refuses. Moves of slots and
    hand-overs are not single commands: see `slot_migration` and `hand_over`.
    """
    try:
        _apply(step, target, observation, connections)
    except redis.ResponseError as error:
        raise FormationError(f"{step.describe()}: {reason(error)}") from error


def _apply(step: Step, target: ClusterTarget, observation: Observation, connections: Connections) -> None:
    member = member_named(target, step.member)
    nodes = observation.by_name
    match step:
        case TakeSlots():
            if step.epoch:
                _set_epoch(connections, member, step.epoch)
            words = [word for first_and_last in slot_ranges(step.slots) for word in first_and_last]
            connections.ask(member, "CLUSTER", "ADDSLOTSRANGE", *words)
        case SetEpoch():
            _set_epoch(connections, member, step.epoch)
        case Release():
            pass
        case Meet():
            others = [nodes[other] for other in step.others]
            without_errors(
                connections.ask_all(
                    member, *(("CLUSTER", "MEET", other.ip, other.address.port) for other in others)
                )
            )  # fmt: skip
        case Replicate():
            connections.ask(member, "CLUSTER", "REPLICATE", nodes[step.primary].node_id)
        case TakeOver():
            connections.ask(member, "CLUSTER", "FAILOVER", "TAKEOVER")
        case ChangeLiveSettings():
            wanted = wanted_settings(target)
            change_live_settings(connections, member, {key: wanted[key] for key, _, _ in step.changes})
        case Reset():
            connections.ask(member, "CLUSTER", "RESET", "HARD")
        case Forget():
            _forget(connections, member, [node_id for node_id, _ in step.gone])
        case _:
            raise TypeError(f"no way to carry out {type(step).__name__}")
    if isinstance(step, RELEASING) and nodes[step.member].withholds:
        # Not kept by CONFIG REWRITE: as long as the node knows no other, it is to start like this again.
        connections.ask(member, "CONFIG", "SET", SYNC_DELAY, target.live_settings.get(SYNC_DELAY, "0"))


def _set_epoch(connections: Connections, member: Member, epoch: int) -> None:
    # Refused when somebody has met the node since, or when this is sent a second time: Redis then settles it itself.
    with contextlib.suppress(redis.ResponseError):
        connections.ask(member, "CLUSTER", "SET-CONFIG-EPOCH", epoch)


def _forget(connections: Connections, member: Member, ids: list[str]) -> None:
    answers = connections.ask_all(member, *(("CLUSTER", "FORGET", node_id) for node_id in ids))
    # From Redis 7.2 on, others pass it on; who has heard of it already does not know the node any more.
    errors = [answer for answer in answers if isinstance(answer, Exception) and "Unknown node" not in str(answer)]
    if errors:
        raise errors[0]


def member_named(target: ClusterTarget, name: str) -> Member:
    """The member of a name, leaving ones included."""
    return next(member for member in target.every_member if member.name == name)
