"""Generated passwords as a Pulumi resource: made once, secret everywhere."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Sequence
from typing import Any

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, Resource, ResourceProvider, UpdateResult

_PASSWORD_BYTES = 32


class _CredentialsProvider(ResourceProvider):
    def create(self, props: dict[str, Any]) -> CreateResult:
        return CreateResult(str(uuid.uuid4()), {**props, "passwords": _passwords(props["users"], {})})

    def update(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> UpdateResult:
        return UpdateResult({**news, "passwords": _passwords(news["users"], olds["passwords"])})

    def diff(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        return DiffResult(changes=sorted(olds["users"]) != sorted(news["users"]))


class Credentials(Resource, module="redis-production", name="Credentials"):
    """One random password of 256 bits for each user; a user that stays keeps its password when others come or go.

    ``passwords`` (user -> password) is secret. Only letters, digits, ``-`` and ``_``, so that no file needs quoting.
    """

    passwords: pulumi.Output[dict[str, str]]

    def __init__(self, resource_name: str, users: Sequence[str], opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(
            _CredentialsProvider(),
            resource_name,
            {"users": list(users), "passwords": None},
            pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(additional_secret_outputs=["passwords"])),
        )


def _passwords(users: Sequence[str], kept: dict[str, str]) -> dict[str, str]:
    return {user: kept.get(user) or secrets.token_urlsafe(_PASSWORD_BYTES) for user in users}
