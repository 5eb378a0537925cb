"""When the next backup is due, by a cron expression in UTC. Pure: what time it is comes from the caller.

Every host comes to the same ticks, so that :func:`names.name_of` a tick is what they claim (:mod:`catalog`).
"""

from __future__ import annotations

import itertools
import re
from datetime import UTC, datetime, timedelta

from croniter import CroniterError, croniter

_VALUE = r"(\d+|[a-z]{3})"
_PART = rf"(\*|{_VALUE}(-{_VALUE})?)(/\d+)?"
# Only what every cron knows: croniter's random, hashed and nth-of-month values, seconds and years are left out.
_FIELD = re.compile(rf"{_PART}(,{_PART})*", re.IGNORECASE)
_MINUTE = timedelta(minutes=1)
_DAY = timedelta(days=1)
# The 29th of February twice, also around a century's end that is no leap year.
_YEARS_LOOKED_AT = timedelta(days=366 * 16)


def validate(expression: str) -> str:
    """The expression with single spaces. Raises ValueError, with one line, for what is none or never comes."""
    fields = expression.split()
    if len(fields) != 5:
        raise ValueError(
            f'"{expression}" is no schedule: it needs five fields, minute hour day month weekday in UTC, '
            'such as "0 3 * * *" for every day at three'
        )
    for field in fields:
        if not _FIELD.fullmatch(field):
            raise ValueError(f'"{expression}" is no schedule: "{field}" is not made of numbers, names, * , - and /')
    found = " ".join(fields)
    try:
        croniter.expand(found, strict=True)
    except (CroniterError, ValueError, KeyError) as error:
        reason = " ".join(str(error).replace(f"[{found}]", "it").split())
        raise ValueError(f'"{expression}" is no schedule: {reason}') from error
    return found


def due_at(expression: str, last: datetime | None, now: datetime) -> datetime | None:
    """The tick that a backup is due for, or None.

    That is the latest tick up to now, unless the newest backup is of it or came after it: however many were missed,
    because the host was down, they are caught up by one backup. Without any backup one is due at once.

    Args:
        expression: valid, see :func:`validate`.
        last: the moment that the newest backup's name says; None without any.
        now: with a time zone, as ``last``.
    """
    tick = latest_tick(expression, now)
    return tick if last is None or last < tick else None


def latest_tick(expression: str, now: datetime) -> datetime:
    """The latest one that is not after ``now``."""
    # croniter looks strictly before, and ticks are whole minutes.
    tick: datetime = _croniter(expression, _whole_minute(now) + _MINUTE).get_prev(datetime)
    return tick


def next_tick(expression: str, now: datetime) -> datetime:
    """The first one after ``now``."""
    tick: datetime = _croniter(expression, _whole_minute(now)).get_next(datetime)
    return tick


def longest_gap(expression: str, now: datetime) -> timedelta:
    """Between two ticks in a row in the coming years, leap years among them.

    Days are looked at one by one, and the ticks within a day once: minute by minute it would take seconds.
    """
    minute, hour, *day = validate(expression).split()
    midnight = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    within_a_day = _ticks(f"{minute} {hour} * * *", midnight, midnight + _DAY)
    first, last = within_a_day[0] - midnight, within_a_day[-1] - midnight
    days = _ticks(f"0 0 {' '.join(day)}", midnight, midnight + _YEARS_LOOKED_AT)
    return max([*_gaps(within_a_day), *(gap + first - last for gap in _gaps(days))])


def _ticks(expression: str, start: datetime, end: datetime) -> list[datetime]:
    """From ``start`` to before ``end``."""
    ticks = itertools.chain([latest_tick(expression, start)], _croniter(expression, start).all_next(datetime))
    return list(itertools.takewhile(lambda tick: tick < end, (tick for tick in ticks if tick >= start)))


def _gaps(ticks: list[datetime]) -> list[timedelta]:
    return [later - earlier for earlier, later in itertools.pairwise(ticks)]


def _croniter(expression: str, start: datetime) -> croniter:
    return croniter(validate(expression), start)


def _whole_minute(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise ValueError(f"{moment} has no time zone: schedules are in UTC")
    return moment.astimezone(UTC).replace(second=0, microsecond=0)
