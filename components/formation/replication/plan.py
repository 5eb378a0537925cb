"""Decides what to do next: pure functions from the target and what was observed to the smallest safe change.

Rules (Redis documentation, "High availability with Redis Sentinel" and "Redis replication"):
* A primary is made only where no node of the deployment can hold other data, or where a Sentinel majority already names
  it and none of the other nodes can be newer. In every other case Sentinel, or an operator, decides.
* A node that holds keys never follows a primary that has none, unless both are known to share their history.
* Nothing is changed while a failover is going on.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from ..members import Address
from ..steps import ChangeLiveSettings, Plan, Step
from .observation import PRIMARY, REPLICA, NodeView, Observation, SentinelView
from .steps import (
    ChangeSentinelSettings,
    Follow,
    Forget,
    GiveAccess,
    HandOver,
    Introduce,
    MakePrimary,
    Monitor,
    Prove,
    Retire,
    StopMonitoring,
)
from .target import UNFORMED, ReplicationTarget

# A Sentinel that has just been told of a primary needs a moment to log in.
_ACCESS_PATIENCE_MILLISECONDS = 3000


@dataclass
class _Decision:
    """Which node is the primary (`make`: it still has to be made), or why that cannot be said now."""

    primary: NodeView | None = None
    make: MakePrimary | None = None
    waits: list[str] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)


def plan(target: ReplicationTarget, observation: Observation) -> Plan:
    """The changes that bring `observation` to `target`, or why none may be made."""
    views: tuple[NodeView | SentinelView, ...] = (*observation.every_sentinel, *observation.every_node)
    busy = [f"{view.name}: a failover is in progress" for view in views if view.reachable and view.failing_over]
    if busy:
        return Plan(waits=tuple(busy))
    decision = _decide_primary(target, observation)
    if decision.primary is None:
        return Plan(waits=tuple(decision.waits), refusals=tuple(decision.refusals))
    stages: list[list[Step]] = [[decision.make]] if decision.make else []
    waits: list[str] = []
    refusals: list[str] = []
    _plan_nodes(target, observation, decision, stages, waits, refusals)
    if refusals:
        # What is safe on the other nodes can wait until somebody has looked at this.
        return Plan(waits=tuple(waits), refusals=tuple(refusals))
    _plan_sentinels(target, observation, decision.primary, stages, waits)
    _plan_leaving(target, observation, decision.primary, stages, waits)
    return Plan(tuple(tuple(stage) for stage in stages if stage), tuple(waits))


# --- which node is the primary ---------------------------------------------------------------------------------------


def votes(observation: Observation) -> Counter[Address]:
    """How many reachable Sentinels name which address as the primary."""
    return Counter(view.primary for view in observation.every_sentinel if view.reachable and view.primary is not None)


def named_by_majority(target: ReplicationTarget, observation: Observation) -> Address | None:
    """The address that more than half of all Sentinels name, counting those that do not answer or monitor nothing.

    Sentinels that leave count as long as they still monitor the deployment.
    """
    leaving = sum(1 for view in observation.leaving_sentinels if view.reachable and view.primary is not None)
    total = len(target.sentinels) + leaving
    return next((address for address, count in votes(observation).items() if count * 2 > total), None)


def _decide_primary(target: ReplicationTarget, observation: Observation) -> _Decision:
    named = votes(observation)
    primaries = [node for node in observation.every_node if node.reachable and node.role == PRIMARY]
    majority = named_by_majority(target, observation)
    if majority is not None:
        return _primary_of_majority(target, observation, majority, primaries)
    if len(named) > 1:
        return _disagreement(observation)
    if len(primaries) > 1:
        names = ", ".join(f"{node.name} ({node.keys} keys)" for node in primaries)
        return _Decision(
            refusals=[
                f"{len(primaries)} primaries at once: {names}, and no Sentinel majority names one: "
                f"choose the one to keep with `python -m ops promote NODE`"
            ]
        )
    silent = [*_silent(observation.every_node), *_silent(observation.sentinels)]
    if primaries:
        (primary,) = primaries
        if named and primary.address not in named:
            (address,) = named
            return _unclear(
                silent, f"the Sentinels name {address}, but the only primary is {primary.name}", primary.name
            )
        # A primary that a minority or no Sentinel knows: somebody who does not answer may know another one.
        if _silent(observation.nodes) and _silent(observation.sentinels):
            return _Decision(waits=[*silent, f"{primary.name}: no Sentinel majority confirms that it is the primary"])
        if primary.loading:
            return _Decision(waits=[f"{primary.name}: the primary is loading its data"])
        return _Decision(primary)
    return _first_primary(observation, next(iter(named), None), silent)


def _primary_of_majority(
    target: ReplicationTarget, observation: Observation, address: Address, primaries: list[NodeView]
) -> _Decision:
    node = observation.node_at(address)
    if node is None:
        return _Decision(
            waits=[f"the Sentinels name {address}, which is no node of this deployment: they have to fail over first"]
        )
    if not node.reachable:
        return _Decision(
            waits=[
                f"{node.name}: the primary is not reachable ({node.error}): start it, or let the Sentinels fail over"
            ]
        )
    if node.loading:
        return _Decision(waits=[f"{node.name}: the primary is loading its data"])
    if node.role == PRIMARY:
        return _beside_the_primary(observation, node, [other for other in primaries if other != node])
    # The primary has restarted, or was turned into a replica by hand.
    if primaries:
        names = ", ".join(other.name for other in primaries)
        return _Decision(
            waits=[
                f"the Sentinels name {node.name}, which is a replica now, beside the primary {names}: "
                f"they have to fail over; if they do not, choose with `python -m ops promote NODE`"
            ]
        )
    silent = _silent(observation.every_node)
    if silent:
        return _Decision(waits=[*silent, f"{node.name}: cannot go on as the primary before all nodes can be asked"])
    loading = [f"{other.name}: loading its data" for other in observation.every_node if other.loading]
    if loading:
        return _Decision(waits=loading)
    standing = [other.name for other in observation.every_node if other != node and other.proven]
    if standing:
        return _Decision(
            waits=[
                f"{node.name}: has restarted; {', '.join(standing)} may hold newer data: the Sentinels have to decide"
            ]
        )
    holders = [other for other in observation.every_node if other.keys]
    if holders and not node.keys:
        names = ", ".join(f"{other.name} ({other.keys} keys)" for other in holders)
        return _Decision(
            refusals=[
                f"{node.name}: the Sentinels name it as the primary, but it is empty and would empty {names}: "
                f"choose the node to keep with `python -m ops promote NODE`"
            ]
        )
    because = "named by the Sentinel majority" if holders else "named by the Sentinel majority, no node holds a key"
    return _Decision(node, MakePrimary(node.name, because))


def _beside_the_primary(observation: Observation, primary: NodeView, others: list[NodeView]) -> _Decision:
    known_as_replica = {address for view in observation.sentinels if view.reachable for address in view.replicas}
    decision = _Decision(primary)
    for other in others:
        if not other.keys and not other.loading:
            continue  # it will be told to follow
        if other.address in known_as_replica:
            decision.waits.append(f"{other.name}: a former primary that the Sentinels will turn into a replica")
        else:
            decision.refusals.append(
                f"{other.name}: a second primary with {other.keys} keys beside {primary.name}, which the Sentinels "
                f"name: save what only it has, then choose the one to keep with `python -m ops promote NODE`"
            )
    if decision.waits or decision.refusals:
        decision.primary = None
    return decision


def _disagreement(observation: Observation) -> _Decision:
    views = [view for view in observation.every_sentinel if view.reachable and view.primary is not None]
    said = ", ".join(f"{view.name}: {view.primary}" for view in views)
    epochs: dict[int, set[Address | None]] = {}
    for view in views:
        epochs.setdefault(view.config_epoch, set()).add(view.primary)
    if all(len(addresses) == 1 for addresses in epochs.values()):
        # The newer configuration reaches the others with the next hello message (every 2 s).
        return _Decision(waits=[*_silent(observation.sentinels), f"the Sentinels do not agree yet ({said})"])
    return _Decision(
        refusals=[
            f"the Sentinels disagree and none has a majority ({said}): "
            f"choose the primary to keep with `python -m ops promote NODE`"
        ]
    )


def _first_primary(observation: Observation, named: Address | None, silent: list[str]) -> _Decision:
    """No node is a primary and no Sentinel majority names one; `named`: what a minority of the Sentinels names."""
    if silent:
        return _Decision(waits=[*silent, "no primary yet: cannot choose one before all members can be asked"])
    loading = [f"{node.name}: loading its data" for node in observation.every_node if node.loading]
    if loading:
        return _Decision(waits=loading)
    holders = [node for node in observation.every_node if node.keys]
    chosen = observation.node_at(named) if named is not None else None
    if not holders:
        first = chosen or observation.nodes[0]
        return _Decision(first, MakePrimary(first.name, "no node holds a key"))
    if len(holders) == 1 and (named is None or holders[0] == chosen):
        return _Decision(holders[0], MakePrimary(holders[0].name, "the only node that holds data"))
    names = ", ".join(f"{node.name} ({node.keys} keys)" for node in holders)
    knows = f"only a minority of the Sentinels names one ({named})" if named else "no Sentinel knows the primary"
    return _Decision(
        refusals=[
            f"no primary, {knows}, and data are on {names}: choose the node to keep with `python -m ops promote NODE`"
        ]
    )


def _unclear(silent: list[str], what: str, primary: str) -> _Decision:
    if silent:
        return _Decision(waits=[*silent, what])
    return _Decision(refusals=[f"{what}: confirm it with `python -m ops promote {primary}`"])


def _silent(views: tuple[NodeView, ...] | tuple[SentinelView, ...]) -> list[str]:
    return [f"{view.name}: not reachable ({view.error})" for view in views if not view.reachable]


# --- the nodes -------------------------------------------------------------------------------------------------------


def _plan_nodes(
    target: ReplicationTarget,
    observation: Observation,
    decision: _Decision,
    stages: list[list[Step]],
    waits: list[str],
    refusals: list[str],
) -> None:
    primary = decision.primary
    assert primary is not None
    stage: list[Step] = []
    listed = {replica.address: replica for replica in primary.replicas}
    for node in observation.nodes:
        if not node.reachable:
            waits.append(f"{node.name}: not reachable ({node.error}): start it")
            continue
        is_primary = node.name == primary.name
        if is_primary:
            if not decision.make and not _as_wanted(target, node):
                stage.append(Prove(node.name, target.replica_priority))
        elif node.loading:
            waits.append(f"{node.name}: loading its data")
        elif node.role == PRIMARY or node.follows != primary.address:
            if would_discard_data(node, primary):
                refusals.append(
                    f"{node.name}: holds {node.keys} keys while the primary {primary.name} holds none, and following "
                    f"it would delete them: promote it with `python -m ops promote {node.name}`, or wipe its data if "
                    f"they are not needed"
                )
            else:
                stage.append(Follow(node.name, primary.name, primary.address))
        elif not node.link_up:
            doing = "is being synchronised" if node.syncing else "the link to the primary is down"
            waits.append(f"{node.name}: {doing}")
        else:
            if not _as_wanted(target, node):
                stage.append(Prove(node.name, target.replica_priority))
            if node.address not in listed or listed[node.address].state != "online":
                waits.append(f"{node.name}: the primary {primary.name} does not count it as online yet")
        # A node that has just started may need other settings (appendonly) until it has its data.
        if node.differing_settings and (node.role == PRIMARY or node.link_up):
            changes = tuple((key, *values) for key, values in sorted(node.differing_settings.items()))
            stage.append(ChangeLiveSettings(node.name, changes))
    stages.append(stage)


def _as_wanted(target: ReplicationTarget, node: NodeView) -> bool:
    return node.priority == target.replica_priority and node.serves_stale


def would_discard_data(node: NodeView, primary: NodeView) -> bool:
    """Whether following `primary` could delete the only copy of what `node` holds.

    It could not when the primary's own history (replication id) contains the node's: the primary's data are newer then.
    """
    shares_history = bool(node.history) and node.history in (primary.history, primary.earlier_history)
    return node.keys > 0 and primary.keys == 0 and not shares_history


# --- the Sentinels ---------------------------------------------------------------------------------------------------


def _plan_sentinels(
    target: ReplicationTarget,
    observation: Observation,
    primary: NodeView,
    stages: list[list[Step]],
    waits: list[str],
) -> None:
    told: list[Step] = []
    ready: list[SentinelView] = []
    majority = named_by_majority(target, observation)
    epoch = max((view.config_epoch for view in observation.sentinels if view.primary == primary.address), default=0)
    for view in observation.sentinels:
        if not view.reachable:
            waits.append(f"{view.name}: not reachable ({view.error}): start it")
        elif view.primary is None:
            told.append(Monitor(view.name, primary.name, primary.address))
            ready.append(view)
        elif view.primary != primary.address:
            if majority == primary.address and view.config_epoch == epoch:
                # Of two opinions of the same age neither would ever give way.
                told.append(Monitor(view.name, primary.name, primary.address, instead_of=view.primary))
                ready.append(view)
            else:
                waits.append(f"{view.name}: still names {view.primary} as the primary")
        else:
            ready.append(view)
            if view.milliseconds_without_access > _ACCESS_PATIENCE_MILLISECONDS:
                told.append(GiveAccess(view.name))
            wanted = target.sentinel.readable
            changes = tuple(
                (name, view.settings.get(name, 0), value)
                for name, value in wanted.items()
                if view.settings.get(name) != value
            )
            if changes:
                told.append(ChangeSentinelSettings(view.name, changes))
    stages.append(told)
    introductions: list[Step] = []
    monitored_anew = {step.member for step in told if isinstance(step, Monitor)}
    for view in ready:
        known = {} if view.name in monitored_anew else view.sentinels
        unknown = tuple(
            other.name for other in ready if other.run_id != view.run_id and known.get(other.run_id) != other.address
        )
        if unknown:
            introductions.append(Introduce(view.name, unknown))
    stages.append(introductions)


def _missing_replicas(observation: Observation, view: SentinelView, primary: NodeView) -> list[str]:
    """Replicas in the target that the primary counts but this Sentinel does not know."""
    attached = {replica.address for replica in primary.replicas}
    return [node.name for node in observation.nodes if node.address in attached and node.address not in view.replicas]


def sentinels_behind(observation: Observation) -> list[str]:
    """The Sentinels with something to notice: a replica, its priority, a former primary, a restarted primary."""
    behind = []
    for view in observation.sentinels:
        primary = observation.node_at(view.primary)
        if not view.reachable or primary is None or not primary.reachable:
            continue
        unknown = [
            node.name
            for node in observation.nodes
            if node.follows == view.primary
            and node.link_up
            and view.replica_priorities.get(str(node.address)) != node.priority
        ]
        former = [node.name for node in observation.nodes if node.role == PRIMARY and node.address in view.replicas]
        if unknown or former or primary.role == REPLICA:
            behind.append(view.name)
    return behind


def _gone(
    target: ReplicationTarget, observation: Observation, view: SentinelView, primary: NodeView
) -> tuple[str, ...]:
    """Members that this Sentinel knows and that are not, or no longer, part of the target."""
    nodes = {member.announced for member in target.nodes} | {primary.address}
    run_ids = {other.address: other.run_id for other in observation.sentinels if other.reachable}
    sentinels = {member.announced for member in target.sentinels}
    names = {member.announced: member.name for member in target.leaving_nodes + target.leaving_sentinels}
    gone = [names.get(address, str(address)) for address in view.replicas if address not in nodes]
    for run_id, address in view.sentinels.items():
        if address not in sentinels:
            gone.append(names.get(address, str(address)))
        elif run_ids.get(address, run_id) != run_id:
            gone.append(f"a former Sentinel at {address}")
    return tuple(sorted(gone))


# --- members that leave ----------------------------------------------------------------------------------------------


def _plan_leaving(
    target: ReplicationTarget,
    observation: Observation,
    primary: NodeView,
    stages: list[list[Step]],
    waits: list[str],
) -> None:
    sentinel_waits: list[str] = []
    for view in observation.sentinels:
        if not view.reachable or view.primary != primary.address:
            continue  # already among the steps or waits
        missing = _missing_replicas(observation, view, primary)
        if missing:
            sentinel_waits.append(f"{view.name}: does not know the replica {', '.join(missing)} yet")
    waits.extend(sentinel_waits)
    staying = {member.announced for member in target.nodes + target.leaving_nodes}
    silent = {node.address for node in observation.leaving_nodes if not node.reachable}
    for replica in primary.replicas:
        if (replica.address not in staying or replica.address in silent) and replica.state == "online":
            waits.append(
                f"{replica.address}: still replicates from {primary.name} but is not part of the deployment: stop it"
            )

    leaves = any(node.name == primary.name for node in observation.leaving_nodes)
    parting: list[Step] = [
        Retire(node.name)
        for node in observation.leaving_nodes
        if node.reachable and not node.retired and node.name != primary.name
    ]
    parting += [
        StopMonitoring(view.name)
        for view in observation.leaving_sentinels
        if view.reachable and view.primary is not None
    ]
    # Joining comes first: nobody leaves before those who stay, or join, are complete.
    incomplete = bool(waits) or any(stages)
    forgetting: list[list[Step]] = []
    for view in observation.sentinels:
        gone = _gone(target, observation, view, primary)
        if gone and view.primary == primary.address:
            forgetting.append([Forget(view.name, gone)])
    if incomplete and not any(stages):
        # The waits say what is missing; what leaves is planned again when they are over.
        if parting or forgetting or leaves:
            names = sorted({step.member for step in parting} | ({primary.name} if leaves else set()))
            waits.append(f"{', '.join(names) or 'former members'}: leave after that")
        return
    stages.append(parting)
    stages.extend(forgetting)
    if leaves:
        candidates = [
            node for node in observation.nodes if node.reachable and node.follows == primary.address and node.link_up
        ]
        if not candidates and not any(stages):
            waits.append(f"{primary.name}: leaves, but no replica that stays is in sync to take over from it")
            return
        stages.append([HandOver(primary.name)])
        stages.append([Retire(primary.name)])
        stages.extend([[Forget(view.name, (primary.name,))] for view in observation.sentinels])


def plan_for_empty_deployment(target: ReplicationTarget) -> Plan:
    """The plan for nodes that do not exist yet: all of them will have just started, and empty."""
    return plan(
        target,
        Observation(
            nodes=tuple(
                NodeView(member.name, member.announced, role=REPLICA, follows=UNFORMED) for member in target.nodes
            ),
            sentinels=tuple(
                SentinelView(member.name, member.announced, run_id=member.name) for member in target.sentinels
            ),
        ),
    )
