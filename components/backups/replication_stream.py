"""Copies a node over the replication protocol: its data as an RDB stream, and then the commands that change them.

Nothing is written to a disk on the node: it forks, and its child sends the data as it reads them (Redis documentation:
"Replication", "Diskless replication"). What such a connection is to everybody else was found out with Redis 8.0.2 and
its Sentinels; tests/processes/test_replication_stream.py shows most of it again:

* The node lists it as a replica (INFO replication, ``slaveN``) from PSYNC until it is closed. One for the snapshot
  alone (REPLCONF rdb-only) never becomes ``online``, is closed by the node after the last byte, and counts neither
  towards min-replicas-to-write nor for WAIT.
* A Sentinel takes every line of the primary's list for a replica, ``online`` or not, and keeps ``<address>:0`` for
  good. It passes over a port that there cannot be, which is what the connection gives as its own (REPLCONF
  listening-port). Of a replica's list Sentinels take no notice.
* One that goes on after the snapshot is ``online``. It never acknowledges an offset, so WAIT does not count it; but
  the node counts it towards min-replicas-to-write for min-replicas-max-lag seconds (10 by default) after each connect.
  After repl-timeout (60 s by default) the node closes it. Formation knows it by its port, and leaves it out.
* A node that is told to stop waits for either up to shutdown-timeout (10 s by default), as for any replica.

So the source should be a replica in sync, where little of this matters. If the primary is alone, its snapshot is best
taken without increments.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator, Mapping
from types import TracebackType

from ..formation.cluster.wire import command
from ..formation.connection import tls_context
from ..formation.members import NO_PORT, Access, Member
from .errors import SourceError
from .rdb_head import Head, HeadReader

PIECE_BYTES = 256 * 1024
"""The most that comes at once."""

_POLL_SECONDS = 1.0
_MOST_LINE_BYTES = 64 * 1024
_END_MARK_BYTES = 40


class HistoryGone(SourceError):
    """A node does not have the replication stream from an offset on, or never had it: only a new snapshot helps."""


class Snapshot:
    """The data of a node at an offset of its replication stream.

    Attributes:
        replication_id: of the history that the offset is of.
        offset: of the last byte of the stream that is contained.
    """

    def __init__(self, wire: _Wire, replication_id: str, offset: int) -> None:
        self.replication_id = replication_id
        self.offset = offset
        self._wire = wire
        self._head = HeadReader()

    @property
    def head(self) -> Head | None:
        """What the RDB file says of itself; known after the first pieces, surely after the last."""
        return self._head.head

    def chunks(self) -> Iterator[bytes]:
        """The RDB file, in pieces of at most `PIECE_BYTES`, as they arrive; once only.

        It is there as a whole when the iterator has ended. Raises SourceError if the connection ends before, or nothing
        comes in time, and Damaged if it is no RDB file.
        """
        for piece in self._pieces():
            self._head.feed(piece)
            yield piece
        self._head.finish()

    def _pieces(self) -> Iterator[bytes]:
        announced = self._wire.answer()
        mark = announced.removeprefix("$EOF:")
        if mark != announced and len(mark) == _END_MARK_BYTES:
            return self._until(mark.encode())
        if announced.startswith("$") and announced[1:].isdigit():
            return self._of_length(int(announced[1:]))
        raise SourceError(f"{self._wire.name}: announces a snapshot with '{announced[:80]}': no length and no mark")

    def _of_length(self, length: int) -> Iterator[bytes]:
        while length:
            piece = self._wire.some(min(length, PIECE_BYTES))
            length -= len(piece)
            yield piece

    def _until(self, mark: bytes) -> Iterator[bytes]:
        held = b""
        while True:
            content = held + self._wire.some(PIECE_BYTES - len(held))
            end = content.find(mark)
            if end >= 0:
                self._wire.give_back(content[end + len(mark) :])
                if end:
                    yield content[:end]
                return
            # At the end there can be all of the mark but a byte.
            ready = max(len(content) - len(mark) + 1, 0)
            if ready:
                yield content[:ready]
            held = content[ready:]


class ReplicationStream:
    """A connection to a node as of a replica, for one copy of it; to be used in a ``with``.

    ``member.reach`` is where it connects; with a certificate authority the connection is TLS, and the certificate must
    name that host. A node that is silent for ``silence_timeout_seconds`` is given up: while it prepares a snapshot it
    sends a line's end every second, afterwards a PING every repl-ping-replica-period (10 s by default).

    Attributes:
        replication_id: of the history that the offset is of.
        offset: of the last byte of the replication stream that was given out.

    All methods raise SourceError when the node is not reached, refuses, or ends the connection.
    """

    def __init__(
        self,
        member: Member,
        access: Access,
        *,
        connect_timeout_seconds: float = 5.0,
        silence_timeout_seconds: float = 60.0,
    ) -> None:
        self.replication_id = ""
        self.offset = 0
        self._member = member
        self._access = access
        self._connect_timeout_seconds = connect_timeout_seconds
        self._silence_timeout_seconds = silence_timeout_seconds
        self._wire: _Wire | None = None
        self._starting = False
        self._ends_with_snapshot = False

    def __enter__(self) -> ReplicationStream:
        self._connect()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the connection; the node forgets it, and ends a child that works for it alone."""
        if self._wire is not None:
            self._wire.close()
            self._wire = None

    def full_copy(self, *, with_increments: bool = False, wait_seconds: float = 600.0) -> Snapshot:
        """Have the node make a snapshot. Returns once it is begun: read its ``chunks`` at once, and all of them.

        With ``with_increments`` the node keeps what is written meanwhile, within its client-output-buffer-limit for
        replicas, for `increments`. Without, that connects anew, and the backlog must still have it. While the node is
        at work on another snapshot, or holds them back (repl-diskless-sync-delay), it lets wait: ``wait_seconds`` at
        most.
        """
        wire = self._connected()
        self._ends_with_snapshot = not with_increments
        if self._ends_with_snapshot:
            wire.ask("REPLCONF", "rdb-only", "1")
        wire.send("PSYNC", "?", "-1")
        deadline = time.monotonic() + wait_seconds
        while not (words := wire.line().split()):
            if time.monotonic() > deadline:
                raise SourceError(
                    f"{wire.name}: began no snapshot within {wait_seconds:.0f} s: is it at work on another?"
                )
        if len(words) != 3 or words[0] != "+FULLRESYNC" or not words[2].isdigit():
            raise SourceError(f"{wire.name}: answers PSYNC with '{' '.join(words)[:80]}' instead of a snapshot")
        self.replication_id, self.offset = words[1], int(words[2])
        self._starting = with_increments
        return Snapshot(wire, self.replication_id, self.offset)

    def continue_from(self, replication_id: str, offset: int) -> None:
        """Have the node send what follows an offset of a history, on a fresh connection; then read `increments`.

        Any node of the deployment will do that has the history and still has the bytes in its backlog, after a failover
        too. Raises HistoryGone if this one has not. It is asked by INFO before, so that it does not fork for nothing.
        """
        wire = self._connected()
        gone = HistoryGone(
            f"{wire.name}: its backlog does not have the replication stream from offset {offset} on: take a new "
            f"snapshot, and raise repl-backlog-size if this happens often"
        )
        if not _has(wire.ask_info("replication"), replication_id, offset + 1):
            raise gone
        wire.send("PSYNC", replication_id, str(offset + 1))
        # What continues is answered at once; a line's end means that a snapshot is being prepared.
        words = wire.line().split()
        if not words or words[0] == "+FULLRESYNC":
            self.close()
            raise gone
        if words[0] != "+CONTINUE":
            raise SourceError(f"{wire.name}: answers PSYNC with '{' '.join(words)[:80]}'")
        self.replication_id, self.offset = words[1] if len(words) > 1 else replication_id, offset

    def increments(self) -> Iterator[bytes]:
        """The replication stream after `offset`, in pieces of at most `PIECE_BYTES`; does not end by itself.

        Gives an empty piece when nothing came for a second, so that whoever reads can stop. No offset is acknowledged.
        When the node ends the connection it connects anew and goes on where it was; raises HistoryGone if that is no
        longer possible.
        """
        if self._ends_with_snapshot:
            self._connect_anew()
        came = True
        while True:
            wire = self._connected()
            try:
                while True:
                    if self._starting:
                        # The node waits for a sign that all has arrived. Offset 0 acknowledges nothing. What it gets
                        # before it knows that its child has ended has no effect; so replicas repeat it, too.
                        wire.send("REPLCONF", "ACK", "0")
                    piece = wire.poll(PIECE_BYTES)
                    if piece:
                        came, self._starting = True, False
                        self.offset += len(piece)
                    yield piece
            except _Ended:
                if not came:
                    raise
            came = False
            self._connect_anew()

    def _connect_anew(self) -> None:
        self._starting = self._ends_with_snapshot = False
        self.close()
        self._connect()
        self.continue_from(self.replication_id, self.offset)

    def _connect(self) -> None:
        wire = _Wire(self._member, self._access, self._connect_timeout_seconds, self._silence_timeout_seconds)
        try:
            wire.ask("AUTH", self._access.username, self._access.password)
            wire.ask("CLIENT", "SETNAME", "backup")
            wire.ask("REPLCONF", "listening-port", str(NO_PORT))
            wire.ask("REPLCONF", "capa", "eof", "capa", "psync2")
            # Valkey writes for the replicas of long ago unless they tell their version, and fails if that is not
            # enough for the data. Redis has no such option.
            version = wire.ask_info("server").get("valkey_version")
            if version is not None:
                wire.ask("REPLCONF", "version", version)
        except BaseException:
            wire.close()
            raise
        self._wire = wire

    def _connected(self) -> _Wire:
        if self._wire is None:
            raise SourceError(f"{self._member.name}: the connection was closed")
        return self._wire


def _has(info: Mapping[str, str], replication_id: str, wanted: int) -> bool:
    """Whether a node, by its INFO, has the byte at an offset of a history, or will have it as the next one."""
    if info.get("repl_backlog_active") != "1":
        return False
    first = int(info["repl_backlog_first_byte_offset"])
    if not first <= wanted <= first + int(info["repl_backlog_histlen"]):
        return False
    # The second is the history before a failover, which this node shares up to an offset.
    earlier = replication_id == info["master_replid2"] and wanted <= int(info["second_repl_offset"])
    return earlier or replication_id == info["master_replid"]


class _Ended(SourceError):
    """The node has ended the connection."""


class _Wire:
    """A socket and the few things of the protocol that a replica needs. All raise SourceError."""

    def __init__(self, member: Member, access: Access, connect_timeout: float, silence_timeout: float) -> None:
        self.name = member.name
        self._silence_timeout = silence_timeout
        self._silent_seconds = 0.0
        self._ahead = b""
        reach = (member.reach.host, member.reach.port)
        try:
            plain = socket.create_connection(reach, timeout=connect_timeout)
        except OSError as error:
            raise SourceError(f"{self.name}: not reached at {member.reach}: {_reason(error)}") from error
        self._socket = plain
        try:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            if access.ca_certificate is not None:
                self._socket = tls_context(access.ca_certificate).wrap_socket(plain, server_hostname=reach[0])
            self._socket.settimeout(_POLL_SECONDS)
        except (OSError, ValueError) as error:
            plain.close()
            raise SourceError(f"{self.name}: no TLS connection to {member.reach}: {_reason(error)}") from error

    def close(self) -> None:
        self._socket.close()

    def send(self, *words: str) -> None:
        try:
            self._socket.sendall(command(*words))
        except OSError as error:
            raise _Ended(f"{self.name}: ended the connection: {_reason(error)}") from error

    def ask(self, *words: str) -> None:
        """Send a command that must be answered with OK."""
        self.send(*words)
        answer = self.answer()
        if answer != "+OK":
            raise SourceError(f"{self.name}: answers {words[0]} with '{answer[:80]}' instead of OK")

    def ask_info(self, section: str) -> dict[str, str]:
        self.send("INFO", section)
        length = self.answer().removeprefix("$")
        if not length.isdigit():
            raise SourceError(f"{self.name}: answers INFO with '{length[:80]}'")
        content = b""
        while len(content) < int(length) + 2:
            content += self.some(int(length) + 2 - len(content))
        return dict(line.partition(":")[::2] for line in content.decode().splitlines() if ":" in line)

    def answer(self) -> str:
        """The next line that is not empty. Raises SourceError if it is an error."""
        while not (line := self.line()):
            pass
        return line

    def line(self) -> str:
        """The next line, maybe empty: so a node says that it is at work. Raises SourceError if it is an error."""
        content = b""
        while b"\n" not in content:
            if len(content) > _MOST_LINE_BYTES:
                raise SourceError(f"{self.name}: does not speak the Redis protocol")
            content += self.some(PIECE_BYTES)
        first, _, rest = content.partition(b"\n")
        self.give_back(rest)
        line = first.decode("utf-8", "replace").rstrip("\r")
        if line.startswith("-"):
            raise SourceError(f"{self.name}: refuses: {line[1:]}")
        return line

    def give_back(self, content: bytes) -> None:
        """Have the next read begin with this."""
        self._ahead = content + self._ahead

    def some(self, most: int) -> bytes:
        """At least one byte."""
        while not (content := self.poll(most)):
            pass
        return content

    def poll(self, most: int) -> bytes:
        """What comes within a second, maybe nothing. Raises SourceError if nothing came for too long."""
        if self._ahead:
            content, self._ahead = self._ahead[:most], self._ahead[most:]
            return content
        try:
            content = self._socket.recv(most)
        except TimeoutError:
            # Only while somebody waits: whoever takes long with what came before has not been kept waiting.
            self._silent_seconds += _POLL_SECONDS
            if self._silent_seconds < self._silence_timeout:
                return b""
            raise SourceError(f"{self.name}: silent for {self._silent_seconds:.0f} s") from None
        except OSError as error:
            raise _Ended(f"{self.name}: ended the connection: {_reason(error)}") from error
        if not content:
            raise _Ended(f"{self.name}: ended the connection")
        self._silent_seconds = 0.0
        return content


def _reason(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
