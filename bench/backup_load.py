"""Data to back up, and a client that goes on meanwhile."""

from __future__ import annotations

import multiprocessing
import random
import socket
import ssl
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection

import redis

from tests.processes.servers import PASSWORDS, Process

_BATCH = 500
_PACE_SECONDS = 0.002
_WORDS = (
    "customer order invoice shipped pending street city amount currency note delivered returned email phone".split()
)


def fill(process: Process, megabytes: int) -> int:
    """Write so much of values that compress partly, as users' do: texts, numbers, and random bytes; how many keys.

    Three quarters are texts of about a kilobyte, the others hashes, lists and sorted sets. Nothing is answered but the
    end.
    """
    assert process.authority is not None
    source = random.Random(1)
    text = " ".join(source.choice(_WORDS) for _ in range(50_000)).encode()
    written = keys = 0
    context = ssl.create_default_context(cadata=process.authority.certificate)
    with (
        socket.create_connection(("127.0.0.1", process.port)) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as connection,
    ):
        connection.sendall(_command("AUTH", "admin", PASSWORDS["admin"]) + _command("CLIENT", "REPLY", "OFF"))
        while written < megabytes << 20:
            batch = b"".join(_command(*_words(number, source, text)) for number in range(keys, keys + _BATCH))
            connection.sendall(batch)
            written += len(batch)
            keys += _BATCH
        connection.sendall(_command("CLIENT", "REPLY", "ON") + _command("PING"))
        answer = b""
        while not answer.endswith(b"+PONG\r\n"):
            answer += connection.recv(4096)
    found = process.ask("DBSIZE")
    assert found == keys, f"{found} keys instead of {keys}"
    return keys


def _command(*words: str | bytes) -> bytes:
    parts = [word.encode() if isinstance(word, str) else word for word in words]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in parts)


def _words(number: int, source: random.Random, text: bytes) -> list[str | bytes]:
    """The command that writes one key."""
    start = source.randrange(len(text) - 1024)
    value = b'{"id": %d, "token": "%s", "text": "%s"}' % (
        number, source.randbytes(source.randrange(50, 250)).hex().encode(), text[start : start + 600],
    )  # fmt: skip
    match number % 12:
        case 0:
            pieces = [(f"field-{at}", value[at : at + 128]) for at in range(0, len(value), 128)]
            return ["HSET", f"hash:{number}", *(word for piece in pieces for word in piece)]
        case 1:
            return ["RPUSH", f"list:{number}", *(value[at : at + 64] for at in range(0, len(value), 64))]
        case 2:
            members = [(str(at), value[at : at + 24]) for at in range(0, len(value), 24)]
            return ["ZADD", f"sorted:{number}", *(word for member in members for word in member)]
        case _:
            return ["SET", f"text:{number}", value]


def _client(port: int, certificate: str, keys: int, pipe: Connection) -> None:
    """Another program: one client, one command after the other, half of them writes."""
    client = redis.Redis(
        host="127.0.0.1", port=port, username="app", password=PASSWORDS["app"], ssl=True, ssl_ca_data=certificate,
        ssl_cert_reqs=ssl.CERT_REQUIRED, protocol=2,
    )  # fmt: skip
    milliseconds = []
    value = b"x" * 1000
    client.ping()
    pipe.send("begins")
    while not pipe.poll():
        key = f"text:{random.randrange(keys // 12) * 12 + 5}"
        began = time.perf_counter()
        if random.random() < 0.5:
            client.set(key, value)
        else:
            client.get(key)
        milliseconds.append((time.perf_counter() - began) * 1000)
        time.sleep(_PACE_SECONDS)
    pipe.send(milliseconds)


@contextmanager
def client_at_work(process: Process, keys: int, milliseconds: list[float]) -> Iterator[None]:
    """A client of the primary; what each command took is added at the end."""
    assert process.authority is not None
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    client = context.Process(
        target=_client, args=(process.port, process.authority.certificate, keys, theirs), daemon=True
    )
    client.start()
    try:
        assert ours.recv() == "begins"
        yield
        ours.send("end")
        milliseconds += ours.recv()
        client.join()
    finally:
        client.kill()


def percentile(milliseconds: Sequence[float], share: float) -> float:
    """The value that such a share of them does not exceed."""
    ordered = sorted(milliseconds)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]


def latencies(milliseconds: Sequence[float]) -> list[str]:
    """Median, p99 and longest, for a row of the table."""
    half, most = percentile(milliseconds, 0.5), percentile(milliseconds, 0.99)
    return [f"{half:.1f} ms", f"{most:.1f} ms", f"{max(milliseconds):.0f} ms"]
