"""What backups are called: by the moment that they are of, so that names sort by time."""

from __future__ import annotations

from datetime import UTC, datetime

LATEST = "latest"
"""Stands for the newest backup that is proven."""
_FORMAT = "%Y-%m-%dT%H-%M-%SZ"


def name_of(moment: datetime) -> str:
    """Such as ``2026-11-26T03-00-00Z``. Raises ValueError for a moment without a time zone."""
    if moment.tzinfo is None:
        raise ValueError(f"{moment} has no time zone: a backup's name is in UTC")
    return moment.astimezone(UTC).strftime(_FORMAT)


def moment_of(name: str) -> datetime | None:
    """The opposite, in UTC; None for what is no backup's name."""
    try:
        moment = datetime.strptime(name, _FORMAT).replace(tzinfo=UTC)
    except ValueError:
        return None
    # strptime is content with fewer digits, which would not sort by time.
    return moment if moment.strftime(_FORMAT) == name else None
