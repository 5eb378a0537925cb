"""Carries out what somebody asks to be restored: finds the backup, and what was written after it."""

from __future__ import annotations

import dataclasses
import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from ..formation.members import Access
from .archive import Archive
from .catalog import Backup, Catalog
from .errors import BackupError, Damaged, StoreError
from .names import LATEST, moment_of
from .recovery import recovery_of, segments_until
from .restore import RestoreOrder, abandon, restore
from .room import require_room
from .service import Service, key_of
from .stores import store_of

Progress = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class RestoreRequest:
    """What is to be restored into a service's deployment.

    Attributes:
        backup: ``latest``, a name, or ``s3://bucket/prefix/<deployment>/<either>``.
        until: up to which time what was written after the backup is restored, too, ISO 8601 with an offset; None: the
            backup alone. ``latest`` is the newest one before that time then.
        pattern: see :class:`restore.RestoreOrder`.
        overwrite: likewise.
        admin_password: of user ``admin``, who puts the data there.
        key: that the backup was sealed with, as text; None: this deployment's own.
    """

    backup: str
    until: str | None
    pattern: str | None
    overwrite: bool
    admin_password: str = field(repr=False)
    key: str | None = field(repr=False)


def restore_into(service: Service, wanted: RestoreRequest, progress: Progress) -> dict[str, Any]:
    """See :func:`restore.restore`. Raises BackupError.

    Returns ``backup``, its name, ``time`` of which the data are, ISO 8601, and what :class:`restore.Restored` has.
    """
    moment = _seconds(wanted.until) if wanted.until else None
    catalog, name = _place_of(service, wanted.backup)
    manifest = _chosen(service, catalog, name, moment).manifest
    assert manifest is not None
    if moment is None:
        recovery = recovery_of(manifest)
    else:
        archive = Archive(catalog.store, catalog.deployment)
        recovery = segments_until(manifest, archive.between(manifest.cut_at, moment), moment)
    order = RestoreOrder(
        catalog=catalog,
        manifest=manifest,
        recovery=recovery,
        key=key_of(wanted.key) if wanted.key else service.key,
        record=service.order.record,
        access=_admin(service, wanted.admin_password),
        pattern=wanted.pattern,
        overwrite=wanted.overwrite,
        scratch=service.scratch,
    )
    time = datetime.fromtimestamp(recovery.time, UTC).isoformat(timespec="seconds")
    require_room(service.scratch, manifest)
    with _alone(service):
        progress(f"restoring {manifest.backup} of {manifest.deployment}, {manifest.keys} keys, as they were at {time}")
        restored = restore(order, progress)
    return {"backup": manifest.backup, "time": time, **dataclasses.asdict(restored)}


def abandon_restore(service: Service, admin_password: str, progress: Progress) -> None:
    """Empty a deployment that an interrupted restore has left. Raises BackupError."""
    with _alone(service):
        abandon(service.order.record, _admin(service, admin_password), progress)


def _admin(service: Service, password: str) -> Access:
    return Access("admin", password, service.order.access.ca_certificate)


def _place_of(service: Service, backup: str) -> tuple[Catalog, str]:
    """The catalog that a backup is in, and its name there. Raises StoreError."""
    if not backup.startswith("s3://"):
        return service.catalog, backup
    bucket, _, path = backup.removeprefix("s3://").partition("/")
    *parents, deployment, name = ["", *path.split("/")]
    if service.store_settings["kind"] != "s3":
        raise StoreError(f"{backup}: this deployment's backups are on a volume, and it has no right to use S3")
    elsewhere = {**service.store_settings, "bucket": bucket, "prefix": "/".join(parents[1:]), "object_lock_days": None}
    return Catalog(store_of(elsewhere), deployment), name


def _chosen(service: Service, catalog: Catalog, name: str, moment: float | None) -> Backup:
    if name == LATEST:
        return _latest(service, catalog, moment)
    if moment_of(name) is None:
        raise BackupError(f"'{name}' is neither latest nor a backup's name such as 2026-11-26T03-00-00Z")
    found = catalog.backup(name)
    if found is None:
        raise BackupError(f"{catalog.store.place} has no backup {name} of {catalog.deployment}")
    if not found.good or found.manifest is None:
        raise Damaged(f"{name} cannot be restored: it is {found.state.value}: {found.problem}")
    return found


def _latest(service: Service, catalog: Catalog, moment: float | None) -> Backup:
    found = catalog.latest(proven=service.proof, until=moment)
    if found is not None:
        return found
    raise BackupError(
        f"{catalog.store.place} has no {'proven ' if service.proof else ''}backup of {catalog.deployment}"
        f"{' from before that time' if moment is not None else ''}; see `python -m ops backup list`"
    )


def _seconds(text: str) -> float:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.utcoffset() is None:
        raise BackupError(f"'{text}' is not a time with its offset such as 2026-11-26T12:30:00Z")
    return moment.timestamp()


@contextmanager
def _alone(service: Service) -> Iterator[None]:
    """One restore at a time; the system lets the next one go when this program ends, however it does."""
    with (service.scratch / "restore.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise BackupError("another restore is under way here: wait until it has ended") from error
        yield
