"""A planned failover that loses no acknowledged write.

The primary pauses writes, all replicas catch up, and only then a Sentinel fails over; the former primary follows before
its writers go on, so that nothing can be written to it (Redis documentation: CLIENT PAUSE, SENTINEL FAILOVER).
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

import redis

from ..connection import Connections, reason
from ..errors import HandOverFailed
from ..members import Access, Address, Member
from .apply import member_named, reset_pattern
from .attention import CloseAttention, end_attention
from .observation import PRIMARY, NodeView, Observation, SentinelView, observe_sentinel, observe_through
from .plan import named_by_majority
from .target import ReplicationTarget

# Should this program die half-way, the pause ends by itself: after the Sentinels have turned a former primary into a
# replica (they wait for 8 s, and ask every 10 s), as otherwise it would acknowledge writes that get lost.
_PAUSE_MILLISECONDS = 20_000
_CATCH_UP_SECONDS = 5.0
_PROMOTION_SECONDS = 8.0
_SELECTION_SECONDS = 3.0
_POLL_SECONDS = 0.01
_PREFERRED = 1
# A Sentinel that cannot be hurried asks every 10 s.
_NOTICE_SECONDS = 15.0


def hand_over(
    target: ReplicationTarget,
    access: Access,
    *,
    progress: Callable[[str], None],
    timeout_seconds: float = 60.0,
    prefer: Sequence[str] = (),
) -> str:
    """Makes a replica the primary and returns its name; `prefer` names the replicas to choose from, if any is in sync.

    Writers wait for a few seconds, readers do not. Raises HandOverFailed; writes then go on at the former primary.
    """
    with Connections(access) as connections:
        return hand_over_through(connections, target, progress=progress, timeout_seconds=timeout_seconds, prefer=prefer)


def hand_over_through(
    connections: Connections,
    target: ReplicationTarget,
    *,
    progress: Callable[[str], None],
    timeout_seconds: float = 60.0,
    prefer: Sequence[str] = (),
) -> str:
    """The same, through connections that are already open."""
    deadline = time.monotonic() + timeout_seconds
    observation = observe_through(connections, target)
    primary, candidates = _ready(target, observation)
    sentinel = _leader(connections, target, observation, primary)
    preferred = [node for node in candidates if node.name in prefer]
    with contextlib.ExitStack() as undo:
        priorities = {node.address: node.priority for node in candidates}
        if preferred and len(preferred) < len(candidates):
            undo.enter_context(_preferring(connections, target, preferred))
            priorities.update({node.address: _PREFERRED for node in preferred})
        _wait_until_noticed(connections, target, sentinel, priorities)
        promoted = _fail_over(connections, target, sentinel, primary, candidates, progress)
    _wait_until_settled(connections, target, promoted, deadline)
    progress(f"{promoted.name}: is the primary now, {primary.name} follows it")
    return promoted.name


def _ready(target: ReplicationTarget, observation: Observation) -> tuple[NodeView, list[NodeView]]:
    """The primary and the replicas that may take over. Raises HandOverFailed when there are none."""
    busy = [view.name for view in observation.every_sentinel if view.reachable and view.failing_over]
    if busy:
        raise HandOverFailed(f"{busy[0]}: a failover is in progress: try again when it is over")
    named = named_by_majority(target, observation)
    primary = observation.node_at(named)
    if primary is None or not primary.reachable or primary.role != PRIMARY:
        raise HandOverFailed("no primary that a majority of the Sentinels names and that answers: nothing to hand over")
    candidates = [
        node for node in observation.nodes if node.follows == primary.address and node.link_up and node.proven
    ]
    if not candidates:
        raise HandOverFailed(f"{primary.name}: no replica is in sync and may be promoted: nobody can take over")
    return primary, candidates


def _leader(connections: Connections, target: ReplicationTarget, observation: Observation, primary: NodeView) -> Member:
    """The Sentinel that will lead: it names the primary, is not cut off, and knows a quorum.

    The last that can: the leader is the last to show the new primary in SENTINEL MASTERS, by which redis-py's clients
    go, and they ask the first Sentinel first. This halves the time for which writers wait.
    """
    problems = []
    for view in reversed(observation.sentinels):
        if not view.reachable or view.primary != primary.address:
            problems.append(f"{view.name}: {view.error or f'names {view.primary}'}")
            continue
        member = member_named(target, view.name)
        try:
            connections.ask(member, "SENTINEL", "CKQUORUM", target.sentinel.master_name)
        except redis.RedisError as error:
            problems.append(f"{view.name}: {reason(error)}")
            continue
        return member
    raise HandOverFailed(f"no Sentinel can lead the failover: {'; '.join(problems)}")


@contextlib.contextmanager
def _preferring(connections: Connections, target: ReplicationTarget, preferred: Sequence[NodeView]) -> Iterator[None]:
    """Gives these replicas the lowest replica-priority, which a Sentinel chooses first."""
    members = [member_named(target, node.name) for node in preferred]
    try:
        for member in members:
            connections.ask(member, "CONFIG", "SET", "replica-priority", _PREFERRED)
        yield
    finally:
        for member in members:
            # If it does not answer, the next formation sets it right.
            with contextlib.suppress(redis.RedisError):
                connections.ask(member, "CONFIG", "SET", "replica-priority", target.replica_priority)


def _wait_until_noticed(
    connections: Connections, target: ReplicationTarget, sentinel: Member, priorities: Mapping[Address, int]
) -> None:
    """Until the Sentinel knows these priorities; it would take a replica with an outdated one of 0 for unfit."""

    def noticed() -> bool:
        seen = observe_sentinel(target, connections, sentinel).replica_priorities
        return all(seen.get(str(address)) == priority for address, priority in priorities.items())

    with CloseAttention(connections) as attention:
        if noticed():
            return
        attention.begin(sentinel)
        if not _wait(noticed, _NOTICE_SECONDS):
            raise HandOverFailed(f"{sentinel.name}: did not notice which replicas may be promoted")


def _fail_over(
    connections: Connections,
    target: ReplicationTarget,
    sentinel: Member,
    primary: NodeView,
    candidates: Sequence[NodeView],
    progress: Callable[[str], None],
) -> NodeView:
    """Pauses writes, lets the replicas catch up, fails over, re-points the former primary. Nothing is left paused."""
    old = member_named(target, primary.name)
    name = target.sentinel.master_name
    progress(f"{primary.name}: pauses writes until a replica has taken over")
    try:
        connections.ask(old, "CLIENT", "PAUSE", _PAUSE_MILLISECONDS, "WRITE")
        behind = _wait_until_equal(connections, target, old, candidates)
        if behind:
            raise HandOverFailed(f"{behind} did not catch up within {_CATCH_UP_SECONDS:.0f} s while writes were paused")
        _start_failover(connections, sentinel, name)
        promoted = _wait_until_promoted(connections, target, candidates)
        if promoted is None:
            # A reset ends the failover, so that it cannot happen after writes have been resumed.
            connections.ask(sentinel, "SENTINEL", "RESET", reset_pattern(name))
            promoted = _promoted(connections, target, candidates)
        if promoted is None:
            raise HandOverFailed(f"no replica was promoted within {_PROMOTION_SECONDS:.0f} s")
        # Before writes are resumed: what is still sent to the former primary is refused (READONLY) and not lost.
        connections.ask(old, "REPLICAOF", promoted.address.host, promoted.address.port)
        return promoted
    except redis.RedisError as error:
        raise HandOverFailed(f"{primary.name}: the hand-over was broken off: {reason(error)}") from error
    finally:
        with contextlib.suppress(redis.RedisError):  # then the pause ends by itself
            connections.ask(old, "CLIENT", "UNPAUSE")


def _start_failover(connections: Connections, sentinel: Member, name: str) -> None:
    """SENTINEL FAILOVER, again for a moment while no replica is good enough for it: nothing has begun then.

    A Sentinel that was kept from its work for a second does not trust what it knows of the replicas until it has asked.
    """
    end_attention(connections, sentinel)
    deadline = time.monotonic() + _SELECTION_SECONDS
    while True:
        try:
            connections.ask(sentinel, "SENTINEL", "FAILOVER", name, once=True)
            return
        except redis.ResponseError as error:
            if not str(error).startswith("NOGOODSLAVE") or time.monotonic() > deadline:
                raise
        time.sleep(_POLL_SECONDS)


def _wait_until_equal(
    connections: Connections, target: ReplicationTarget, old: Member, candidates: Sequence[NodeView]
) -> str:
    """Until every candidate has all that the primary has; the names of those that have not."""
    behind: list[str] = []

    def equal() -> bool:
        offset = _offset(connections, old, "master_repl_offset")
        behind[:] = [
            node.name
            for node in candidates
            if _offset(connections, member_named(target, node.name), "slave_repl_offset") != offset
        ]
        return not behind

    _wait(equal, _CATCH_UP_SECONDS)
    return ", ".join(behind)


def _offset(connections: Connections, member: Member, field: str) -> int:
    return int(connections.ask(member, "INFO", "replication").get(field, -1))


def _wait_until_promoted(
    connections: Connections, target: ReplicationTarget, candidates: Sequence[NodeView]
) -> NodeView | None:
    found: list[NodeView] = []

    def promoted() -> bool:
        node = _promoted(connections, target, candidates)
        found.extend([node] if node else [])
        return node is not None

    return found[0] if _wait(promoted, _PROMOTION_SECONDS) else None


def _promoted(connections: Connections, target: ReplicationTarget, candidates: Sequence[NodeView]) -> NodeView | None:
    for node in candidates:
        with contextlib.suppress(redis.ConnectionError, redis.TimeoutError):
            if connections.ask(member_named(target, node.name), "ROLE")[0] == "master":
                return node
    return None


def _wait_until_settled(
    connections: Connections, target: ReplicationTarget, promoted: NodeView, deadline: float
) -> None:
    """Until every Sentinel names the new primary and all replicas, the former primary included, follow it in sync."""
    missing: list[str] = []

    def settled() -> bool:
        observation = observe_through(connections, target)
        missing[:] = [*_sentinels_behind(observation.sentinels, promoted)]
        for node in observation.every_node:
            others = node.reachable and node.name != promoted.name and not node.retired
            if others and (node.follows != promoted.address or not node.link_up):
                missing.append(f"{node.name}: does not follow {promoted.name} in sync")
        return not missing

    if not _wait(settled, max(deadline - time.monotonic(), 1.0), poll_seconds=0.05):
        raise HandOverFailed(f"{promoted.name} is the primary now, but: {'; '.join(missing)}")


def _sentinels_behind(sentinels: Sequence[SentinelView], promoted: NodeView) -> Iterator[str]:
    for view in sentinels:
        if view.reachable and view.primary != promoted.address:
            yield f"{view.name}: names {view.primary} instead of {promoted.name}"
        elif view.reachable and view.failing_over:
            yield f"{view.name}: has not finished the failover"


def _wait(condition: Callable[[], bool], seconds: float, poll_seconds: float = _POLL_SECONDS) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(poll_seconds)
    return True
