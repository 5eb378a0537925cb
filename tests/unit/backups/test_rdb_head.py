"""The begin of RDB files."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.backups.errors import Damaged
from components.backups.rdb_head import Head, Incomplete, read_head

MAGIC = b"REDIS0012"


def text(value: bytes) -> bytes:
    if len(value) < 64:
        return bytes([len(value)]) + value
    if len(value) < 16384:
        return bytes([0x40 | len(value) >> 8, len(value) & 0xFF]) + value
    return b"\x80" + len(value).to_bytes(4, "big") + value


def aux(name: bytes, value: bytes) -> bytes:
    return b"\xfa" + text(name) + text(value)


SIZES = b"\xfe\x03\xfb\x41\x00\x05"
"""Database 3 with 256 keys, of which 5 expire."""


@given(st.lists(st.tuples(st.binary(max_size=40), st.binary(max_size=300))), st.lists(st.binary(max_size=20000)))
def test_what_comes_before_the_first_database(fields: list[tuple[bytes, bytes]], functions: list[bytes]) -> None:
    content = MAGIC + b"".join(aux(*each) for each in fields) + b"".join(b"\xf5" + text(each) for each in functions)
    assert read_head(content + SIZES + b"anything") == Head(12, 256, 5)
    with pytest.raises(Incomplete):
        read_head(content + SIZES[:-1])


@pytest.mark.parametrize(
    "value", [b"\xc0\x07", b"\xc1\x07\x00", b"\xc2\x07\x00\x00\x00", b"\xc3\x03\x05abc", b"\x81" + b"\0" * 7 + b"\x01x"]
)
def test_encoded_texts(value: bytes) -> None:
    assert read_head(MAGIC + b"\xfa" + text(b"name") + value + SIZES).keys == 256


def test_no_keys() -> None:
    assert read_head(b"VALKEY080" + aux(b"a", b"b") + b"\xff" + b"\0" * 8) == Head(80, 0, 0)


@pytest.mark.parametrize("content", [b"no such file", MAGIC[:5] + b"abcd", MAGIC + b"\x00", MAGIC + b"\xfa\xc4"])
def test_what_is_no_rdb_file(content: bytes) -> None:
    with pytest.raises(Damaged):
        read_head(content)


@given(st.binary(max_size=200))
def test_never_anything_else(content: bytes) -> None:
    with contextlib.suppress(Damaged, Incomplete):
        read_head(MAGIC + content)
