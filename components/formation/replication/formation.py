"""Brings a deployment into its topology: observe, plan, apply, until nothing is left to do, then verify."""

from __future__ import annotations

import time
from dataclasses import dataclass

import redis

from ..connection import Connections, in_parallel, reason
from ..convergence import FIRST_PAUSE_SECONDS, Convergence, Progress
from ..errors import FormationError
from ..members import Access, Member
from ..steps import Plan, Stage, Step
from .apply import apply_step, member_named
from .attention import CloseAttention
from .hand_over import hand_over_through
from .observation import PRIMARY, Observation, observe, observe_through
from .plan import plan, sentinels_behind
from .steps import HandOver, Monitor
from .target import ReplicationTarget


@dataclass(frozen=True)
class Report:
    """What formation ended with: members by role, the steps it took, and how long that was in seconds."""

    primary: str
    replicas: tuple[str, ...]
    steps: tuple[Step, ...]
    seconds: float


def form(target: ReplicationTarget, access: Access, *, progress: Progress, timeout_seconds: float) -> Report:
    """Makes the live topology what `target` says and verifies it; may be run again at any time, after any interruption.

    `progress` gets one line per step and per condition waited for. Raises FormationRefused when an operator has to
    decide, FormationTimeout naming what was still missing `timeout_seconds` after the last step, FormationError when a
    member refuses a step.
    """
    with Connections(access) as connections:
        return form_through(connections, target, progress=progress, timeout_seconds=timeout_seconds)


def preview(target: ReplicationTarget, access: Access) -> tuple[Plan, Observation]:
    """What `form` would do now, and what it was planned from. Changes nothing."""
    observation = observe(target, access)
    return plan(target, observation), observation


def form_through(
    connections: Connections, target: ReplicationTarget, *, progress: Progress, timeout_seconds: float
) -> Report:
    """The same, through connections that are already open."""
    with CloseAttention(connections) as attention:
        return _form(connections, target, attention, progress, timeout_seconds)


def _form(
    connections: Connections,
    target: ReplicationTarget,
    attention: CloseAttention,
    progress: Progress,
    timeout_seconds: float,
) -> Report:
    def pay_attention(observation: Observation) -> None:
        for name in sentinels_behind(observation):
            attention.begin(member_named(target, name))

    started = time.monotonic()
    observation, steps = Convergence(
        observe=lambda: observe_through(connections, target),
        plan=lambda observation: plan(target, observation),
        apply_stage=lambda stage, observation: apply_stage(stage, target, observation, connections, progress),
        verify=lambda observation: verify(target, observation, connections),
        while_waiting=pay_attention,
    ).run(progress=progress, timeout_seconds=timeout_seconds)
    primary = next(node for node in observation.nodes if node.role == PRIMARY)
    replicas = tuple(node.name for node in observation.nodes if node.name != primary.name)
    return Report(primary.name, replicas, steps, time.monotonic() - started)


def apply_stage(
    stage: Stage,
    target: ReplicationTarget,
    observation: Observation,
    connections: Connections,
    progress: Progress,
) -> tuple[str, ...]:
    """Carries out the steps of a stage at once; returns which members could not be reached, raises when one refuses."""
    if any(isinstance(step, Monitor) for step in stage):
        _wait_until_listed(target, connections)
    for step in stage:
        progress(step.describe())

    def carry_out(step: Step) -> str | FormationError:
        try:
            if isinstance(step, HandOver):
                hand_over_through(connections, target, progress=progress)
            else:
                apply_step(step, target, observation, connections)
        except redis.RedisError as error:
            return f"{step.member}: {reason(error)}"
        except FormationError as error:
            return error
        return ""

    results = in_parallel(stage, carry_out)
    for result in results.values():
        if isinstance(result, FormationError):
            raise result
    return tuple(str(result) for result in results.values() if result)


def _wait_until_listed(target: ReplicationTarget, connections: Connections, seconds: float = 2.0) -> None:
    """Until the primary lists the replicas that follow it: a new Sentinel asks once, and then only after another 10 s.

    A replica that does not manage is no reason to do without Sentinels.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        nodes = [node for node in observe_through(connections, target).nodes if node.reachable]
        primaries = [node for node in nodes if node.role == PRIMARY]
        listed = {replica.address for primary in primaries for replica in primary.replicas}
        if all(node.address in listed for node in nodes if node.follows in {primary.address for primary in primaries}):
            return
        time.sleep(FIRST_PAUSE_SECONDS)


def verify(target: ReplicationTarget, observation: Observation, connections: Connections) -> tuple[str, ...]:
    """What is not yet as it should be in a deployment whose plan is empty; nothing when all is right.

    One primary; every replica has what the primary had when it was observed; every Sentinel names that primary, knows
    all replicas and Sentinels, reaches them, and confirms the quorum (SENTINEL CKQUORUM).
    """
    primaries = [node for node in observation.nodes if node.role == PRIMARY]
    if len(primaries) != 1:
        return (f"{len(primaries)} primaries instead of one",)
    (primary,) = primaries
    name = target.sentinel.master_name
    missing: list[str] = []
    for view in observation.sentinels:
        if view.primary != primary.address:
            missing.append(f"{view.name}: names {view.primary} instead of {primary.name}")
        missing.extend(f"{view.name}: sees the primary as {flag}" for flag in view.flags if flag in _BAD_FLAGS)
        if len(view.sentinels) != len(target.sentinels) - 1:
            missing.append(f"{view.name}: knows {len(view.sentinels)} of {len(target.sentinels) - 1} other Sentinels")
        if len(view.replicas) != len(target.nodes) - 1:
            missing.append(f"{view.name}: knows {len(view.replicas)} of {len(target.nodes) - 1} replicas")
        for node in observation.nodes:
            if view.replica_priorities.get(str(node.address), node.priority) != node.priority:
                missing.append(f"{view.name}: has not noticed yet that {node.name} may be promoted")
        for address, flags in view.replica_flags.items():
            missing.extend(f"{view.name}: sees the replica {address} as {flag}" for flag in flags if flag in _BAD_FLAGS)
    if missing:
        return tuple(missing)

    def quorum(member: Member) -> str:
        try:
            connections.ask(member, "SENTINEL", "CKQUORUM", name)
        except redis.RedisError as error:
            return f"{member.name}: {reason(error)}"
        return ""

    missing.extend(text for text in in_parallel(target.sentinels, quorum).values() if text)
    for node in observe_through(connections, target).nodes:
        if node.name != primary.name and node.offset < primary.offset:
            missing.append(f"{node.name}: {primary.offset - node.offset} bytes behind the primary")
    return tuple(missing)


_BAD_FLAGS = ("s_down", "o_down", "disconnected")
