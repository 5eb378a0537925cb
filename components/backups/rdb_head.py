"""Reads the begin of an RDB file: what wrote it, and how many keys its first database has, by its own account.

The file's opcodes are those of Redis's rdb.h. Keys themselves are not read: that would take longer than copying them.
"""

from __future__ import annotations

from dataclasses import dataclass

from .errors import Damaged

LARGEST_HEAD = 16 * 1024 * 1024
"""Bytes in which the first database has to begin: functions, which come before, are code and not data."""

_AUX, _FUNCTION, _SELECT_DATABASE, _SIZES, _END = 0xFA, 0xF5, 0xFE, 0xFB, 0xFF
_MAGIC = (b"REDIS", b"VALKEY")


class Incomplete(Exception):
    """More of the file is needed."""


@dataclass(frozen=True)
class Head:
    """``keys`` and ``expiring`` are of the first database that has keys; both 0 when there is none."""

    rdb_version: int
    keys: int
    expiring: int


def read_head(content: bytes) -> Head:
    """Raises Incomplete when ``content`` ends before it is known, Damaged for what is no RDB file."""
    if len(content) < 9:
        raise Incomplete
    magic = next((each for each in _MAGIC if content.startswith(each)), None)
    version = content[len(magic) : 9] if magic else b""
    if not version.isdigit():
        raise Damaged("it does not begin as an RDB file does")
    reader = _Reader(content, 9)
    while True:
        opcode = reader.byte()
        if opcode == _AUX:
            reader.skip_text()
            reader.skip_text()
        elif opcode == _FUNCTION:
            reader.skip_text()
        elif opcode == _SELECT_DATABASE:
            reader.length()
        elif opcode == _SIZES:
            return Head(int(version), reader.length(), reader.length())
        elif opcode == _END:
            return Head(int(version), 0, 0)
        else:
            raise Damaged(f"its first database begins in an unknown way (opcode {opcode})")


class _Reader:
    def __init__(self, content: bytes, place: int) -> None:
        self._content = content
        self._place = place

    def byte(self) -> int:
        return self._take(1)[0]

    def length(self) -> int:
        length, special = self._length()
        if special:
            raise Damaged("a length is encoded as a text")
        return length

    def skip_text(self) -> None:
        length, special = self._length()
        if not special:
            self._take(length)
        elif length in (0, 1, 2):  # a number in 1, 2 or 4 bytes
            self._take(1 << length)
        elif length == 3:  # compressed (LZF)
            compressed = self.length()
            self.length()
            self._take(compressed)
        else:
            raise Damaged(f"a text is encoded in an unknown way ({length})")

    def _length(self) -> tuple[int, bool]:
        first = self.byte()
        match first >> 6:
            case 0:
                return first & 0x3F, False
            case 1:
                return (first & 0x3F) << 8 | self.byte(), False
            case 2:
                return int.from_bytes(self._take(8 if first == 0x81 else 4), "big"), False
            case _:
                return first & 0x3F, True

    def _take(self, count: int) -> bytes:
        end = self._place + count
        if end > len(self._content):
            raise Incomplete
        taken = self._content[self._place : end]
        self._place = end
        return taken
