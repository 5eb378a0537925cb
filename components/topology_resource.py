"""The wanted topology as a record in the stack's state, there before anything is formed: ``python -m ops`` reads it."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

import pulumi
from pulumi.dynamic import (
    CheckFailure,
    CheckResult,
    CreateResult,
    DiffResult,
    Resource,
    ResourceProvider,
    UpdateResult,
)

from .topologies import CLUSTER, topology_of


class _TopologyProvider(ResourceProvider):
    def check(self, olds: dict[str, Any], news: dict[str, Any]) -> CheckResult:
        problems = impossible_moves(olds["target"], news["target"]) if olds else []
        return CheckResult(news, [CheckFailure("target", problem) for problem in problems])

    def create(self, props: dict[str, Any]) -> CreateResult:
        return CreateResult(str(uuid.uuid4()), props)

    def update(self, _id: str, _olds: dict[str, Any], news: dict[str, Any]) -> UpdateResult:
        return UpdateResult(news)

    def diff(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        return DiffResult(changes=olds["target"] != news["target"])


def impossible_moves(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """What nodes cannot become, as they take their data along: one line each."""
    return [*moved_members(before, after), *moved_hosts(before.get("aws"), after.get("aws"))]


def moved_hosts(before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> list[str]:
    """Why hosts on AWS cannot be where, or what, the settings now say; ``before`` and ``after`` as in the record."""
    if before is None and after is None:
        return []
    if before is None or after is None:
        return ["platform: a deployment stays where it is, because its data do; keep it, or deploy another stack"]
    problems = [
        f"{setting}: nodes cannot move from {_told(before[fact])} to {_told(after[fact])}, because a data volume stays "
        "in its zone; keep it, or deploy another stack"
        for setting, fact in (
            ("aws:region", "region"),
            ("vpc-id or vpc-cidr", "network"),
            ("subnet-ids or availability-zones", "zones"),
        )
        if before[fact] != after[fact]
    ]
    if not after.get("image") and not set(after["architectures"]) <= set(before["architectures"]):
        problems.append(
            f"ami-id: without it nodes keep their image, which is for {_told(before['architectures'])}; name one for "
            f"{_told(after['architectures'])}"
        )
    return problems


def _told(fact: Any) -> str:
    return ", ".join(fact) if isinstance(fact, list) else str(fact)


def moved_members(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Members of a cluster that would get another address, one line each.

    A cluster's nodes keep each other's ports (nodes.conf), so that none would find the others again.
    """
    if not topology_of(before) == topology_of(after) == CLUSTER:
        return []
    addresses = {member["name"]: member["announced"] for member in _members(before)}
    return [
        f"port: {member['name']} cannot move from port {int(addresses[member['name']]['port'])} to "
        f"{int(member['announced']['port'])}, because the nodes of a cluster know each other by their ports; "
        "keep the port, or deploy another stack"
        for member in _members(after)
        if addresses.get(member["name"], member["announced"]) != member["announced"]
    ][:1]


def _members(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [member for shard in record["shards"] for member in shard["members"]]


class Topology(Resource, module="redis-production", name="Topology"):
    """``target``: members, settings of the topology and live settings, without a secret. Touches nothing.

    ``target["topology"]`` says which topology it is, see :mod:`live_deployment`; ``record`` is the same as plain data.
    """

    def __init__(
        self, resource_name: str, target: Mapping[str, Any], opts: pulumi.ResourceOptions | None = None
    ) -> None:
        self.record = dict(target)
        super().__init__(_TopologyProvider(), resource_name, {"target": self.record}, opts)
