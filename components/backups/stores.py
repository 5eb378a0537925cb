"""From settings to a store."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .errors import StoreError
from .folder_store import FolderStore
from .store import Store

_S3_REQUIRED = frozenset({"bucket"})
_S3_OPTIONAL = frozenset(
    "prefix region endpoint_url access_key_id secret_access_key session_token kms_key_id object_lock_days".split()
)


def store_of(settings: Mapping[str, Any]) -> Store:
    """The store that settings describe, without asking it anything yet.

    ``{"kind": "folder", "folder": path}``, or ``{"kind": "s3", "bucket": name}`` with whatever of prefix, region,
    endpoint_url, access_key_id, secret_access_key, session_token, kms_key_id and object_lock_days is wanted: see
    :class:`s3_store.S3Store`. A value of None is as good as none.

    Raises StoreError for settings that are unknown, missing or of another kind. No value is told.
    """
    given = {name: value for name, value in settings.items() if value is not None}
    match given.pop("kind", None):
        case "folder":
            _require(given, required=frozenset({"folder"}), optional=frozenset())
            return FolderStore(Path(given["folder"]))
        case "s3":
            _require(given, required=_S3_REQUIRED, optional=_S3_OPTIONAL)
            if ("access_key_id" in given) != ("secret_access_key" in given):
                raise StoreError("backup store s3: access_key_id and secret_access_key go together: set both or none")
            from .s3_store import S3Store  # boto3 is not everywhere

            return S3Store(given.pop("bucket"), given.pop("prefix", ""), **given)
        case kind:
            raise StoreError(f"backup store: kind is {kind!r}: it must be folder or s3")


def _require(given: Mapping[str, Any], *, required: frozenset[str], optional: frozenset[str]) -> None:
    kind = "s3" if optional else "folder"
    if missing := sorted(required - given.keys()):
        raise StoreError(f"backup store {kind}: {', '.join(missing)} is missing: set it")
    if unknown := sorted(given.keys() - required - optional):
        known = ", ".join(sorted(required | optional))
        raise StoreError(f"backup store {kind}: there is no setting {', '.join(unknown)}: it has {known}")
