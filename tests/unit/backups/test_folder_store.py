from __future__ import annotations

import errno
import os
import stat
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NoReturn

import pytest

from components.backups.errors import AlreadyThere, StoreError
from components.backups.folder_store import FolderStore
from components.backups.store import Store


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def keys(store: Store, prefix: str = "") -> list[str]:
    return [entry.key for entry in store.entries(prefix)]


def content(store: Store, key: str) -> bytes:
    with store.read(key) as chunks:
        return b"".join(chunks)


def test_what_was_uploaded_is_read_back(folder_store: FolderStore, tmp_path: Path) -> None:
    store: Store = folder_store
    data = os.urandom(3 << 20)
    with store.upload("cache/one/redis.rdb") as upload:
        upload.write(data[:1000])
        upload.write(data[1000:])
        assert keys(store) == []
    assert content(store, "cache/one/redis.rdb") == data
    assert store.get("cache/one/redis.rdb") == data
    (entry,) = store.entries()
    assert (entry.key, entry.size) == ("cache/one/redis.rdb", len(data))
    assert files(tmp_path / "store") == ["cache/one/redis.rdb"]


def test_only_its_owner_can_read_it(folder_store: FolderStore, tmp_path: Path) -> None:
    folder_store.put("cache/one/manifest.json", b"{}")
    for path in (tmp_path / "store").rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600)


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt, ConnectionResetError])
def test_an_upload_that_fails_leaves_nothing(
    folder_store: FolderStore, tmp_path: Path, failure: type[BaseException]
) -> None:
    def fail() -> NoReturn:
        with folder_store.upload("cache/one/redis.rdb") as upload:
            upload.write(b"some")
            raise failure("as it was")

    folder_store.put("cache/one/redis.rdb", b"earlier")
    with pytest.raises(failure, match="as it was"):
        fail()
    assert files(tmp_path / "store") == ["cache/one/redis.rdb"]
    assert folder_store.get("cache/one/redis.rdb") == b"earlier"


def test_put_replaces_unless_told_otherwise(folder_store: FolderStore, tmp_path: Path) -> None:
    folder_store.put("a/b", b"1", only_if_absent=True)
    folder_store.put("a/b", b"2")
    with pytest.raises(AlreadyThere, match="store has a/b already"):
        folder_store.put("a/b", b"3", only_if_absent=True)
    assert folder_store.get("a/b") == b"2"
    assert files(tmp_path / "store") == ["a/b"]


def test_one_of_many_is_first(folder_store: FolderStore) -> None:
    def put(number: int) -> int | None:
        try:
            folder_store.put("claims/tick.1", b"%d" % number, only_if_absent=True)
        except AlreadyThere:
            return None
        return number

    with ThreadPoolExecutor(8) as pool:
        winners = [number for number in pool.map(put, range(40)) if number is not None]
    assert len(winners) == 1
    assert folder_store.get("claims/tick.1") == b"%d" % winners[0]


def test_writing_while_others_delete(folder_store: FolderStore) -> None:
    """A folder that has just lost its last file is removed, and needed again at the same moment."""

    def write(number: int) -> None:
        folder_store.put(f"a/b/{number}", b"")

    def delete(number: int) -> None:
        folder_store.delete([f"a/b/{number}"])

    with ThreadPoolExecutor(4) as pool:
        for number in range(100):
            for done in [pool.submit(delete, number - 1), pool.submit(write, number)]:
                done.result()
    assert keys(folder_store) == ["a/b/99"]


def test_entries_are_in_the_order_of_keys(folder_store: FolderStore) -> None:
    names = ["a/b", "a-b", "a/c/d", "a/c", "é", "z", "a.b"]
    for name in names:
        if name != "a/c":  # it is a folder here
            folder_store.put(name, b"")
    folder_store.put("B", b"")
    expected = sorted({*names, "B"} - {"a/c"}, key=str.encode)
    assert keys(folder_store) == expected
    assert keys(folder_store, "a") == [key for key in expected if key.startswith("a")]
    assert keys(folder_store, "a/") == ["a/b", "a/c/d"]
    assert keys(folder_store, "a/c/") == ["a/c/d"]
    assert keys(folder_store, "a/b/") == keys(folder_store, "none/") == []
    assert folder_store.get("a/c") is None


def test_deleting_takes_empty_folders_along(folder_store: FolderStore, tmp_path: Path) -> None:
    for key in ("a/b/c", "a/d"):
        folder_store.put(key, b"")
    folder_store.delete(["a/b/c", "a/never", "no/such"])
    assert [path.name for path in (tmp_path / "store" / "a").iterdir()] == ["d"]
    folder_store.delete(["a/d"])
    assert not (tmp_path / "store" / "a").exists()


def test_what_is_not_there(folder_store: FolderStore) -> None:
    assert folder_store.get("a") is None
    assert keys(folder_store) == []
    with pytest.raises(StoreError, match="has no a/b"), folder_store.read("a/b"):
        pass


@pytest.mark.parametrize("key", ["", "/etc/passwd", "../a", "a/../../b", "a//b", ".unfinished/x", "a/", "a\\b", "a\0b"])
def test_keys_that_would_leave_the_folder(folder_store: FolderStore, key: str) -> None:
    with pytest.raises(StoreError, match="is no name for an object"):
        folder_store.put(key, b"")
    with pytest.raises(StoreError, match="is no name for an object"):
        folder_store.get(key)
    with pytest.raises(StoreError, match="is no name for an object"):
        folder_store.delete([key])
    if key.count("/") > 1:
        with pytest.raises(StoreError, match="is no name for an object"):
            folder_store.entries(key)


def test_what_killed_writers_left_goes_after_a_day(folder_store: FolderStore, tmp_path: Path) -> None:
    folder_store.put("a", b"")
    unfinished = tmp_path / "store" / ".unfinished"
    for name, age_seconds in (("old", 25 * 3600), ("young", 23 * 3600)):
        (unfinished / name).write_bytes(b"half")
        os.utime(unfinished / name, (0, time.time() - age_seconds))
    folder_store.put("b", b"")
    assert files(tmp_path / "store") == [".unfinished/young", "a", "b"]
    assert keys(folder_store) == ["a", "b"]


def test_a_full_file_system(folder_store: FolderStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: Any) -> NoReturn:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match=r"store: the file system is full: make room") as error:
        folder_store.put("a", b"")
    assert folder_store.place in str(error.value)
    with pytest.raises(StoreError, match="full"), folder_store.upload("a") as upload:
        upload.write(b"1")
    assert keys(folder_store) == []


def test_a_full_device() -> None:
    """The one file that a system has for it."""
    store = FolderStore(Path("/nowhere"))
    with Path("/dev/full").open("wb", buffering=0) as file:
        from components.backups.folder_store import _FileUpload

        with pytest.raises(StoreError, match="/nowhere: the file system is full"):
            _FileUpload(store, file).write(b"1")


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreError, match=r"file/store.*cannot be used: Not a directory"):
        FolderStore(tmp_path / "file" / "store").put("a", b"")


def test_a_file_that_is_cut_while_it_is_read(folder_store: FolderStore, tmp_path: Path) -> None:
    folder_store.put("a", bytes(3 << 20))
    with folder_store.read("a") as chunks:
        next(chunks)
        os.truncate(tmp_path / "store" / "a", 1 << 20)
        with pytest.raises(StoreError, match="a ended after 1048576 of 3145728 bytes"):
            next(chunks)
