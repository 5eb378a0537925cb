"""A live primary, its replicas and Sentinels, as Pulumi's resources and hooks see them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .client_check import verify_replicated
from .formation import Access, Member, Plan
from .formation.access_control import put_in_force
from .formation.replication import Observation, ReplicationTarget, Report, form, health, observe, preview
from .formation.replication.disband import disband
from .formation.replication.hand_over import hand_over
from .formation.replication.observation import PRIMARY
from .formation.replication.plan import plan_for_empty_deployment
from .formation.replication.promotion import promote
from .formation.replication.safety import is_formed, make_safe_to_stop, stop_order, wait_until_back
from .live_deployment import TIMEOUT_SECONDS, Forecast, Progress


def replication_target(record: Mapping[str, Any], passwords: Mapping[str, str]) -> ReplicationTarget:
    """The wanted topology as formation takes it, from its record and the passwords."""
    sentinel = {**record["sentinel"], "auth_password": passwords["sentinel"]}
    return ReplicationTarget.from_dict({**record, "sentinel": sentinel})


class LiveReplication:
    """See :class:`live_deployment.LiveDeployment`."""

    def __init__(self, record: Mapping[str, Any], access: Access, passwords: Mapping[str, str]) -> None:
        self._record = record
        self._access = access
        self._passwords = passwords
        self._target = replication_target(record, passwords)

    def after(self, earlier: Mapping[str, Any]) -> LiveReplication:
        """With the nodes and Sentinels that only the earlier record has as leaving."""
        before = replication_target(earlier, self._passwords)
        record = {
            **self._record,
            "leaving_nodes": _missing(before.nodes, self._target.nodes),
            "leaving_sentinels": _missing(before.sentinels, self._target.sentinels),
        }
        return LiveReplication(record, self._access, self._passwords)

    def plan_for_new_nodes(self) -> Forecast:
        """Steps of a first formation."""
        return _forecast(plan_for_empty_deployment(self._target), None)

    def forecast(self, joining: frozenset[str]) -> Forecast:
        """A node that does not exist yet is one that does not answer yet. Refusals are formation's to tell."""
        found, observation = preview(self._target, self._access)
        return _forecast(found, observation)

    def form(self, acl: Mapping[str, str], progress: Progress) -> dict[str, Any]:
        """Results: ``primary`` and ``replicas``, addresses."""
        report = self._form(progress)
        put_in_force(self._target.nodes, self._access, acl)
        reach = {member.name: str(member.reach) for member in self._target.nodes}
        return {"primary": reach[report.primary], "replicas": [reach[replica] for replica in report.replicas]}

    def disband(self) -> None:
        """Let the Sentinels go before the nodes do."""
        disband(self._target, self._access)

    def is_needed(self, name: str) -> bool:
        """By what Sentinels and nodes say."""
        return is_formed(self._target, self._access, name)

    def still_needed(self, name: str, host: str, port: int) -> str | None:
        """Formation has retired it, and waited for that."""
        return None

    def next_to_stop(self, names: Sequence[str]) -> str:
        """Replicas, then the primary, then Sentinels."""
        return stop_order(self._target, observe(self._target, self._access), names)[0]

    def make_safe_to_stop(self, name: str, replaced: Sequence[str], progress: Progress) -> None:
        """Raises FormationTimeout naming what was missing."""
        make_safe_to_stop(
            self._target, self._access, name, prefer=replaced, progress=progress, timeout_seconds=TIMEOUT_SECONDS
        )

    def wait_until_back(self, name: str, progress: Progress) -> None:
        """Raises FormationTimeout naming what was missing."""
        wait_until_back(self._target, self._access, name, progress=progress, timeout_seconds=TIMEOUT_SECONDS)

    def status(self) -> health.Status:
        """Nodes, and what the Sentinels see."""
        return health.status(self._target, observe(self._target, self._access))

    def verify(self) -> str:
        """Through Sentinel."""
        app = Access("app", self._passwords["app"], self._access.ca_certificate)
        return verify_replicated(self._target, self._access, app)

    def hand_over(self, name: str | None, progress: Progress) -> None:
        """Raises HandOverFailed."""
        hand_over(self._target, self._access, progress=progress, prefer=[name] if name else [])

    def promote(self, name: str, progress: Progress) -> None:
        """Raises FormationRefused where a primary is at work."""
        promote(self._target, self._access, name, progress=progress, timeout_seconds=TIMEOUT_SECONDS)

    def rebalance(self, progress: Progress) -> None:
        """There are no slots: what else is to be done is done."""
        self._form(progress)

    def _form(self, progress: Progress) -> Report:
        return form(self._target, self._access, progress=progress, timeout_seconds=TIMEOUT_SECONDS)


def _forecast(found: Plan, observation: Observation | None) -> Forecast:
    nodes = observation.nodes if observation else ()
    primaries = frozenset(node.name for node in nodes if node.role == PRIMARY)
    return Forecast(
        lines=tuple(found.describe()),
        refusals=(),
        waits=found.waits,
        primaries=primaries,
        handed_over=primaries if len(nodes) > 1 else frozenset(),
        memory_used={node.name: node.memory_used for node in nodes},
    )


def _missing(before: tuple[Member, ...], after: tuple[Member, ...]) -> list[dict[str, Any]]:
    kept = {member.name for member in after}
    return [member.to_dict() for member in before if member.name not in kept]
