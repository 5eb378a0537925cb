"""A connection that many commands are put into at once, none of which answers with more than a line."""

from __future__ import annotations

import socket
from types import TracebackType

from ..formation.cluster.wire import command
from ..formation.connection import tls_context
from ..formation.members import Access, Member

_CONNECT_SECONDS = 5.0
_ANSWER_SECONDS = 120.0
_READ_BYTES = 1 << 16


class PipeBroken(Exception):
    """The connection is of no use any more: whether what was sent was done is not known."""


class RestorePipe:
    """To be used in a ``with``. Over TLS the certificate must name the host. All raise PipeBroken.

    What was put is answered while more is made: ``put`` only waits for the answers to what was put before.
    """

    def __init__(self, member: Member, access: Access) -> None:
        self._database = 0
        self._expected = 0
        self._unread = b""
        try:
            plain = socket.create_connection((member.reach.host, member.reach.port), _CONNECT_SECONDS)
        except OSError as error:
            raise PipeBroken(str(error)) from error
        self._socket = plain
        try:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if access.ca_certificate is not None:
                context = tls_context(access.ca_certificate)
                self._socket = context.wrap_socket(plain, server_hostname=member.reach.host)
            self._socket.settimeout(_ANSWER_SECONDS)
            self._ask("AUTH", access.username, access.password)
        except BaseException as error:
            self._socket.close()
            if isinstance(error, OSError):
                raise PipeBroken(str(error)) from error
            raise

    def __enter__(self) -> RestorePipe:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End it, whatever was not answered."""
        self._socket.close()

    def put(self, database: int, commands: bytes, count: int) -> None:
        """Send so many commands, packed, once those before were answered: `answers` has to be called in between."""
        if database != self._database:
            self._ask("SELECT", str(database))
            self._database = database
        self._expected = count
        self._send(commands)

    def answers(self) -> list[str]:
        """Wait for the answers to what was put last; those that are errors, without their sign."""
        errors: list[str] = []
        while self._expected:
            end = self._unread.rfind(b"\n") + 1
            lines = self._unread[:end]
            self._unread = self._unread[end:]
            self._expected -= lines.count(b"\n")
            if b"-" in lines:
                errors += [line[1:].decode("utf-8", "replace") for line in lines.splitlines() if line[:1] == b"-"]
            if self._expected:
                self._unread += self._received()
        return errors

    def _ask(self, *words: str) -> None:
        self._expected = 1
        self._send(command(*words))
        errors = self.answers()
        if errors:
            raise PipeBroken(errors[0])

    def _send(self, content: bytes) -> None:
        try:
            self._socket.sendall(content)
        except OSError as error:
            raise PipeBroken(str(error)) from error

    def _received(self) -> bytes:
        try:
            content = self._socket.recv(_READ_BYTES)
        except OSError as error:
            raise PipeBroken(str(error) or "no answer in time") from error
        if not content:
            raise PipeBroken("the connection was closed")
        return content
