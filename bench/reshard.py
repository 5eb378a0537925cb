"""How long moving slots takes under load, beside ``redis-cli --cluster rebalance`` on the same data in the same run.

Run as ``python -m bench.reshard``: bare servers on loopback, 3 -> 4 -> 3 shards. ``--keys`` of 100 bytes, ``--runs`` of
each mover in turn, ``--record`` writes the result to RESULTS.md.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median

from redis.cluster import RedisCluster

from bench.engine import end_on_sigterm
from bench.report import Target, median_and_range, publish, table
from components.formation import Access
from components.formation.cluster.observation import PRIMARY, observe
from components.formation.cluster.slot_migration import move_slots
from components.formation.cluster.slots import fewest_moves, slot_of
from components.formation.cluster.target import ClusterTarget
from components.formation.connection import Connections
from tests.processes.cluster_load import SETTINGS
from tests.processes.cluster_servers import Cluster, cluster
from tests.processes.servers import PASSWORDS, client_command, server_command, wait_for

_VALUE = b"x" * 100
_PACE_SECONDS = 0.002
_P99_LIMIT_MILLISECONDS = 50.0
_OURS, _DEFAULTS, _TUNED = "formation", "redis-cli", "redis-cli, pipeline 1000"
_IDLE_SECONDS = 10.0


@dataclass
class Measured:
    """Of one mover: seconds out and in of each run, and the latencies in milliseconds of the client meanwhile."""

    seconds_out: list[float] = field(default_factory=list)
    seconds_in: list[float] = field(default_factory=list)
    milliseconds: list[float] = field(default_factory=list)

    @property
    def seconds(self) -> list[float]:
        return [out + back for out, back in zip(self.seconds_out, self.seconds_in, strict=True)]


def percentile(milliseconds: Sequence[float], share: float) -> float:
    ordered = sorted(milliseconds)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]


def latencies(milliseconds: Sequence[float]) -> list[str]:
    """Median, p99 and longest, for a row of the table."""
    half, most = percentile(milliseconds, 0.5), percentile(milliseconds, 0.99)
    return [f"{half:.1f} ms", f"{most:.1f} ms", f"{max(milliseconds):.0f} ms"]


def fill(nodes: Cluster, keys: int) -> None:
    """Keys over all slots, each straight to its node; nothing is answered but the end."""
    target, access = nodes.target, nodes.access
    owners = {}
    for view in observe(target, access).nodes:
        owners.update(dict.fromkeys((slot for first, last in view.slots for slot in range(first, last + 1)), view.name))
    batches: dict[str, list[bytes]] = defaultdict(list)
    for number in range(keys):
        key = b"key:%d" % number
        batches[owners[slot_of(key)]].append(
            b"*3\r\n$3\r\nSET\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n" % (len(key), key, len(_VALUE), _VALUE)
        )
    for name, commands in batches.items():
        with socket.create_connection(("127.0.0.1", nodes.process(name).port)) as plain:
            plain.sendall(f"AUTH admin {PASSWORDS['admin']}\r\nCLIENT REPLY OFF\r\n".encode())
            for start in range(0, len(commands), 5000):
                plain.sendall(b"".join(commands[start : start + 5000]))
            plain.sendall(b"CLIENT REPLY ON\r\nPING\r\n")
            answer = b""
            while not answer.endswith(b"+PONG\r\n"):
                answer += plain.recv(4096)
    found = sum(process.ask("DBSIZE") for process in nodes.nodes)
    assert found == keys, f"{found} keys instead of {keys}"


def _client(port: int, keys: int, pipe: Connection) -> None:
    """Another program: one client, one command after the other, half of them writes."""
    client = RedisCluster(host="127.0.0.1", port=port, username="app", password=PASSWORDS["app"])
    milliseconds = []
    pipe.send("begins")
    while not pipe.poll():
        key = b"key:%d" % random.randrange(keys)
        began = time.perf_counter()
        if random.random() < 0.5:
            client.set(key, _VALUE)
        else:
            client.get(key)
        milliseconds.append((time.perf_counter() - began) * 1000)
        time.sleep(_PACE_SECONDS)
    pipe.send(milliseconds)


@contextmanager
def client_at_work(nodes: Cluster, keys: int, milliseconds: list[float]) -> Iterator[None]:
    """A client under load; what each command took is added at the end."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_client, args=(nodes.nodes[0].port, keys, theirs), daemon=True)
    process.start()
    try:
        assert ours.recv() == "begins"
        yield
        ours.send("end")
        milliseconds += ours.recv()
        process.join()
    finally:
        process.kill()


def formation(target: ClusterTarget, access: Access, shards: int) -> None:
    """What the plan of formation does."""
    observation = observe(target, access)
    owned = {
        view.name: [slot for first, last in view.slots for slot in range(first, last + 1)]
        for view in observation.nodes
        if view.role == PRIMARY
    }
    moves = fewest_moves(owned, {shard.members[0].name: 1 for shard in target.shards[:shards]})
    with Connections(access) as connections:
        move_slots(connections, target, observation, moves, progress=lambda _: None)


def redis_cli(nodes: Cluster, shards: int, *options: str) -> None:
    """The same moves; a node that is to have no slots gets weight 0."""
    weights = [f"{process.node_id}={int(number < shards)}" for number, process in enumerate(nodes.nodes)]
    command = [
        *client_command(), "--user", "admin", "--no-auth-warning", "--cluster", "rebalance",
        f"127.0.0.1:{nodes.nodes[0].port}", "--cluster-use-empty-masters", "--cluster-threshold", "1",
        "--cluster-weight", *weights, *options,
    ]  # fmt: skip
    done = subprocess.run(
        command, env={**os.environ, "REDISCLI_AUTH": PASSWORDS["admin"]}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"redis-cli failed: {done.stdout[-500:]}{done.stderr[-500:]}")


def measure(keys: int, runs: int) -> tuple[dict[str, Measured], list[float]]:
    """Each mover's, and a client's milliseconds while nothing moves: what the machine has to spare."""
    idle: list[float] = []
    measured = {name: Measured() for name in (_OURS, _DEFAULTS, _TUNED)}
    with (
        tempfile.TemporaryDirectory(prefix="bench-reshard-") as folder,
        cluster(Path(folder), server_command(), shards=4, replicas=0, settings=SETTINGS) as nodes,
    ):
        movers: dict[str, Callable[[int], None]] = {
            _OURS: lambda shards: formation(nodes.target, nodes.access, shards),
            _DEFAULTS: lambda shards: redis_cli(nodes, shards),
            _TUNED: lambda shards: redis_cli(nodes, shards, "--cluster-pipeline", "1000"),
        }
        nodes.form_by_hand()
        movers[_OURS](3)
        wait_for(nodes.agreed, "all nodes agree")
        fill(nodes, keys)
        for run in range(1, runs + 1):
            with client_at_work(nodes, keys, idle):
                time.sleep(_IDLE_SECONDS)
            for name, mover in movers.items():
                result = measured[name]
                for shards, seconds in ((4, result.seconds_out), (3, result.seconds_in)):
                    with client_at_work(nodes, keys, result.milliseconds):
                        began = time.perf_counter()
                        mover(shards)
                        seconds.append(time.perf_counter() - began)
                    wait_for(nodes.agreed, "all nodes agree")
                    empty = [process.name for process in nodes.nodes if not process.ask("DBSIZE")]
                    assert len(empty) == 4 - shards, f"{name} left {', '.join(empty)} without keys"
                print(
                    f"run {run} of {runs}, {name}: out {result.seconds_out[-1]:.1f} s, in {result.seconds_in[-1]:.1f} "
                    f"s, p99 {percentile(result.milliseconds, 0.99):.1f} ms",
                    flush=True,
                )
        nodes.check()
        found = sum(process.ask("DBSIZE") for process in nodes.nodes)
        assert found == keys, f"{found} keys instead of {keys}"
    return measured, idle


def main() -> int:
    """Measure, print, and return the exit code."""
    arguments = argparse.ArgumentParser(prog="python -m bench.reshard", description=__doc__)
    arguments.add_argument("--keys", type=int, default=1_000_000, help="how many keys")
    arguments.add_argument("--runs", type=int, default=1, help="runs of each mover")
    arguments.add_argument("--record", action="store_true", help="write the result to bench/RESULTS.md")
    options = arguments.parse_args()
    end_on_sigterm()
    load = os.getloadavg()[0]
    measured, idle = measure(options.keys, options.runs)

    rows = [
        [name, median_and_range(each.seconds_out), median_and_range(each.seconds_in), *latencies(each.milliseconds)]
        for name, each in measured.items()
    ]
    rows.append(["nothing moves", "", "", *latencies(idle)])
    text = (
        f"{options.keys} keys of 100 bytes on bare servers, 4096 slots out to a fourth shard and in again; medians "
        f"(and ranges) of {options.runs} alternating runs.\nOne client reads and writes meanwhile, a command every "
        f"{_PACE_SECONDS * 1000:.0f} ms. Targets: seconds out and in; `p99` is the share of "
        f"{_P99_LIMIT_MILLISECONDS:.0f} ms.\n\n"
        + table(["", "3 -> 4", "4 -> 3", "client's median", "p99", "longest"], rows)
    )
    ours = median(measured[_OURS].seconds)
    targets = [
        Target("reshard", ours / median(measured[_DEFAULTS].seconds), 1 / 5),
        Target("reshard-tuned", ours / median(measured[_TUNED].seconds), 1 / 1.5),
        Target(
            "reshard-p99", percentile(measured[_OURS].milliseconds, 0.99) / _P99_LIMIT_MILLISECONDS, 1.0, below=True
        ),
    ]
    machine = f"{os.cpu_count()} cores, load {load:.1f} at the begin"
    return publish("reshard", text, targets, machine, record=options.record)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("interrupted; everything was removed")
