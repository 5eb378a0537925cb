from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.backups.names import moment_of, name_of

moments = st.datetimes(min_value=datetime(1000, 1, 1), timezones=st.just(UTC)).map(lambda it: it.replace(microsecond=0))


def test_name_is_in_utc() -> None:
    assert name_of(datetime(2026, 11, 26, 5, 0, tzinfo=timezone(timedelta(hours=2)))) == "2026-11-26T03-00-00Z"
    with pytest.raises(ValueError, match="no time zone"):
        name_of(datetime(2026, 11, 26))


@given(moments, moments)
def test_names_tell_the_moment_and_sort_by_it(one: datetime, other: datetime) -> None:
    assert moment_of(name_of(one)) == one
    assert (name_of(one) < name_of(other)) == (one < other)


@pytest.mark.parametrize(
    "name", ["", "claims", "2026-11-26", "2026-11-26T3-0-0Z", "2026-13-26T03-00-00Z", "status.json"]
)
def test_what_is_no_name(name: str) -> None:
    assert moment_of(name) is None
