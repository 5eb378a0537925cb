from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.backups.names import name_of
from components.backups.retention import Candidate, Retention, to_delete

NOW = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)  # a Thursday


def backup(moment: datetime, *, good: bool = True, proven: bool = False) -> Candidate:
    return Candidate(name_of(moment), moment, good, good and proven)


def ago(days: float, *, good: bool = True, proven: bool = False) -> Candidate:
    return backup(NOW - timedelta(days=days), good=good, proven=proven)


def kept(backups: list[Candidate], retention: Retention, now: datetime = NOW) -> list[Candidate]:
    gone = to_delete(backups, now, retention)
    return [each for each in backups if each.name not in gone]


retentions = st.builds(Retention, st.integers(1, 40), st.integers(0, 20), st.integers(0, 30))
candidates = st.lists(
    st.builds(
        lambda hours, good, proven: ago(hours / 24, good=good, proven=proven),
        st.integers(-48, 24 * 800), st.booleans(), st.booleans(),
    ),
    unique_by=lambda each: each.name, max_size=40,
)  # fmt: skip
later = st.integers(0, 24 * 400).map(lambda hours: NOW + timedelta(hours=hours))


def test_days_weeks_and_months() -> None:
    daily = [ago(days, proven=True) for days in range(400)]
    names = {each.name for each in kept(daily, Retention(days=7, weekly=4, monthly=6))}
    assert {name_of(NOW - timedelta(days=days)) for days in range(7)} < names
    # Mondays of this week and the three before it; the first of this month and the five before it.
    mondays = {name_of(datetime(2026, 11, day, 12, tzinfo=UTC)) for day in (2, 9, 16, 23)}
    firsts = {name_of(datetime(2026, month, 1, 12, tzinfo=UTC)) for month in range(6, 12)}
    assert names == {name_of(NOW - timedelta(days=days)) for days in range(7)} | mondays | firsts


def test_iso_weeks_go_across_the_end_of_the_year() -> None:
    now = datetime(2027, 1, 3, 12, 0, tzinfo=UTC)  # a Sunday, of week 53 of 2026
    backups = [backup(datetime(2026, 12, day, tzinfo=UTC)) for day in range(20, 32)]
    backups.append(backup(now))
    assert [each.moment.day for each in kept(backups, Retention(days=1, weekly=2), now)] == [21, 28, 3]


def test_a_proven_one_has_the_seat_of_its_week() -> None:
    backups = [backup(datetime(2026, 11, day, tzinfo=UTC), proven=day == 18) for day in range(16, 27)]
    assert [each.moment.day for each in kept(backups, Retention(days=1, weekly=2))] == [18, 23, 26]


def test_damaged_ones_have_no_seat_and_go_after_their_days() -> None:
    backups = [ago(30, good=False), ago(29), ago(1, good=False)]
    assert to_delete(backups, NOW, Retention(days=7, weekly=52)) == [backups[0].name]


def test_nothing_goes_when_no_good_one_would_remain() -> None:
    assert to_delete([ago(days, good=False) for days in range(100, 200)], NOW, Retention(days=1)) == []
    assert to_delete([], NOW, Retention(days=1)) == []


@pytest.mark.parametrize("numbers", [(0, 0, 0), (-1, 0, 0), (1, -1, 0), (1, 0, -1)])
def test_numbers_that_make_no_sense(numbers: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="must be"):
        Retention(*numbers)


@given(candidates, retentions)
def test_the_newest_good_and_the_newest_proven_one_stay(backups: list[Candidate], retention: Retention) -> None:
    gone = to_delete(backups, NOW, retention)
    for kind in ([each for each in backups if each.good], [each for each in backups if each.proven]):
        if kind:
            assert max(kind, key=lambda each: each.moment).name not in gone
    if not any(each.good for each in backups):
        assert gone == []


@given(candidates, retentions)
def test_young_ones_stay(backups: list[Candidate], retention: Retention) -> None:
    gone = to_delete(backups, NOW, retention)
    assert all(each.name not in gone for each in backups if NOW - each.moment < timedelta(days=retention.days))


@given(candidates, retentions)
def test_what_is_left_needs_no_more_deleting(backups: list[Candidate], retention: Retention) -> None:
    assert to_delete(kept(backups, retention), NOW, retention) == []
    assert to_delete(reversed(backups), NOW, retention) == to_delete(backups, NOW, retention)


@given(candidates, retentions, later)
def test_what_may_go_now_may_go_later(backups: list[Candidate], retention: Retention, now: datetime) -> None:
    assert set(to_delete(backups, NOW, retention)) <= set(to_delete(backups, now, retention))
    assert to_delete(kept(backups, retention), now, retention) == [
        name for name in to_delete(backups, now, retention) if name not in to_delete(backups, NOW, retention)
    ]


@given(candidates, retentions, st.integers(1, 10))
def test_keeping_longer_deletes_no_more(backups: list[Candidate], retention: Retention, more: int) -> None:
    generous = Retention(retention.days + more, retention.weekly + more, retention.monthly + more)
    assert set(to_delete(backups, NOW, generous)) <= set(to_delete(backups, NOW, retention))


@given(st.sets(st.integers(0, 24 * 200), min_size=1), retentions)
def test_deleting_day_by_day_leaves_one_of_each_week_and_month(hours: set[int], retention: Retention) -> None:
    """As it goes in practice: a backup is taken, the next day some are deleted."""
    everything = [ago(hour / 24) for hour in sorted(hours, reverse=True)]
    left: list[Candidate] = []
    for day in range(200, -1, -1):
        today = NOW - timedelta(days=day)
        left += [each for each in everything if today - timedelta(days=1) < each.moment <= today]
        left = kept(left, retention, today)
    for each in everything:
        week, month = each.moment.isocalendar()[:2], (each.moment.year, each.moment.month)
        if NOW - each.moment < timedelta(days=7 * (retention.weekly - 1)):
            assert any(other.moment.isocalendar()[:2] == week for other in left)
        if NOW - each.moment < timedelta(days=28 * (retention.monthly - 1)):
            assert any((other.moment.year, other.moment.month) == month for other in left)
