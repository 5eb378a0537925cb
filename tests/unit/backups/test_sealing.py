from __future__ import annotations

import dataclasses
import hashlib
import os
import random
import resource
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from components.backups.errors import Damaged, StoreError
from components.backups.manifest import Piece
from components.backups.sealing import KEY_BYTES, key_fingerprint, seal, unseal, verify

KEY = bytes(range(KEY_BYTES))
OTHER_KEY = bytes(KEY_BYTES)
keys = st.sampled_from([None, KEY])
HEADER_BYTES = 56
SEGMENT_BYTES = (1 << 20) + 16


class Memory:
    def __init__(self) -> None:
        self.content = b""

    def write(self, data: bytes) -> None:
        self.content += data


def incompressible(size: int) -> bytes:
    return random.Random(size).randbytes(size)


def in_chunks(data: bytes, size: int = 65_536) -> Iterator[bytes]:
    return (data[begin : begin + size] for begin in range(0, len(data), size))


def sealed(data: bytes, key: bytes | None, chunk_bytes: int = 65_536) -> tuple[bytes, Piece]:
    upload = Memory()
    facts = seal(in_chunks(data, chunk_bytes), upload, key)
    return upload.content, facts.piece("shard-0.rdb")


def as_told(stored: bytes, piece: Piece) -> Piece:
    """As if whoever altered it had altered the manifest too."""
    return dataclasses.replace(piece, stored_bytes=len(stored), stored_checksum=hashlib.sha256(stored).hexdigest())


@given(st.binary(max_size=1000), keys, st.integers(1, 300), st.integers(1, 300))
def test_comes_back_as_it_was(data: bytes, key: bytes | None, chunk_bytes: int, read_bytes: int) -> None:
    stored, piece = sealed(data, key, chunk_bytes)
    assert (piece.plain_bytes, piece.plain_checksum) == (len(data), hashlib.sha256(data).hexdigest())
    assert piece == as_told(stored, piece)
    assert b"".join(unseal(in_chunks(stored, read_bytes), key, piece)) == data


@pytest.mark.parametrize("size", [0, 1, (1 << 20) - 9, 1 << 20, 5 << 20])
@pytest.mark.parametrize("key", [None, KEY])
def test_sizes_around_segments(size: int, key: bytes | None) -> None:
    data = incompressible(size)
    stored, piece = sealed(data, key)
    assert b"".join(unseal(in_chunks(stored), key, piece)) == data
    verify(in_chunks(stored, 1 << 20), key, piece)


def test_without_a_key_it_is_plain_zstd() -> None:
    stored, _ = sealed(b"value" * 1000, None)
    assert zstandard.ZstdDecompressor().decompressobj().decompress(stored) == b"value" * 1000


def test_with_a_key_nothing_shows_and_no_two_are_alike() -> None:
    data = incompressible(1000)
    one, piece = sealed(data, KEY)
    other, _ = sealed(data, KEY)
    assert one[17:] != other[17:]
    assert len({stored[begin : begin + 16] for stored in (one, other) for begin in range(17, len(one), 16)}) > 100
    assert data[:32] not in one
    assert KEY not in one
    assert one[9:17].hex() == key_fingerprint(KEY)
    verify(in_chunks(one), KEY, piece)


@given(st.data(), keys)
def test_no_changed_bit_goes_unnoticed(data: st.DataObject, key: bytes | None) -> None:
    stored, piece = sealed(incompressible(500), key)
    position = data.draw(st.integers(0, 8 * len(stored) - 1))
    changed = bytearray(stored)
    changed[position // 8] ^= 1 << position % 8
    reason = "another key" if key and 9 <= position // 8 < 17 else "altered"
    with pytest.raises(Damaged, match=rf"shard-0\.rdb is .*{reason}"):
        verify(in_chunks(bytes(changed)), key, piece)


@given(st.data(), keys)
def test_whoever_alters_the_manifest_too_is_found_out(data: st.DataObject, key: bytes | None) -> None:
    stored, piece = sealed(incompressible(500), key)
    position = data.draw(st.integers(0, 8 * len(stored) - 1))
    changed = bytearray(stored)
    changed[position // 8] ^= 1 << position % 8
    told = as_told(bytes(changed), piece)
    try:
        plain = b"".join(unseal(in_chunks(bytes(changed)), key, told))
    except Damaged:
        return
    # zstd's header has a bit that nothing depends on; what was encrypted has none.
    assert key is None
    assert plain == incompressible(500)


@given(st.data(), keys)
def test_truncation_is_called_by_its_name(data: st.DataObject, key: bytes | None) -> None:
    stored, piece = sealed(incompressible(500), key)
    cut = stored[: data.draw(st.integers(0, len(stored) - 1))]
    with pytest.raises(Damaged, match=rf"truncated: {len(cut)} bytes are there, the manifest tells {len(stored)}"):
        verify(in_chunks(cut, 100), key, piece)
    if key:
        with pytest.raises(Damaged):
            verify(in_chunks(cut, 100), key, as_told(cut, piece))


@pytest.mark.parametrize("key", [None, KEY])
def test_what_follows_is_noticed(key: bytes | None) -> None:
    stored, piece = sealed(incompressible(500), key)
    with pytest.raises(Damaged, match="altered"):
        verify(in_chunks(stored + b"more"), key, piece)
    with pytest.raises(Damaged, match="altered"):
        verify(in_chunks(stored + stored), key, piece)


def test_segments_have_their_places() -> None:
    data = incompressible(4 << 20)
    stored, piece = sealed(data, KEY)
    header, body = stored[:HEADER_BYTES], stored[HEADER_BYTES:]
    segments = list(in_chunks(body, SEGMENT_BYTES))
    assert len(segments) == 5
    for changed in (
        [segments[1], segments[0], *segments[2:]],
        segments[:-1],
        segments[1:],
        [segments[0], *segments],
        [*segments, segments[-1]],
    ):
        altered = header + b"".join(changed)
        with pytest.raises(Damaged, match="altered"):
            verify(in_chunks(altered), KEY, as_told(altered, piece))


def test_segments_of_another_piece_do_not_fit() -> None:
    data = incompressible(3 << 20)
    one, piece = sealed(data, KEY)
    other, _ = sealed(data, KEY)
    mixed = one[: HEADER_BYTES + SEGMENT_BYTES] + other[HEADER_BYTES + SEGMENT_BYTES :]
    with pytest.raises(Damaged, match="altered"):
        verify(in_chunks(mixed), KEY, as_told(mixed, piece))


def test_another_key_is_told_from_alteration() -> None:
    stored, piece = sealed(b"value", KEY)
    with pytest.raises(Damaged, match="encrypted with another key") as error:
        verify(in_chunks(stored), OTHER_KEY, piece)
    assert key_fingerprint(KEY) in str(error.value)
    assert key_fingerprint(OTHER_KEY) in str(error.value)
    assert KEY.hex() not in str(error.value)


def test_a_key_where_none_is_needed_and_none_where_one_is() -> None:
    stored, piece = sealed(b"value", KEY)
    with pytest.raises(Damaged, match="is encrypted, and no key was given"):
        verify(in_chunks(stored), None, piece)
    stored, piece = sealed(b"value", None)
    with pytest.raises(Damaged, match="is not encrypted"):
        verify(in_chunks(stored), KEY, piece)


@pytest.mark.parametrize("key", [b"", b"short", bytes(33)])
def test_keys_have_32_bytes(key: bytes) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        sealed(b"", key)
    stored, piece = sealed(b"", KEY)
    with pytest.raises(ValueError, match="32 bytes"):
        verify(in_chunks(stored), key, piece)


def test_a_manifest_of_other_data() -> None:
    stored, piece = sealed(b"value", None)
    with pytest.raises(Damaged, match="unpacks to 5 bytes with another checksum"):
        verify(in_chunks(stored), None, dataclasses.replace(piece, plain_checksum="0" * 64))


def test_what_the_store_and_the_source_raise_goes_through() -> None:
    def broken(data: bytes) -> Iterator[bytes]:
        yield data
        raise StoreError("cut")

    stored, piece = sealed(incompressible(500), KEY)
    with pytest.raises(StoreError, match="cut"):
        verify(broken(stored[:300]), KEY, piece)
    with pytest.raises(StoreError, match="cut"):
        seal(broken(b"value"), Memory(), None)


def test_what_ends_it_ends_it_all() -> None:
    class Refuses(Memory):
        def write(self, data: bytes) -> None:
            raise StoreError("full")

    given_out = 0

    def endless() -> Iterator[bytes]:
        nonlocal given_out
        while True:
            given_out += 1
            yield os.urandom(65_536)

    before = threading.active_count()
    with pytest.raises(StoreError, match="full"):
        seal(endless(), Refuses(), None)
    stopped_at = given_out
    # The source is not read on for long, and nothing works on in the background.
    assert stopped_at < 1000
    assert threading.active_count() == before
    assert given_out == stopped_at


def test_a_slow_store_holds_the_source_up() -> None:
    class Slow(Memory):
        most_ahead = 0

        def write(self, data: bytes) -> None:
            time.sleep(0.02)
            self.most_ahead = max(self.most_ahead, given_out - len(self.content))
            super().write(data)

    given_out = 0

    def source() -> Iterator[bytes]:
        nonlocal given_out
        for _ in range(200):
            given_out += 65_536
            yield os.urandom(65_536)

    slow = Slow()
    seal(source(), slow, None)
    assert slow.most_ahead < 6 << 20


def test_memory_does_not_grow_with_the_data() -> None:
    """A gigabyte of zeros is a few kilobytes in the store, and must not be unpacked at once."""
    script = textwrap.dedent("""
        import resource
        from components.backups.sealing import seal, unseal, verify
        class Upload(list):
            write = list.append
        def used():
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for key in (None, bytes(32)):
            upload = Upload()
            before = used()
            facts = seal((bytes(1 << 20) for _ in range(256)), upload, key)
            verify(iter([b"".join(upload)]), key, facts.piece("x"))
            print(used() - before)
    """)
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert all(int(kilobytes) < 32 * 1024 for kilobytes in done.stdout.split())


def test_incompressible_data_are_not_kept_either() -> None:
    class Nowhere:
        def write(self, data: bytes) -> None:
            pass

    block = os.urandom(1 << 20)
    seal((block for _ in range(8)), Nowhere(), KEY)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seal((block for _ in range(64)), Nowhere(), KEY)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 16 * 1024
