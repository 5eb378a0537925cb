from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from components.backups.claims import Claims
from components.backups.errors import AlreadyThere
from components.backups.folder_store import FolderStore

NAME = "2026-11-26T03-00-00Z"


@pytest.fixture
def claims(folder_store: FolderStore) -> Claims:
    return Claims(folder_store, "cache/claims")


def keys(store: FolderStore) -> list[str]:
    return [entry.key for entry in store.entries()]


def test_one_of_two(claims: Claims, folder_store: FolderStore) -> None:
    first = claims.claim(NAME, "host-1", 60, now=1000)
    assert first is not None
    assert first.number == 1
    assert claims.claim(NAME, "host-2", 60, now=1059) is None
    assert claims.claim(NAME, "host-1", 60, now=1059) is None
    assert claims.claim("2026-11-27T03-00-00Z", "host-2", 60, now=1000) is not None
    assert b'"host-1"' in (folder_store.get(f"cache/claims/{NAME}.1") or b"")


def test_of_many_at_once_one_gets_it(folder_store: FolderStore) -> None:
    def attempt(now: float) -> bool:
        return Claims(folder_store, "cache/claims").claim(NAME, "host", 60, now) is not None

    for now in (1000, 2000, 3000):
        with ThreadPoolExecutor(8) as pool:
            assert sum(pool.map(attempt, [now] * 24)) == 1


def test_one_that_ended_is_taken_over_and_the_earlier_holder_learns_of_it(claims: Claims) -> None:
    first = claims.claim(NAME, "host-1", 60, now=1000)
    assert first is not None
    assert first.is_held(1059)
    assert not first.is_held(1060)
    second = claims.claim(NAME, "host-2", 60, now=1060)
    assert second is not None
    assert second.number == 2
    assert not first.is_held(1010)
    assert not first.renew(60, now=1010)
    assert second.is_held(1061)


def test_renewing(claims: Claims) -> None:
    claim = claims.claim(NAME, "host-1", 60, now=1000)
    assert claim is not None
    assert claim.renew(60, now=1030)
    assert claims.claim(NAME, "host-2", 60, now=1089) is None
    assert claims.is_claimed(NAME, now=1089)
    assert not claims.is_claimed(NAME, now=1090)
    assert not claim.renew(60, now=1090)
    assert claims.claim(NAME, "host-2", 60, now=1090) is not None


def test_whoever_saw_it_run_out_wins_over_a_renewal_at_the_last_moment(
    claims: Claims, folder_store: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = claims.claim(NAME, "host-1", 60, now=1000)
    assert claim is not None
    put = folder_store.put

    def put_while_another_takes_over(key: str, content: bytes, *, only_if_absent: bool = False) -> None:
        monkeypatch.setattr(folder_store, "put", put)
        assert claims.claim(NAME, "host-2", 60, now=1061) is not None
        put(key, content, only_if_absent=only_if_absent)

    monkeypatch.setattr(folder_store, "put", put_while_another_takes_over)
    assert not claim.renew(60, now=1059)


def test_another_may_be_first_between_looking_and_writing(
    claims: Claims, folder_store: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def somebody_was_faster(*_: object, **__: object) -> None:
        raise AlreadyThere("it is")

    monkeypatch.setattr(folder_store, "put", somebody_was_faster)
    assert claims.claim(NAME, "host-1", 60, now=1000) is None


def test_one_that_cannot_be_read_has_ended(claims: Claims, folder_store: FolderStore) -> None:
    folder_store.put(f"cache/claims/{NAME}.1", b"half")
    claim = claims.claim(NAME, "host-1", 60, now=1000)
    assert claim is not None
    assert claim.number == 2


def test_numbers_are_no_texts(claims: Claims) -> None:
    for number in range(1, 12):
        claim = claims.claim(NAME, "host-1", 1, now=1000 + number)
        assert claim is not None
        assert claim.number == number


def test_removing_those_that_ended_long_ago(claims: Claims, folder_store: FolderStore) -> None:
    claims.claim(NAME, "host-1", 60, now=1000)
    claims.claim(NAME, "host-1", 60, now=1100)
    claims.claim("2026-11-27T03-00-00Z", "host-1", 60, now=2000)
    claims.remove_expired(1160)
    assert len(keys(folder_store)) == 3
    claims.remove_expired(1161)
    assert keys(folder_store) == ["cache/claims/2026-11-27T03-00-00Z.1"]
