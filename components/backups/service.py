"""The backup service: takes what is due, deletes what need not be kept, and says how it went."""

from __future__ import annotations

import base64
import dataclasses
import fcntl
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..formation.members import Access
from .catalog import Backup, Catalog
from .claims import Claim
from .errors import BackupError, Damaged, StoreError
from .manifest import Manifest
from .names import LATEST, moment_of, name_of
from .prove import prove
from .restore import RestoreOrder, abandon, restore
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

    @classmethod
    def load(cls, configuration: Path) -> Service:
        """Read backup.json, and the secret file that it names; see :mod:`components.backup_files`."""
        settings: dict[str, Any] = json.loads(configuration.read_text())
        secret: dict[str, Any] = json.loads(Path(settings["secret"]).read_text())
        access = Access("backup", secret["passwords"]["backup"], secret["ca_certificate"])
        encrypted = settings["encryption"] == "client"
        deployment = settings["deployment"]
        own_key, store = _key(secret["encryption_key"]), _store(settings, secret)
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
        )

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
        with _Renewed(claim):
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

    def restore(
        self,
        backup: str,
        admin_password: str,
        *,
        key: str | None,
        pattern: str | None,
        overwrite: bool,
        progress: Progress,
    ) -> dict[str, Any]:
        """Put a backup's data into the deployment: see :func:`restore.restore`.

        Args:
            backup: ``latest``, a name, or ``s3://bucket/prefix/<deployment>/<either>``.
            admin_password: of user ``admin``, who puts them there.
            key: that the backup was sealed with, as text, where it is not this deployment's own.
            pattern: see :class:`restore.RestoreOrder`.
            overwrite: likewise.
            progress: gets a line for each step.

        Returns its name, and the numbers of :class:`restore.Restored`. Raises BackupError.
        """
        catalog, name = self._place_of(backup)
        found = self._chosen(catalog, name)
        assert found.manifest is not None
        order = RestoreOrder(
            catalog=catalog,
            manifest=found.manifest,
            key=(_key(key) if key else self.key) if found.manifest.encryption else None,
            record=self.order.record,
            access=self._admin(admin_password),
            pattern=pattern,
            overwrite=overwrite,
            scratch=self.scratch,
        )
        with self._alone():
            progress(f"restoring {found.name} of {found.manifest.deployment}, {found.manifest.keys} keys")
            restored = restore(order, progress)
        return {"backup": found.name, **dataclasses.asdict(restored)}

    def abandon(self, admin_password: str, progress: Progress) -> None:
        """Empty a deployment that an interrupted restore has left. Raises BackupError."""
        with self._alone():
            abandon(self.order.record, self._admin(admin_password), progress)

    def _admin(self, password: str) -> Access:
        return Access("admin", password, self.order.access.ca_certificate)

    def _place_of(self, backup: str) -> tuple[Catalog, str]:
        """The catalog that a backup is in, and its name there. Raises StoreError."""
        if not backup.startswith("s3://"):
            return self.catalog, backup
        bucket, _, path = backup.removeprefix("s3://").partition("/")
        *parents, deployment, name = ["", *path.split("/")]
        if self.store_settings["kind"] != "s3":
            raise StoreError(f"{backup}: this deployment's backups are on a volume, and it has no right to use S3")
        elsewhere = {**self.store_settings, "bucket": bucket, "prefix": "/".join(parents[1:]), "object_lock_days": None}
        return Catalog(store_of(elsewhere), deployment), name

    def _chosen(self, catalog: Catalog, name: str) -> Backup:
        if name == LATEST:
            found = catalog.latest(proven=self.proof)
            if found is None:
                raise BackupError(
                    f"{catalog.store.place} has no {'proven ' if self.proof else ''}backup of {catalog.deployment}; "
                    "see `python -m ops backup list`"
                )
            return found
        if moment_of(name) is None:
            raise BackupError(f"'{name}' is neither latest nor a backup's name such as 2026-11-26T03-00-00Z")
        found = catalog.backup(name)
        if found is None:
            raise BackupError(f"{catalog.store.place} has no backup {name} of {catalog.deployment}")
        if not found.good or found.manifest is None:
            raise Damaged(f"{name} cannot be restored: it is {found.state.value}: {found.problem}")
        return found

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One restore at a time; the system lets the next one go when this program ends, however it does."""
        with (self.scratch / "restore.lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise BackupError("another restore is under way here: wait until it has ended") from error
            yield

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
