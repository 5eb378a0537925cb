"""How long a restore takes: beside a bare server that loads the same file, and beside ``redis-cli --pipe``.

Run as ``python -m bench.restore``: bare servers on loopback, TLS as deployed. ``--megabytes`` of data, ``--runs`` of
each way in turn, ``--record`` writes the result to RESULTS.md.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

from bench.backup_load import fill
from bench.engine import end_on_sigterm
from bench.report import Target, median_and_range, publish, table
from components.backups.catalog import Catalog
from components.backups.folder_store import FolderStore
from components.backups.manifest import Manifest
from components.backups.recovery import recovery_of
from components.backups.restore import RestoreOrder, restore
from components.backups.sealing import unseal
from components.backups.take import Order, take
from components.formation.cluster import form as form_cluster
from components.formation.cluster.slots import slot_of
from components.formation.replication import form
from components.topologies import CLUSTER
from tests.ports import free_port
from tests.processes.certificates import Authority
from tests.processes.cluster_servers import Cluster, cluster
from tests.processes.servers import PASSWORDS, Deployment, Process, client_command, deployment, server_command, wait_for

_NAME = "2026-11-26T03-00-00Z"
_SHARDS = 4
_MEBIBYTE = 1 << 20
_LIMIT, _SINGLE, _CLUSTER, _PIPE = (
    "bare redis-server loads the file",
    "restore into one primary",
    f"restore into {_SHARDS} shards",
    f"redis-cli --pipe into {_SHARDS} shards",
)


class Data:
    """A backup of one primary, in a folder; and the same as commands, a file for each of the cluster's primaries."""

    def __init__(self, folder: Path, catalog: Catalog, manifest: Manifest) -> None:
        self.folder = folder
        self.catalog = catalog
        self.manifest = manifest

    def order(self, record: dict[str, Any], access: Any) -> RestoreOrder:
        return RestoreOrder(
            catalog=self.catalog, manifest=self.manifest, recovery=recovery_of(self.manifest), key=None, record=record,
            access=access, overwrite=True, scratch=self.folder, command=server_command(),
        )  # fmt: skip


def loaded(data: Data) -> float:
    """Seconds from the start of a server until it has loaded the file, which is there uncompressed."""
    folder = data.folder / "bare"
    folder.mkdir(exist_ok=True)
    (shard,) = data.manifest.shards
    if not (folder / "dump.rdb").exists():
        with data.catalog.store.read(data.catalog.key(_NAME, shard.snapshot.name)) as chunks:
            (folder / "dump.rdb").write_bytes(b"".join(unseal(chunks, None, shard.snapshot)))
    options = ["--port", str(free_port()), "--bind", "127.0.0.1", "--dir", str(folder), "--save", ""]
    began = time.perf_counter()
    with subprocess.Popen([*server_command(), *options], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        for line in server.stdout:
            if "Ready to accept connections" in line:
                break
        seconds = time.perf_counter() - began
        server.kill()
    return seconds


def write_commands(source: Process, target: Cluster, folder: Path) -> list[tuple[Process, Path]]:
    """What makes the source's keys, for the primary that each belongs to."""
    primaries = [target.primary_of(shard) for shard in target.shards]
    owners: dict[int, int] = {}
    for number, primary in enumerate(primaries):
        (line,) = [each for each in primary.known() if "myself" in each[2]]
        for slots in line[8:]:
            first, _, last = slots.partition("-")
            owners |= dict.fromkeys(range(int(first), int(last or first) + 1), number)
    paths = [folder / f"{primary.name}.resp" for primary in primaries]
    with ExitStack() as stack, source.client(decode_responses=False) as client:
        files = [stack.enter_context(path.open("wb")) for path in paths]
        for command in _commands(client):
            words = b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in command)
            files[owners[slot_of(command[1])]].write(b"*%d\r\n%s" % (len(command), words))
    return list(zip(primaries, paths, strict=True))


def _commands(client: Any) -> Iterator[list[bytes]]:
    cursor = 0
    while True:
        cursor, keys = client.scan(cursor, count=1000)
        with client.pipeline(transaction=False) as pipeline:
            for key in keys:
                pipeline.type(key)
                pipeline.pexpiretime(key)
            answers = pipeline.execute()
            for key, kind in zip(keys, answers[::2], strict=True):
                match kind:
                    case b"string":
                        pipeline.get(key)
                    case b"list":
                        pipeline.lrange(key, 0, -1)
                    case b"set":
                        pipeline.smembers(key)
                    case b"zset":
                        pipeline.zrange(key, 0, -1, withscores=True)
                    case b"hash":
                        pipeline.hgetall(key)
                    case other:
                        raise AssertionError(f"no command is known for {other!r}")
            for key, kind, expires, value in zip(keys, answers[::2], answers[1::2], pipeline.execute(), strict=True):
                match kind:
                    case b"string":
                        yield [b"SET", key, value]
                    case b"list":
                        yield [b"RPUSH", key, *value]
                    case b"set":
                        yield [b"SADD", key, *value]
                    case b"zset":
                        yield [b"ZADD", key, *(word for name, score in value for word in (b"%r" % score, name))]
                    case b"hash":
                        yield [b"HSET", key, *(word for pair in value.items() for word in pair)]
                if expires > 0:
                    yield [b"PEXPIREAT", key, b"%d" % expires]
        if cursor == 0:
            return


def piped(files: list[tuple[Process, Path]]) -> float:
    """Seconds until all files were taken, each by its primary, all at once."""
    began = time.perf_counter()
    running = []
    for process, file in files:
        command = [
            *client_command(), "-h", "127.0.0.1", "-p", str(process.port), "--tls", "--cacert",
            str(process.folder / "ca.crt"), "--user", "admin", "--no-auth-warning", "--pipe",
        ]  # fmt: skip
        environment = {**os.environ, "REDISCLI_AUTH": PASSWORDS["admin"]}
        running.append(
            subprocess.Popen(command, env=environment, stdin=file.open("rb"), stdout=subprocess.PIPE, text=True)
        )
    for each in running:
        said = each.communicate()[0]
        if each.returncode or "errors: 0" not in said:
            sys.exit(f"redis-cli --pipe failed: {said[-300:]}")
    return time.perf_counter() - began


def emptied(target: Cluster) -> None:
    for shard in target.shards:
        with target.primary_of(shard).client() as client:
            for key in client.scan_iter(count=1000):
                client.unlink(key)


def measure(folder: Path, megabytes: int, runs: int) -> tuple[int, Manifest, dict[str, list[float]]]:
    authority = Authority()
    seconds: dict[str, list[float]] = {name: [] for name in (_LIMIT, _SINGLE, _CLUSTER, _PIPE)}
    with ExitStack() as stack:

        def single(name: str) -> Deployment:
            made = stack.enter_context(
                deployment(
                    folder / name,
                    server_command(),
                    nodes=1,
                    sentinels=1,
                    authority=authority,
                    down_after_milliseconds=60_000,
                )
            )
            form(made.target, made.access, progress=lambda _: None, timeout_seconds=30)
            return made

        source, into_one = single("source"), single("one")
        into_many = stack.enter_context(
            cluster(folder / "many", server_command(), shards=_SHARDS, replicas=0, authority=authority)
        )
        form_cluster(into_many.target, into_many.access, progress=lambda _: None, timeout_seconds=60)
        keys = fill(source.primary, megabytes)
        catalog = Catalog(FolderStore(folder / "store"), "cache")
        order = Order(deployment="cache", record=source.target.to_dict(), access=source.access)
        data = Data(folder, catalog, take(order, catalog, _NAME, 1, lambda _: None))
        files = write_commands(source.primary, into_many, folder)
        source.close()
        record = {**into_many.target.to_dict(), "topology": CLUSTER}
        for run in range(1, runs + 1):
            seconds[_LIMIT].append(loaded(data))
            seconds[_SINGLE].append(
                restore(data.order(into_one.target.to_dict(), into_one.access), lambda _: None).seconds
            )
            emptied(into_many)
            seconds[_CLUSTER].append(restore(data.order(record, into_many.access), lambda _: None).seconds)
            emptied(into_many)
            seconds[_PIPE].append(piped(files))
            wait_for(into_many.agreed, "the cluster is well")
            print(f"run {run} of {runs}: " + ", ".join(f"{name} {each[-1]:.2f} s" for name, each in seconds.items()))
    return keys, data.manifest, seconds


def main() -> int:
    """Measure, print, and return the exit code."""
    arguments = argparse.ArgumentParser(prog="python -m bench.restore", description=__doc__)
    arguments.add_argument("--megabytes", type=int, default=1024, help="how much data")
    arguments.add_argument("--runs", type=int, default=3, help="runs of each way")
    arguments.add_argument("--record", action="store_true", help="write the result to bench/RESULTS.md")
    options = arguments.parse_args()
    end_on_sigterm()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="bench-restore-") as name:
        keys, manifest, seconds = measure(Path(name), options.megabytes, options.runs)
    size = manifest.plain_bytes / _MEBIBYTE
    rows = [[name, median_and_range(each), f"{size / median(each):.0f} MiB/s"] for name, each in seconds.items()]
    ways = table(["way", "seconds", "of the data"], rows)
    text = (
        f"{keys} keys, {size:.0f} MiB as RDB, of one primary, into bare servers over TLS without replicas. Medians "
        f"(and ranges) of {options.runs} alternating runs.\nThe target compares with redis-cli --pipe, a process for "
        f"each shard, all at once; what a bare server needs is the limit.\n\n{ways}"
    )
    ratio = median(seconds[_CLUSTER]) / median(seconds[_PIPE])
    targets = [Target("restore-cluster", ratio, 1 / 3)]
    return publish(
        "restore", text, targets, f"{os.cpu_count()} cores, load {load:.1f} at the begin", record=options.record
    )


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("interrupted; everything was removed")
