"""A deployment's live nodes as Pulumi's resources and hooks see them. Which topologies there are is known here.

A topology's record is what the component has put into the stack's state: plain data, without a password.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from .formation import Access
from .topologies import CLUSTER, topology_of

if TYPE_CHECKING:
    from .formation.cluster import health as cluster_health
    from .formation.replication import health as replication_health

TIMEOUT_SECONDS = 300
"""How long formation, and whoever wants to stop a node, waits for a condition."""
HAND_OVER_SECONDS = 120
"""How long an operator's hand-over within a cluster may take."""

Progress = Callable[[str], None]

NO_PASSWORDS = dict.fromkeys(("admin", "app", "sentinel"), "")
"""For what asks no node."""


@dataclass(frozen=True)
class Forecast:
    """What formation would do now.

    ``lines`` say it; ``refusals`` say why it cannot be; ``waits``: what has to come true by itself. ``handed_over``:
    the primaries that have a replica to hand over to. ``primaries``: all of them. ``memory_used``: bytes by node.
    """

    lines: tuple[str, ...]
    refusals: tuple[str, ...]
    waits: tuple[str, ...]
    primaries: frozenset[str]
    handed_over: frozenset[str]
    memory_used: Mapping[str, int]

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "lines": list(self.lines),
            "refusals": list(self.refusals),
            "waits": list(self.waits),
            "primaries": sorted(self.primaries),
            "handed_over": sorted(self.handed_over),
            "memory_used": dict(self.memory_used),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Forecast:
        """The opposite of `to_dict`."""
        return cls(
            lines=tuple(values["lines"]),
            refusals=tuple(values["refusals"]),
            waits=tuple(values["waits"]),
            primaries=frozenset(values["primaries"]),
            handed_over=frozenset(values["handed_over"]),
            memory_used=dict(values["memory_used"]),
        )


class LiveDeployment(Protocol):
    """One deployment's live nodes. Failures are FormationErrors that name the node. Calls block."""

    def after(self, earlier: Mapping[str, Any]) -> LiveDeployment:
        """The same, on its way from an earlier record: members that only that one has are leaving."""
        ...

    def plan_for_new_nodes(self) -> Forecast:
        """What will be done on nodes that do not exist yet."""
        ...

    def forecast(self, joining: frozenset[str]) -> Forecast:
        """What would be done now. ``joining``: the nodes among them that do not exist yet."""
        ...

    def form(self, acl: Mapping[str, str], progress: Progress) -> dict[str, Any]:
        """Form and verify, then put users and certificates in force; the results are those that the component has as
        outputs.

        ``acl``: user -> what follows ``ACL SETUSER <user>``, passwords as hashes only.
        """
        ...

    def disband(self) -> None:
        """Take the deployment apart, before its nodes are destroyed."""
        ...

    def is_needed(self, name: str) -> bool:
        """Whether others depend on this node: not before formation, after disbanding, or once it is retired."""
        ...

    def still_needed(self, name: str, host: str, port: int) -> str | None:
        """Why a node that the record does not name any more must not be destroyed yet; None when it may.

        ``host`` and ``port``: what it announces.
        """
        ...

    def next_to_stop(self, names: Sequence[str]) -> str:
        """Which of these nodes to stop first."""
        ...

    def make_safe_to_stop(self, name: str, replaced: Sequence[str], progress: Progress) -> None:
        """Wait until the others can do without the node; hand a primary over, best to one that is already replaced."""
        ...

    def wait_until_back(self, name: str, progress: Progress) -> None:
        """Wait until the new node does its part again."""
        ...

    def status(self) -> replication_health.Status | cluster_health.Status:
        """What an operator wants to see at a glance."""
        ...

    def verify(self) -> str:
        """Write a key as an application does, read it from a replica, delete it; returns what was done, in one line."""
        ...

    def hand_over(self, name: str | None, progress: Progress) -> None:
        """Let a replica take over without losing a write; None: whichever is best. In a cluster it must be named."""
        ...

    def promote(self, name: str, progress: Progress) -> None:
        """Make a node the primary by an operator's decision. Not in a cluster."""
        ...

    def rebalance(self, progress: Progress) -> None:
        """Carry out what `forecast` says; users and certificates stay as they are."""
        ...


def live_deployment(record: Mapping[str, Any], passwords: Mapping[str, str], ca_certificate: str) -> LiveDeployment:
    """The deployment of a record, with what it takes to log in.

    A record with a ``runner`` is that of nodes which this machine need not reach: see
    :class:`remote_deployment.RemoteDeployment`.
    """
    if record.get("runner", {}).get("kind") == "ssm":
        from .remote_deployment import RemoteDeployment

        return RemoteDeployment(record)
    access = Access("admin", passwords["admin"], ca_certificate)
    if topology_of(record) == CLUSTER:
        from .live_cluster import LiveCluster

        return LiveCluster(record, access, passwords)
    from .live_replication import LiveReplication

    return LiveReplication(record, access, passwords)
