"""How long a backup takes, beside ``redis-cli --rdb``, what memory it needs, and what a client notices of it.

Run as ``python -m bench.backup``: a primary and a replica as bare servers on loopback, TLS as deployed. ``--megabytes``
of data, ``--runs`` of each way in turn, ``--record`` writes the result to RESULTS.md.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import multiprocessing
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any

from bench.backup_load import client_at_work, fill, latencies, percentile
from bench.engine import end_on_sigterm
from bench.report import Target, median_and_range, publish, table
from components.backups.catalog import Catalog
from components.backups.stores import store_of
from components.backups.take import Order, take
from components.formation import Access
from components.formation.replication import form
from tests.ports import free_port
from tests.processes.certificates import Authority
from tests.processes.servers import PASSWORDS, Deployment, client_command, deployment, server_command, wait_for

_NAME = "2026-11-26T03-00-00Z"
_KEY = bytes(range(32))
_OURS, _SEALED, _BY_HAND, _TO_S3 = "take", "take, encrypted", "redis-cli --rdb and zstd", "take, to S3 (moto)"
_IDLE_SECONDS = 10.0
_MEBIBYTE = 1 << 20
_BUCKET = "backups"


@dataclass
class Way:
    """What was measured of one way: seconds of each run, bytes before and after compression, memory."""

    seconds: list[float] = field(default_factory=list)
    plain_bytes: int = 0
    stored_bytes: int = 0
    memory_bytes: list[int] = field(default_factory=list)

    @property
    def megabytes_each_second(self) -> float:
        return self.plain_bytes / _MEBIBYTE / median(self.seconds)

    def row(self, name: str, plain_bytes: int) -> list[str]:
        """``plain_bytes``: of the same data by a way that tells them."""
        memory = f"{max(self.memory_bytes) / _MEBIBYTE:.0f} MiB" if self.memory_bytes else ""
        each_second = plain_bytes / _MEBIBYTE / median(self.seconds)
        return [
            name, median_and_range(self.seconds), f"{each_second:.0f} MiB/s",
            f"{self.stored_bytes / _MEBIBYTE:.0f} MiB", memory,
        ]  # fmt: skip


# --- taking ----------------------------------------------------------------------------------------------------------


def _take(
    record: Mapping[str, Any], access: Access, store: Mapping[str, Any], key: bytes | None, pipe: Connection
) -> None:
    """A program of its own, so that its memory is nobody else's."""
    order = Order(deployment="cache", record=record, access=access, key=key)
    catalog = Catalog(store_of(store), "cache")
    catalog.latest()  # connects to a store in the network
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # the most that it ever had is what it has now
    before = _memory("VmHWM")
    began = time.perf_counter()
    manifest = take(order, catalog, _NAME, 1, lambda _: None)
    seconds = time.perf_counter() - began
    pipe.send((seconds, manifest.plain_bytes, manifest.stored_bytes, _memory("VmHWM") - before))


def _memory(name: str) -> int:
    """Of this process, in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"the system does not tell {name}")


def taken(nodes: Deployment, store: Mapping[str, Any], way: Way, key: bytes | None = None) -> None:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(
        target=_take, args=(nodes.target.to_dict(), nodes.access, store, key, theirs), daemon=True
    )
    process.start()
    theirs.close()
    try:
        seconds, way.plain_bytes, way.stored_bytes, memory = ours.recv()
    except EOFError:
        sys.exit("the backup failed; see above")
    process.join()
    way.seconds.append(seconds)
    way.memory_bytes.append(memory)


def taken_by_hand(nodes: Deployment, folder: Path, way: Way) -> None:
    """The same data, compression and care for the disk, without checksums, by a shell's pipe."""
    replica, file = nodes.replicas[0], folder / "by-hand.rdb.zst"
    copy = [
        *client_command(), "-h", "127.0.0.1", "-p", str(replica.port), "--tls", "--cacert",
        str(replica.folder / "ca.crt"), "--user", "admin", "--no-auth-warning", "--rdb", "-",
    ]  # fmt: skip
    script = (
        f"set -o pipefail; {shlex.join(copy)} | zstd -q -1 > {shlex.quote(str(file))} && sync {shlex.quote(str(file))}"
    )
    began = time.perf_counter()
    done = subprocess.run(
        ["bash", "-c", script],
        env={**os.environ, "REDISCLI_AUTH": PASSWORDS["admin"]}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    way.seconds.append(time.perf_counter() - began)
    if done.returncode:
        sys.exit(f"redis-cli failed: {done.stderr[-500:]}")
    way.stored_bytes = file.stat().st_size
    file.unlink()


@contextlib.contextmanager
def s3(folder: Path) -> Iterator[dict[str, Any]]:
    """A store on a stand-in for S3 with a process of its own."""
    import boto3

    port = free_port()
    with (folder / "moto.log").open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], stdout=log, stderr=log
        )
    try:
        url = f"http://127.0.0.1:{port}"
        client = boto3.client(
            "s3",
            endpoint_url=url,
            region_name="us-east-1",
            aws_access_key_id="x",
            aws_secret_access_key="x",  # noqa: S106
        )
        deadline = time.monotonic() + 30
        while True:
            try:
                client.create_bucket(Bucket=_BUCKET)
                break
            except Exception:  # whatever a server that does not listen yet makes of it
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)
        yield {
            "kind": "s3", "bucket": _BUCKET, "prefix": "", "endpoint_url": url, "region": "us-east-1",
            "access_key_id": "x", "secret_access_key": "x", "object_lock_days": None,
        }  # fmt: skip
    finally:
        server.kill()
        server.wait()


@dataclass
class Measured:
    """Of taking: each way, and a client's milliseconds with nothing else, with ours, and with redis-cli."""

    keys: int
    ways: dict[str, Way]
    idle: list[float] = field(default_factory=list)
    meanwhile: dict[str, list[float]] = field(default_factory=lambda: {_OURS: [], _BY_HAND: []})


def measure_taking(nodes: Deployment, folder: Path, megabytes: int, runs: int, *, with_s3: bool) -> Measured:
    keys = fill(nodes.primary, megabytes)
    wait_for(
        lambda: nodes.replicas[0].info()["master_repl_offset"] == nodes.primary.info()["master_repl_offset"],
        "the replica has everything",
    )
    measured = Measured(keys, {name: Way() for name in (_OURS, _BY_HAND, _SEALED)})
    ways: dict[str, Callable[[Way], None]] = {
        _OURS: lambda way: _into_a_folder(nodes, folder, way),
        _BY_HAND: lambda way: taken_by_hand(nodes, folder, way),
        _SEALED: lambda way: _into_a_folder(nodes, folder, way, _KEY),
    }
    for run in range(1, runs + 1):
        for name, run_it in ways.items():
            run_it(measured.ways[name])
            print(f"run {run} of {runs}, {name}: {measured.ways[name].seconds[-1]:.2f} s", flush=True)
    for _ in range(runs):
        with client_at_work(nodes.primary, keys, measured.idle):
            time.sleep(_IDLE_SECONDS)
        for name, milliseconds in measured.meanwhile.items():
            with client_at_work(nodes.primary, keys, milliseconds):
                ways[name](Way())
    if with_s3:
        way = measured.ways[_TO_S3] = Way()
        with s3(folder) as store:
            taken(nodes, store, way)
        print(f"{_TO_S3}: {way.seconds[-1]:.2f} s", flush=True)
    return measured


def _into_a_folder(nodes: Deployment, folder: Path, way: Way, key: bytes | None = None) -> None:
    store = folder / "store"
    taken(nodes, {"kind": "folder", "folder": str(store)}, way, key)
    shutil.rmtree(store)


def report_of_taking(measured: Measured, runs: int) -> tuple[str, list[Target]]:
    ours, by_hand = measured.ways[_OURS], measured.ways[_BY_HAND]
    ways = table(
        ["way", "seconds", "of the data", "in the store", "extra memory"],
        [way.row(name, ours.plain_bytes) for name, way in measured.ways.items()],
    )
    clients = table(
        ["a client of the primary", "median", "p99", "longest"],
        [
            ["nothing else", *latencies(measured.idle)],
            *([f"while {name}", *latencies(each)] for name, each in measured.meanwhile.items()),
        ],
    )
    text = (
        f"{measured.keys} keys, {ours.plain_bytes / _MEBIBYTE:.0f} MiB as RDB, on bare servers over TLS: a primary "
        f"and a replica that is copied from. Medians (and ranges) of {runs} alternating runs into a folder, one to "
        "S3.\nTargets: seconds of `take` to those of redis-cli (1.25 is 0.8 of its throughput); the memory that taking "
        "needs, as the share of 64 MiB; a client's p99 to that with nothing else.\n\n"
        f"{ways}\n\n{clients}"
    )
    slowest = max(max(way.memory_bytes) for name, way in measured.ways.items() if way.memory_bytes)
    return text, [
        Target("backup", median(ours.seconds) / median(by_hand.seconds), 1 / 0.8),
        Target("backup-memory", slowest / _MEBIBYTE / 64, 1.0, below=True),
        Target("backup-p99", percentile(measured.meanwhile[_OURS], 0.99) / percentile(measured.idle, 0.99), 1.5),
    ]


# --- the whole -------------------------------------------------------------------------------------------------------


def main() -> int:
    """Measure, print, and return the exit code."""
    arguments = argparse.ArgumentParser(prog="python -m bench.backup", description=__doc__)
    arguments.add_argument("--megabytes", type=int, default=1024, help="how much data")
    arguments.add_argument("--runs", type=int, default=3, help="runs of each way")
    arguments.add_argument("--without-s3", action="store_true", help="leave out the stand-in for S3")
    arguments.add_argument("--record", action="store_true", help="write the result to bench/RESULTS.md")
    options = arguments.parse_args()
    end_on_sigterm()
    if shutil.which("zstd") is None:
        sys.exit("zstd is not on PATH; it is needed for the way by hand: apt-get install zstd")
    load = os.getloadavg()[0]
    with (
        tempfile.TemporaryDirectory(prefix="bench-backup-") as name,
        deployment(
            Path(name),
            server_command(),
            nodes=2,
            sentinels=1,
            authority=Authority(),
            settings={"client-output-buffer-limit": "replica 0 0 0"},  # while data are written as quickly as can be
            down_after_milliseconds=60_000,
        ) as nodes,
    ):
        form(nodes.target, nodes.access, progress=lambda _: None, timeout_seconds=30)
        measured = measure_taking(nodes, Path(name), options.megabytes, options.runs, with_s3=not options.without_s3)
    text, targets = report_of_taking(measured, options.runs)
    machine = f"{os.cpu_count()} cores, load {load:.1f} at the begin"
    return publish("backup", text, targets, machine, record=options.record)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("interrupted; everything was removed")
