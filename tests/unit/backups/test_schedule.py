from __future__ import annotations

import functools
from datetime import UTC, datetime, timedelta, timezone

import pytest
from croniter import croniter
from hypothesis import given
from hypothesis import strategies as st

from components.backups.schedule import due_at, latest_tick, longest_gap, next_tick, validate

NIGHTLY = "0 3 * * *"
EXPRESSIONS = st.sampled_from(
    [NIGHTLY, "*/15 * * * *", "30 2 * * mon-fri", "0 0 1,15 * *", "59 23 28-31 * *", "* * * * *"]
)
MOMENTS = st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC))


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize("expression", [NIGHTLY, "*/5 0-6/2 1,15 JAN-mar sun", " 0  3 * *  7 ", "0 0 29 2 *"])
def test_schedules(expression: str) -> None:
    assert validate(expression) == " ".join(expression.split())


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("", "five fields"),
        ("@daily", "five fields"),
        ("0 3 * * * *", "five fields"),
        ("0 3 * *", "five fields"),
        ("61 * * * *", "out of range"),
        ("*/0 * * * *", "step '0'"),
        ("0 0 31 2 *", "can never occur"),
        ("0 3 * * fun", "not acceptable"),
        ("R * * * *", '"R" is not made of'),
        ("H 3 * * *", '"H" is not made of'),
        ("0 3 L * *", '"L" is not made of'),
        ("0 3 * * mon#1", '"mon#1" is not made of'),
        ("0 3 * * 1;rm", '"1;rm" is not made of'),
    ],
)
def test_what_is_no_schedule_is_told_in_one_line(expression: str, reason: str) -> None:
    with pytest.raises(ValueError) as error:
        validate(expression)
    assert reason in str(error.value)
    assert f'"{expression}"' in str(error.value)
    assert "\n" not in str(error.value)


def test_due_once_for_each_tick() -> None:
    tick = at("2026-11-26T03:00")
    assert due_at(NIGHTLY, tick - timedelta(days=1), at("2026-11-26T02:59:59")) is None
    assert due_at(NIGHTLY, tick - timedelta(days=1), tick) == tick
    assert due_at(NIGHTLY, tick, tick + timedelta(seconds=1)) is None
    assert due_at(NIGHTLY, tick, at("2026-11-27T02:59:59")) is None


def test_missed_ticks_are_caught_up_by_one_backup() -> None:
    last = at("2026-11-20T03:00")
    now = at("2026-11-26T17:12")
    assert due_at(NIGHTLY, last, now) == at("2026-11-26T03:00")
    assert due_at(NIGHTLY, at("2026-11-26T03:00"), now) is None


def test_without_any_backup_one_is_due_at_once() -> None:
    assert due_at(NIGHTLY, None, at("2026-11-26T17:12")) == at("2026-11-26T03:00")


def test_a_backup_on_demand_after_the_tick_is_as_good() -> None:
    assert due_at(NIGHTLY, at("2026-11-26T09:30:12"), at("2026-11-26T17:12")) is None


def test_times_are_utc() -> None:
    east = datetime(2026, 11, 26, 4, 0, tzinfo=timezone(timedelta(hours=2)))
    assert latest_tick(NIGHTLY, east) == at("2026-11-25T03:00")
    assert next_tick(NIGHTLY, east) == at("2026-11-26T03:00")
    with pytest.raises(ValueError, match="no time zone"):
        due_at(NIGHTLY, None, datetime(2026, 11, 26))


@given(EXPRESSIONS, MOMENTS)
def test_ticks_enclose_now(expression: str, now: datetime) -> None:
    latest, following = latest_tick(expression, now), next_tick(expression, now)
    assert latest <= now < following
    assert latest.tzinfo == following.tzinfo == UTC
    assert croniter.match(expression, latest)
    assert croniter.match(expression, following)
    assert latest_tick(expression, following) == following
    assert latest_tick(expression, following - timedelta(seconds=1)) == latest


@given(EXPRESSIONS, MOMENTS, MOMENTS)
def test_a_backup_of_the_tick_that_is_due_settles_it(expression: str, last: datetime, now: datetime) -> None:
    tick = due_at(expression, last, now)
    if tick is not None:
        assert last < tick <= now
        assert due_at(expression, tick, now) is None


@pytest.mark.parametrize(
    ("expression", "gap"),
    [
        (NIGHTLY, timedelta(days=1)),
        ("*/5 * * * *", timedelta(minutes=5)),
        ("0 0,18 * * *", timedelta(hours=18)),
        ("*/5 9-17 * * mon-fri", timedelta(days=2, hours=15, minutes=5)),
        ("0 3 1 * *", timedelta(days=31)),
        ("0 3 1 * sun", timedelta(days=7)),
        ("0 0 29 2 *", timedelta(days=4 * 365 + 1)),
    ],
)
def test_the_longest_time_between_two_ticks(expression: str, gap: timedelta) -> None:
    assert longest_gap(expression, at("2026-11-26T03:00")) == gap


@given(EXPRESSIONS, MOMENTS)
def test_no_gap_is_longer_than_the_longest(expression: str, moment: datetime) -> None:
    gap = next_tick(expression, moment) - latest_tick(expression, moment)
    assert gap <= longest_gap_of(expression)


@functools.cache
def longest_gap_of(expression: str) -> timedelta:
    return longest_gap(expression, at("2026-11-26T03:00"))
