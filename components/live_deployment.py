"""A deployment's live nodes as Pulumi's resources and hooks see them. Which topologies there are is known here.

A topology's record is what the component has put into the stack's state: plain data, without a password.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from .formation import Access, Member
from .topologies import CLUSTER, topology_of

TIMEOUT_SECONDS = 300
"""How long formation, and whoever wants to stop a node, waits for a condition."""

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Forecast:
    """What formation would do now.

    ``lines`` say it; ``refusals`` say why it cannot be. ``handed_over``: the primaries that have a replica to hand over
    to. ``primaries``: all of them. ``memory_used``: bytes by node.
    """

    lines: tuple[str, ...]
    refusals: tuple[str, ...]
    primaries: frozenset[str]
    handed_over: frozenset[str]
    memory_used: Mapping[str, int]


class LiveDeployment(Protocol):
    """One deployment's live nodes. Failures are FormationErrors that name the node. Calls block."""

    @property
    def access(self) -> Access:
        """How formation logs in."""
        ...

    @property
    def redis_nodes(self) -> Sequence[Member]:
        """Every Redis node that is part of the deployment and stays."""
        ...

    def after(self, earlier: Mapping[str, Any]) -> LiveDeployment:
        """The same, on its way from an earlier record: members that only that one has are leaving."""
        ...

    def plan_for_new_nodes(self) -> Forecast:
        """What will be done on nodes that do not exist yet."""
        ...

    def forecast(self, joining: frozenset[str]) -> Forecast:
        """What would be done now. ``joining``: the nodes among them that do not exist yet."""
        ...

    def form(self, progress: Progress) -> dict[str, Any]:
        """Form and verify; the results are those that the component has as outputs."""
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


def live_deployment(record: Mapping[str, Any], passwords: Mapping[str, str], ca_certificate: str) -> LiveDeployment:
    """The deployment of a record, with what it takes to log in."""
    access = Access("admin", passwords["admin"], ca_certificate)
    if topology_of(record) == CLUSTER:
        from .live_cluster import LiveCluster

        return LiveCluster(record, access)
    from .live_replication import LiveReplication

    return LiveReplication(record, access, passwords)
