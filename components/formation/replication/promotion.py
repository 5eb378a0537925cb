"""An operator's decision which node's data to keep, where formation refuses to decide."""

from __future__ import annotations

from collections.abc import Callable

import redis

from ..connection import Connections, in_parallel, reason
from ..errors import FormationError, FormationRefused, NodeUnreachable
from ..members import Access, Member
from .apply import become_primary, member_named
from .formation import Report, form_through
from .observation import PRIMARY, Observation, observe_through
from .plan import named_by_majority
from .target import UNFORMED, ReplicationTarget


def promote(
    target: ReplicationTarget,
    access: Access,
    name: str,
    *,
    progress: Callable[[str], None],
    timeout_seconds: float,
) -> Report:
    """Makes `name` the primary and the other nodes its replicas: what only they hold is lost.

    Refused while a primary is at work (hand it over instead), and for an empty node while another holds data. All
    Sentinels must answer: one that is away would bring its own opinion back. Raises FormationError and its subclasses.
    """
    with Connections(access) as connections:
        observation = observe_through(connections, target)
        _check(target, observation, name)
        node = observation.node(name)
        try:
            if node is None or node.role != PRIMARY or named_by_majority(target, observation) != node.address:
                _decide(connections, target, observation, name, progress)
        except redis.RedisError as error:
            raise FormationError(f"promoting {name} was broken off, run it again: {reason(error)}") from error
        return form_through(connections, target, progress=progress, timeout_seconds=timeout_seconds)


def _check(target: ReplicationTarget, observation: Observation, name: str) -> None:
    node = next((node for node in observation.nodes if node.name == name), None)
    if node is None:
        raise FormationError(
            f"{name}: no such Redis node; there are {', '.join(each.name for each in observation.nodes)}"
        )
    if not node.reachable or node.loading:
        raise NodeUnreachable(f"{name}: {node.error or 'still loading its data'}")
    silent = [view.name for view in observation.every_sentinel if not view.reachable]
    if silent:
        raise NodeUnreachable(
            f"{', '.join(silent)}: not reachable; all Sentinels must hear of the decision: start them"
        )
    if any(view.failing_over for view in observation.every_sentinel):
        raise FormationRefused(["a failover is in progress: wait until it is over"])
    primaries = [each for each in observation.every_node if each.reachable and each.role == PRIMARY]
    named = observation.node_at(named_by_majority(target, observation))
    if named is not None and primaries == [named] and named.name != name:
        raise FormationRefused([f"{named.name} is the primary and at work: `python -m ops failover` hands it over"])
    fuller = [each for each in observation.every_node if each.keys > 0 and each.name != name]
    if node.keys == 0 and fuller:
        held = ", ".join(f"{each.name} ({each.keys} keys)" for each in fuller)
        raise FormationRefused([f"{name}: is empty while {held} hold data: promote one of those"])


def _decide(
    connections: Connections,
    target: ReplicationTarget,
    observation: Observation,
    name: str,
    progress: Callable[[str], None],
) -> None:
    """Interrupted after any of its parts, no second primary exists, and formation or another promotion goes on."""
    progress(f"{name}: becomes the primary, as decided by the operator")
    sentinels = [view.name for view in observation.every_sentinel if view.primary is not None]
    in_parallel(
        [member_named(target, sentinel) for sentinel in sentinels],
        lambda member: connections.ask(member, "SENTINEL", "REMOVE", target.sentinel.master_name),
    )
    others = [node.name for node in observation.every_node if node.reachable and node.name != name]
    in_parallel([member_named(target, other) for other in others], lambda member: _set_aside(connections, member))
    become_primary(connections, member_named(target, name), target.replica_priority)


def _set_aside(connections: Connections, member: Member) -> None:
    """As if it had just started: it keeps its data, serves nothing and cannot be promoted."""
    connections.ask(member, "CONFIG", "SET", "replica-priority", 0, "replica-serve-stale-data", "no")
    connections.ask(member, "REPLICAOF", UNFORMED.host, UNFORMED.port)
