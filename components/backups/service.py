"""The backup service: takes what is due, deletes what need not be kept, and says how it went."""

from __future__ import annotations

import base64
import json
import socket
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..formation.members import Access
from .archive import Archive, ArchiveStatus
from .archiving import Archiver
from .catalog import Catalog
from .claims import Held
from .errors import BackupError
from .manifest import Manifest
from .names import name_of
from .prove import prove
from .retention import Retention
from .room import require_room
from .schedule import due_at
from .status import OBJECT, Status
from .stores import store_of
from .take import Order, take

Progress = Callable[[str], None]
_CLAIM_SECONDS = 600.0
_RENEW_SECONDS = 120.0
_ABANDONED_SECONDS = 24 * 3600.0
RETRY_SECONDS = 300.0
"""After a run that failed, before the next one."""


@dataclass(frozen=True, kw_only=True)
class Service:
    """What a host's configuration describes: see :meth:`load`."""

    order: Order
    catalog: Catalog
    schedule: str
    retention: Retention
    proof: bool
    scratch: Path
    heartbeat: Path
    store_settings: Mapping[str, Any] = field(repr=False)
    """As :func:`stores.store_of` takes them."""
    key: bytes = field(repr=False)
    """The deployment's own, whether it seals backups now or did before."""
    metrics_port: int | None = None
    """Where metrics are served; None: nowhere."""
    point_in_time_recovery: bool = False
    """Whether writes between backups are archived, too."""

    @classmethod
    def load(cls, configuration: Path) -> Service:
        """Read backup.json, and the secret file that it names; see :mod:`components.backup_files`."""
        settings: dict[str, Any] = json.loads(configuration.read_text())
        secret: dict[str, Any] = json.loads(Path(settings["secret"]).read_text())
        access = Access("backup", secret["passwords"]["backup"], secret["ca_certificate"])
        encrypted = settings["encryption"] == "client"
        deployment = settings["deployment"]
        own_key, store = key_of(secret["encryption_key"]), _store(settings, secret)
        return cls(
            order=Order(
                deployment=deployment,
                record=settings["record"],
                access=access,
                key=own_key if encrypted else None,
            ),
            catalog=Catalog(store_of(store), deployment),
            schedule=settings["schedule"],
            retention=Retention(**settings["retention"]),
            proof=settings["proof"],
            scratch=Path(settings["scratch"]),
            heartbeat=Path(settings["heartbeat"]),
            store_settings=store,
            key=own_key,
            metrics_port=settings.get("metrics_port"),
            point_in_time_recovery=settings.get("point_in_time_recovery", False),
        )

    def archiver(self, progress: Progress) -> Archiver:
        """Archives what is written between backups; for what it cannot follow it takes a backup at once."""
        return Archiver(self.order, self.catalog, lambda: self.run(name_of(datetime.now(UTC)), progress), progress)

    def archive_status(self) -> ArchiveStatus:
        """How that goes."""
        return Archive(self.catalog.store, self.order.deployment).status()

    def run_if_due(self, progress: Progress, now: datetime | None = None) -> bool:
        """Take the backup that is due, if one is. Raises BackupError, which the status tells, too.

        True: none is due before the schedule's next tick. False: one still is, but another host takes it, or a run
        failed a moment ago.
        """
        now = now or datetime.now(UTC)
        latest = self.catalog.latest()
        tick = due_at(self.schedule, latest.moment if latest else None, now)
        if tick is None:
            return True
        return not self._failed_lately(now.timestamp()) and self.run(name_of(tick), progress) is not None

    def run(self, backup: str, progress: Progress) -> Manifest | None:
        """Take a backup of that name, unless another host does; then delete what need not be kept.

        Raises BackupError, which the status tells, too.
        """
        claim = self.catalog.claim(backup, socket.gethostname(), _CLAIM_SECONDS, time.time())
        if claim is None:
            progress(f"{backup} is being taken by another host, or was a moment ago")
            return None
        with Held(claim, _CLAIM_SECONDS, _RENEW_SECONDS):
            try:
                manifest = take(self.order, self.catalog, backup, claim.number, progress)
                self._change_status(lambda status: status.after_backup(manifest))
                if self.proof:
                    self._prove(manifest, progress)
                self._tidy(progress)
            except BackupError as error:
                self._note(str(error))
                raise
        progress(f"{backup} is stored: {manifest.keys} keys, {manifest.stored_bytes} bytes")
        return manifest

    def prove(self, backup: str | None, progress: Progress) -> str:
        """Prove a backup, or the newest good one; its name. Raises BackupError, which the status tells, too."""
        found = self.catalog.latest() if backup is None else self.catalog.backup(backup)
        if found is None or found.manifest is None:
            raise BackupError(f"{backup or 'a backup'} is not there to be proven; see `python -m ops backup list`")
        try:
            self._prove(found.manifest, progress)
        except BackupError as error:
            self._note(str(error))
            raise
        return found.name

    def status(self) -> Status:
        """As the store has it now. A copy is kept for whoever has no access to the store. Raises BackupError."""
        found = self.catalog.status()
        self._keep_copy(found)
        return found

    def _change_status(self, change: Callable[[Status], Status]) -> None:
        changed = change(self.catalog.status())
        self.catalog.put_status(changed)
        self._keep_copy(changed)

    def _keep_copy(self, status: Status) -> None:
        new, copy = self.scratch / f".{threading.get_ident()}.{OBJECT}", self.scratch / OBJECT
        with suppress(OSError):  # nothing but what is shown depends on it
            new.write_bytes(status.to_json())
            new.replace(copy)

    def _prove(self, manifest: Manifest, progress: Progress) -> None:
        started = time.monotonic()
        require_room(self.scratch, manifest)
        prove(self.catalog, manifest, self.key if manifest.encryption else None, self.scratch, progress)
        seconds = time.monotonic() - started
        self._change_status(lambda status: status.after_proof(manifest, now=time.time(), seconds=seconds))

    def _tidy(self, progress: Progress) -> None:
        for name in self.catalog.delete_what_need_not_be_kept(self.retention, datetime.now(UTC)):
            progress(f"{name} is deleted: it need not be kept")
        for name in self.catalog.remove_unfinished(_ABANDONED_SECONDS, time.time()):
            progress(f"{name} is removed: it was never finished")
        kept = self.catalog.kept()
        self._change_status(lambda status: status.with_kept(*kept))

    def _failed_lately(self, now: float) -> bool:
        status = self.status()
        return status.last_run_failed and now - (status.last_failure_at or 0) < RETRY_SECONDS

    def _note(self, why: str) -> None:
        try:
            self._change_status(lambda status: status.after_failure(why, now=time.time()))
        except BackupError:
            return  # the store is what failed


def key_of(text: str) -> bytes:
    """From its form in secret.json: URL-safe base64 without padding."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _store(settings: Mapping[str, Any], secret: Mapping[str, Any]) -> dict[str, Any]:
    store = settings["store"]
    if store["kind"] == "folder":
        return {"kind": "folder", "folder": store["path"]}
    return {
        "kind": "s3",
        "bucket": store["bucket"],
        "prefix": store["prefix"],
        "endpoint_url": store["endpoint"],
        "region": store["region"],
        "access_key_id": secret.get("access_key_id"),
        "secret_access_key": secret.get("secret_access_key"),
        "object_lock_days": settings["object_lock_days"] or None,
    }
