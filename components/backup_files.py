"""Renders the files of a backup service: backup.json, which has no secret, and secret.json. From plain values."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from .backup_settings import BackupSettings
from .config_files import CONFIG_FOLDER, DATA_FOLDER

BACKUP_USER = "backup"
ENCRYPTION_KEY = "backup-encryption"
"""Name of the key, see :class:`backup_key.BackupKey`, among the credentials."""
CONFIGURATION = f"{CONFIG_FOLDER}/backup.json"
SECRET = f"{CONFIG_FOLDER}/secret.json"
BACKUPS_FOLDER = "/backups"
"""Where the volume of backups is."""
SCRATCH_FOLDER = DATA_FOLDER
"""Where servers that prove backups keep their data."""
STATUS = f"{SCRATCH_FOLDER}/status.json"
"""The copy of the backups' status that the service keeps, whatever the store is."""
METRICS_PORT = 9122
"""Where the service tells Prometheus, within the deployment's network, without TLS: nothing secret is among it."""
HEARTBEAT = "/tmp/heartbeat"  # noqa: S108 - memory of the container
_OF_THE_RECORD = ("topology", "nodes", "sentinels", "sentinel", "shards")


def configuration(
    settings: BackupSettings, deployment: str, record: Mapping[str, Any], place: Mapping[str, Any]
) -> str:
    """backup.json. ``record`` is the topology's; every node is reached here by the name that it announces.

    ``place``: what is otherwise on the platform, see :meth:`nodes.Platform.backup_place`.
    """
    return _json(
        {
            "deployment": deployment,
            "record": {name: _from_inside(record[name]) for name in _OF_THE_RECORD if name in record},
            "store": _store(settings),
            "schedule": settings.backup_schedule,
            "retention": {
                "days": settings.backup_retention_days,
                "weekly": settings.backup_keep_weekly,
                "monthly": settings.backup_keep_monthly,
            },
            "object_lock_days": settings.backup_object_lock_days,
            "encryption": settings.backup_encryption,
            "proof": settings.backup_proof,
            "point_in_time_recovery": settings.point_in_time_recovery,
            "secret": SECRET,
            "scratch": SCRATCH_FOLDER,
            "heartbeat": HEARTBEAT,
            "metrics_port": METRICS_PORT,
            **place,
        }
    )


def secret(settings: BackupSettings, passwords: Mapping[str, str], ca_certificate: str) -> str:
    """secret.json: what it takes to copy from nodes, to write to the store, and to seal; nothing more powerful."""
    of_store = {
        "access_key_id": settings.backup_access_key_id,
        "secret_access_key": settings.backup_secret_access_key,
    }
    return _json(
        {
            "passwords": {BACKUP_USER: passwords[BACKUP_USER]},
            "ca_certificate": ca_certificate,
            "encryption_key": passwords[ENCRYPTION_KEY],
            **({} if settings.s3 is None else of_store),
        }
    )


def _store(settings: BackupSettings) -> dict[str, Any]:
    place = settings.s3
    if place is None:
        return {"kind": "folder", "path": BACKUPS_FOLDER}
    return {
        "kind": "s3",
        "bucket": place.bucket,
        "prefix": place.prefix,
        "endpoint": settings.backup_endpoint,
        "region": settings.backup_region,
    }


def _from_inside(value: Any) -> Any:
    """A part of the record with ``reach`` of every node as it is on the deployment's own network."""
    if isinstance(value, Mapping):
        inner = {key: _from_inside(part) for key, part in value.items()}
        return {**inner, "reach": inner["announced"]} if "announced" in inner else inner
    return [_from_inside(part) for part in value] if isinstance(value, list) else value


def _json(values: Mapping[str, Any]) -> str:
    return json.dumps(values, indent=2, sort_keys=True) + "\n"
