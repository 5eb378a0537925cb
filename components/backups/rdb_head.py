"""What an RDB file says of itself before its first key: who wrote it, and how many keys its first database has.

An RDB file is a magic word with a version, and then parts that an opcode begins (``src/rdb.h`` of the servers). Only
the first database's number of keys (opcode RESIZEDB) is near the beginning; another database's follows the keys of the
one before, and reading those is the work of a server. So the head tells all keys of a cluster's node, and of a
deployment of which INFO keyspace lists one database; of others a throwaway server does.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from .errors import Damaged

MOST_HEAD_BYTES = 64 * 1024 * 1024
"""A head that is longer is none; libraries of functions, which precede the keys, are much smaller."""

_MAGIC = {b"REDIS": "redis", b"VALKEY": "valkey"}
_MAGIC_BYTES = 9
_SLOT_IMPORT, _SLOT_INFO, _FUNCTION, _MODULE_AUX = 0xF3, 0xF4, 0xF5, 0xF7
_AUX, _RESIZE_DATABASE, _SELECT_DATABASE, _END = 0xFA, 0xFB, 0xFE, 0xFF
_MODULE_END, _MODULE_INTEGERS, _MODULE_FLOAT, _MODULE_DOUBLE, _MODULE_STRING = 0, (1, 2), 3, 4, 5
_COMPRESSED = 3
_INTEGERS = {0: "<b", 1: "<h", 2: "<i"}


@dataclass(frozen=True, kw_only=True)
class Head:
    """What is known before the first key.

    Attributes:
        rdb_version: of the file's format; a server reads those up to its own.
        server: that wrote it, ``redis`` or ``valkey``.
        server_version: of it; empty if the file does not say.
        stream_database: that the commands which follow the snapshot's offset are for, before the first SELECT among
            them; None if the file does not say. A replica's stream has no SELECT of its own after a snapshot.
        functions: libraries of functions.
        database: number of the first database; None if there is no key at all.
        keys: that the first database has, those among them whose time has come.
        expiring: how many of them have a time to live.
    """

    rdb_version: int
    server: str
    server_version: str
    stream_database: int | None
    functions: int
    database: int | None
    keys: int
    expiring: int


def parse_head(content: bytes) -> Head | None:
    """The head of an RDB file of which this is the beginning; None if it goes on after what is given.

    Raises Damaged for anything that is no RDB file, or one of Redis before 3.2, which has no number of keys.
    """
    try:
        return _parse(_Cursor(content))
    except _Incomplete:
        if len(content) > MOST_HEAD_BYTES:
            raise Damaged(
                f"no key within the first {len(content)} bytes: this is no RDB file, or an altered one"
            ) from None
        return None


class HeadReader:
    """Finds the head of an RDB file that comes in pieces; ``head`` is None until enough of them have come."""

    def __init__(self) -> None:
        self.head: Head | None = None
        self._beginning = b""
        self._look_at = 0

    def feed(self, piece: bytes) -> None:
        """Take the next piece. Raises Damaged as `parse_head` does."""
        if self.head is None:
            self._beginning += piece
            if len(self._beginning) >= self._look_at:
                self._parse()

    def finish(self) -> Head:
        """The head, after the last piece. Raises Damaged if the file ends before its first key."""
        if self.head is None:
            self._parse()
        if self.head is None:
            raise Damaged("the RDB file ends before its first key")
        return self.head

    def _parse(self) -> None:
        # At twice as much each time nothing is parsed over and over.
        self.head, self._look_at = parse_head(self._beginning), 2 * len(self._beginning)
        if self.head is not None:
            self._beginning = b""


class _Incomplete(Exception):
    """More bytes are needed."""


class _Cursor:
    """Reads the parts of an RDB file one after the other."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._position = 0

    def take(self, count: int) -> bytes:
        end = self._position + count
        if end > len(self._content):
            raise _Incomplete
        taken = self._content[self._position : end]
        self._position = end
        return taken

    def byte(self) -> int:
        return self.take(1)[0]

    def length(self) -> int:
        """A number; the two upper bits of its first byte say how it is written."""
        number, encoding = self._length()
        if encoding is not None:
            raise Damaged("a number of the RDB file is none: the file was altered")
        return number

    def string(self) -> bytes:
        """A string; one that is compressed comes out empty, as none of those that matter here is."""
        number, encoding = self._length()
        if encoding is None:
            return self.take(number)
        if encoding == _COMPRESSED:
            compressed, _ = self.length(), self.length()
            self.take(compressed)
            return b""
        if encoding not in _INTEGERS:
            raise Damaged("a string of the RDB file is none: the file was altered")
        form = _INTEGERS[encoding]
        (integer,) = struct.unpack(form, self.take(struct.calcsize(form)))
        return str(integer).encode()

    def _length(self) -> tuple[int, int | None]:
        first = self.byte()
        kind, rest = first >> 6, first & 0x3F
        if kind == 0:
            return rest, None
        if kind == 1:
            return rest << 8 | self.byte(), None
        if kind == 3:
            return 0, rest
        if rest not in (0, 1):
            raise Damaged("a length of the RDB file is none: the file was altered")
        return int.from_bytes(self.take(8 if rest else 4), "big"), None


def _parse(cursor: _Cursor) -> Head:
    server, rdb_version = _magic(cursor)
    aux: dict[bytes, bytes] = {}
    functions = 0
    database: int | None = None
    keys = expiring = 0
    while True:
        opcode = cursor.byte()
        if opcode == _AUX:
            name = cursor.string()
            aux[name] = cursor.string()
        elif opcode == _FUNCTION:
            cursor.string()
            functions += 1
        elif opcode == _MODULE_AUX:
            _skip_module(cursor)
        elif opcode == _SLOT_IMPORT and server == "valkey":
            cursor.string()
            for _ in range(2 * cursor.length()):
                cursor.length()
        elif opcode == _SLOT_INFO:
            for _ in range(3):
                cursor.length()
        elif opcode == _SELECT_DATABASE and database is None:
            database = cursor.length()
        elif opcode == _RESIZE_DATABASE and database is not None:
            keys, expiring = cursor.length(), cursor.length()
            break
        elif opcode == _END and database is None:
            break
        else:
            raise Damaged(f"part 0x{opcode:02x} of the RDB file is not known: it was altered, or by a newer server")
    if b"valkey-ver" in aux:
        server = "valkey"
    version = aux.get(b"valkey-ver", aux.get(b"redis-ver", b""))
    return Head(
        rdb_version=rdb_version,
        server=server,
        server_version=version.decode("ascii", "replace"),
        stream_database=_number(aux.get(b"repl-stream-db")),
        functions=functions,
        database=database,
        keys=keys,
        expiring=expiring,
    )


def _magic(cursor: _Cursor) -> tuple[str, int]:
    """``REDIS`` and four digits, or ``VALKEY`` and three."""
    word = cursor.take(_MAGIC_BYTES)
    for magic, server in _MAGIC.items():
        version = word.removeprefix(magic)
        if version != word and version.isdigit():
            return server, int(version)
    raise Damaged("this is no RDB file: it does not begin with REDIS or VALKEY and a version")


def _skip_module(cursor: _Cursor) -> None:
    """What a module keeps beside its keys: its id, when it is read, and values of its own, each after its kind."""
    for _ in range(3):
        cursor.length()
    while (kind := cursor.length()) != _MODULE_END:
        if kind in _MODULE_INTEGERS:
            cursor.length()
        elif kind == _MODULE_FLOAT:
            cursor.take(4)
        elif kind == _MODULE_DOUBLE:
            cursor.take(8)
        elif kind == _MODULE_STRING:
            cursor.string()
        else:
            raise Damaged("a module's part of the RDB file is none: the file was altered")


def _number(text: bytes | None) -> int | None:
    return int(text) if text is not None and text.isdigit() and len(text) < 10 else None
