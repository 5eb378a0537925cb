"""What the host of a node does every few minutes: look, and take the backup that is due. Of all hosts one does it.

A replica's host is to be the one, as a primary's has enough to do: a primary's host leaves a backup that is due to the
others first, and takes it only when after some time nobody has.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path

import redis

from ..formation.connection import Connections
from .names import name_of
from .schedule import due_at
from .service import Progress, Service
from .sources import members_of

_OTHERS_FIRST_SECONDS = 660.0
"""Every host looks twice in this time."""


def tick(service: Service, node: str, progress: Progress) -> None:
    """Look once, as ``node``'s host. Raises BackupError."""
    service.status()  # leaves a copy, which tells how old the newest backups are
    now = datetime.now(UTC)
    latest = service.catalog.latest()
    due = due_at(service.schedule, latest.moment if latest else None, now)
    waiting = service.scratch / "due"
    if due is None:
        waiting.unlink(missing_ok=True)
        return
    seen = _seconds_since_first_seen(waiting, name_of(due))
    if seen >= _OTHERS_FIRST_SECONDS or _is_replica(service, node):
        service.run_if_due(progress, now)
        service.status()


def _seconds_since_first_seen(waiting: Path, name: str) -> float:
    if not waiting.exists() or waiting.read_text() != name:
        waiting.write_text(name)
    return time.time() - waiting.stat().st_mtime


def _is_replica(service: Service, node: str) -> bool:
    """One that does not answer is as little asked for more as a primary is."""
    with Connections(service.order.access) as connections:
        for member in members_of(service.order.record):
            if member.name == node:
                try:
                    return bool(connections.ask(member, "INFO", "replication")["role"] == "slave")
                except redis.RedisError:
                    return False
    return False
