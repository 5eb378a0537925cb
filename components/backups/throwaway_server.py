"""A server for one backup: it loads the files, is asked, and is gone. It proves a backup, and restores come out of it.

It runs beside other things, so it is the first to be killed when memory runs out. It listens on loopback, to who knows
a random password, and writes nothing.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from ..formation.cluster.slots import SLOT_COUNT
from .commands import complete_commands
from .errors import BackupError, Damaged
from .rdb_head import Head, HeadReader

# Starts the server when it is told to, by a line. Ends it and removes the folder when the pipe that is its input is
# closed, which the system does even if whoever holds it is killed. The file `ended` says that the server has ended,
# and how.
_GUARD = """
trap '' INT TERM HUP
folder=$1
shift
exec 3<&0 </dev/null
started=
while read -r _ <&3; do
  started=yes
  (
    exec 3<&-
    (
      echo 1000 >/proc/self/oom_score_adj
      exec "$@"
    ) >"$folder/log" 2>&1 &
    echo $! >"$folder/pid"
    wait $!
    echo $? >"$folder/ending"
    mv "$folder/ending" "$folder/ended"
  ) &
done
while [ $started ] && [ ! -e "$folder/ended" ]; do
  kill -KILL "$(cat "$folder/pid")"
  sleep 0.1
done
wait
rm -rf "$folder"
"""
_STOP_SECONDS = 30.0
_SERVING_SECONDS = 60.0
_PAUSE_SECONDS = 0.05
_START_ATTEMPTS = 5
_ANSWER_SECONDS = 10.0
_DATABASES = 10_000
_IN_THE_BACKGROUND = ("nice", "-n", "19")
_BASE, _INCREMENTS = "appendonly.aof.1.base.rdb", "appendonly.aof.1.incr.aof"
_LOG_LINE = re.compile(r"\d+:\w \d+ \w+ \d+ [\d:.]+ (?P<level>[.*#-]) (?P<text>.*)")
_PORT_TAKEN = re.compile(
    "Failed listening on port|Could not create server TCP listening socket|Failed listening on the"
)
_OTHER_FORMAT = re.compile("Can't handle RDB format version|Wrong signature trying to load DB")
_WARNED_OF_NOTHING = re.compile(
    "overcommit|Transparent Huge|TCP backlog|maxmemory|THP|WARNING|redis-server|valkey-server|monotonic|ready to exit"
)


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """What a throwaway server says of what it has loaded.

    Attributes:
        server: ``redis`` or ``valkey``, which loaded.
        version: of it.
        keys: of the snapshot that it has loaded.
        expired: further keys of the snapshot, which it left out since their time has come. None when there are
            increments, as they may be about such keys.
        databases: keys of each database that has any, the increments applied.
        functions: names of the libraries of functions.
    """

    server: str
    version: str
    keys: int
    expired: int | None
    databases: Mapping[int, int]
    functions: tuple[str, ...]


class ThrowawayServer:
    """A server that has loaded a backup.

    Attributes:
        client: answers are bytes.
        loaded: what it has.
        head: what the snapshot says of itself.
    """

    def __init__(self, client: redis.Redis, loaded: Loaded, head: Head) -> None:
        self.client = client
        self.loaded = loaded
        self.head = head

    def keys_by_slot(self) -> dict[int, int]:
        """Keys of each slot that has any; for a server that was started with ``cluster``."""
        with self.client.pipeline(transaction=False) as pipeline:
            for slot in range(SLOT_COUNT):
                pipeline.execute_command("CLUSTER COUNTKEYSINSLOT", slot)  # type: ignore[no-untyped-call]
            return {slot: int(keys) for slot, keys in enumerate(pipeline.execute()) if keys}


@contextlib.contextmanager
def throwaway_server(
    parent: Path,
    snapshot: Iterable[bytes],
    increments: Iterable[bytes] | None = None,
    *,
    command: Sequence[str] = (),
    cluster: bool = False,
    background: bool = True,
    load_timeout_seconds: float = 3600.0,
    answer_timeout_seconds: float = 300.0,
    progress: Callable[[float], None] = lambda percent: None,
) -> Iterator[ThrowawayServer]:
    """Start a server on an RDB file, and maybe on the replication stream that follows it; it has loaded them.

    The files are written to a folder of their own under ``parent``, which needs room for them, and are removed with it,
    also if this program is killed. An incomplete command at the end of the increments is left out.

    Args:
        parent: a folder that exists.
        snapshot: an RDB file, in pieces.
        increments: a replication stream from the snapshot's offset on, in pieces.
        command: how to start the server; empty: redis-server or valkey-server, whichever is on PATH.
        cluster: whether it counts keys by slot; it takes database 0 alone then.
        background: whether it is the last to get a processor, as for what nobody waits for.
        load_timeout_seconds: after which loading is given up, not counting how long the pieces take.
        answer_timeout_seconds: of the client that it gives.
        progress: told the percentage that is loaded, again and again.

    Raises:
        Damaged: the server refuses the files as broken, or ends over them.
        BackupError: it does not start, does not know the format, takes too long, or was killed.
    """
    program = [*(_IN_THE_BACKGROUND if background else ()), *(command or _on_path())]
    with _guarded_folder(parent, program) as (folder, guard):
        head = _write_files(folder, snapshot, increments)
        for attempt in range(1, _START_ATTEMPTS + 1):
            password = secrets.token_urlsafe(32)
            port = _configure(folder, password, increments is not None, cluster)
            _start(folder, guard)
            try:
                _wait_until_loaded(folder, guard, port, password, load_timeout_seconds, progress)
                break
            except _Ended as ended:
                if not _PORT_TAKEN.search(ended.log) or attempt == _START_ATTEMPTS:
                    raise _explained(ended, head, program) from None
        with _client(port, password, answer_timeout_seconds) as client:
            if increments is not None:
                # Nothing is written any more: not what expires, nor what is taken out of it.
                client.config_set("appendonly", "no")
            loaded = _loaded(client, increments is None)
            if cluster and any(loaded.databases.values()):
                _wait_until_serving(client)
            yield ThrowawayServer(client, loaded, head)


def _on_path() -> list[str]:
    for name in ("redis-server", "valkey-server"):
        found = shutil.which(name)
        if found:
            return [found]
    raise BackupError("no redis-server and no valkey-server on PATH to load backups with: install one")


# --- files -----------------------------------------------------------------------------------------------------------


def _write_files(folder: Path, snapshot: Iterable[bytes], increments: Iterable[bytes] | None) -> Head:
    """The snapshot alone as dump.rdb, or both as an append-only file of several parts (Redis documentation: "AOF")."""
    parts = folder / "appendonlydir"
    parts.mkdir()
    reader = HeadReader()
    try:
        with (folder / "dump.rdb" if increments is None else parts / _BASE).open("wb") as file:
            for piece in snapshot:
                reader.feed(piece)
                file.write(piece)
        head = reader.finish()
        if increments is not None:
            with (parts / _INCREMENTS).open("wb") as file:
                if head.stream_database is not None:
                    number = b"%d" % head.stream_database
                    file.write(b"*2\r\n$6\r\nSELECT\r\n$%d\r\n%s\r\n" % (len(number), number))
                file.writelines(complete_commands(increments))
            manifest = f"file {_BASE} seq 1 type b\nfile {_INCREMENTS} seq 1 type i\n"
            (parts / "appendonly.aof.manifest").write_text(manifest)
    except OSError as error:
        raise BackupError(f"{folder.parent}: {error.strerror}: a backup needs room there to be loaded") from error
    return head


def _configure(folder: Path, password: str, appended: bool, cluster: bool) -> int:
    """Write the server's configuration; the port that it is going to listen on."""
    port, bus_port = _free_ports(2)
    lines = [
        "bind 127.0.0.1",
        f"port {port}",
        f"requirepass {password}",
        f'dir "{folder}"',
        'save ""',
        f"appendonly {'yes' if appended else 'no'}",
        "appendfsync no",
        "auto-aof-rewrite-percentage 0",
        "maxmemory 0",
        "maxclients 100",
        "proto-max-bulk-len 4gb",
        # What is altered must not lead the server astray: every value is looked at as a whole.
        "sanitize-dump-payload yes",
        "crash-memcheck-enabled no",
    ]
    if cluster:
        lines += ["cluster-enabled yes", f"cluster-port {bus_port}", "cluster-require-full-coverage no"]
    else:
        lines += [f"databases {_DATABASES}"]
    path = folder / "server.conf"
    path.touch(mode=0o600)
    path.write_text("".join(f"{line}\n" for line in lines))
    return port


def _free_ports(count: int) -> list[int]:
    """Ports that nobody listens on at the moment."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]


# --- the process -----------------------------------------------------------------------------------------------------


class _Ended(Exception):
    """The server has ended: with which status, and what it said."""

    def __init__(self, status: int, log: str) -> None:
        super().__init__(status)
        self.status = status
        self.log = log


@contextlib.contextmanager
def _guarded_folder(parent: Path, program: Sequence[str]) -> Iterator[tuple[Path, subprocess.Popen[bytes]]]:
    """A folder that nobody else can read, and who sees to it that it goes."""
    try:
        folder = Path(tempfile.mkdtemp(prefix="throwaway-", dir=parent))
    except OSError as error:
        raise BackupError(f"{parent}: {error.strerror}: a throwaway server needs a folder there") from error
    try:
        with subprocess.Popen(
            ["/bin/sh", "-c", _GUARD, "throwaway", str(folder), *program, str(folder / "server.conf")],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        ) as guard:
            try:
                yield folder, guard
            finally:
                _end(guard)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _start(folder: Path, guard: subprocess.Popen[bytes]) -> None:
    (folder / "ended").unlink(missing_ok=True)
    assert guard.stdin is not None
    with contextlib.suppress(BrokenPipeError):  # what has become of it is found out by waiting
        guard.stdin.write(b"start\n")
        guard.stdin.flush()


def _end(guard: subprocess.Popen[bytes]) -> None:
    assert guard.stdin is not None
    with contextlib.suppress(BrokenPipeError):
        guard.stdin.close()
    try:
        guard.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(guard.pid, signal.SIGKILL)


def _wait_until_loaded(
    folder: Path,
    guard: subprocess.Popen[bytes],
    port: int,
    password: str,
    seconds: float,
    progress: Callable[[float], None],
) -> None:
    deadline = time.monotonic() + seconds
    with _client(port, password, _ANSWER_SECONDS) as client:
        while True:
            if (folder / "ended").exists() or guard.poll() is not None:
                status = folder / "ended"
                raise _Ended(int(status.read_text()) if status.exists() else -1, _log(folder))
            # Between two values it does not answer, and before it listens neither.
            with contextlib.suppress(redis.ConnectionError, redis.TimeoutError):
                found = client.info("persistence")
                if not int(found["loading"]):
                    return
                progress(float(found["loading_loaded_perc"]))
            if time.monotonic() > deadline:
                raise BackupError(f"the throwaway server did not load the backup within {seconds:.0f} s")
            time.sleep(_PAUSE_SECONDS)


def _wait_until_serving(client: redis.Redis) -> None:
    """A cluster's node takes no command about keys, in its first two seconds."""
    deadline = time.monotonic() + _SERVING_SECONDS
    while b"cluster_state:ok" not in client.execute_command("CLUSTER", "INFO"):  # type: ignore[no-untyped-call]
        if time.monotonic() > deadline:
            raise BackupError(f"the throwaway server serves no keys after {_SERVING_SECONDS:.0f} s")
        time.sleep(_PAUSE_SECONDS)


def _client(port: int, password: str, timeout_seconds: float) -> redis.Redis:
    return redis.Redis(
        host="127.0.0.1",
        port=port,
        password=password,
        socket_connect_timeout=_ANSWER_SECONDS,
        socket_timeout=timeout_seconds,
        retry=Retry(NoBackoff(), 0),
        protocol=2,
        driver_info=None,
    )


def _loaded(client: redis.Redis, snapshot_alone: bool) -> Loaded:
    found: dict[str, Any] = client.info()
    libraries: list[list[bytes]] = client.execute_command("FUNCTION LIST")  # type: ignore[no-untyped-call]
    databases = {key.removeprefix("db"): value for key, value in found.items() if re.fullmatch(r"db\d+", key)}
    return Loaded(
        server=str(found.get("server_name", "redis")),
        version=str(found.get("valkey_version", found["redis_version"])),
        keys=int(found["rdb_last_load_keys_loaded"]),
        expired=int(found["rdb_last_load_keys_expired"]) if snapshot_alone else None,
        databases={int(number): int(value["keys"]) for number, value in databases.items()},
        functions=tuple(sorted(_library_name(library) for library in libraries)),
    )


def _library_name(library: Any) -> str:
    values = library if isinstance(library, dict) else dict(zip(library[::2], library[1::2], strict=True))
    name: bytes = values[b"library_name"]
    return name.decode()


# --- what went wrong -------------------------------------------------------------------------------------------------


def _log(folder: Path) -> str:
    try:
        return (folder / "log").read_text("utf-8", "replace")
    except OSError:
        return ""


def _explained(ended: _Ended, head: Head, program: Sequence[str]) -> BackupError:
    reason = _reason(ended.log)
    if ended.status in (-1, 128 + signal.SIGKILL):
        return BackupError("the throwaway server was killed while it loaded the backup: is there enough memory?")
    if _OTHER_FORMAT.search(ended.log):
        return BackupError(
            f"the snapshot was written by {head.server} {head.server_version} in a format (RDB version "
            f"{head.rdb_version}) that {Path(program[-1]).name} does not know ({reason}): load it with such a server"
        )
    if "in Cluster mode" in ended.log or "in cluster mode" in ended.log:
        return BackupError(f"the backup is of no cluster, which has database 0 alone: {reason}")
    if "erver initialized" not in ended.log:
        return BackupError(f"the throwaway server does not start: {reason}")
    return Damaged(f"the throwaway server does not load the backup: {reason}")


def _reason(log: str) -> str:
    """What the server said first of why it ends."""
    warnings = [
        match["text"]
        for line in log.splitlines()
        if (match := _LOG_LINE.fullmatch(line))
        and match["level"] == "#"
        and not _WARNED_OF_NOTHING.search(match["text"])
    ]
    said = warnings or [line for line in log.splitlines() if line.strip()][-1:] or ["it said nothing"]
    return " ".join(said[0].split())[:300]
