"""Carries out single steps of a plan. Every step may be repeated."""

from __future__ import annotations

import re
from collections.abc import Iterable

import redis

from ..connection import Connections, reason
from ..errors import FormationError
from ..live_settings import change_live_settings
from ..members import Member
from ..steps import ChangeLiveSettings, Step
from .observation import Observation
from .steps import (
    ChangeSentinelSettings,
    Follow,
    Forget,
    GiveAccess,
    Introduce,
    MakePrimary,
    Monitor,
    Prove,
    Retire,
    StopMonitoring,
)
from .target import RETIRED, ReplicationTarget

HELLO_CHANNEL = "__sentinel__:hello"


def apply_step(step: Step, target: ReplicationTarget, observation: Observation, connections: Connections) -> None:
    """Does what `step` says; `observation` is what it was planned from.

    Raises redis.RedisError when the member does not answer, FormationError when it refuses.
    """
    try:
        _apply(step, target, observation, connections)
    except redis.ResponseError as error:
        raise FormationError(f"{step.describe()}: {reason(error)}") from error


def _apply(step: Step, target: ReplicationTarget, observation: Observation, connections: Connections) -> None:
    member = member_named(target, step.member)
    name = target.sentinel.master_name
    match step:
        case MakePrimary():
            become_primary(connections, member, target.replica_priority)
        case Follow():
            connections.ask(member, "REPLICAOF", step.address.host, step.address.port)
        case Prove():
            _prove(connections, member, step.priority)
        case ChangeLiveSettings():
            change_live_settings(connections, member, {key: target.live_settings[key] for key, _, _ in step.changes})
        case Retire():
            # Not to be promoted on the way out; the mark on disk is of no use, the node will not come back.
            connections.ask(member, "CONFIG", "SET", "replica-priority", 0)
            connections.ask(member, "REPLICAOF", RETIRED.host, RETIRED.port)
        case Monitor():
            _monitor(connections, member, target, step)
        case ChangeSentinelSettings():
            changes = [word for setting, _, wanted in step.changes for word in (setting, wanted)]
            connections.ask(member, "SENTINEL", "SET", name, *changes)
        case GiveAccess():
            connections.ask(member, "SENTINEL", "SET", name, *_access(target))
        case Introduce():
            introduce(connections, member, target, observation, step.others)
        case StopMonitoring():
            connections.ask(member, "SENTINEL", "REMOVE", name)
        case Forget():
            connections.ask(member, "SENTINEL", "RESET", reset_pattern(name))
            others = [view.name for view in observation.sentinels if view.reachable and view.name != step.member]
            introduce(connections, member, target, observation, others)
        case _:
            raise TypeError(f"no way to carry out {type(step).__name__}")


def introduce(
    connections: Connections,
    member: Member,
    target: ReplicationTarget,
    observation: Observation,
    others: Iterable[str],
) -> None:
    """Passes the other Sentinels' hello messages to a Sentinel, as they will themselves every 2 s.

    A Sentinel takes a PUBLISH on the hello channel as if it came through the primary. Both epochs are 0, the oldest, so
    that the message can only make the Sentinels known to each other and never changes what is monitored.
    """
    primary = next((view.primary for view in observation.sentinels if view.primary is not None), None)
    addresses = {view.name: (view.address, view.run_id) for view in observation.sentinels}
    for other in others:
        address, run_id = addresses[other]
        about = primary or address
        fields = (address.host, address.port, run_id, 0, target.sentinel.master_name, about.host, about.port, 0)
        connections.ask(member, "PUBLISH", HELLO_CHANNEL, ",".join(map(str, fields)))


def become_primary(connections: Connections, member: Member, priority: int) -> None:
    """REPLICAOF NO ONE, and what a node needs to serve and to be a candidate again after a later failover."""
    connections.ask(member, "REPLICAOF", "NO", "ONE")
    _prove(connections, member, priority)


def _prove(connections: Connections, member: Member, priority: int) -> None:
    connections.ask(member, "CONFIG", "SET", "replica-priority", priority, "replica-serve-stale-data", "yes")
    connections.ask(member, "CONFIG", "REWRITE")


def _access(target: ReplicationTarget) -> tuple[str, ...]:
    return ("auth-user", target.sentinel.auth_user, "auth-pass", target.sentinel.auth_password)


def _monitor(connections: Connections, member: Member, target: ReplicationTarget, step: Monitor) -> None:
    settings = target.sentinel
    pairs = [word for name, value in settings.readable.items() if name != "quorum" for word in (name, str(value))]
    # One write to the Sentinel: it never tries to reach the primary without the password.
    name = settings.master_name
    forget: list[tuple[str | int, ...]] = [("SENTINEL", "REMOVE", name)] if step.instead_of else []
    answers = connections.ask_all(
        member,
        *forget,
        ("SENTINEL", "MONITOR", name, step.address.host, step.address.port, settings.quorum),
        ("SENTINEL", "SET", name, *pairs, *_access(target)),
    )
    errors = [answer for answer in answers if isinstance(answer, Exception)]
    # Sent twice after a broken connection, it is monitored already.
    errors = [error for error in errors if "Duplicate" not in str(error)]
    if errors:
        raise errors[0]


def reset_pattern(master_name: str) -> str:
    """What SENTINEL RESET takes to reset this deployment and no other: it reads a pattern."""
    return re.sub(r"([\[\]*?\\])", r"\\\1", master_name)


def member_named(target: ReplicationTarget, name: str) -> Member:
    """The member of a name, leaving ones included; Redis nodes and Sentinels share no name."""
    every = target.nodes + target.sentinels + target.leaving_nodes + target.leaving_sentinels
    return next(member for member in every if member.name == name)
