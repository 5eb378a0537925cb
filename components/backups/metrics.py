"""Backups as Prometheus sees them, from the status that the last run left and from what the service itself knows.

    =================================================  =============================================================
    metric                                             what
    =================================================  =============================================================
    ``redis_backup_last_success_timestamp_seconds``    when the newest whole backup was stored; 0 before the first one
    ``redis_backup_last_proven_timestamp_seconds``     when the newest proven backup was stored; 0 before the first one
    ``redis_backup_last_proof_timestamp_seconds``      when that one was loaded by a throwaway server; 0 as above
    ``redis_backup_last_run_timestamp_seconds``        when the last run ended, however it did; 0 as above
    ``redis_backup_last_run_failed``                   1 when the last run failed, else 0
    ``redis_backup_duration_seconds``                  how long the newest whole backup took
    ``redis_backup_proof_duration_seconds``            how long the last proof took
    ``redis_backup_size_bytes``                        size of the newest whole backup in the store
    ``redis_backup_plain_size_bytes``                  the same before compression
    ``redis_backup_keys``                              keys in the newest whole backup
    ``redis_backup_kept_backups``                      whole backups in the store
    ``redis_backup_kept_bytes``                        size of everything that is kept
    ``redis_backup_store_reachable``                   1 when the store answered the last time it was asked, else 0
    ``redis_backup_schedule_longest_gap_seconds``      longest time between two backups by the schedule
    ``redis_backup_proof_enabled``                     1 when each backup is to be proven, else 0
    =================================================  =============================================================

All are gauges with the label ``deployment``. Times are seconds since 1970, so that
``time() - redis_backup_last_success_timestamp_seconds > 2 * 86400`` is true of a deployment that never had a backup.
While the store has never answered, what only it could tell is left out: nothing is known of the backups then. With
point-in-time recovery there are those of :mod:`archive_metrics` besides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from .archive import ArchiveStatus
from .archive_metrics import of_the_archive
from .status import Status


@dataclass(frozen=True, kw_only=True)
class View:
    """What the service knows at one moment.

    Attributes:
        deployment: its name.
        status: as the store had it when it answered last; None while it never did.
        reachable: whether the store answers now.
        failed: whether the service's last run failed, be it that the status could not be told so.
        longest_gap_seconds: see :func:`schedule.longest_gap`.
        proof: whether each backup is to be proven.
        archive: how archiving goes; None without point-in-time recovery, and while the store never answered.
    """

    deployment: str
    status: Status | None
    reachable: bool
    failed: bool
    longest_gap_seconds: float
    proof: bool
    archive: ArchiveStatus | None = None


def registry_of(view: Callable[[], View]) -> CollectorRegistry:
    """The metrics, looked at anew each time they are asked for."""
    registry = CollectorRegistry()
    registry.register(_Collector(view))
    return registry


class _Collector(Collector):
    def __init__(self, view: Callable[[], View]) -> None:
        self._view = view

    def collect(self) -> Iterator[GaugeMetricFamily]:
        view = self._view()
        archive = of_the_archive(view.archive) if view.archive else ()
        for name, documentation, value in (*_of_the_status(view), *_of_the_service(view), *archive):
            family = GaugeMetricFamily(f"redis_backup_{name}", documentation, labels=["deployment"])
            family.add_metric([view.deployment], value or 0)
            yield family


def _of_the_status(view: View) -> Iterator[tuple[str, str, float | None]]:
    status = view.status
    if status is None:
        return
    yield "last_success_timestamp_seconds", "When the newest whole backup was stored.", status.last_good_at
    yield "last_proven_timestamp_seconds", "When the newest proven backup was stored.", status.last_proven_stored_at
    yield "last_proof_timestamp_seconds", "When the newest proven backup was proven.", status.last_proven_at
    yield "last_run_timestamp_seconds", "When the last run ended.", status.last_run_at
    yield "duration_seconds", "How long the newest whole backup took.", status.last_good_seconds
    yield "proof_duration_seconds", "How long the last proof took.", status.last_proven_seconds
    yield "size_bytes", "Size of the newest whole backup in the store.", status.stored_bytes
    yield "plain_size_bytes", "Size of the newest whole backup before compression.", status.plain_bytes
    yield "keys", "Keys in the newest whole backup.", status.keys
    yield "kept_backups", "Whole backups in the store.", status.backups
    yield "kept_bytes", "Size of everything that is kept.", status.kept_bytes


def _of_the_service(view: View) -> Iterator[tuple[str, str, float]]:
    yield "last_run_failed", "Whether the last run failed.", view.failed
    yield "store_reachable", "Whether the store answers.", view.reachable
    yield "schedule_longest_gap_seconds", "Longest time between two backups by the schedule.", view.longest_gap_seconds
    yield "proof_enabled", "Whether each backup is to be proven.", view.proof
