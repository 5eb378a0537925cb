"""A server of its own that loads a file of a backup, and is gone afterwards."""

from __future__ import annotations

import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import redis

from .errors import BackupError, Damaged

_START_SECONDS = 30.0
_LOOK_SECONDS = 0.1
_BUS_OFFSET = 10000
# A process of its own that makes itself the first to be killed when memory runs out, and steps back for others.
_STEP_BACK = 'echo 1000 >/proc/self/oom_score_adj 2>/dev/null; exec nice -n 19 "$@"'


@contextmanager
def throwaway_server(
    data: Path, *, of_a_cluster: bool, load_seconds: float, command: Sequence[str] | None = None
) -> Iterator[redis.Redis]:
    """A client of a server that has loaded the RDB file ``data``, which is moved away.

    Args:
        data: within a folder where there is room; the server works beside it, and writes nothing to the disk.
        of_a_cluster: keeps keys by slot, so that they can be counted; it has database 0 only then.
        load_seconds: how long loading may take.
        command: that starts it; None: redis-server, or valkey-server, of this host.

    Raises Damaged when it cannot load the file, BackupError when it cannot start or takes too long.
    """
    folder = Path(tempfile.mkdtemp(prefix="throwaway-", dir=data.parent))
    password = secrets.token_urlsafe(32)
    port = _free_port()
    data.rename(folder / "dump.rdb")
    lines = [
        "bind 127.0.0.1",
        f"port {port}",
        f"requirepass {password}",
        f"dir {folder}",
        'save ""',
        "appendonly no",
        "daemonize no",
        "maxmemory 0",
        *(_of_a_cluster(port) if of_a_cluster else []),
    ]
    configuration = folder / "server.conf"
    configuration.touch(0o600)
    configuration.write_text("".join(f"{line}\n" for line in lines))
    log = folder / "log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            ["/bin/sh", "-c", _STEP_BACK, "sh", *(command or _command()), str(configuration)],
            stdin=subprocess.DEVNULL, stdout=output, stderr=output,
        )  # fmt: skip
    try:
        client = redis.Redis(port=port, password=password, socket_timeout=60, protocol=2, driver_info=None)
        with client:
            _wait_until_loaded(client, server, log, load_seconds)
            yield client
    finally:
        server.kill()
        server.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _of_a_cluster(port: int) -> list[str]:
    """It has the slots of its keys only, and answers all the same."""
    return [
        "cluster-enabled yes",
        f"cluster-port {port + _BUS_OFFSET}",
        "cluster-require-full-coverage no",
        "cluster-allow-reads-when-down yes",
    ]


def _wait_until_loaded(client: redis.Redis, server: subprocess.Popen[bytes], log: Path, load_seconds: float) -> None:
    started = time.monotonic()
    answered = False
    while True:
        if server.poll() is not None:
            raise Damaged(f"a server cannot load it: {_last_words(log)}")
        with suppress(redis.ConnectionError, redis.TimeoutError):
            loading = client.info("persistence")["loading"]
            answered = True
            if not loading:
                return
        limit = load_seconds if answered else _START_SECONDS
        if time.monotonic() - started > limit:
            raise BackupError(f"a server has not loaded it within {limit:.0f} s: {_last_words(log)}")
        time.sleep(_LOOK_SECONDS)


def _last_words(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    telling = [line for line in lines if any(word in line for word in ("error", "Error", "rror loading", "Unexpected"))]
    return (telling or lines or ["it said nothing"])[-1][:300]


def _command() -> list[str]:
    for name in ("redis-server", "valkey-server"):
        found = shutil.which(name)
        if found:
            return [found]
    raise BackupError("there is no redis-server here to load a backup with; install it, or turn backup-proof off")


def _free_port() -> int:
    """One below those that are given to whoever connects, with room for the cluster bus."""
    for _ in range(100):
        port = 20000 + secrets.randbelow(10000)
        with socket.socket() as one, socket.socket() as bus:
            try:
                one.bind(("127.0.0.1", port))
                bus.bind(("127.0.0.1", port + _BUS_OFFSET))
            except OSError:
                continue
            return port
    raise BackupError("no port is free on loopback for a server that loads a backup")
