"""The wanted topology as a record in the stack's state, there before anything is formed: ``python -m ops`` reads it."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, Resource, ResourceProvider, UpdateResult


class _TopologyProvider(ResourceProvider):
    def create(self, props: dict[str, Any]) -> CreateResult:
        return CreateResult(str(uuid.uuid4()), props)

    def update(self, _id: str, _olds: dict[str, Any], news: dict[str, Any]) -> UpdateResult:
        return UpdateResult(news)

    def diff(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        return DiffResult(changes=olds["target"] != news["target"])


class Topology(Resource, module="redis-production", name="Topology"):
    """``target``: members, settings of the topology and live settings, without a secret. Touches nothing.

    ``target["topology"]`` says which topology it is, see :mod:`live_deployment`.
    """

    def __init__(
        self, resource_name: str, target: Mapping[str, Any], opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__(_TopologyProvider(), resource_name, {"target": dict(target)}, opts)
