"""A live cluster, as Pulumi's resources and hooks see it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from .client_check import verify_cluster
from .formation import Access, Address, FormationError, FormationRefused, Member, Plan
from .formation.access_control import put_in_force
from .formation.cluster import ClusterTarget, Observation, Report, Shard, form, health, observe, preview
from .formation.cluster.disband import disband
from .formation.cluster.hand_over import hand_over
from .formation.cluster.observation import PRIMARY
from .formation.cluster.plan import plan_for_empty_deployment
from .formation.cluster.safety import is_formed, make_safe_to_stop, still_owns_slots, stop_order, wait_until_back
from .live_deployment import HAND_OVER_SECONDS, TIMEOUT_SECONDS, Forecast, Progress

_ORDINALS = re.compile(r"(.*\bredis-)(\d+-\d+)(\..+)?")


class LiveCluster:
    """See :class:`live_deployment.LiveDeployment`.

    Raises FormationRefused when the record's shards cannot be, such as one with two copies on the same host.
    """

    def __init__(self, record: Mapping[str, Any], access: Access, passwords: Mapping[str, str]) -> None:
        self._record = record
        self._access = access
        self._passwords = passwords
        try:
            self._target = ClusterTarget.from_dict(record)
        except ValueError as error:
            raise FormationRefused([str(error)]) from error

    def after(self, earlier: Mapping[str, Any]) -> LiveCluster:
        """With the members that only the earlier record has as leaving."""
        kept = {member.name for member in self._target.members}
        leaving = [member for member in ClusterTarget.from_dict(earlier).members if member.name not in kept]
        record = {**self._record, "leaving": [member.to_dict() for member in leaving]}
        return LiveCluster(record, self._access, self._passwords)

    def plan_for_new_nodes(self) -> Forecast:
        """Steps of a first formation."""
        return _forecast(plan_for_empty_deployment(self._target), Observation(()))

    def forecast(self, joining: frozenset[str]) -> Forecast:
        """Nodes that join, leave, hand over; slots, keys and bytes that move."""
        found, observation = preview(self._target, self._access, joining)
        if found.refusals and self._take_in_those_left_behind():
            found, observation = preview(self._target, self._access, joining)
        return _forecast(found, observation)

    def form(self, acl: Mapping[str, str], progress: Progress) -> dict[str, Any]:
        """Results: ``shards``, for each shard its name, its slots, and the addresses of its primary and replicas."""
        report = self._form(progress)
        put_in_force(self._target.members, self._access, acl)
        return {"shards": [_as_output(shard, report) for shard in self._target.shards]}

    def disband(self) -> None:
        """No failover starts while nodes go one after the other."""
        disband(self._target, self._access)

    def is_needed(self, name: str) -> bool:
        """By what the nodes say."""
        return is_formed(self._as_it_stands(), self._access, name)

    def still_needed(self, name: str, host: str, port: int) -> str | None:
        """A node may go when the cluster knows that it has no slot."""
        if name in {member.name for member in self._target.members}:
            return None
        return still_owns_slots(self._target, self._access, Address(host, port))

    def next_to_stop(self, names: Sequence[str]) -> str:
        """Replicas, then primaries."""
        target = self._as_it_stands()
        return stop_order(target, observe(target, self._access), names)[0]

    def make_safe_to_stop(self, name: str, replaced: Sequence[str], progress: Progress) -> None:
        """A primary is handed over within its shard. Raises FormationTimeout naming what was missing."""
        make_safe_to_stop(
            self._as_it_stands(),
            self._access,
            name,
            prefer=replaced,
            progress=progress,
            timeout_seconds=TIMEOUT_SECONDS,
        )

    def wait_until_back(self, name: str, progress: Progress) -> None:
        """Raises FormationTimeout naming what was missing."""
        wait_until_back(self._as_it_stands(), self._access, name, progress=progress, timeout_seconds=TIMEOUT_SECONDS)

    def status(self) -> health.Status:
        """Shard by shard."""
        return health.status(self._target, observe(self._target, self._access))

    def verify(self) -> str:
        """Through a client that follows the slots."""
        app = Access("app", self._passwords["app"], self._access.ca_certificate)
        return verify_cluster(self._target, self._access, app)

    def hand_over(self, name: str | None, progress: Progress) -> None:
        """Within the shard of the replica. Raises HandOverFailed."""
        if name is None:
            raise FormationError("a cluster has a primary in every shard; name the replica that takes over")
        hand_over(self._target, self._access, name, progress=progress, timeout_seconds=HAND_OVER_SECONDS)

    def promote(self, name: str, progress: Progress) -> None:
        """The shards of a cluster decide among themselves."""
        raise FormationError(f"{name}: a cluster's nodes are not promoted by hand; hand over instead")

    def rebalance(self, progress: Progress) -> None:
        """Every shard gets its share of the slots."""
        self._form(progress)

    def _form(self, progress: Progress) -> Report:
        try:
            return form(self._target, self._access, progress=progress, timeout_seconds=TIMEOUT_SECONDS)
        except FormationRefused:
            if not self._take_in_those_left_behind():
                raise
            return form(self._target, self._access, progress=progress, timeout_seconds=TIMEOUT_SECONDS)

    def _as_it_stands(self) -> ClusterTarget:
        """The target without the nodes that have not joined yet, and with those that have not left yet as leaving.

        Formation, which takes in the ones and lets go the others, comes after the restarts of the same ``up``.
        """
        observation = observe(self._target, self._access)
        joined = {
            node.address
            for knowledge in observation.knowledge
            if len(knowledge.nodes) > 1
            for node in knowledge.nodes.values()
        }
        shards = [
            replace(shard, members=members)
            for shard in self._target.shards
            if (members := tuple(member for member in shard.members if member.announced in joined))
        ]
        if not shards:
            return self._target
        return replace(self._target, shards=tuple(shards), leaving=self._left_behind(observation))

    def _take_in_those_left_behind(self) -> bool:
        """Nodes that joined when a run was interrupted, and that neither record names, leave, too.

        Returns whether there are any.
        """
        left_behind = self._left_behind(observe(self._target, self._access))
        self._target = replace(self._target, leaving=(*self._target.leaving, *left_behind))
        return bool(left_behind)

    def _left_behind(self, observation: Observation) -> tuple[Member, ...]:
        """Nodes that the cluster knows and the target does not; host names say that they are this deployment's."""
        first = self._target.members[0]
        mine, _ = _divided(first.announced.host)
        name, _ = _divided(first.name)
        known = {member.announced for member in self._target.every_member}
        # Where all nodes are reached at one host, so are those.
        hosts = {member.reach.host for member in self._target.members}
        left_behind = {
            node.address: Member(
                name.format(ordinals),
                node.address,
                Address(first.reach.host if len(hosts) == 1 else node.address.host, node.address.port),
            )
            for knowledge in observation.knowledge
            for node in knowledge.nodes.values()
            for frame, ordinals in [_divided(node.address.host)]
            if frame == mine and ordinals and node.address not in known
        }
        return tuple(left_behind.values())


def _divided(name: str) -> tuple[str, str]:
    """A node's or host's name without its ordinals, and those: ``cache-local-redis-{}`` and ``0-1``."""
    match = _ORDINALS.fullmatch(name)
    return (f"{match[1]}{{}}{match[3] or ''}", match[2]) if match else (name, "")


def _forecast(found: Plan, observation: Observation) -> Forecast:
    primaries = [node for node in observation.nodes if node.role == PRIMARY and node.slots]
    followed = {node.primary_id for node in observation.nodes if node.primary_id}
    return Forecast(
        lines=tuple(found.describe()),
        refusals=found.refusals,
        waits=found.waits,
        primaries=frozenset(node.name for node in primaries),
        handed_over=frozenset(node.name for node in primaries if node.node_id in followed),
        memory_used={node.name: node.memory_used for node in observation.nodes},
    )


def _as_output(shard: Shard, report: Report) -> dict[str, Any]:
    reach = {member.name: str(member.reach) for member in shard.members}
    return {
        "name": shard.name,
        "slots": report.slots[shard.name],
        "primary": reach[report.primaries[shard.name]],
        "replicas": [reach[replica] for replica in report.replicas[shard.name]],
    }
