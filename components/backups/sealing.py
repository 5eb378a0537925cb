"""What a piece of a backup goes through on its way to the store, and back.

It is compressed with zstd; without a key that is all, so that ``zstd -d`` reads it. With a key the compressed bytes are
encrypted with AES-256-GCM in segments (the STREAM construction of Hoang, Reyhanitabar, Rogaway and Vizar):

    ===============  ==========================================================================
    bytes            what
    ===============  ==========================================================================
    9                ``rpsealed`` and the version of this format, 1
    8                fingerprint of the deployment's key: tells another key from altered bytes
    32               salt: this piece's key is derived from it and the deployment's (HKDF-SHA256)
    7                first part of every nonce
    1 MiB + 16 each  segments; the last one is shorter, and is there even when it is empty
    ===============  ==========================================================================

A segment's nonce is the first part, its number in four bytes, and whether it is the last one; the header goes into
every segment's authentication. So a segment that is altered, missing, repeated or at another place is noticed before a
byte of it is given out. Sizes and checksums are checked besides, with and without a key.
"""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import IO, cast

import zstandard
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from .errors import Damaged
from .manifest import Piece
from .store import Upload

COMPRESSION = "zstd"
"""What manifests call it."""
ENCRYPTION = "aes-256-gcm"
KEY_BYTES = 32

_LEVEL = 1
_MAGIC = b"rpsealed\x01"
_FINGERPRINT_BYTES = 8
_SALT_BYTES = 32
_NONCE_BYTES = 7
_HEADER_BYTES = len(_MAGIC) + _FINGERPRINT_BYTES + _SALT_BYTES + _NONCE_BYTES
_SEGMENT_BYTES = 1 << 20
_TAG_BYTES = 16
_READ_BYTES = 1 << 20
_BLOCK_BYTES = 256 * 1024
_BLOCKS_AHEAD = 8
"""That wait for the thread."""


@dataclass(frozen=True, kw_only=True)
class SealedFacts:
    """What was sealed, as a manifest's Piece tells it. Checksums are SHA-256 in hexadecimal digits."""

    plain_bytes: int
    plain_checksum: str
    stored_bytes: int
    stored_checksum: str

    def piece(self, name: str) -> Piece:
        """For the manifest."""
        return Piece(
            name=name,
            plain_bytes=self.plain_bytes,
            plain_checksum=self.plain_checksum,
            stored_bytes=self.stored_bytes,
            stored_checksum=self.stored_checksum,
        )


def key_fingerprint(key: bytes) -> str:
    """Which key it is, without telling it: 16 hexadecimal digits. Raises ValueError unless it has 32 bytes."""
    return _derived(key, b"", b"fingerprint", _FINGERPRINT_BYTES).hex()


def seal(chunks: Iterator[bytes], upload: Upload, key: bytes | None) -> SealedFacts:
    """Compress, encrypt unless ``key`` is None, and write; a few MiB are in memory at any time.

    A thread does so while the next chunks are waited for, so that a node does not wait for the store.

    Whatever ``chunks`` and ``upload`` raise goes through. Raises ValueError unless the key has 32 bytes.
    """
    plain = _Counted()
    stored = _Counted()
    sealer = _Sealer(key) if key is not None else None
    compressor = zstandard.ZstdCompressor(level=_LEVEL).compressobj()

    def write(data: bytes) -> None:
        if data:
            stored.add(data)
            upload.write(data)

    def seal_block(block: bytes) -> None:
        plain.add(block)
        compressed = compressor.compress(block)
        write(sealer.add(compressed) if sealer else compressed)

    if sealer:
        write(sealer.header)
    _in_a_thread(seal_block, _blocks(chunks))
    compressed = compressor.flush()
    write(sealer.add(compressed) + sealer.finish() if sealer else compressed)
    return SealedFacts(
        plain_bytes=plain.count,
        plain_checksum=plain.checksum,
        stored_bytes=stored.count,
        stored_checksum=stored.checksum,
    )


def unseal(chunks: Iterator[bytes], key: bytes | None, expected: Piece) -> Iterator[bytes]:
    """The plain bytes in pieces of at most 1 MiB.

    Everything has been verified only at the end: what came before an error must not be used.

    Args:
        chunks: as stored.
        key: the one that it was sealed with; None for what is not encrypted.
        expected: what the manifest says of it.

    Raises Damaged, naming the piece and whether it is truncated, altered or under another key; ValueError unless the
    key has 32 bytes.
    """
    stored = _Stored(chunks, expected)
    opened = _opened(stored, key, expected)
    plain = _Counted()
    # Unlike a decompressobj it does not unpack a whole chunk at once, which may be a thousand times as large.
    reader = zstandard.ZstdDecompressor().stream_reader(
        cast(IO[bytes], _Source(opened)), read_size=zstandard.DECOMPRESSION_RECOMMENDED_INPUT_SIZE
    )
    try:
        while data := reader.read(_READ_BYTES):
            plain.add(data)
            yield data
    except zstandard.ZstdError as error:
        stored.finish()
        raise Damaged(f"{expected.name} is altered: what it unpacks to is no data ({error})") from error
    if any(opened):
        raise Damaged(f"{expected.name} is altered: something follows the data")
    stored.finish()
    if (plain.count, plain.checksum) != (expected.plain_bytes, expected.plain_checksum):
        raise Damaged(
            f"{expected.name} is altered: it unpacks to {plain.count} bytes with another checksum than the "
            f"{expected.plain_bytes} that the manifest tells"
        )


def verify(chunks: Iterator[bytes], key: bytes | None, expected: Piece) -> None:
    """Read through it. Raises what :func:`unseal` does."""
    for _ in unseal(chunks, key, expected):
        pass


def _blocks(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The same bytes in larger pieces: a node's come in pieces of a few KiB, and each would wake up the thread."""
    waiting: list[bytes] = []
    size = 0
    for chunk in chunks:
        waiting.append(chunk)
        size += len(chunk)
        if size >= _BLOCK_BYTES:
            yield b"".join(waiting)
            waiting, size = [], 0
    if waiting:
        yield b"".join(waiting)


def _in_a_thread(work: Callable[[bytes], None], blocks: Iterator[bytes]) -> None:
    """Do the work on every block, one after the other; what it raises ends it all, and so does what ``blocks`` raises.

    No work is going on any more when this returns or raises.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="seal") as thread:
        under_way: deque[Future[None]] = deque()
        try:
            for block in blocks:
                if len(under_way) == _BLOCKS_AHEAD:
                    under_way.popleft().result()
                under_way.append(thread.submit(work, block))
            for each in under_way:
                each.result()
        except BaseException:
            thread.shutdown(cancel_futures=True)
            raise


class _Counted:
    """How many bytes there were, and their checksum."""

    def __init__(self) -> None:
        self.count = 0
        self._hash = hashlib.sha256()

    def add(self, data: bytes) -> None:
        self.count += len(data)
        self._hash.update(data)

    @property
    def checksum(self) -> str:
        return self._hash.hexdigest()


class _Stored:
    """The stored bytes, counted."""

    def __init__(self, chunks: Iterator[bytes], expected: Piece) -> None:
        self._chunks = iter(chunks)
        self._expected = expected
        self._counted = _Counted()

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._chunks:
            self._counted.add(chunk)
            yield chunk
        if self._counted.count < self._expected.stored_bytes:
            raise Damaged(f"{self._expected.name} is truncated: {self._told}")

    def finish(self) -> None:
        """Look at the rest. Raises Damaged unless it is what the manifest tells; truncation is the first suspect."""
        for _ in self:
            pass
        if self._counted.count > self._expected.stored_bytes:
            raise Damaged(f"{self._expected.name} is altered: {self._told}")
        if self._counted.checksum != self._expected.stored_checksum:
            raise Damaged(f"{self._expected.name} is altered: it has another checksum than the manifest tells")

    @property
    def _told(self) -> str:
        return f"{self._counted.count} bytes are there, the manifest tells {self._expected.stored_bytes}"


class _Sealer:
    """Encrypts what is added, segment by segment."""

    def __init__(self, key: bytes) -> None:
        salt = os.urandom(_SALT_BYTES)
        nonce = os.urandom(_NONCE_BYTES)
        self.header = _MAGIC + bytes.fromhex(key_fingerprint(key)) + salt + nonce
        self._segments = _Segments(key, self.header)
        self._waiting = bytearray()

    def add(self, data: bytes) -> bytes:
        """Whatever segments are full now. The last one waits, as it may be the last of all."""
        self._waiting += data
        sealed = b""
        while len(self._waiting) > _SEGMENT_BYTES:
            sealed += self._segments.encrypt(self._waiting[:_SEGMENT_BYTES], last=False)
            del self._waiting[:_SEGMENT_BYTES]
        return sealed

    def finish(self) -> bytes:
        return self._segments.encrypt(self._waiting, last=True)


class _Segments:
    """The cipher of one piece, which counts its segments."""

    def __init__(self, key: bytes, header: bytes) -> None:
        salt = header[-_NONCE_BYTES - _SALT_BYTES : -_NONCE_BYTES]
        self._cipher = AESGCM(_derived(key, salt, b"piece", KEY_BYTES))
        self._header = header
        self._number = 0

    def encrypt(self, data: bytes | bytearray, *, last: bool) -> bytes:
        return self._cipher.encrypt(self._next_nonce(last), data, self._header)

    def decrypt(self, data: bytes | bytearray, *, last: bool) -> bytes:
        """Raises InvalidTag."""
        return self._cipher.decrypt(self._next_nonce(last), data, self._header)

    def _next_nonce(self, last: bool) -> bytes:
        # OverflowError beyond 4 PiB, which no store takes in one object.
        nonce = self._header[-_NONCE_BYTES:] + self._number.to_bytes(4, "big") + bytes([last])
        self._number += 1
        return nonce


def _opened(stored: _Stored, key: bytes | None, expected: Piece) -> Iterator[bytes]:
    """The compressed bytes, decrypted if there is a key."""
    chunks = iter(stored)
    waiting = bytearray()
    for chunk in chunks:
        waiting += chunk
        if len(waiting) >= _HEADER_BYTES:
            break
    header = bytes(waiting[:_HEADER_BYTES])
    sealed = header.startswith(_MAGIC)
    if key is None:
        if sealed:
            raise Damaged(f"{expected.name} is encrypted, and no key was given: give the deployment's backup key")
        yield bytes(waiting)
        yield from chunks
        return
    fingerprint = key_fingerprint(key)
    if not sealed:
        stored.finish()
        raise Damaged(f"{expected.name} is not encrypted as the manifest tells, or not in a way that is known here")
    written_with = header[len(_MAGIC) : len(_MAGIC) + _FINGERPRINT_BYTES].hex()
    if written_with != fingerprint:
        raise Damaged(
            f"{expected.name} is encrypted with another key: that of fingerprint {written_with}, "
            f"and the key given has {fingerprint}"
        )
    del waiting[:_HEADER_BYTES]
    segments = _Segments(key, header)
    try:
        for chunk in chunks:
            waiting += chunk
            while len(waiting) > _SEGMENT_BYTES + _TAG_BYTES:
                yield segments.decrypt(waiting[: _SEGMENT_BYTES + _TAG_BYTES], last=False)
                del waiting[: _SEGMENT_BYTES + _TAG_BYTES]
        yield segments.decrypt(waiting, last=True)
    except InvalidTag as error:
        stored.finish()
        raise Damaged(f"{expected.name} is altered: a part of it is not what was encrypted") from error


class _Source:
    """What zstandard reads from."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks

    def read(self, _: int) -> bytes:
        """The next chunk, whatever its size; empty at the end."""
        return next((chunk for chunk in self._chunks if chunk), b"")


def _derived(key: bytes, salt: bytes, purpose: bytes, length: int) -> bytes:
    if len(key) != KEY_BYTES:
        raise ValueError(f"a backup key has {KEY_BYTES} bytes, and this one {len(key)}")
    return HKDF(SHA256(), length, salt, b"redis-production backup " + purpose).derive(key)
