"""Where the commands of a replication stream end, so that it can be cut and written as an append-only file.

The stream is commands as clients send them, arrays of strings of known length (Redis documentation: "Redis
serialization protocol specification"). Only the lengths are read, nothing that is between them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from .errors import Damaged

_MOST_HEADER_BYTES = 32
_MOST_BEGINNING_BYTES = 64
_PING = b"*1\r\n$4\r\nPING\r\n"
_GET_ACK = b"*3\r\n$8\r\nREPLCONF\r\n$6\r\nGETACK\r\n"
_MULTI = b"*1\r\n$5\r\nMULTI\r\n"
_SLOT_JOB = b"\r\n$7\r\nCLUSTER\r\n$9\r\nSYNCSLOTS\r\n"
_EXEC = b"*1\r\n$4\r\nEXEC\r\n"
_PARTICULAR = (_PING, _GET_ACK, _MULTI, _EXEC)
_ARRAY, _STRING = b"*$"
_MOST_SHORT_BYTES = 255
_MOST_SHORT_WORDS = 6


def _short_commands() -> re.Pattern[bytes]:
    """Matches commands in a row, as far as they are of a few short strings and none that matters here.

    Every length is spelt out, so that it holds for whatever is in the strings. It is twenty times as fast as
    reading the lengths one by one; longer strings take few steps for many bytes anyway.
    """

    def of_length(digits: str) -> str:
        longer = [digits + digit for digit in "0123456789" if digits != "0"]
        choices = [rf"\r\n.{{{int(digits)}}}"] if digits else []
        choices += [each[-1] + of_length(each) for each in longer if int(each) <= _MOST_SHORT_BYTES]
        return f"(?>{'|'.join(choices)})"

    string = rf"(?:\${of_length('')}\r\n)"
    commands = "|".join(rf"{words}\r\n{string}{{{words}}}+" for words in range(2, _MOST_SHORT_WORDS + 1))
    return re.compile(rf"(?>\*(?!3\r\n\$8\r\nREPLCONF\r\n)(?>{commands}))++".encode(), re.DOTALL)


_SHORT_COMMANDS = _short_commands()


class Boundaries:
    """Follows a stream that comes in pieces of any size; it keeps none of them.

    Attributes:
        complete: how many bytes of what was fed are commands that have come as a whole, transactions (MULTI to EXEC)
            as a whole too.
        idle: start and end, counted likewise, of commands that only primary and replica have a use for: PING and
            REPLCONF GETACK. Whoever reads the list may empty it.
    """

    def __init__(self) -> None:
        self.complete = 0
        self.idle: list[tuple[int, int]] = []
        self._fed = 0
        self._header = b""  # of which the end has not come
        self._ahead = 0  # bytes that are still to come of a string
        self._words = 0  # that are still to come of a command
        self._started_at = 0
        self._beginning = b""
        self._under_way = False
        self._in_transaction = False

    def feed(self, piece: bytes) -> None:
        """Take the next piece. Raises Damaged where there are no commands."""
        data = self._header + piece if self._header else piece
        origin = self._fed - len(self._header)
        self._fed += len(piece)
        self._header = b""
        find, size = data.find, len(data)
        position, words, start = self._ahead, self._words, 0
        while True:
            if not words and self._under_way and position <= size:
                self._under_way = False
                beginning = self._beginning + data[start : start + _MOST_BEGINNING_BYTES]
                self._beginning = b""
                if beginning.startswith(_PARTICULAR):
                    self._note(beginning, origin + position)
                if not self._in_transaction:
                    self.complete = origin + position
            if not words and (match := _SHORT_COMMANDS.match(data, position)):
                position = match.end()
                if not self._in_transaction:
                    self.complete = origin + position
            if position >= size:
                break
            end = find(b"\r\n", position, position + _MOST_HEADER_BYTES)
            too_long = end < 0 and size - position >= _MOST_HEADER_BYTES
            if too_long or data[position] != (_STRING if words else _ARRAY):
                raise _no_command(origin + position)
            if end < 0:
                break
            digits = data[position + 1 : end]
            number = int(digits) if digits.isdigit() else -1
            if number < 0:
                raise _no_command(origin + position)
            if words:
                position = end + 4 + number
                words -= 1
            elif number > 0:
                start, words = position, number
                self._started_at = origin + position
                self._under_way = True
                position = end + 2
            else:
                raise _no_command(origin + position)
        if position < size:
            self._header = data[position:]
        self._ahead = max(position - size, 0)
        self._words = words
        if self._under_way and len(self._beginning) < _MOST_BEGINNING_BYTES:
            # The header is going to be there again, in front of the next piece.
            self._beginning += data[start : min(position, start + _MOST_BEGINNING_BYTES)]

    def _note(self, beginning: bytes, end: int) -> None:
        if beginning.startswith(_MULTI):
            self._in_transaction = True
        elif beginning.startswith(_EXEC):
            self._in_transaction = False
        else:
            self.idle.append((self._started_at, end))


class SlotJobs:
    """Notices in a stream that the server itself moves slots (Valkey 9: CLUSTER MIGRATESLOTS).

    It tells its replicas by commands that no other server can be given.
    """

    def __init__(self) -> None:
        self._end = b""

    def begin_in(self, piece: bytes) -> bool:
        """Whether there is such a command in what has come, the next piece included."""
        content = self._end + piece
        self._end = content[1 - len(_SLOT_JOB) :]
        return _SLOT_JOB in content


def complete_commands(pieces: Iterable[bytes], most_bytes: int | None = None) -> Iterator[bytes]:
    """The stream as an append-only file has it: what came as a whole, without what only replication needs.

    Of a stream that is longer than ``most_bytes`` the rest is left out. A command, or a transaction, is held in memory
    until it is complete. Raises Damaged where there are no commands.
    """
    boundaries = Boundaries()
    held: list[bytes] = []
    written = 0
    for piece in pieces if most_bytes is None else _first(pieces, most_bytes):
        boundaries.feed(piece)
        held.append(piece)
        if boundaries.complete == written:
            continue
        content = b"".join(held)
        size = boundaries.complete - written
        useful = _without(content[:size], [(start - written, end - written) for start, end in boundaries.idle])
        if useful:
            yield useful
        held = [content[size:]]
        boundaries.idle.clear()
        written += size


def _first(pieces: Iterable[bytes], count: int) -> Iterator[bytes]:
    for piece in pieces:
        yield piece[:count]
        count -= len(piece)
        if count <= 0:
            return


def _without(content: bytes, spans: list[tuple[int, int]]) -> bytes:
    if not spans:
        return content
    starts = [0, *(end for _, end in spans)]
    ends = [*(start for start, _ in spans), len(content)]
    return b"".join(content[start:end] for start, end in zip(starts, ends, strict=True))


def _no_command(position: int) -> Damaged:
    return Damaged(f"no command begins at byte {position} of the replication stream: it was altered")
