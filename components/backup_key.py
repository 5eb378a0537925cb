"""The key that backups can be sealed with, as a Pulumi resource: made once, secret everywhere."""

from __future__ import annotations

import secrets
import uuid
from typing import Any

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, Resource, ResourceProvider

_KEY_BYTES = 32


class _BackupKeyProvider(ResourceProvider):
    def create(self, props: dict[str, Any]) -> CreateResult:
        return CreateResult(str(uuid.uuid4()), {**props, "key": secrets.token_urlsafe(_KEY_BYTES)})

    def diff(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        return DiffResult(changes=False)


class BackupKey(Resource, module="redis-production", name="BackupKey"):
    """``key`` (secret): 32 random bytes as URL-safe base64 without padding.

    It stays whether backups are sealed or not: those that it sealed need it. It is no one of the users' passwords, else
    the preview of an upgrade would take all of these for changed.
    """

    key: pulumi.Output[str]

    def __init__(self, resource_name: str, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(
            _BackupKeyProvider(),
            resource_name,
            {"key": None},
            pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(additional_secret_outputs=["key"])),
        )
