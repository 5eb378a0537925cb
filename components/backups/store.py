"""Where backups are kept: what a folder and S3 have in common.

Keys are relative to the store's own place (a folder, or a bucket and a prefix), with ``/`` between their parts.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Entry:
    """An object that a store has. ``modified_at``: seconds since 1970."""

    key: str
    size: int
    modified_at: float


class Upload(Protocol):
    """An object that is being written. It exists once the context that gave it has ended without an error."""

    def write(self, data: bytes) -> None:
        """Add to the object; may block until earlier parts are sent. Raises StoreError."""
        ...


class Store(Protocol):
    """All raise StoreError when the store does not answer in time, refuses, or is full.

    Nothing is half written: an object is there as a whole, under its key, or not at all.
    """

    @property
    def place(self) -> str:
        """What to call it in messages, such as ``s3://bucket/prefix`` or a folder's path."""
        ...

    def upload(self, key: str) -> AbstractContextManager[Upload]:
        """Write an object of unknown size in a stream. Left by an exception it removes what was written so far."""
        ...

    def put(self, key: str, content: bytes, *, only_if_absent: bool = False) -> None:
        """Write a small object. With ``only_if_absent`` raises AlreadyThere when there is one, whoever was first."""
        ...

    def get(self, key: str) -> bytes | None:
        """A small object's content; None when there is none."""
        ...

    def read(self, key: str) -> AbstractContextManager[Iterator[bytes]]:
        """The content of an object in pieces. Raises StoreError when it is missing or ends too early."""
        ...

    def entries(self, prefix: str = "") -> Iterator[Entry]:
        """Every object whose key starts so, in the order of keys."""
        ...

    def delete(self, keys: list[str]) -> None:
        """Remove objects; one that is not there is none to complain about."""
        ...
