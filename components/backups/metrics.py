"""Backups as Prometheus sees them, from the status that the last run left.

    =================================================  =============================================================
    metric                                             what
    =================================================  =============================================================
    ``redis_backup_last_success_timestamp_seconds``    when the newest whole backup was stored; 0 before the first one
    ``redis_backup_last_proven_timestamp_seconds``     when a backup was last loaded by a throwaway server; 0 as above
    ``redis_backup_last_run_timestamp_seconds``        when the last run ended, however it did; 0 as above
    ``redis_backup_last_run_failed``                   1 when the last run failed, else 0
    ``redis_backup_duration_seconds``                  how long the newest whole backup took
    ``redis_backup_proof_duration_seconds``            how long the last proof took
    ``redis_backup_size_bytes``                        size of the newest whole backup in the store
    ``redis_backup_plain_size_bytes``                  the same before compression
    ``redis_backup_keys``                              keys in the newest whole backup
    ``redis_backup_kept_backups``                      whole backups in the store
    ``redis_backup_kept_bytes``                        size of everything that is kept
    =================================================  =============================================================

All are gauges with the label ``deployment``. Times are seconds since 1970, so that
``time() - redis_backup_last_success_timestamp_seconds > 2 * 86400`` is true of a deployment that never had a backup.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Gauge, generate_latest

from .status import Status

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""Of what :func:`render` gives."""


def registry_of(status: Status, deployment: str) -> CollectorRegistry:
    """The metrics of one deployment at one moment."""
    registry = CollectorRegistry()
    values = {
        "last_success_timestamp_seconds": ("When the newest whole backup was stored.", status.last_good_at),
        "last_proven_timestamp_seconds": ("When a backup was last loaded for proof.", status.last_proven_at),
        "last_run_timestamp_seconds": ("When the last run ended.", status.last_run_at),
        "last_run_failed": ("Whether the last run failed.", status.last_run_failed),
        "duration_seconds": ("How long the newest whole backup took.", status.last_good_seconds),
        "proof_duration_seconds": ("How long the last proof took.", status.last_proven_seconds),
        "size_bytes": ("Size of the newest whole backup in the store.", status.stored_bytes),
        "plain_size_bytes": ("Size of the newest whole backup before compression.", status.plain_bytes),
        "keys": ("Keys in the newest whole backup.", status.keys),
        "kept_backups": ("Whole backups in the store.", status.backups),
        "kept_bytes": ("Size of everything that is kept.", status.kept_bytes),
    }
    for name, (documentation, value) in values.items():
        gauge = Gauge(f"redis_backup_{name}", documentation, ["deployment"], registry=registry)
        gauge.labels(deployment).set(value or 0)
    return registry


def render(status: Status, deployment: str) -> str:
    """In Prometheus' text format."""
    return generate_latest(registry_of(status, deployment)).decode()
