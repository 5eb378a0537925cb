"""Whether a member may be stopped now, and what makes it safe: one at a time, and never while the others need it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from ..connection import Connections
from ..errors import FormationError, FormationRefused, FormationTimeout, HandOverFailed
from ..members import Access
from ..steps import Step
from .formation import apply_stage
from .hand_over import hand_over_through
from .observation import PRIMARY, NodeView, Observation, SentinelView, observe, observe_through
from .plan import named_by_majority, plan
from .steps import Introduce
from .target import ReplicationTarget

_POLL_SECONDS = 0.1


def is_formed(target: ReplicationTarget, access: Access, name: str) -> bool:
    """Whether other members may depend on this one: it is part of the target, and the deployment is at work.

    A deployment is not at work before it was formed, after it was disbanded, and when no member of it answers.
    """
    if name not in {member.name for member in target.nodes + target.sentinels}:
        return False
    observation = observe(target, access)
    watched = any(view.reachable and view.primary is not None for view in observation.sentinels)
    return watched or any(node.reachable and node.proven for node in observation.nodes)


def may_stop(target: ReplicationTarget, access: Access, name: str) -> list[str]:
    """Why a member must not be stopped now, one line each; empty when it may."""
    return reasons_not_to_stop(target, observe(target, access), name)


def reasons_not_to_stop(target: ReplicationTarget, observation: Observation, name: str) -> list[str]:
    """The same, from an observation. What has already stopped may always be."""
    node = observation.node(name)
    if node is not None:
        return _node_reasons(target, observation, node)
    view = next((view for view in observation.every_sentinel if view.name == name), None)
    if view is not None:
        return _sentinel_reasons(target, observation, view)
    raise FormationError(f"{name}: no such member of this deployment")


def _node_reasons(target: ReplicationTarget, observation: Observation, node: NodeView) -> list[str]:
    if not node.reachable or node.unformed or node.retired:
        return []
    others = [other for other in observation.nodes if other.name != node.name]
    if not others:
        return []  # the only copy there is: nobody could do without it, and nobody can take over
    reasons = [*_busy(observation), *_agreement(target, observation)]
    primary = observation.node_at(named_by_majority(target, observation))
    if primary is None:
        return [*reasons, "no primary that a majority of the Sentinels names"]
    for other in others:
        if not other.reachable:
            reasons.append(f"{other.name}: not reachable ({other.error})")
        elif other.name == primary.name:
            if other.role != PRIMARY:
                reasons.append(f"{other.name}: named as the primary, but is a replica")
        elif other.follows != primary.address or not other.link_up or not other.proven:
            reasons.append(f"{other.name}: not in sync with the primary {primary.name}")
    if node.name == primary.name:
        reasons.append(f"{node.name}: it is the primary: hand it over first")
    return reasons


def _sentinel_reasons(target: ReplicationTarget, observation: Observation, view: SentinelView) -> list[str]:
    if not view.reachable or view.primary is None or len(target.sentinels) == 1:
        return []
    reasons = [*_busy(observation)]
    for other in observation.sentinels:
        if other.name == view.name:
            continue
        if not other.reachable:
            reasons.append(f"{other.name}: not reachable ({other.error})")
        elif other.primary != view.primary:
            reasons.append(f"{other.name}: names {other.primary or 'no node'} as the primary, not {view.primary}")
    return reasons


def _busy(observation: Observation) -> list[str]:
    return [f"{view.name}: a failover is in progress" for view in observation.every_sentinel if view.failing_over]


def _agreement(target: ReplicationTarget, observation: Observation) -> list[str]:
    """A Redis node is only stopped while enough Sentinels could replace the primary."""
    agreeing = [view for view in observation.sentinels if view.reachable and view.primary is not None]
    needed = max(target.sentinel.quorum, len(target.sentinels) // 2 + 1)
    if len(agreeing) < needed:
        return [f"only {len(agreeing)} of {len(target.sentinels)} Sentinels watch, {needed} are needed"]
    return []


def stop_order(target: ReplicationTarget, observation: Observation, names: Sequence[str]) -> list[str]:
    """In which order to stop members: dead ones, replicas, the primary, Sentinels; else in the target's order."""
    order = [member.name for member in target.nodes + target.sentinels]
    every: tuple[NodeView | SentinelView, ...] = (*observation.every_node, *observation.every_sentinel)
    views = {view.name: view for view in every}

    def rank(name: str) -> tuple[int, int]:
        view = views.get(name)
        place = order.index(name) if name in order else len(order)
        if view is None or not view.reachable:
            return 0, place
        if isinstance(view, SentinelView):
            return 3, place
        return (2 if view.role == PRIMARY else 1), place

    return sorted(names, key=rank)


def make_safe_to_stop(
    target: ReplicationTarget,
    access: Access,
    name: str,
    *,
    prefer: Sequence[str] = (),
    progress: Callable[[str], None],
    timeout_seconds: float,
) -> None:
    """Waits until a member may be stopped; a primary is handed over, to one of `prefer` if that is possible.

    Raises FormationTimeout that names why it still may not be stopped after `timeout_seconds`.
    """
    deadline = time.monotonic() + timeout_seconds
    told: list[str] = []
    with Connections(access) as connections:
        while True:
            observation = observe_through(connections, target)
            reasons = reasons_not_to_stop(target, observation, name)
            if not reasons:
                return
            node = observation.node(name)
            if len(reasons) == 1 and node is not None and node.role == PRIMARY and not _busy(observation):
                try:
                    hand_over_through(connections, target, progress=progress, prefer=prefer)
                    continue
                except HandOverFailed as error:
                    reasons = [str(error)]
            if time.monotonic() > deadline:
                raise FormationTimeout(timeout_seconds, reasons)
            if reasons != told:
                progress(f"{name}: must not be stopped yet: {'; '.join(reasons)}")
                told = reasons
            time.sleep(_POLL_SECONDS)


def wait_until_back(
    target: ReplicationTarget,
    access: Access,
    name: str,
    *,
    progress: Callable[[str], None] = lambda _: None,
    timeout_seconds: float,
) -> None:
    """Waits until a member that was started again does its part, and does for it what formation would.

    A Redis node: in sync and eligible, or the primary. A Sentinel: names the primary and knows all others. When the
    primary itself is down, the member only has to answer. Raises FormationTimeout or FormationRefused.
    """
    deadline = time.monotonic() + timeout_seconds
    with Connections(access) as connections:
        while True:
            observation = observe_through(connections, target)
            missing = _not_back(target, observation, name)
            if not missing:
                return
            current = plan(target, observation)
            if current.refusals:
                raise FormationRefused(current.refusals)
            stage = _of_member(current.stages, name)
            if stage:
                apply_stage(stage, target, observation, connections, progress)
            if time.monotonic() > deadline:
                raise FormationTimeout(timeout_seconds, [missing])
            time.sleep(_POLL_SECONDS)


def wait_until_in_sync(target: ReplicationTarget, access: Access, name: str, timeout_seconds: float) -> None:
    """Waits until a replica has all that its primary had when this was called. Raises FormationTimeout."""
    deadline = time.monotonic() + timeout_seconds
    wanted: int | None = None
    with Connections(access) as connections:
        while True:
            observation = observe_through(connections, target)
            node = observation.node(name)
            primary = observation.node_at(node.follows) if node is not None else None
            if node is not None and node.role == PRIMARY:
                return
            if wanted is None and primary is not None and primary.role == PRIMARY:
                wanted = primary.offset
            if node is not None and node.link_up and wanted is not None and node.offset >= wanted:
                return
            if time.monotonic() > deadline:
                raise FormationTimeout(timeout_seconds, [f"{name}: not in sync with its primary"])
            time.sleep(_POLL_SECONDS / 4)


def _of_member(stages: Sequence[Sequence[Step]], name: str) -> tuple[Step, ...]:
    """The steps that concern one member now; the other members' are for formation."""
    if not stages:
        return ()
    return tuple(step for step in stages[0] if step.member == name or isinstance(step, Introduce))


def _not_back(target: ReplicationTarget, observation: Observation, name: str) -> str:
    node = observation.node(name)
    named = named_by_majority(target, observation)
    primary = observation.node_at(named)
    if node is not None:
        if not node.reachable or node.loading:
            return f"{name}: {node.error or 'loading its data'}"
        if primary is None or not primary.reachable or node.role == PRIMARY:
            return ""
        if node.follows != primary.address or not node.link_up or not node.proven:
            return f"{name}: not in sync with the primary {primary.name}"
        return "" if node.offset >= primary.offset else f"{name}: behind the primary {primary.name}"
    view = next((view for view in observation.every_sentinel if view.name == name), None)
    if view is None:
        raise FormationError(f"{name}: no such member of this deployment")
    if not view.reachable:
        return f"{name}: {view.error}"
    others = [other for other in observation.sentinels if other.reachable and other.name != name]
    if view.primary is None and any(other.primary for other in others):
        return f"{name}: does not watch yet"
    unknown = [other.name for other in others if other.primary and other.run_id not in view.sentinels]
    return f"{name}: does not know {', '.join(unknown)} yet" if unknown else ""
