"""Clients to the members of a deployment."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, TypeVar

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from .members import Access, Member

Key = TypeVar("Key")
Result = TypeVar("Result")

# By itself a pool of redis-py refuses the 101st; it is the server that says how many it takes.
_MOST_CONNECTIONS = 10_000


def tls_context(ca_certificate: str) -> ssl.SSLContext:
    """Trusts this authority and no other, and requires the certificate to name the host."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(cadata=ca_certificate)
    return context


class _TlsConnection(redis.Connection):
    """Shares one context; redis-py's own class loads, and trusts, the system's authorities with every connection."""

    def __init__(self, *, tls: ssl.SSLContext, **options: Any) -> None:
        self._tls = tls
        super().__init__(**options)  # type: ignore[no-untyped-call]

    def _connect(self) -> ssl.SSLSocket:
        plain = super()._connect()  # type: ignore[no-untyped-call]
        try:
            return self._tls.wrap_socket(plain, server_hostname=self.host)
        except OSError:
            plain.close()
            raise


class Connections:
    """One client per member, opened when first used and closed together. May be used from several threads.

    With a certificate authority the connection is TLS and the certificate must name the reach address's host. A command
    is sent a second time after a broken connection, unless `once` says that it must not be. All raise redis.RedisError.
    `access` is what it logs in with; without `decode` answers are bytes, as names of keys need not be text.
    """

    def __init__(
        self,
        access: Access,
        *,
        connect_timeout_seconds: float = 2.0,
        answer_timeout_seconds: float = 3.0,
        decode: bool = True,
    ) -> None:
        self.access = access
        self._decode = decode
        self._connect_timeout_seconds = connect_timeout_seconds
        self._answer_timeout_seconds = answer_timeout_seconds
        self._tls = tls_context(access.ca_certificate) if access.ca_certificate is not None else None
        self._clients: dict[tuple[Member, int], redis.Redis] = {}
        self._lock = threading.Lock()

    def client(self, member: Member) -> redis.Redis:
        """The client of a member, for what is asked rarely; nothing is sent yet."""
        return self._client(member, retries=1)

    def ask(self, member: Member, *words: str | int, once: bool = False) -> Any:
        """Sends one command and returns the answer."""
        return self._client(member, 0 if once else 1).execute_command(*words)  # type: ignore[no-untyped-call]

    def ask_all(self, member: Member, *commands: tuple[str | int, ...]) -> list[Any]:
        """Sends several commands in one write; an error that a command is answered with stands in its place."""
        with self._client(member, 1).pipeline(transaction=False) as pipeline:
            for words in commands:
                pipeline.execute_command(*words)  # type: ignore[no-untyped-call]
            return pipeline.execute(raise_on_error=False)

    def _client(self, member: Member, retries: int) -> redis.Redis:
        with self._lock:
            client = self._clients.get((member, retries))
            if client is None:
                tls: dict[str, Any] = {"connection_class": _TlsConnection, "tls": self._tls} if self._tls else {}
                pool = redis.ConnectionPool(
                    **tls,
                    host=member.reach.host,
                    port=member.reach.port,
                    username=self.access.username,
                    password=self.access.password,
                    socket_connect_timeout=self._connect_timeout_seconds,
                    socket_timeout=self._answer_timeout_seconds,
                    retry=Retry(NoBackoff(), retries, supported_errors=(redis.ConnectionError,)),
                    decode_responses=self._decode,
                    max_connections=_MOST_CONNECTIONS,
                    protocol=2,
                    client_name="formation",
                    driver_info=None,
                )
                client = redis.Redis.from_pool(pool)
                self._clients[member, retries] = client
            return client

    def close(self) -> None:
        """Closes every connection."""
        with self._lock:
            for client in self._clients.values():
                client.close()
            self._clients.clear()

    def __enter__(self) -> Connections:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def reason(error: BaseException) -> str:
    """One line that says why a member did not answer or refused."""
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, redis.TimeoutError):
        return "no answer in time"
    return text


def in_parallel(items: Iterable[Key], work: Callable[[Key], Result]) -> Mapping[Key, Result]:
    """`work` for every item at once, each in a thread of its own; the first error is raised after all have ended."""
    every = list(items)
    if len(every) == 1:
        return {every[0]: work(every[0])}
    if not every:
        return {}
    with ThreadPoolExecutor(max_workers=min(len(every), 32), thread_name_prefix="formation") as pool:
        futures = {item: pool.submit(work, item) for item in every}
    return {item: future.result() for item, future in futures.items()}


def without_errors(answers: list[Any]) -> list[Any]:
    """The answers of `ask_all`; the first error among them is raised."""
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
    return answers


def as_mapping(answer: Any) -> dict[str, str]:
    """A flat list of names and values, or what redis-py has already made of it."""
    if isinstance(answer, Mapping):
        return {str(key): str(value) for key, value in answer.items()}
    values: Sequence[Any] = answer
    return {str(key): str(value) for key, value in zip(values[::2], values[1::2], strict=True)}
