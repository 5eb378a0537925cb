"""Settings of backups, on every platform. Nothing here knows of Pulumi, and no store is asked."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import ClassVar, Literal, get_args
from urllib.parse import urlsplit

from .backups.names import LATEST, moment_of
from .ranges import range_problem

BackupEncryption = Literal["none", "client"]

VOLUME = "volume"
"""The target that is a volume beside the nodes."""
DEFAULT_SCHEDULE = "0 3 * * *"

_S3 = re.compile(r"s3://(?P<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/(?P<prefix>[A-Za-z0-9!_.*'()/-]*))?")
_REGION = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_A_LEAP_YEAR = datetime(2024, 1, 1, tzinfo=UTC)
_ONLY_FOR_S3 = ("backup-endpoint", "backup-region", "backup-access-key-id", "backup-secret-access-key")


@dataclass(frozen=True)
class S3Place:
    """Where in S3: ``prefix`` has no ``/`` at its ends, and may be empty."""

    bucket: str
    prefix: str

    @classmethod
    def parse(cls, text: str) -> S3Place:
        """Make one from ``s3://bucket/prefix``. Raises ValueError for anything else."""
        match = _S3.fullmatch(text)
        prefix = (match["prefix"] or "").strip("/") if match else ""
        if match is None or "" in prefix.split("/")[1:] or {".", ".."} & set(prefix.split("/")):
            raise ValueError(f"'{text}' is not s3://bucket or s3://bucket/prefix")
        return cls(match["bucket"], prefix)


@dataclass(frozen=True, kw_only=True)
class BackupSettings:
    """When backups are taken, where they go, which are kept, and what a new deployment starts from.

    Attributes:
        backups: whether there are any.
        backup_schedule: when one is taken: minute, hour, day, month, weekday (cron), in UTC.
        backup_retention_days: how long every backup is kept, 1 to 3650.
        backup_keep_weekly: of how many weeks one is kept longer, 0 to 520.
        backup_keep_monthly: of how many months one is kept longer, 0 to 120.
        backup_target: ``volume`` (platform ``docker``), or ``s3://bucket/prefix``; None: the volume, on AWS the
            deployment's own bucket.
        backup_endpoint: URL of an S3-compatible server, for an ``s3://`` target; None: AWS's own.
        backup_region: of the bucket of an ``s3://`` target.
        backup_access_key_id: of who may write to an ``s3://`` target; needed on ``docker``.
        backup_secret_access_key: its secret.
        backup_encryption: ``client`` seals backups with a key of the deployment before they leave; ``none``.
        backup_proof: whether each backup is loaded by a server of its own and counted.
        point_in_time_recovery: whether writes between backups are kept, too.
        backup_memory: memory limit of the backup container, bytes (platform ``docker``); None: that of a node and
            256 MiB, as it loads a node's data to prove them.
        backup_object_lock_days: for how long nobody can delete a backup from an ``s3://`` target, 0 to 36500 days.
        restore_from: what a new deployment's data come from: ``latest``, a backup's name, or
            ``s3://bucket/prefix/<deployment>/<name>``; None: it starts empty.
        restore_point_in_time: up to which time (ISO 8601, with its offset) writes after that backup are restored.
    """

    backups: bool = True
    backup_schedule: str = DEFAULT_SCHEDULE
    backup_retention_days: int = 7
    backup_keep_weekly: int = 4
    backup_keep_monthly: int = 3
    backup_target: str | None = None
    backup_endpoint: str | None = None
    backup_region: str | None = None
    backup_access_key_id: str | None = None
    backup_secret_access_key: str | None = field(default=None, repr=False)
    backup_encryption: BackupEncryption = "none"
    backup_proof: bool = True
    point_in_time_recovery: bool = False
    backup_memory: int | None = None
    backup_object_lock_days: int = 0
    restore_from: str | None = None
    restore_point_in_time: str | None = None

    SECRETS: ClassVar = frozenset({"backup_secret_access_key"})
    """Fields whose values are never shown."""

    @property
    def s3(self) -> S3Place | None:
        """The place of an ``s3://`` target; None for a volume and for a deployment's own bucket."""
        return None if self.backup_target in (None, VOLUME) else S3Place.parse(self.backup_target or "")

    def problems(self, *, on_aws: bool) -> list[str]:
        """What is wrong, one line each."""
        return [
            *self._schedule_problems(on_aws),
            *range_problem("backup-retention-days", self.backup_retention_days, 1, 3650),
            *range_problem("backup-keep-weekly", self.backup_keep_weekly, 0, 520),
            *range_problem("backup-keep-monthly", self.backup_keep_monthly, 0, 120),
            *range_problem("backup-object-lock-days", self.backup_object_lock_days, 0, 36500),
            *self._target_problems(on_aws),
            *self._restore_problems(on_aws),
        ]

    def _schedule_problems(self, on_aws: bool) -> Iterator[str]:
        if problem := schedule_problem(self.backup_schedule):
            yield f"backup-schedule: {problem}"
        if self.point_in_time_recovery and not self.backups:
            yield "point-in-time-recovery: starts from a backup, but backups is false; turn backups on, or this off"
        elif self.point_in_time_recovery and on_aws:
            yield "point-in-time-recovery: nothing does this on platform aws yet; leave it out"
        if self.backup_encryption not in get_args(BackupEncryption):
            allowed = ", ".join(get_args(BackupEncryption))
            yield f"backup-encryption: '{self.backup_encryption}' is not one of {allowed}"

    def _target_problems(self, on_aws: bool) -> Iterator[str]:
        if on_aws and self.backup_target == VOLUME:
            yield "backup-target: a volume is for platform docker; leave it out for the deployment's own bucket"
            return
        try:
            place = self.s3
        except ValueError as error:
            yield f"backup-target: {error}{'' if on_aws else ', nor volume'}"
            return
        if place is None:
            for setting in _ONLY_FOR_S3:
                if getattr(self, setting.replace("-", "_")) is not None:
                    yield f"{setting}: is for a backup-target of s3://bucket/prefix; give that too, or leave it out"
            if self.backup_object_lock_days:
                own = "the deployment's own bucket" if on_aws else "a volume"
                yield f"backup-object-lock-days: {own} has no such lock; give an s3:// backup-target, or leave it out"
            return
        yield from self._endpoint_problems(on_aws)
        yield from self._key_problems(on_aws)

    def _endpoint_problems(self, on_aws: bool) -> Iterator[str]:
        if self.backup_endpoint is not None and not _is_server(self.backup_endpoint):
            # It may hold a password, which is why it is not repeated.
            yield "backup-endpoint: is not the URL of a server, without anything else, such as https://s3.example.com"
        elif self.backup_endpoint is not None and on_aws and not _is_https(self.backup_endpoint):
            yield "backup-endpoint: nodes on AWS reach HTTPS on port 443 only; give such a server"
        if self.backup_region is not None and not _REGION.fullmatch(self.backup_region):
            yield f"backup-region: '{self.backup_region}' is not a region such as eu-central-1"

    def _key_problems(self, on_aws: bool) -> Iterator[str]:
        given = [self.backup_access_key_id, self.backup_secret_access_key]
        names = _ONLY_FOR_S3[-2:]
        if not on_aws and given == [None, None]:
            yield f"backup-access-key-id: a container has no other right to write to S3; give it and {names[1]}"
        for mine, other, name, other_name in ((*given, *names), (*given[::-1], *names[::-1])):
            if mine is None and other is not None:
                yield f"{name}: is missing; give it too, or leave out {other_name}"
            elif mine is not None and (not mine or not mine.isascii() or not mine.isprintable() or " " in mine):
                yield f"{name}: is no key; it must be one word of printable characters"

    def _restore_problems(self, on_aws: bool) -> Iterator[str]:
        if self.restore_from is not None:
            yield from self._restore_from_problems(self.restore_from, on_aws)
        if self.restore_point_in_time is None:
            return
        if on_aws:
            yield "restore-point-in-time: nothing archives writes on platform aws yet; leave it out"
        if self.restore_from is None:
            yield "restore-point-in-time: needs a backup to start from; give restore-from too, such as latest"
        try:
            offset = datetime.fromisoformat(self.restore_point_in_time).utcoffset()
        except ValueError:
            offset = None
        if offset is None:
            yield (
                f"restore-point-in-time: '{self.restore_point_in_time}' is not a time with its offset such as "
                "2026-11-26T12:30:00Z"
            )

    def _restore_from_problems(self, restore_from: str, on_aws: bool) -> Iterator[str]:
        if not _is_backup(restore_from):
            yield (
                f"restore-from: '{restore_from}' is not latest, a backup's name such as 2026-11-26T03-00-00Z, or "
                "s3://bucket/prefix/<deployment>/<name>"
            )
        elif restore_from.startswith("s3://") and self.backup_target in (None, VOLUME):
            yield "restore-from: needs the right to use S3, which comes with a backup-target of s3://bucket/prefix"
        if not self.backups:
            yield "restore-from: the backup service restores, but backups is false; turn backups on, or leave this out"


def schedule_problem(schedule: str) -> str | None:
    """Say in one line what is wrong with a cron expression, or None when backups can be due by it."""
    if schedule == DEFAULT_SCHEDULE:
        return None
    from .backups.schedule import validate

    try:
        validate(schedule)
    except ValueError as error:
        return str(error)
    return None


def longest_gap(schedule: str) -> timedelta:
    """Between two backups by a cron expression that is one; always the same, whenever it is asked."""
    if schedule == DEFAULT_SCHEDULE:
        return timedelta(days=1)
    from .backups.schedule import longest_gap as longest_gap_from

    return longest_gap_from(schedule, _A_LEAP_YEAR)


def _is_backup(text: str) -> bool:
    if text == LATEST or moment_of(text):
        return True
    try:
        *parents, name = S3Place.parse(text).prefix.split("/")
    except ValueError:
        return False
    return bool(parents) and (name == LATEST or moment_of(name) is not None)


def _is_https(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme == "https" and parts.port in (None, 443)


def _is_server(url: str) -> bool:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return False
    nothing_else = parts.path in ("", "/") and not parts.query and not parts.fragment and "@" not in parts.netloc
    return parts.scheme in ("http", "https") and bool(parts.hostname) and nothing_else and url.isprintable()
