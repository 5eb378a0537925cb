"""Whether a member may be stopped now, and what makes it safe: one at a time, and never while the others need it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from ..connection import Connections
from ..errors import FormationError, FormationRefused, FormationTimeout, HandOverFailed
from ..members import Access, Address
from ..steps import Plan, Step
from .agreement import disagreement
from .formation import apply_stage
from .hand_over import hand_over_through
from .observation import PRIMARY, NodeView, Observation, count_slots, observe, observe_through
from .plan import plan
from .steps import Forget, Meet, TakeOver
from .target import ClusterTarget

_POLL_SECONDS = 0.1


def is_formed(target: ClusterTarget, access: Access, name: str) -> bool:
    """Whether other members may depend on this one: it is part of the target, and the cluster is at work.

    A cluster is not at work before it was formed, after it was disbanded, and when no member of it answers.
    """
    return name in {member.name for member in target.members} and at_work(observe(target, access))


def at_work(observation: Observation) -> bool:
    """Whether somebody has slots and may take over, or be taken over from."""
    owners = {node_id for knowledge in observation.knowledge for _, node_id in knowledge.owners}
    return bool(owners) and any(node.reachable and not node.stands_down for node in observation.nodes)


def still_owns_slots(target: ClusterTarget, access: Access, announced: Address) -> str | None:
    """Why the node at an address must not be destroyed yet: the cluster says that it has slots. None when it may.

    Nobody being there to be asked proves nothing, and is a reason too; a cluster that is not at work needs nobody.
    """
    observation = observe(target, access)
    if not observation.knowledge:
        return f"{announced}: no member of the cluster answers: nothing proves that it has no slots"
    if not at_work(observation):
        return None
    for node in observation.nodes:
        if node.reachable:
            for known in node.knows.nodes.values():
                if known.address == announced and known.slots:
                    return f"{announced}: still has {count_slots(known.slots)} slots, as {node.name} knows"
    return None


def may_stop(target: ClusterTarget, access: Access, name: str) -> list[str]:
    """Why a member must not be stopped now, one line each; empty when it may."""
    return reasons_not_to_stop(target, observe(target, access), name)


def reasons_not_to_stop(target: ClusterTarget, observation: Observation, name: str) -> list[str]:
    """The same, from an observation. What has already stopped, or belongs to no cluster, may always be."""
    node = observation.node(name)
    if node is None:
        raise FormationError(f"{name}: no such member of this deployment")
    if not node.reachable or (node.alone and not node.slots):
        return []
    others = [other for other in observation.nodes if other.name != name]
    reasons = [f"{other.name}: not reachable ({other.error})" for other in others if not other.reachable]
    reasons += disagreement(observation)
    reasons += [f"{other.name}: is moving slots" for other in observation.every_node if other.open_slots]
    for other in others:
        if other.reachable and other.primary_id and not other.link_up:
            reasons.append(f"{other.name}: not in sync with its primary")
    if node.role == PRIMARY and node.slots and _copies(observation, node):
        reasons.append(f"{node.name}: it is a primary: hand it over first")
    elif node in observation.leaving and node.role == PRIMARY and node.slots:
        reasons.append(f"{node.name}: has {node.slot_count} slots")
    return reasons


def _copies(observation: Observation, node: NodeView) -> list[NodeView]:
    return [other for other in observation.nodes if other.reachable and other.primary_id == node.node_id]


def stop_order(target: ClusterTarget, observation: Observation, names: Sequence[str]) -> list[str]:
    """In which order to stop members: dead ones, replicas, primaries; else in the target's order."""
    order = {member.name: place for place, member in enumerate(target.every_member)}

    def rank(name: str) -> tuple[int, int]:
        node = observation.node(name)
        place = order.get(name, len(order))
        if node is None or not node.reachable:
            return 0, place
        return (2 if node.role == PRIMARY and node.slots else 1), place

    return sorted(names, key=rank)


def make_safe_to_stop(
    target: ClusterTarget,
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
            node = observation.by_name[name]
            ready = [copy for copy in _copies(observation, node) if copy.link_up]
            if len(reasons) == 1 and ready:
                best = max(ready, key=lambda copy: (copy.name in prefer, copy.offset))
                try:
                    hand_over_through(connections, target, best.name, progress=progress)
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
    target: ClusterTarget,
    access: Access,
    name: str,
    *,
    progress: Callable[[str], None] = lambda _: None,
    timeout_seconds: float,
) -> None:
    """Waits until a member that was started again does its part, and does for it what formation would.

    A replica: in sync with its primary, and seen to be well by all; a primary: serves. One that comes back without its
    data is introduced and attached again. Raises FormationTimeout or FormationRefused.
    """
    deadline = time.monotonic() + timeout_seconds
    with Connections(access) as connections:
        while True:
            observation = observe_through(connections, target)
            current = plan(target, observation)
            missing = _not_back(target, observation, name)
            if not missing and not _of_member(current, name):
                return
            if current.refusals:
                raise FormationRefused(current.refusals)
            stage = _of_member(current, name)
            if stage:
                apply_stage(stage, target, observation, connections, progress)
            if time.monotonic() > deadline:
                raise FormationTimeout(timeout_seconds, [missing or f"{name}: has no place in the cluster yet"])
            time.sleep(_POLL_SECONDS)


def _of_member(current: Plan, name: str) -> tuple[Step, ...]:
    """The steps that concern one member now; the other members' are for formation."""
    if not current.stages:
        return ()
    return tuple(
        step
        for step in current.stages[0]
        if step.member == name
        or isinstance(step, Forget | TakeOver)
        or (isinstance(step, Meet) and name in step.others)
    )


def _not_back(target: ClusterTarget, observation: Observation, name: str) -> str:
    node = observation.node(name)
    if node is None:
        raise FormationError(f"{name}: no such member of this deployment")
    if not node.reachable or node.loading:
        return f"{name}: {node.error or 'loading its data'}"
    if not any(knowledge.owners for knowledge in observation.knowledge):
        return ""  # there is no cluster yet that it could be back in
    if node.role == PRIMARY:
        if len(_shard_of(target, name)) > 1 and not node.slots:
            return f"{name}: does not replicate its shard's primary yet"
        return "" if node.state_ok else f"{name}: cluster_state is not ok yet"
    primary = observation.by_id.get(node.primary_id)
    if primary is None:
        return ""  # its primary is down, and nothing that this member could do about it
    if not node.link_up:
        return f"{name}: not in sync with its primary {primary.name}"
    if node.offset < primary.offset:
        return f"{name}: behind its primary {primary.name}"
    for other in observation.nodes:
        known = other.knows.nodes.get(node.node_id)
        if other.reachable and (known is None or known.failing):
            return f"{name}: {other.name} does not see it back yet"
    return ""


def _shard_of(target: ClusterTarget, name: str) -> tuple[str, ...]:
    names = (tuple(member.name for member in shard.members) for shard in target.shards)
    return next((members for members in names if name in members), ())
