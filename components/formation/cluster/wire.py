"""One connection to a member, for commands that need to stay on it: WATCH, ASKING, WAIT, and names of keys as bytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import redis

from ..connection import Connections, reason
from ..errors import FormationError, NodeUnreachable
from ..members import Member

PATIENCE_SECONDS = 30.0
"""How long an answer may take: a node may be busy with a big key of somebody else."""


class Keys(Sequence[bytes]):
    """Names of keys, and what they look like on the wire: they are sent several times."""

    def __init__(self, names: Sequence[bytes]) -> None:
        self._names = names
        self.packed = b"".join([b"$%d\r\n%b\r\n" % (len(name), name) for name in names])

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, place: Any) -> Any:
        return self._names[place]


def command(*words: str | int, keys: Keys | None = None, then: Sequence[str | int] = ()) -> bytes:
    """A command as it is sent: ``words``, the keys, and what comes after them."""
    count = len(words) + (len(keys) if keys else 0) + len(then)
    return b"*%d\r\n%b%b%b" % (count, _packed(words), keys.packed if keys else b"", _packed(then))


def _packed(words: Sequence[str | int]) -> bytes:
    encoded = [str(word).encode() for word in words]
    return b"".join([b"$%d\r\n%b\r\n" % (len(word), word) for word in encoded])


class Wire:
    """Sends commands and, apart from that, receives the answers, so that several wires can be waited for at once.

    Nothing is ever sent a second time. Raises NodeUnreachable naming the member, after which it is of no use any more.
    """

    def __init__(self, connections: Connections, member: Member) -> None:
        self.member = member
        self._expected = 0
        self._pool = connections.client(member).connection_pool
        self._connection = self._attempt(self._pool.get_connection)

    def send(self, *commands: bytes) -> None:
        """Sends commands in one write."""
        self._expected += len(commands)
        self._attempt(lambda: self._connection.send_packed_command([b"".join(commands)], check_health=False))

    def receive(self, patience_seconds: float = PATIENCE_SECONDS, *, count: int | None = None) -> list[Any]:
        """The answers to everything that was sent, or to the first so many commands of it.

        An error that a command is answered with stands in its place.
        """
        answers: list[Any] = []
        while self._expected and len(answers) != count:
            try:
                answers.append(self._attempt(lambda: self._connection.read_response(timeout=patience_seconds)))
            except redis.ResponseError as error:
                answers.append(error)
            self._expected -= 1
        return answers

    def ask(self, *commands: bytes, patience_seconds: float = PATIENCE_SECONDS) -> list[Any]:
        """The answers to commands that are sent in one write; the first error among them is raised."""
        self.send(*commands)
        return [self.refused(answer) for answer in self.receive(patience_seconds)]

    def refused(self, answer: Any) -> Any:
        """The answer; FormationError naming the member when it is an error."""
        if isinstance(answer, Exception):
            raise FormationError(f"{self.member.name}: {reason(answer)}") from answer
        return answer

    def close(self) -> None:
        """Ends the connection: what it watches or has not answered yet is of no interest."""
        self._connection.disconnect()
        self._pool.release(self._connection)

    def _attempt(self, work: Any) -> Any:
        try:
            return work()
        except redis.ResponseError:
            raise
        except (redis.RedisError, OSError) as error:
            raise NodeUnreachable(f"{self.member.name}: {reason(error)}") from error
