from __future__ import annotations

import dataclasses
import json
import os
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from components.backups.catalog import Catalog, State, manifest_checksum
from components.backups.errors import AlreadyThere, StoreError
from components.backups.folder_store import FolderStore
from components.backups.manifest import Manifest, Piece, Proof, ShardCopy
from components.backups.names import name_of
from components.backups.retention import Retention
from components.backups.status import Status

DAYS = [f"2026-11-{day}T03-00-00Z" for day in (23, 24, 25, 26)]
NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)


@pytest.fixture
def catalog(folder_store: FolderStore) -> Catalog:
    return Catalog(folder_store, "cache")


def piece(name: str, size: int = 3) -> Piece:
    return Piece(name=name, plain_bytes=10, plain_checksum="p", stored_bytes=size, stored_checksum="s")


def manifest(backup: str, deployment: str = "cache", pieces: tuple[str, ...] = ("redis.rdb", "redis.aof")) -> Manifest:
    shard = ShardCopy(
        name="redis", node="cache-redis-1", slots=(), importing=(), keys=7, expiring=1, replication_id="id",
        snapshot_offset=1, cut_offset=2, snapshot=piece(pieces[0]),
        increments=piece(pieces[1]) if len(pieces) > 1 else None,
    )  # fmt: skip
    return Manifest(
        deployment=deployment, backup=backup, topology="replicated", started_at=100, cut_at=101, finished_at=110,
        server="redis", server_version="8.4.0", shards=(shard,), compression="zstd", encryption=None,
        key_fingerprint=None, users=(),
    )  # fmt: skip


def take(catalog: Catalog, backup: str, *, finished: bool = True, proven: bool = False) -> None:
    for name in ("redis.rdb", "redis.aof"):
        catalog.store.put(catalog.key(backup, name), b"123")
    if finished:
        catalog.put_manifest(manifest(backup))
    if proven:
        catalog.put_proof(backup, proof(manifest(backup).to_json()))


def proof(of: bytes) -> Proof:
    return Proof(
        proven_at=200, keys={"redis": 7}, expired={"redis": 0}, slots={}, sampled=7,
        manifest_checksum=manifest_checksum(of), server_version="8.4.0",
    )  # fmt: skip


def keys(catalog: Catalog) -> list[str]:
    return [entry.key for entry in catalog.store.entries()]


def states(catalog: Catalog) -> dict[str, State]:
    return {backup.name: backup.state for backup in catalog.backups()}


def test_an_empty_store(catalog: Catalog) -> None:
    assert not catalog.names()
    assert not catalog.backups()
    assert not catalog.candidates()
    assert catalog.latest() is catalog.latest(proven=True) is catalog.backup(DAYS[0]) is None
    assert catalog.kept() == (0, 0)
    assert catalog.status() == Status()
    catalog.delete(DAYS[0])
    assert catalog.remove_unfinished(0, 1e12) == []


def test_good_and_proven_ones(catalog: Catalog) -> None:
    take(catalog, DAYS[0], proven=True)
    take(catalog, DAYS[1])
    take(catalog, DAYS[2], finished=False)
    catalog.put_status(Status())
    catalog.claim(DAYS[3], "host-1", 60, now=1000)
    assert catalog.names() == DAYS[:3]
    first, second, third = catalog.backups()
    assert (first.good, first.proven, first.problem) == (True, True, "")
    assert (second.good, second.proven) == (True, False)
    assert (third.good, third.proven, third.state) == (False, False, State.UNFINISHED)
    assert third.problem == "it has no manifest: it is being taken, or was never finished"
    assert first.manifest == manifest(DAYS[0])
    assert first.moment == datetime(2026, 11, 23, 3, tzinfo=UTC)
    assert second.size == 6 + len(manifest(DAYS[1]).to_json())
    assert catalog.latest() == second
    assert catalog.latest(proven=True) == first == catalog.backup(DAYS[0])
    assert catalog.kept() == (2, sum(each.size for each in (first, second, third)))
    assert [(each.name, each.good, each.proven) for each in catalog.candidates()] == [
        (DAYS[0], True, True), (DAYS[1], True, False),
    ]  # fmt: skip


def test_damaged_ones(catalog: Catalog) -> None:
    for day in DAYS[:3]:
        take(catalog, day, proven=True)
    catalog.store.delete([catalog.key(DAYS[0], "redis.aof")])
    catalog.store.put(catalog.key(DAYS[1], "redis.rdb"), b"12")
    catalog.store.put(catalog.key(DAYS[2], "manifest.json"), b"{")
    assert set(states(catalog).values()) == {State.DAMAGED}
    assert [backup.problem for backup in catalog.backups()] == [
        "redis.aof is missing",
        "redis.rdb has 2 bytes instead of 3",
        "the manifest is no manifest: JSONDecodeError",
    ]
    assert not any(backup.proven for backup in catalog.backups())
    assert catalog.latest() is None


def test_foreign_ones_are_neither_used_nor_deleted(catalog: Catalog) -> None:
    later = json.loads(manifest(DAYS[2]).to_json())
    contents = [
        manifest(DAYS[0], "other").to_json(),
        manifest(DAYS[0]).to_json(),
        json.dumps({**later, "format": 99}).encode(),
    ]
    for day, content in zip(DAYS, contents, strict=False):
        take(catalog, day, finished=False)
        catalog.store.put(catalog.key(day, "manifest.json"), content)
    assert [backup.problem for backup in catalog.backups()] == [
        f"its manifest is that of {DAYS[0]} of deployment other",
        f"its manifest is that of {DAYS[0]} of deployment cache",
        "the manifest is of a format that this version does not know; it knows 1",
    ]
    assert set(states(catalog).values()) == {State.FOREIGN}
    before = keys(catalog)
    assert catalog.candidates() == []
    assert catalog.remove_unfinished(0, 1e12) == []
    for day in DAYS[:3]:
        with pytest.raises(StoreError, match=f"{day} is not deleted: "):
            catalog.delete(day)
    assert keys(catalog) == before


def test_a_proof_of_another_manifest_is_none(catalog: Catalog) -> None:
    take(catalog, DAYS[0])
    for content in (proof(b"other").to_json(), b"{", b"[]"):
        catalog.store.put(catalog.key(DAYS[0], "proof.json"), content)
        (backup,) = catalog.backups()
        assert backup.good
        assert not backup.proven


def test_a_manifest_is_written_once(catalog: Catalog) -> None:
    take(catalog, DAYS[0])
    with pytest.raises(AlreadyThere):
        catalog.put_manifest(dataclasses.replace(manifest(DAYS[0]), started_at=1))


def test_deployments_are_apart(catalog: Catalog) -> None:
    other = Catalog(catalog.store, "cache-2")
    take(catalog, DAYS[0])
    assert other.names() == []
    other.delete(DAYS[0])
    assert catalog.names() == [DAYS[0]]


class Interrupted(FolderStore):
    """Where nothing more is deleted after so many requests."""

    deletions_left = 100

    def delete(self, keys: list[str]) -> None:
        if not self.deletions_left:
            raise KeyboardInterrupt
        self.deletions_left -= 1
        super().delete(keys)


def test_whenever_deleting_is_interrupted_it_is_no_good_backup(tmp_path: Path) -> None:
    for requests in range(3):
        store = Interrupted(tmp_path / str(requests))
        catalog = Catalog(store, "cache")
        take(catalog, DAYS[0], proven=True)
        store.deletions_left = requests
        with pytest.raises(KeyboardInterrupt):
            catalog.delete(DAYS[0])
        assert states(catalog) == {DAYS[0]: State.GOOD if requests == 0 else State.UNFINISHED}
        store.deletions_left = 100
        catalog.delete(DAYS[0])
        assert keys(catalog) == []


def test_unfinished_ones_go_when_they_are_old_and_nobody_is_at_them(catalog: Catalog, tmp_path: Path) -> None:
    now = time.time()
    take(catalog, DAYS[0])
    for day in DAYS[1:]:
        take(catalog, day, finished=False)
    for day in (*DAYS[:3],):
        for path in (tmp_path / "store" / "cache" / day).iterdir():
            os.utime(path, (now - 100, now - 100))
    catalog.claim(DAYS[1], "host-1", 60, now)
    assert catalog.remove_unfinished(101, now) == []
    assert catalog.remove_unfinished(50, now) == [DAYS[2]]
    assert catalog.names() == [DAYS[0], DAYS[1], DAYS[3]]
    assert catalog.remove_unfinished(50, now + 61) == [DAYS[1], DAYS[3]]
    assert catalog.names() == [DAYS[0]]
    catalog.remove_unfinished(50, now + 111)
    assert not any("claims" in key for key in keys(catalog))


def test_retention(catalog: Catalog) -> None:
    for day in DAYS:
        take(catalog, day, proven=day == DAYS[0])
    assert catalog.delete_what_need_not_be_kept(Retention(days=1), NOW) == [DAYS[1], DAYS[2]]
    assert states(catalog) == {DAYS[0]: State.GOOD, DAYS[3]: State.GOOD}
    assert catalog.delete_what_need_not_be_kept(Retention(days=1), NOW) == []


def test_names_that_cannot_be(catalog: Catalog) -> None:
    for name in ("", "status.json", "../other"):
        with pytest.raises(ValueError, match="is no backup's name"):
            catalog.key(name, "manifest.json")
    for deployment in ("", "a/b"):
        with pytest.raises(ValueError, match="cannot be a deployment's name"):
            Catalog(catalog.store, deployment)


def test_the_status_is_kept(catalog: Catalog) -> None:
    status = Status().after_backup(manifest(DAYS[0])).with_kept(1, 6)
    catalog.put_status(status)
    assert catalog.status() == status
    catalog.store.put("cache/status.json", b"{")
    assert catalog.status() == Status()


def test_other_objects_are_left_alone(catalog: Catalog) -> None:
    catalog.store.put("cache/notes.txt", b"mine")
    catalog.store.put("cache/notes/2026", b"mine")
    assert catalog.names() == []
    assert name_of(NOW) not in catalog.names()
    catalog.remove_unfinished(0, 1e12)
    assert keys(catalog) == ["cache/notes.txt", "cache/notes/2026"]
