"""What an operator wants to see at a glance: one row per member, and whether all is well."""

from __future__ import annotations

from dataclasses import dataclass

from .observation import PRIMARY, NodeView, Observation
from .plan import plan
from .target import ClusterTarget

# A replica is slightly behind a busy primary at any time; more than this is worth a word.
LAG_BYTES = 10 * 1024 * 1024


@dataclass(frozen=True)
class Row:
    """One member; None where something does not apply. `shard` is empty for one that leaves."""

    name: str
    shard: str
    role: str
    host: str
    slots: int | None
    keys: int | None
    memory_used: int | None
    memory_max: int | None
    link: str
    lag_bytes: int | None


@dataclass(frozen=True)
class Status:
    """The rows, shard by shard, whether the cluster is healthy, and if not, why."""

    rows: tuple[Row, ...]
    healthy: bool
    reasons: tuple[str, ...]


def status(target: ClusterTarget, observation: Observation) -> Status:
    """Pure; `observation` must be of `target`."""
    shards = {member.name: shard.name for shard in target.shards for member in shard.members}
    followers: dict[str, int] = {}
    for node in observation.every_node:
        if node.link_up:
            followers[node.primary_id] = followers.get(node.primary_id, 0) + 1
    rows = [_row(observation, node, shards.get(node.name, ""), followers) for node in observation.every_node]
    current = plan(target, observation)
    reasons = [*current.refusals, *current.waits, *(f"to be done: {step.describe()}" for step in current.steps)]
    reasons += [
        f"{row.name}: {row.lag_bytes} bytes behind its primary"
        for row in rows
        if row.lag_bytes is not None and row.lag_bytes > LAG_BYTES
    ]
    return Status(tuple(rows), not reasons, tuple(dict.fromkeys(reasons)))


def _row(observation: Observation, node: NodeView, shard: str, followers: dict[str, int]) -> Row:
    host = str(node.address)
    if not node.reachable:
        return Row(node.name, shard, "?", host, None, None, None, None, f"unreachable: {node.error}", None)
    primary = observation.by_id.get(node.primary_id)
    return Row(
        name=node.name,
        shard=shard,
        role=node.role,
        host=host,
        slots=node.slot_count if node.role == PRIMARY else None,
        keys=node.keys,
        memory_used=node.memory_used,
        memory_max=node.memory_max or None,
        link=_link(node, primary, followers.get(node.node_id, 0)),
        lag_bytes=max(primary.offset - node.offset, 0) if primary is not None and node.link_up else None,
    )


def _link(node: NodeView, primary: NodeView | None, followers: int) -> str:
    if node.loading:
        return "loading its data"
    if node.role == PRIMARY:
        return "outside of the cluster" if node.alone else f"{followers} replicas"
    state = "up" if node.link_up else "synchronising" if node.syncing else "down"
    return f"{state}, replicates {primary.name if primary else node.primary_id[:8]}"
