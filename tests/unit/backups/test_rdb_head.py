"""What an RDB file says of itself, however it is cut, and whatever else it is."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.backups.errors import Damaged
from components.backups.rdb_head import MOST_HEAD_BYTES, Head, parse_head

END = b"\xff" + bytes(8)


def number(value: int) -> bytes:
    if value < 1 << 6:
        return bytes([value])
    if value < 1 << 14:
        return bytes([0x40 | value >> 8, value & 0xFF])
    if value < 1 << 32:
        return b"\x80" + struct.pack(">I", value)
    return b"\x81" + struct.pack(">Q", value)


def text(value: bytes) -> bytes:
    return number(len(value)) + value


def aux(name: bytes, value: bytes) -> bytes:
    return b"\xfa" + text(name) + (b"\xc0" + value if name == b"small" else text(value))


compressed = b"\xc3" + number(3) + number(99) + b"abc"
function = st.one_of(st.binary(max_size=300).map(text), st.just(compressed)).map(lambda code: b"\xf5" + code)
module_value = st.sampled_from([
    b"\x01" + number(7), b"\x02" + number(70000), b"\x03" + bytes(4), b"\x04" + bytes(8), b"\x05" + text(b"value"),
    b"\x05\xc1\x01\x02",
])  # fmt: skip
module = st.lists(module_value, max_size=4).map(
    lambda values: b"\xf7" + number(1 << 60) + number(2) + number(1) + b"".join(values) + b"\x00"
)
other_aux = st.sampled_from([
    aux(b"redis-bits", b"64"), aux(b"small", b"\x40"), b"\xfa" + text(b"ctime") + b"\xc2" + bytes(4),
    b"\xfa" + text(b"used-mem") + compressed,
])  # fmt: skip
numbers = st.integers(0, (1 << 64) - 1)


@st.composite
def heads(draw: st.DrawFn) -> tuple[bytes, Head]:
    version = draw(st.sampled_from([b"REDIS0012", b"VALKEY080"]))
    server = "valkey" if version.startswith(b"VALKEY") else draw(st.sampled_from(["redis", "valkey"]))
    stream_database = draw(st.none() | st.integers(0, 1000))
    functions = draw(st.lists(function, max_size=3))
    parts = [
        aux(f"{server}-ver".encode(), b"9.8.7"),
        *draw(st.lists(st.one_of(other_aux, module), max_size=5)),
        *([] if stream_database is None else [aux(b"repl-stream-db", b"%d" % stream_database)]),
        *functions,
        *([b"\xf3" + text(b"job") + number(1) + number(5) + number(9)] if version == b"VALKEY080" else []),
    ]
    content = version + b"".join(draw(st.permutations(parts)))
    database = draw(st.none() | st.integers(0, 1 << 20))
    keys, expiring = (0, 0) if database is None else (draw(numbers), draw(numbers))
    if database is None:
        content += END[:1]
    else:
        slot = number(16383) + number(1) + number(0)
        content += b"\xfe" + number(database) + draw(st.sampled_from([b"", b"\xf4" + slot]))
        content += b"\xfb" + number(keys) + number(expiring)
    return content, Head(
        rdb_version=int(version[-3:]), server=server, server_version="9.8.7", stream_database=stream_database,
        functions=len(functions), database=database, keys=keys, expiring=expiring,
    )  # fmt: skip


@settings(deadline=None)
@given(heads(), st.binary(max_size=20))
def test_all_of_it_is_read(made: tuple[bytes, Head], rest: bytes) -> None:
    content, head = made
    assert parse_head(content + rest) == head


@settings(deadline=None)
@given(heads(), st.data())
def test_a_part_is_not_enough(made: tuple[bytes, Head], data: st.DataObject) -> None:
    content, _ = made
    assert parse_head(content[: data.draw(st.integers(0, len(content) - 1))]) is None


@settings(deadline=None)
@given(st.sampled_from([b"", b"REDIS0012", b"VALKEY080"]), st.binary(max_size=200))
def test_anything_else_is_damaged_or_incomplete(magic: bytes, content: bytes) -> None:
    try:
        found = parse_head(magic + content)
    except Damaged as error:
        assert "\n" not in str(error)
    else:
        assert found is None or isinstance(found, Head)


@pytest.mark.parametrize(
    "content",
    [
        b"*1\r\n$4\r\nPING\r\n",
        b"REDIS00x2" + END,
        b"REDIS" + END,
        b"-ERR unknown command",
        b"REDIS0006\xfe\x00\x00\x01a\x01b" + END,  # Redis 2.8: no number of keys
        b"REDIS0012\xfb\x01\x01",  # of no database
        b"REDIS0012\xf3" + bytes(20),  # Valkey's alone
        b"REDIS0012\xfe\xc0\x01",  # a number that is a string
        b"REDIS0012\xfe\x82",  # a length of no known size
        b"REDIS0012\xfa\xc4",  # a string of no known encoding
        b"REDIS0012\xf7\x01\x02\x01\x06",  # a module's value of no known kind
    ],
)
def test_no_rdb_file(content: bytes) -> None:
    with pytest.raises(Damaged, match="RDB file"):
        parse_head(content)


def test_a_head_that_never_ends_is_none() -> None:
    with pytest.raises(Damaged, match="no key within the first"):
        parse_head(b"REDIS0012\xf5" + number(1 << 40) + bytes(MOST_HEAD_BYTES))
