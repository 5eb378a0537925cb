"""Watches over the schedule, and over the status for whoever asks for metrics, with as few requests as that takes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Generic, TypeVar

from .errors import BackupError
from .metrics import View
from .schedule import latest_tick, longest_gap
from .service import RETRY_SECONDS, Progress, Service

Told = TypeVar("Told")
_UNSETTLED_SECONDS = 60.0
"""Before the next look at the store, when a backup is due that could not be begun."""
_FRESH_SECONDS = 15.0
"""For so long a status that was read is not read again."""
_PATIENCE_SECONDS = 3.0
"""So long metrics wait for the store: Prometheus gives up after ten seconds, and would know nothing then."""


class Watch:
    """Of one service. The store is only looked at in the beginning, at ticks of the schedule, and after what failed."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._status = _Latest(service.status)
        self._archive = _Latest(service.archive_status) if service.point_in_time_recovery else None
        self._longest_gap = longest_gap(service.schedule, datetime.now(UTC)).total_seconds()
        # Ticks are compared, not times waited for: a clock that is set right does not keep backups from being taken.
        self._settled: datetime | None = None
        self._tried: datetime | None = None
        self._not_before = 0.0
        self._failed_at = 0.0

    def step(self, progress: Progress) -> None:
        """Take the backup that is due, if there may be one. What fails is told by ``progress``, and by the metrics."""
        now = datetime.now(UTC)
        tick = latest_tick(self._service.schedule, now)
        if tick == self._settled or (tick == self._tried and time.monotonic() < self._not_before):
            return
        self._tried = tick
        pause = _UNSETTLED_SECONDS
        try:
            if self._service.run_if_due(progress, now):
                self._settled = tick
        except BackupError as error:
            self._failed_at = time.time()
            pause = RETRY_SECONDS
            progress(f"error: {error}")
        self._not_before = time.monotonic() + pause

    def view(self) -> View:
        """For metrics."""
        status, reachable = self._status.look()
        # A run whose failure could not be noted, as the store is what failed, is known here alone.
        unnoted = self._failed_at > ((status.last_run_at if status else None) or 0)
        return View(
            deployment=self._service.order.deployment,
            status=status,
            reachable=reachable,
            failed=unnoted or bool(status and status.last_run_failed),
            longest_gap_seconds=self._longest_gap,
            proof=self._service.proof,
            archive=self._archive.look()[0] if self._archive else None,
        )


class _Latest(Generic[Told]):
    """What the store said last, asked for again only when somebody wants to know: others write it, too."""

    def __init__(self, read: Callable[[], Told]) -> None:
        self._read = read
        self._lock = threading.Lock()
        self._read_at: float | None = None
        self._idle = threading.Event()
        self._idle.set()
        self._status: Told | None = None
        self._answered = False

    def look(self) -> tuple[Told | None, bool]:
        """The status, None while it was never had, and whether the store answers. Does not wait for long."""
        with self._lock:
            fresh = self._read_at is not None and time.monotonic() - self._read_at < _FRESH_SECONDS
            if self._idle.is_set() and not fresh:
                self._idle.clear()
                threading.Thread(target=self._refresh, daemon=True).start()
        in_time = self._idle.wait(_PATIENCE_SECONDS)
        return self._status, self._answered and in_time

    def _refresh(self) -> None:
        self._answered = False
        try:
            self._status = self._read()
            self._answered = True
        except BackupError:
            return  # the metrics say so
        finally:
            self._read_at = time.monotonic()
            self._idle.set()
