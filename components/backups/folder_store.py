"""Backups in a folder: a mounted volume, a network file system, another disk."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path

from .errors import AlreadyThere, StoreError
from .store import Entry, Upload

_UNFINISHED = ".unfinished"
"""Where files are until they are whole: in the same file system, so that they can be renamed."""
_ABANDONED_SECONDS = 24 * 3600
_CHUNK_BYTES = 1 << 20
_ATTEMPTS = 5
_NOT_THERE = (FileNotFoundError, NotADirectoryError, IsADirectoryError)


class FolderStore:
    """See :class:`store.Store`. Files and folders that it makes are for their owner only.

    A file is written under another name, brought to the disk, and renamed. What killed writers left is removed by the
    next write once nothing was added to it for a day.

    Args:
        folder: made by the first write. What is in it under names beginning with a dot is left alone.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def place(self) -> str:
        """The folder's path."""
        return str(self._folder)

    @contextmanager
    def upload(self, key: str) -> Iterator[Upload]:
        """See :meth:`store.Store.upload`."""
        target = self._path(key)
        with self._new_file() as (file, path):
            yield _FileUpload(self, file)
            with self._problems():
                os.fsync(file.fileno())
                self._move(lambda: path.replace(target), target)

    def put(self, key: str, content: bytes, *, only_if_absent: bool = False) -> None:
        """See :meth:`store.Store.put`."""
        target = self._path(key)
        with self._new_file() as (file, path), self._problems():
            _write(file, content)
            os.fsync(file.fileno())
            if not only_if_absent:
                self._move(lambda: path.replace(target), target)
                return
            try:
                # Unlike a rename it fails when the name is taken.
                self._move(lambda: target.hardlink_to(path), target)
            except FileExistsError as error:
                # A network file system may have done it and lost the answer.
                if not target.samefile(path):
                    raise AlreadyThere(f"{self.place} has {key} already") from error

    def get(self, key: str) -> bytes | None:
        """See :meth:`store.Store.get`."""
        with self._problems():
            try:
                return self._path(key).read_bytes()
            except _NOT_THERE:
                return None

    @contextmanager
    def read(self, key: str) -> Iterator[Iterator[bytes]]:
        """See :meth:`store.Store.read`."""
        with contextlib.ExitStack() as stack:
            with self._problems():
                try:
                    file = stack.enter_context(self._path(key).open("rb", buffering=0))
                except _NOT_THERE as error:
                    raise StoreError(f"{self.place} has no {key}") from error
                size = os.fstat(file.fileno()).st_size
            yield self._chunks(file, key, size)

    def entries(self, prefix: str = "") -> Iterator[Entry]:
        """See :meth:`store.Store.entries`."""
        within = prefix.rpartition("/")[0]
        begin = self._path(within) if within else self._folder
        found = []
        with self._problems():
            for place, folders, names in os.walk(begin, onerror=_raise_unless_gone):
                folders[:] = [name for name in folders if not name.startswith(".")]
                for path in (Path(place, name) for name in names if not name.startswith(".")):
                    key = path.relative_to(self._folder).as_posix()
                    if key.startswith(prefix):
                        # Another may delete it meanwhile.
                        with contextlib.suppress(FileNotFoundError):
                            facts = path.stat()
                            found.append(Entry(key, facts.st_size, facts.st_mtime))
        return iter(sorted(found, key=lambda entry: entry.key.encode()))

    def delete(self, keys: list[str]) -> None:
        """See :meth:`store.Store.delete`. Folders go with their last file."""
        with self._problems():
            for path in map(self._path, keys):
                with contextlib.suppress(*_NOT_THERE):
                    path.unlink()
                    _sync_folder(path.parent)
                for folder in path.parents:
                    if folder == self._folder:
                        break
                    with contextlib.suppress(OSError):  # not empty, or gone
                        folder.rmdir()

    @contextmanager
    def _new_file(self) -> Iterator[tuple[FileIO, Path]]:
        """A file under a name that no key has; gone afterwards, unless renamed."""
        with self._problems():
            unfinished = self._folder / _UNFINISHED
            for folder in (self._folder, unfinished):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._remove_abandoned(unfinished)
            number, name = tempfile.mkstemp(dir=unfinished)
        path = Path(name)
        try:
            with open(number, "wb", buffering=0) as file:
                yield file, path
        finally:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)

    def _remove_abandoned(self, unfinished: Path) -> None:
        for path in unfinished.iterdir():
            with contextlib.suppress(FileNotFoundError):
                if path.stat().st_mtime < time.time() - _ABANDONED_SECONDS:
                    path.unlink()

    def _move(self, move: Callable[[], object], target: Path) -> None:
        """Do it in the target's folder, which whoever deletes the last file in it may remove at any moment."""
        for attempt in range(_ATTEMPTS):
            made = [folder for folder in target.parents if not folder.exists()]
            try:
                for folder in reversed(made):
                    folder.mkdir(mode=0o700, exist_ok=True)
                move()
                for folder in (target.parent, *(folder.parent for folder in made)):
                    _sync_folder(folder)
            except FileNotFoundError:
                if attempt == _ATTEMPTS - 1:
                    raise
            else:
                return

    def _chunks(self, file: FileIO, key: str, size: int) -> Iterator[bytes]:
        left = size
        while left:
            with self._problems():
                chunk = file.read(min(left, _CHUNK_BYTES))
            if not chunk:
                raise StoreError(f"{self.place}: {key} ended after {size - left} of {size} bytes: it was cut meanwhile")
            left -= len(chunk)
            yield chunk

    def _path(self, key: str) -> Path:
        parts = key.split("/")
        if any(part == "" or part.startswith(".") or "\\" in part or "\0" in part for part in parts):
            raise StoreError(f"{self.place}: {key!r} is no name for an object: a part of it is empty or begins with .")
        return self._folder.joinpath(*parts)

    @contextmanager
    def _problems(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StoreError(f"{self.place}: {self._problem(error)}") from error

    def _problem(self, error: OSError) -> str:
        match error.errno:
            case errno.ENOSPC | errno.EDQUOT:
                return "the file system is full: make room, keep fewer backups, or use another folder"
            case errno.EACCES | errno.EPERM | errno.EROFS:
                return (
                    f"{error.filename or 'it'} cannot be used ({error.strerror}): give user {os.geteuid()} access, "
                    "on a file system that can be written to and has hard links"
                )
            case errno.EOPNOTSUPP | errno.ENOSYS:
                return f"its file system lacks what is needed, hard links ({error.strerror}): use a folder on another"
            case _:
                return f"{error.filename or 'it'} cannot be used: {error.strerror or type(error).__name__}"


class _FileUpload:
    def __init__(self, store: FolderStore, file: FileIO) -> None:
        self._store = store
        self._file = file

    def write(self, data: bytes) -> None:
        with self._store._problems():
            _write(self._file, data)


def _write(file: FileIO, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[file.write(left) :]


def _sync_folder(folder: Path) -> None:
    """A new name is there after a power failure only when its folder was brought to the disk."""
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def _raise_unless_gone(error: OSError) -> None:
    if not isinstance(error, _NOT_THERE):
        raise error
