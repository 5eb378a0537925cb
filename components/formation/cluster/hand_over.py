"""A planned failover within a shard that loses no acknowledged write.

CLUSTER FAILOVER (Redis documentation): the primary pauses its writers, the replica catches up, is elected by the other
primaries, and takes over; the pause ends with that, or after 5 s.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import redis

from ..connection import Connections, reason
from ..errors import HandOverFailed
from ..members import Access
from .agreement import disagreement
from .apply import member_named
from .observation import PRIMARY, REPLICA, NodeView, Observation, observe_through
from .target import ClusterTarget

# Redis gives a manual failover 5 s (cluster_legacy.h: CLUSTER_MF_TIMEOUT).
_ATTEMPT_SECONDS = 6.0
_POLL_SECONDS = 0.02


def hand_over(
    target: ClusterTarget,
    access: Access,
    name: str,
    *,
    progress: Callable[[str], None],
    timeout_seconds: float = 60.0,
) -> None:
    """Makes the replica `name` the primary of its shard; the former primary then replicates it.

    The shard's writers wait for a moment, everybody else does not. Raises HandOverFailed.
    """
    with Connections(access) as connections:
        hand_over_through(connections, target, name, progress=progress, timeout_seconds=timeout_seconds)


def hand_over_through(
    connections: Connections,
    target: ClusterTarget,
    name: str,
    *,
    progress: Callable[[str], None],
    timeout_seconds: float = 60.0,
) -> None:
    """The same, through connections that are already open."""
    deadline = time.monotonic() + timeout_seconds
    observation = observe_through(connections, target)
    node = observation.node(name)
    if node is None:
        raise HandOverFailed(f"{name}: no such member of this deployment")
    if node.reachable and node.role == PRIMARY and node.slots:
        return
    primary = _primary_to_relieve(observation, node)
    copies = [each.name for each in observation.every_node if each.primary_id == primary.node_id]
    progress(f"{primary.name}: pauses writes until {name} has taken over")
    while not _attempt(connections, target, name):
        if time.monotonic() > deadline:
            raise HandOverFailed(f"{name}: was not elected within {timeout_seconds:.0f} s; {primary.name} goes on")
    _wait_until_settled(connections, target, name, [primary.name, *copies], deadline)
    progress(f"{name}: is the primary now, {primary.name} replicates it")


def _primary_to_relieve(observation: Observation, node: NodeView) -> NodeView:
    if not node.reachable:
        raise HandOverFailed(f"{node.name}: not reachable ({node.error})")
    primary = observation.by_id.get(node.primary_id)
    if node.role != REPLICA or primary is None:
        raise HandOverFailed(f"{node.name}: replicates no member that answers: nothing to take over")
    if not node.link_up:
        raise HandOverFailed(f"{node.name}: not in sync with {primary.name}: cannot take over from it")
    reasons = disagreement(observation)
    if reasons:
        raise HandOverFailed(f"the nodes do not agree: {'; '.join(reasons)}")
    return primary


def _attempt(connections: Connections, target: ClusterTarget, name: str) -> bool:
    """Starts a manual failover and waits until the replica has become the primary, or the attempt is over."""
    member = member_named(target, name)
    try:
        connections.ask(member, "CLUSTER", "FAILOVER", once=True)
        deadline = time.monotonic() + _ATTEMPT_SECONDS
        while time.monotonic() < deadline:
            if connections.ask(member, "ROLE")[0] == "master":
                return True
            time.sleep(_POLL_SECONDS)
    except redis.RedisError as error:
        raise HandOverFailed(f"{name}: the hand-over was broken off: {reason(error)}") from error
    return False


def _wait_until_settled(
    connections: Connections, target: ClusterTarget, name: str, copies: Sequence[str], deadline: float
) -> None:
    """Until everybody has noticed, and the other copies, the former primary included, replicate the new one."""
    while True:
        observation = observe_through(connections, target)
        promoted = observation.by_name[name]
        missing = disagreement(observation)
        for copy in copies:
            node = observation.by_name[copy]
            if node.reachable and copy != name and (node.primary_id != promoted.node_id or not node.link_up):
                missing.append(f"{copy}: does not replicate {name} in sync")
        if not missing:
            return
        if time.monotonic() > deadline:
            raise HandOverFailed(f"{name} is the primary now, but: {'; '.join(missing)}")
        time.sleep(_POLL_SECONDS)
