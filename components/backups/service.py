"""The backup service: takes what is due, deletes what need not be kept, and says how it went."""

from __future__ import annotations

import base64
import json
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..formation.members import Access
from .archiving import Archiver
from .catalog import Catalog
from .claims import Claim
from .errors import BackupError
from .manifest import Manifest
from .names import name_of
from .prove import prove
from .retention import Retention
from .schedule import due_at
from .stores import store_of
from .take import Order, take

Progress = Callable[[str], None]
_CLAIM_SECONDS = 600.0
_RENEW_SECONDS = 120.0
_ABANDONED_SECONDS = 24 * 3600.0
_RETRY_SECONDS = 300.0
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
    point_in_time_recovery: bool = False

    @classmethod
    def load(cls, configuration: Path) -> Service:
        """Read backup.json, and the secret file that it names; see :mod:`components.backup_files`."""
        settings: dict[str, Any] = json.loads(configuration.read_text())
        secret: dict[str, Any] = json.loads(Path(settings["secret"]).read_text())
        access = Access("backup", secret["passwords"]["backup"], secret["ca_certificate"])
        encrypted = settings["encryption"] == "client"
        deployment = settings["deployment"]
        return cls(
            order=Order(
                deployment=deployment,
                record=settings["record"],
                access=access,
                key=_key(secret["encryption_key"]) if encrypted else None,
            ),
            catalog=Catalog(store_of(_store(settings, secret)), deployment),
            schedule=settings["schedule"],
            retention=Retention(**settings["retention"]),
            proof=settings["proof"],
            scratch=Path(settings["scratch"]),
            heartbeat=Path(settings["heartbeat"]),
            point_in_time_recovery=settings.get("point_in_time_recovery", False),
        )

    def archiver(self, progress: Progress) -> Archiver:
        """Archives what is written between backups; for what it cannot follow it takes a backup at once."""
        return Archiver(self.order, self.catalog, lambda: self.run(name_of(datetime.now(UTC)), progress), progress)

    def run_if_due(self, progress: Progress, now: datetime | None = None) -> Manifest | None:
        """Take the backup that is due, if one is. Raises BackupError, which the status tells, too."""
        now = now or datetime.now(UTC)
        latest = self.catalog.latest()
        tick = due_at(self.schedule, latest.moment if latest else None, now)
        if tick is None or self._failed_lately(now.timestamp()):
            return None
        return self.run(name_of(tick), progress)

    def run(self, backup: str, progress: Progress) -> Manifest | None:
        """Take a backup of that name, unless another host does; then delete what need not be kept.

        Raises BackupError, which the status tells, too.
        """
        claim = self.catalog.claim(backup, socket.gethostname(), _CLAIM_SECONDS, time.time())
        if claim is None:
            progress(f"{backup} is being taken by another host, or was a moment ago")
            return None
        with _Renewed(claim):
            try:
                manifest = take(self.order, self.catalog, backup, claim.number, progress)
                self.catalog.put_status(self.catalog.status().after_backup(manifest))
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

    def _prove(self, manifest: Manifest, progress: Progress) -> None:
        started = time.monotonic()
        prove(self.catalog, manifest, self.order.key, self.scratch, progress)
        seconds = time.monotonic() - started
        self.catalog.put_status(self.catalog.status().after_proof(manifest.backup, now=time.time(), seconds=seconds))

    def _tidy(self, progress: Progress) -> None:
        for name in self.catalog.delete_what_need_not_be_kept(self.retention, datetime.now(UTC)):
            progress(f"{name} is deleted: it need not be kept")
        for name in self.catalog.remove_unfinished(_ABANDONED_SECONDS, time.time()):
            progress(f"{name} is removed: it was never finished")
        self.catalog.put_status(self.catalog.status().with_kept(*self.catalog.kept()))

    def _failed_lately(self, now: float) -> bool:
        status = self.catalog.status()
        return status.last_run_failed and now - (status.last_failure_at or 0) < _RETRY_SECONDS

    def _note(self, why: str) -> None:
        try:
            self.catalog.put_status(self.catalog.status().after_failure(why, now=time.time()))
        except BackupError:
            return  # the store is what failed


class _Renewed:
    """Holds a claim for as long as the context lasts."""

    def __init__(self, claim: Claim) -> None:
        self._claim = claim
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(_RENEW_SECONDS):
            try:
                self._claim.renew(_CLAIM_SECONDS, time.time())
            except BackupError:
                continue  # tried again before it ends


def _key(text: str) -> bytes:
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
