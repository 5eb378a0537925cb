"""The archive as Prometheus sees it: name, what it is, and value, as :mod:`metrics` gives those of backups.

==============================================  ================================================================
metric                                          what
==============================================  ================================================================
``redis_backup_archived_until_seconds``         up to which time everything can be restored; 0 before the first
                                                segment. While nothing is written it is told every three minutes
``redis_backup_archive_gaps``                   how often writes were missed, and a new backup was taken instead
``redis_backup_archive_last_gap_seconds``       when that was last; 0 if never
``redis_backup_archive_failing``                1 while archiving does not work, else 0
==============================================  ================================================================
"""

from __future__ import annotations

from collections.abc import Iterator

from .archive import ArchiveStatus


def of_the_archive(status: ArchiveStatus) -> Iterator[tuple[str, str, float | None]]:
    """Only for a deployment with point-in-time recovery."""
    yield "archived_until_seconds", "Up to when everything that was written can be restored.", status.archived_until
    yield "archive_gaps", "How often writes between backups were missed.", status.gaps
    yield "archive_last_gap_seconds", "When writes between backups were missed last.", status.last_gap_at
    yield "archive_failing", "Whether archiving does not work now.", status.problem is not None
