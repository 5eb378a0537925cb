"""Cutting a replication stream: nothing that is complete is lost, nothing that is not stays."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.backups.commands import Boundaries, SlotJobs, complete_commands
from components.backups.errors import Damaged

PING = [b"PING"]
GET_ACK = [b"REPLCONF", b"GETACK", b"*"]


def encoded(words: list[bytes]) -> bytes:
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


# Values that look like the protocol, values around the length that is read at once, and any others.
deceptive = st.sampled_from(
    [b"\r\n", encoded(PING), encoded([b"EXEC"]), encoded([b"MULTI"]), b"*1\r\n$4\r\n", b"$3\r\n"]
)
value = st.one_of(st.binary(max_size=12), deceptive, st.integers(250, 260).map(lambda size: b"x" * size))
command = st.builds(
    lambda name, values: [name, *values],
    st.sampled_from([b"SET", b"DEL", b"REPLCONF", b"PINGS", b"FLUSHALL"]),
    st.lists(value, max_size=8),
)
transaction = st.lists(command, max_size=4).map(lambda commands: [[b"MULTI"], *commands, [b"EXEC"]])
idle = st.sampled_from([[PING], [GET_ACK]])
groups = st.lists(st.one_of(command.map(lambda one: [one]), transaction, idle), max_size=12)


@st.composite
def in_pieces(draw: st.DrawFn, content: bytes) -> list[bytes]:
    cuts = sorted(draw(st.lists(st.integers(0, len(content)), max_size=12)))
    return [content[start:end] for start, end in zip([0, *cuts], [*cuts, len(content)], strict=True)]


def useful(group: list[list[bytes]]) -> bytes:
    return b"" if group in ([PING], [GET_ACK]) else b"".join(map(encoded, group))


@settings(deadline=None)
@given(groups, st.data())
def test_what_is_complete_stays_and_nothing_else(stream: list[list[list[bytes]]], data: st.DataObject) -> None:
    sent = [b"".join(map(encoded, group)) for group in stream]
    whole = b"".join(sent)
    end = data.draw(st.integers(0, len(whole)), label="end")
    pieces = data.draw(in_pieces(whole[:end]), label="pieces")
    complete, written = 0, b""
    for group, content in zip(stream, sent, strict=True):
        if complete + len(content) > end:
            break
        complete += len(content)
        written += useful(group)
    assert b"".join(complete_commands(pieces)) == written
    assert b"".join(complete_commands([whole], end)) == written
    boundaries = Boundaries()
    for piece in pieces:
        boundaries.feed(piece)
    assert boundaries.complete == complete


@settings(deadline=None, max_examples=30)
@given(groups)
def test_byte_by_byte_is_the_same(stream: list[list[list[bytes]]]) -> None:
    whole = b"".join(encoded(words) for group in stream for words in group)
    one_by_one = [whole[number : number + 1] for number in range(len(whole))]
    assert b"".join(complete_commands(one_by_one)) == b"".join(useful(group) for group in stream)


@settings(deadline=None)
@given(st.binary(max_size=80))
def test_anything_else_is_damaged_or_incomplete(content: bytes) -> None:
    try:
        assert content.startswith(b"".join(complete_commands([content]))) or b"PING" in content
    except Damaged as error:
        assert "of the replication stream" in str(error)


@pytest.mark.parametrize(
    "content", [b"SET a b\r\n", b"*2\r\n*1\r\n", b"*-1\r\n", b"*1\r\n$-1\r\n", b"*1" + b"1" * 40, b"*x\r\n", b"\n"]
)
def test_no_command(content: bytes) -> None:
    with pytest.raises(Damaged, match=r"no command begins at byte (19|23) "):
        list(complete_commands([encoded([b"GET", b""]), content + b"\r\n" * 20]))


def test_an_incomplete_header_is_looked_at_already() -> None:
    with pytest.raises(Damaged, match="no command begins at byte 0 "):
        list(complete_commands([b"junk"]))


def test_pieces_that_are_not_needed_are_not_asked_for() -> None:
    def pieces() -> Iterator[bytes]:
        yield encoded(PING) + encoded([b"DEL", b"a"])
        raise AssertionError("more than enough")

    assert b"".join(complete_commands(pieces(), len(encoded(PING) + encoded([b"DEL", b"a"])))) == encoded(
        [b"DEL", b"a"]
    )


def test_of_a_large_value_only_its_length_is_read() -> None:
    boundaries = Boundaries()
    piece = bytes(64 * 1024)
    boundaries.feed(b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$%d\r\n" % (1000 * len(piece)))
    for _ in range(1000):
        boundaries.feed(piece)
        assert boundaries.complete == 0
    boundaries.feed(b"\r\n")
    assert boundaries.complete == len(b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$65536000\r\n") + 1000 * len(piece) + 2


@given(st.integers(0, 60), st.binary(max_size=20), st.binary(max_size=20))
def test_jobs_that_move_slots_are_noticed_wherever_pieces_end(border: int, before: bytes, after: bytes) -> None:
    stream = before + b"*4\r\n$7\r\nCLUSTER\r\n$9\r\nSYNCSLOTS\r\n$9\r\nESTABLISH\r\n" + after
    jobs = SlotJobs()
    assert jobs.begin_in(stream[:border]) | jobs.begin_in(stream[border:])
    assert not SlotJobs().begin_in(before + after)
