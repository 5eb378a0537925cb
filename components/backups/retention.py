"""Which backups to delete. Pure: it looks at names and times only."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta


@dataclass(frozen=True)
class Retention:
    """How long backups are kept, counted in UTC.

    Attributes:
        days: every backup of the last so many days, 1 or more.
        weekly: beyond that, one of each of the last so many ISO weeks, this one included; 0 for none.
        monthly: beyond that, one of each of the last so many months, this one included; 0 for none.

    Raises ValueError when a number is too small.
    """

    days: int
    weekly: int = 0
    monthly: int = 0

    def __post_init__(self) -> None:
        if self.days < 1:
            raise ValueError(f"retention days are {self.days}: they must be 1 or more")
        for what in ("weekly", "monthly"):
            if getattr(self, what) < 0:
                raise ValueError(f"retention {what} is {getattr(self, what)}: it must be 0 or more")


@dataclass(frozen=True)
class Candidate:
    """A backup that has a manifest. ``moment``: that its name says. Whatever is proven is good."""

    name: str
    moment: datetime
    good: bool
    proven: bool


def to_delete(backups: Iterable[Candidate], now: datetime, retention: Retention) -> list[str]:
    """Names of backups that need not be kept, oldest first.

    Never the newest good one nor the newest proven one, and nothing at all without a good one. Of a week or month the
    oldest proven one is kept, without any the oldest good one: the same one as time goes on. A backup that is not good
    (damaged) is kept as long as its days last. Those without a manifest are nobody's business here.
    """
    found = sorted(backups, key=lambda each: (each.moment, each.name))
    good = [each for each in found if each.good]
    if not good:
        return []
    proven = [each for each in good if each.proven]
    today = now.astimezone(UTC)
    kept = {each.name for each in found if each.moment > today - timedelta(days=retention.days)}
    kept |= {each.name for each in (good[-1], *proven[-1:])}
    for period, count in ((_week, retention.weekly), (_month, retention.monthly)):
        seats: dict[int, str] = {}
        for each in (*proven, *good):
            if period(today) - period(each.moment.astimezone(UTC)) < count:
                seats.setdefault(period(each.moment.astimezone(UTC)), each.name)
        kept |= set(seats.values())
    return [each.name for each in found if each.name not in kept]


def _week(moment: datetime) -> int:
    """Number of the ISO week, counted from the first Monday that dates have (1 January of year 1)."""
    return (moment.toordinal() - 1) // 7


def _month(moment: datetime) -> int:
    return moment.year * 12 + moment.month
