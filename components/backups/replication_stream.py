"""Copies a node by the replication protocol (Redis documentation: "Replication"), as a replica that wants data only.

The node sends an RDB file straight from a child process (diskless), so that nothing is written to its disk.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import TracebackType

from ..formation.connection import tls_context
from ..formation.members import Access, Member
from .errors import SourceError

CHUNK_BYTES = 256 * 1024
_MARK_BYTES = 40
_LONGEST_LINE = 64 * 1024
_FULL_COPY = re.compile(rb"\+FULLRESYNC ([0-9a-f]{40}) (\d+)")


@dataclass
class Snapshot:
    """A node's data at one moment.

    ``offset``: of the replication stream of the history ``replication_id``, which is the moment. ``chunks``: the RDB
    file, once; raises SourceError when the node breaks off.
    """

    replication_id: str
    offset: int
    chunks: Iterator[bytes] = field(repr=False)


class ReplicationStream:
    """One connection to a node. Raises SourceError naming it when it refuses, breaks off, or is silent for too long.

    Args:
        member: whom to copy, reached at its reach address.
        access: a user that may PSYNC and REPLCONF; with a certificate authority the connection is TLS.
        connect_seconds: how long connecting may take.
        silence_seconds: how long it may say nothing; while it forks it sends a line now and then.
    """

    def __init__(
        self, member: Member, access: Access, *, connect_seconds: float = 5.0, silence_seconds: float = 60.0
    ) -> None:
        self._member = member
        self._buffer = bytearray()
        try:
            plain = socket.create_connection((member.reach.host, member.reach.port), timeout=connect_seconds)
            self._socket = _with_tls(plain, access.ca_certificate, member.reach.host)
            self._socket.settimeout(silence_seconds)
        except OSError as error:
            raise self._broken(error) from error
        try:
            self._ask("AUTH", access.username, access.password)
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self) -> ReplicationStream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def full_copy(self) -> Snapshot:
        """Ask for everything.

        ``rdb-only`` (Redis 7.0 and later) tells the node that no stream is to follow. Nothing is ever acknowledged, so
        that no primary counts this as one of its replicas (``min-replicas-to-write``, WAIT).
        """
        self._ask("REPLCONF", "capa", "eof", "capa", "psync2")
        self._ask("REPLCONF", "rdb-only", "1")
        self._send("PSYNC", "?", "-1")
        answer = self._line()
        match = _FULL_COPY.fullmatch(answer)
        if match is None:
            raise self._refused("PSYNC", answer)
        return Snapshot(match[1].decode(), int(match[2]), self._rdb())

    def _rdb(self) -> Iterator[bytes]:
        header = self._line()
        if header.startswith(b"$EOF:") and len(header) == len(b"$EOF:") + _MARK_BYTES:
            yield from self._until_mark(header.removeprefix(b"$EOF:"))
        elif header.startswith(b"$") and header[1:].isdigit():
            yield from self._of_length(int(header[1:]))
        else:
            raise self._refused("PSYNC", header)

    def _until_mark(self, mark: bytes) -> Iterator[bytes]:
        """What comes before the mark, which may arrive in parts: its length is always held back."""
        held = bytes(self._buffer)
        self._buffer.clear()
        while not held.endswith(mark):
            if len(held) > _MARK_BYTES:
                yield held[:-_MARK_BYTES]
                held = held[-_MARK_BYTES:]
            held += self._receive()
        if len(held) > _MARK_BYTES:
            yield held[:-_MARK_BYTES]

    def _of_length(self, length: int) -> Iterator[bytes]:
        missing = length
        while missing:
            chunk = bytes(self._buffer[:missing]) or self._receive(min(missing, CHUNK_BYTES))
            del self._buffer[: len(chunk)]
            missing -= len(chunk)
            yield chunk

    def _ask(self, *words: str) -> None:
        self._send(*words)
        answer = self._line()
        if answer != b"+OK":
            raise self._refused(words[0], answer)

    def _send(self, *words: str) -> None:
        encoded = [word.encode() for word in words]
        command = b"*%d\r\n%b" % (len(words), b"".join(b"$%d\r\n%b\r\n" % (len(each), each) for each in encoded))
        try:
            self._socket.sendall(command)
        except OSError as error:
            raise self._broken(error) from error

    def _line(self) -> bytes:
        """The next line that is not empty: empty ones only say that the node is alive."""
        while True:
            while (end := self._buffer.find(b"\n")) < 0:
                if len(self._buffer) > _LONGEST_LINE:
                    raise SourceError(f"{self._member.name}: does not speak the replication protocol")
                self._buffer += self._receive()
            line = bytes(self._buffer[:end]).rstrip(b"\r")
            del self._buffer[: end + 1]
            if line:
                return line

    def _receive(self, most: int = CHUNK_BYTES) -> bytes:
        try:
            data = self._socket.recv(most)
        except OSError as error:
            raise self._broken(error) from error
        if not data:
            raise SourceError(f"{self._member.name}: broke off while it was copied")
        return data

    def _broken(self, error: OSError) -> SourceError:
        why = "no answer in time" if isinstance(error, TimeoutError) else " ".join(str(error).split())
        return SourceError(f"{self._member.name}: {why}")

    def _refused(self, command: str, answer: bytes) -> SourceError:
        said = answer.decode(errors="replace").lstrip("-+")
        return SourceError(f"{self._member.name}: refused {command}: {said[:200]}")


def _with_tls(plain: socket.socket, ca_certificate: str | None, host: str) -> socket.socket:
    if ca_certificate is None:
        return plain
    try:
        return tls_context(ca_certificate).wrap_socket(plain, server_hostname=host)
    except OSError:
        plain.close()
        raise
