"""What a node may answer a backup with, said by a node that is none."""

from __future__ import annotations

import itertools
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from components.backups.errors import BackupError, Damaged, SourceError
from components.backups.replication_stream import PIECE_BYTES, HistoryGone, ReplicationStream, Snapshot
from components.formation import Access, Address, Member
from components.formation.members import NO_PORT

MARK = b"0123456789abcdef0123456789abcdef01234567"
HEAD = b"REDIS0012\xfe\x00\xfb\x07\x02"
HISTORY, LATER = "a" * 40, "b" * 40
PASSWORD = "a-password"
BACKLOG = (
    f"# Replication\r\nmaster_replid:{LATER}\r\nmaster_replid2:{HISTORY}\r\nsecond_repl_offset:1501\r\n"
    "repl_backlog_active:1\r\nrepl_backlog_first_byte_offset:1001\r\nrepl_backlog_histlen:1000\r\n"
)


class FakeNode:
    """Lets everyone in and answers each PSYNC with the next of ``answers``, then ends the connection.

    Of an answer, an empty piece waits for a command, and None for the client's end.
    """

    def __init__(self, answers: list[list[bytes | None]], info: str = BACKLOG) -> None:
        self.asked: list[list[str]] = []
        self._answers = iter(answers)
        self._info = info
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._thread.join()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            with connection, connection.makefile("rb") as file:
                for words in self._commands(file):
                    self.asked.append(words)
                    if words[0] == "PSYNC":
                        self._answer(connection, next(self._answers), file)
                        break
                    if words[0] == "INFO":
                        content = self._info if words[1] == "replication" else "redis_version:8.0.2\r\n"
                        connection.sendall(f"${len(content)}\r\n{content}\r\n".encode())
                    else:
                        connection.sendall(b"+OK\r\n")

    def _answer(self, connection: socket.socket, pieces: list[bytes | None], file: Any) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces:
            if piece is None:
                for words in self._commands(file):
                    self.asked.append(words)
            elif piece == b"":
                self.asked.append(next(self._commands(file)))
            else:
                connection.sendall(piece)

    @staticmethod
    def _commands(file: Any) -> Iterator[list[str]]:
        while header := file.readline():
            words = []
            for _ in range(int(header[1:])):
                length = int(file.readline()[1:])
                words.append(file.read(length + 2)[:-2].decode())
            yield words


@contextmanager
def connected(
    *answers: list[bytes | None], info: str = BACKLOG, silence: float = 30
) -> Iterator[tuple[FakeNode, ReplicationStream]]:
    node = FakeNode(list(answers), info)
    try:
        address = Address("127.0.0.1", node.port)
        member = Member("node", address, address)
        with ReplicationStream(member, Access("backup", PASSWORD), silence_timeout_seconds=silence) as stream:
            yield node, stream
    finally:
        node.close()


def full_resync(offset: int = 1500) -> bytes:
    return f"+FULLRESYNC {HISTORY} {offset}\r\n".encode()


class FakeWire:
    """Gives out what it was made with, piece by piece."""

    name = "node"

    def __init__(self, announced: str, pieces: list[bytes]) -> None:
        self.announced = announced
        self.pieces = [piece for piece in pieces if piece]

    def answer(self) -> str:
        return self.announced

    def some(self, most: int) -> bytes:
        if not self.pieces:
            raise SourceError("ended")
        piece, rest = self.pieces[0][:most], self.pieces[0][most:]
        self.pieces[:1] = [rest] if rest else []
        return piece

    def give_back(self, content: bytes) -> None:
        self.pieces[:0] = [content] if content else []


# Contents full of beginnings of the mark.
contents = st.lists(st.one_of(st.integers(1, 39).map(lambda size: MARK[:size]), st.binary(max_size=9)), max_size=8).map(
    lambda parts: HEAD + b"".join(parts)
)


@settings(deadline=None)
@given(contents.filter(lambda content: MARK not in content + MARK[:-1]), st.binary(max_size=50), st.data())
def test_the_end_is_found_wherever_it_is_cut(content: bytes, following: bytes, data: st.DataObject) -> None:
    for announced, sent in ((f"$EOF:{MARK.decode()}", content + MARK), (f"${len(content)}", content)):
        whole = sent + following
        cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=10)))
        pieces = [whole[start:end] for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
        wire = FakeWire(announced, pieces)
        snapshot = Snapshot(cast(Any, wire), HISTORY, 1)
        chunks = list(snapshot.chunks())
        assert b"".join(chunks) == content
        assert all(chunks)
        assert b"".join(wire.pieces) == following
        assert snapshot.head is not None
        assert (snapshot.head.keys, snapshot.head.expiring) == (7, 2)


@settings(deadline=None)
@given(contents, st.integers(1, 39))
def test_a_part_of_the_mark_is_no_end(content: bytes, size: int) -> None:
    assume(MARK not in content + MARK[:size])
    snapshot = Snapshot(cast(Any, FakeWire(f"$EOF:{MARK.decode()}", [content, MARK[:size]])), HISTORY, 1)
    with pytest.raises(SourceError, match="ended"):
        list(snapshot.chunks())


def test_pieces_are_no_larger_than_said() -> None:
    content = HEAD + bytes(3 * PIECE_BYTES)
    for announced, end in ((f"$EOF:{MARK.decode()}", MARK), (f"${len(content)}", b"")):
        chunks = list(Snapshot(cast(Any, FakeWire(announced, [content + end])), HISTORY, 1).chunks())
        assert max(map(len, chunks)) <= PIECE_BYTES
        assert b"".join(chunks) == content


@pytest.mark.parametrize("announced", ["$EOF:short", "$", "$-1", "+OK", "$x"])
def test_what_is_no_announcement(announced: str) -> None:
    with pytest.raises(SourceError, match="node: announces a snapshot with"):
        list(Snapshot(cast(Any, FakeWire(announced, [HEAD])), HISTORY, 1).chunks())


@pytest.mark.parametrize("content", [b"junk" * 10, HEAD[:-1], b"R"])
def test_what_is_no_snapshot(content: bytes) -> None:
    with pytest.raises(Damaged, match="RDB file"):
        list(Snapshot(cast(Any, FakeWire(f"${len(content)}", [content])), HISTORY, 1).chunks())


def test_lines_that_only_say_that_it_is_at_work() -> None:
    length = b"\n\n$%d\r\n" % len(HEAD)
    with connected([b"\n", b"\n", full_resync(), b"\n", length, HEAD[:-1], HEAD[-1:]]) as (node, stream):
        snapshot = stream.full_copy()
        assert (snapshot.replication_id, snapshot.offset) == (HISTORY, 1500)
        assert b"".join(snapshot.chunks()) == HEAD
    assert ["REPLCONF", "rdb-only", "1"] in node.asked
    assert ["REPLCONF", "listening-port", str(NO_PORT)] in node.asked
    assert node.asked[0] == ["AUTH", "backup", PASSWORD]


def test_a_connection_that_ends_before_the_snapshot_does() -> None:
    with connected([full_resync(), b"$100\r\n", HEAD]) as (_, stream):
        snapshot = stream.full_copy()
        with pytest.raises(SourceError, match="node: ended the connection"):
            list(snapshot.chunks())


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b"-LOADING Redis is loading\r\n", "node: refuses: LOADING Redis is loading"),
        (b"+CONTINUE\r\n", "node: answers PSYNC with '.CONTINUE' instead of a snapshot"),
        (b"+FULLRESYNC x y\r\n", "node: answers PSYNC with '.FULLRESYNC x y'"),
        (b"+" + b"x" * 100_000, "node: does not speak the Redis protocol"),
        (b"+FULL", "node: ended the connection"),
    ],
)
def test_answers_instead_of_a_snapshot(answer: bytes, message: str) -> None:
    with connected([answer]) as (_, stream), pytest.raises(SourceError, match=message):
        stream.full_copy()


def test_a_silent_node_is_given_up() -> None:
    with connected([full_resync(), b"$100\r\n" + HEAD, None], silence=1) as (_, stream):
        snapshot = stream.full_copy()
        with pytest.raises(SourceError, match="node: silent for 1 s"):
            list(snapshot.chunks())


def test_a_node_that_begins_no_snapshot_is_given_up() -> None:
    with (
        connected([b"\n" * 100, None]) as (_, stream),
        pytest.raises(SourceError, match="node: began no snapshot within 0 s"),
    ):
        stream.full_copy(wait_seconds=0)


def test_it_asks_to_go_on_until_the_node_does() -> None:
    eof = b"$EOF:" + MARK + b"\r\n"
    with connected([full_resync(), eof + HEAD + MARK, b"", b"", b"*1\r\n$4\r\nPING\r\n", None]) as (node, stream):
        assert b"".join(stream.full_copy(with_increments=True).chunks()) == HEAD
        assert next(piece for piece in stream.increments() if piece) == b"*1\r\n$4\r\nPING\r\n"
        assert stream.offset == 1514
    assert [words for words in node.asked if "ACK" in words] == [["REPLCONF", "ACK", "0"]] * 2


@pytest.mark.parametrize(
    ("history", "offset", "there"),
    [
        (LATER, 1000, True),  # the first byte of the backlog comes next
        (LATER, 999, False),
        (LATER, 2000, True),  # nothing new yet
        (LATER, 2001, False),  # the future
        (HISTORY, 1500, True),  # up to where the histories part
        (HISTORY, 1501, False),
        ("c" * 40, 1500, False),
    ],
)
def test_what_a_backlog_has(history: str, offset: int, there: bool) -> None:
    with connected([f"+CONTINUE {LATER}\r\n".encode(), b"more", None]) as (node, stream):
        if not there:
            with pytest.raises(HistoryGone, match=f"from offset {offset} on: take a new snapshot"):
                stream.continue_from(history, offset)
            assert "PSYNC" not in [words[0] for words in node.asked]
            return
        stream.continue_from(history, offset)
        assert node.asked[-1] == ["PSYNC", history, str(offset + 1)]
        assert (stream.replication_id, stream.offset) == (LATER, offset)
        assert next(stream.increments()) == b"more"
        assert stream.offset == offset + 4


def test_a_node_without_a_backlog() -> None:
    with connected([], info="repl_backlog_active:0\r\n") as (_, stream), pytest.raises(HistoryGone):
        stream.continue_from(LATER, 1500)


@pytest.mark.parametrize("answer", [full_resync(), b"\n"], ids=["at once", "in a while"])
def test_a_history_that_goes_between_question_and_order(answer: bytes) -> None:
    """The connection is ended at once, so that the node makes no snapshot that nobody needs."""
    with connected([answer, None]) as (_, stream):
        with pytest.raises(HistoryGone):
            stream.continue_from(LATER, 1500)
        with pytest.raises(SourceError, match="node: the connection was closed"):
            next(stream.increments())


def test_a_node_that_does_not_tell_the_history() -> None:
    with connected([b"+CONTINUE\r\n", None]) as (_, stream):
        stream.continue_from(LATER, 1500)
        assert stream.replication_id == LATER


@pytest.mark.parametrize("answer", [b"+OK\r\n", b"-NOMASTERLINK no link\r\n"])
def test_answers_instead_of_going_on(answer: bytes) -> None:
    expected = r"node: (answers PSYNC with|refuses: NOM)"
    with connected([answer]) as (_, stream), pytest.raises(SourceError, match=expected) as caught:
        stream.continue_from(LATER, 1500)
    assert not isinstance(caught.value, HistoryGone)


def test_it_connects_anew_where_it_was() -> None:
    go_on = f"+CONTINUE {LATER}\r\n".encode()
    with connected([go_on, b"one"], [go_on, b"two"], [go_on]) as (node, stream):
        stream.continue_from(HISTORY, 1500)
        increments = stream.increments()
        assert b"".join(itertools.islice(filter(None, increments), 2)) == b"onetwo"
        assert stream.offset == 1506
        with pytest.raises(SourceError, match="node: ended the connection"):  # where nothing came, it does not help
            next(increments)
    assert [words[1:] for words in node.asked if words[0] == "PSYNC"] == [
        [HISTORY, "1501"], [LATER, "1504"], [LATER, "1507"]
    ]  # fmt: skip


def test_no_message_has_the_password() -> None:
    with connected([b"-ERR no\r\n"]) as (_, stream):
        assert PASSWORD not in repr(vars(stream))
        with pytest.raises(BackupError) as caught:
            stream.full_copy()
    assert PASSWORD not in str(caught.value)
