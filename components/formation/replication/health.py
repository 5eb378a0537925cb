"""What an operator wants to see at a glance: one row per member, and whether all is well."""

from __future__ import annotations

from dataclasses import dataclass

from ..members import Address
from .observation import PRIMARY, REPLICA, NodeView, Observation, SentinelView
from .plan import named_by_majority, plan
from .target import ReplicationTarget

# A replica is slightly behind a busy primary at any time; more than this is worth a word.
LAG_BYTES = 10 * 1024 * 1024
_BAD_FLAGS = ("s_down", "o_down", "disconnected")


@dataclass(frozen=True)
class Row:
    """One member; None where something does not apply. `seen_by`: how the Sentinels see a node, or what one names."""

    name: str
    role: str
    host: str
    link: str
    lag_bytes: int | None
    memory_used: int | None
    memory_max: int | None
    seen_by: str


@dataclass(frozen=True)
class Status:
    """The rows, whether the deployment is healthy, and if not, why."""

    rows: tuple[Row, ...]
    healthy: bool
    reasons: tuple[str, ...]


def status(target: ReplicationTarget, observation: Observation) -> Status:
    """Pure; `observation` must be of `target`."""
    primary = observation.node_at(named_by_majority(target, observation))
    rows = [
        *(_node_row(observation, node, primary) for node in observation.every_node),
        *(_sentinel_row(observation, view) for view in observation.every_sentinel),
    ]
    reasons = tuple(dict.fromkeys(_reasons(target, observation, primary)))
    return Status(tuple(rows), not reasons, reasons)


def _reasons(target: ReplicationTarget, observation: Observation, primary: NodeView | None) -> list[str]:
    current = plan(target, observation)
    reasons = [*current.refusals, *current.waits, *(f"to be done: {step.describe()}" for step in current.steps)]
    if primary is None:
        reasons.append("no primary that a majority of the Sentinels names")
    for node in observation.nodes:
        lag = _lag(node, primary)
        if lag is not None and lag > LAG_BYTES:
            reasons.append(f"{node.name}: {lag} bytes behind the primary")
        reasons.extend(
            f"{view.name}: sees {node.name} as {flag}"
            for view in observation.sentinels
            for flag in _flags(view, node.address)
            if flag in _BAD_FLAGS
        )
    for view in observation.sentinels:
        if view.other_deployments:
            reasons.append(f"{view.name}: also watches {', '.join(view.other_deployments)}, another deployment")
    return reasons


def _node_row(observation: Observation, node: NodeView, primary: NodeView | None) -> Row:
    if not node.reachable:
        return Row(
            node.name, "?", str(node.address), f"unreachable: {node.error}", None, None, None, _seen(observation, node)
        )
    return Row(
        name=node.name,
        role=_role(node),
        host=str(node.address),
        link=_link(observation, node),
        lag_bytes=_lag(node, primary),
        memory_used=node.memory_used,
        memory_max=node.memory_max or None,
        seen_by=_seen(observation, node),
    )


def _role(node: NodeView) -> str:
    if node.unformed:
        return "unformed"
    return "retired" if node.retired else node.role


def _link(observation: Observation, node: NodeView) -> str:
    if node.loading:
        return "loading its data"
    if node.role == PRIMARY:
        return f"{len(node.replicas)} replicas"
    if node.unformed or node.retired:
        return ""
    followed = observation.node_at(node.follows)
    state = "up" if node.link_up else "synchronising" if node.syncing else "down"
    return f"{state}, follows {followed.name if followed else node.follows}"


def _lag(node: NodeView, primary: NodeView | None) -> int | None:
    if primary is None or not node.reachable or node.role != REPLICA or not node.link_up:
        return None
    return max(primary.offset - node.offset, 0)


def _seen(observation: Observation, node: NodeView) -> str:
    """How many Sentinels see a node in which state, the commonest first: `3 x ok`."""
    seen: dict[str, int] = {}
    for view in observation.sentinels:
        if view.reachable and view.primary is not None:
            flags = _flags(view, node.address)
            bad = [flag for flag in flags if flag in _BAD_FLAGS]
            what = ",".join(bad) or ("primary" if view.primary == node.address else "replica" if flags else "unknown")
            seen[what] = seen.get(what, 0) + 1
    return ", ".join(f"{count} x {what}" for what, count in sorted(seen.items(), key=lambda item: -item[1]))


def _flags(view: SentinelView, address: Address) -> tuple[str, ...]:
    return view.flags if view.primary == address else view.replica_flags.get(str(address), ())


def _sentinel_row(observation: Observation, view: SentinelView) -> Row:
    if not view.reachable:
        return Row(view.name, "sentinel", str(view.address), f"unreachable: {view.error}", None, None, None, "")
    named = observation.node_at(view.primary)
    names = f"names {named.name if named else view.primary}" if view.primary else "watches nothing"
    knows = f"knows {len(view.sentinels)} Sentinels, {len(view.replicas)} replicas" if view.primary else ""
    return Row(view.name, "sentinel", str(view.address), knows, None, None, None, names)
