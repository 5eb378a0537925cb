"""Brings a cluster into its topology: observe, plan, apply, until nothing is left to do, then verify."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

import redis

from ..connection import Connections, in_parallel, reason
from ..convergence import Convergence, Progress
from ..errors import FormationError
from ..members import Access
from ..steps import Plan, Stage, Step
from .apply import apply_step
from .gossip import LivelyGossip
from .hand_over import hand_over_through
from .observation import PRIMARY, Observation, fresh, observe, observe_through, slots_of
from .plan import plan
from .slot_migration import move_slots, settle
from .slots import SlotMove, format_slots
from .steps import HandOver, MoveSlots, SettleSlots
from .target import ClusterTarget


@dataclass(frozen=True)
class Report:
    """What formation ended with, by the name of the shard: its primary, its replicas, its slots (``0-5460``).

    Then the steps it took, and how long that was in seconds.
    """

    primaries: Mapping[str, str]
    replicas: Mapping[str, tuple[str, ...]]
    slots: Mapping[str, str]
    steps: tuple[Step, ...]
    seconds: float


def form(target: ClusterTarget, access: Access, *, progress: Progress, timeout_seconds: float) -> Report:
    """Makes the live topology what `target` says and verifies it; may be run again at any time, after any interruption.

    `progress` gets one line per step and per condition waited for. Raises FormationRefused when an operator has to
    decide, FormationTimeout naming what was still missing `timeout_seconds` after the last step, FormationError when a
    member refuses a step.
    """
    with Connections(access) as connections:
        return form_through(connections, target, progress=progress, timeout_seconds=timeout_seconds)


def preview(target: ClusterTarget, access: Access, joining: frozenset[str] = frozenset()) -> tuple[Plan, Observation]:
    """What `form` would do now, and what it was planned from. Changes nothing.

    `joining`: names of members that do not exist yet; they are planned as the fresh, empty nodes they will be.
    """
    observation = observe(target, access)
    members = {member.name: member for member in target.members}
    nodes = tuple(fresh(members[node.name]) if node.name in joining else node for node in observation.nodes)
    observation = Observation(nodes, observation.leaving)
    return plan(target, observation), observation


def form_through(
    connections: Connections, target: ClusterTarget, *, progress: Progress, timeout_seconds: float
) -> Report:
    """The same, through connections that are already open."""
    started = time.monotonic()
    with LivelyGossip(connections, target) as gossip:
        observation, steps = Convergence(
            observe=lambda: gossip.but_for_this(observe_through(connections, target)),
            plan=lambda observation: plan(target, observation),
            apply_stage=lambda stage, observation: apply_stage(stage, target, observation, connections, progress),
            verify=lambda observation: verify(target, observation, connections),
            while_waiting=gossip.hasten,
        ).run(progress=progress, timeout_seconds=timeout_seconds)
    return _report(target, observation, steps, time.monotonic() - started)


def apply_stage(
    stage: Stage,
    target: ClusterTarget,
    observation: Observation,
    connections: Connections,
    progress: Progress,
) -> tuple[str, ...]:
    """Carries out the steps of a stage at once; returns which members could not be reached, raises when one refuses."""
    for step in stage:
        progress(step.describe())
    moves = [step for step in stage if isinstance(step, MoveSlots)]
    if moves:
        wanted = [SlotMove(step.member, step.to, step.slots) for step in moves]
        move_slots(connections, target, observation, wanted, progress=progress)
    unsettled = {slot for step in stage if isinstance(step, SettleSlots) for slot in step.slots}
    if unsettled:
        settle(connections, target, observation, unsettled, progress=progress)

    def carry_out(step: Step) -> str | FormationError:
        try:
            if isinstance(step, HandOver):
                hand_over_through(connections, target, step.member, progress=progress)
            else:
                apply_step(step, target, observation, connections)
        except redis.RedisError as error:
            return f"{step.member}: {reason(error)}"
        except FormationError as error:
            return error
        return ""

    results = in_parallel([step for step in stage if not isinstance(step, MoveSlots | SettleSlots)], carry_out)
    for result in results.values():
        if isinstance(result, FormationError):
            raise result
    return tuple(str(result) for result in results.values() if result)


def verify(target: ClusterTarget, observation: Observation, connections: Connections) -> tuple[str, ...]:
    """What is not yet as it should be in a cluster whose plan is empty; nothing when all is right.

    The plan has seen to it that all nodes agree. Here: every replica has what its primary had when it was observed.
    """
    missing = []
    for node in observe_through(connections, target).nodes:
        before = observation.by_name[node.name]
        primary = observation.by_id.get(before.primary_id)
        if not node.reachable:
            missing.append(f"{node.name}: not reachable ({node.error})")
        elif primary is not None and node.offset < primary.offset:
            missing.append(f"{node.name}: {primary.offset - node.offset} bytes behind {primary.name}")
    return tuple(missing)


def _report(target: ClusterTarget, observation: Observation, steps: tuple[Step, ...], seconds: float) -> Report:
    primaries: dict[str, str] = {}
    replicas: dict[str, tuple[str, ...]] = {}
    slots: dict[str, str] = {}
    for shard in target.shards:
        nodes = [observation.by_name[member.name] for member in shard.members]
        primary = next(node for node in nodes if node.role == PRIMARY)
        primaries[shard.name] = primary.name
        replicas[shard.name] = tuple(node.name for node in nodes if node is not primary)
        slots[shard.name] = format_slots(slots_of(primary.slots))
    return Report(primaries, replicas, slots, steps, seconds)
