"""What formation costs as a cluster grows: on bare servers, and the plan alone for the most nodes there can be.

Run as ``python -m bench.growth``: clusters of ``--nodes``, each shard a primary and a replica, each formed ``--runs``
times from nothing, ``--record`` writes the result to RESULTS.md.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from itertools import accumulate, pairwise
from pathlib import Path
from statistics import median

from bench.engine import end_on_sigterm
from bench.report import Target, median_and_range, publish, table
from components.formation.cluster import Observation, form, plan
from components.formation.cluster.observation import Ranges, fresh
from components.formation.cluster.slots import wanted_counts
from tests.processes.cluster_servers import cluster
from tests.processes.servers import server_command
from tests.unit.formation.cluster.test_plan_cases import healthy, target_of

MOST_NODES = 1000
"""The limit of Redis Cluster (Redis documentation, "Redis Cluster specification", design goals)."""
_TIMEOUT_SECONDS = 300.0


def formed(nodes: int) -> tuple[float, float]:
    """Seconds until so many new nodes are formed and verified, and of a second formation with nothing to do."""
    with (
        tempfile.TemporaryDirectory(prefix="bench-growth-") as folder,
        cluster(Path(folder), server_command(), shards=nodes // 2) as servers,
    ):
        seconds = []
        for _ in range(2):
            began = time.perf_counter()
            form(servers.target, servers.access, progress=lambda _: None, timeout_seconds=_TIMEOUT_SECONDS)
            seconds.append(time.perf_counter() - began)
        servers.check()
    return seconds[0], seconds[1]


def planned(nodes: int) -> dict[str, float]:
    """Seconds that a plan takes: for so many new nodes, for so many of which a tenth is new, and with nothing to do."""
    target, smaller = target_of(nodes // 2, 2), target_of(nodes * 9 // 20, 2)
    there = healthy(smaller, balanced(nodes * 9 // 20))
    new = tuple(fresh(member) for member in target.members)
    situations = {
        "all are new": (target, Observation(new)),
        "a tenth is new": (target, Observation((*there.nodes, *new[len(there.nodes) :]))),
        "nothing to do": (target, healthy(target, balanced(nodes // 2))),
    }
    seconds = {}
    for name, (wanted, observation) in situations.items():
        began = time.perf_counter()
        found = plan(wanted, observation)
        seconds[name] = time.perf_counter() - began
        if found.refusals or bool(found.steps) == (name == "nothing to do"):
            sys.exit(f"not the plan that was expected when {name}: {[*found.refusals, *found.steps][:3]}")
    return seconds


def balanced(shards: int) -> tuple[Ranges, ...]:
    """All slots in order, one range for each shard."""
    ends = list(accumulate(wanted_counts(dict.fromkeys(map(str, range(shards)), 1)).values()))
    return tuple(((first, end - 1),) for first, end in pairwise([0, *ends]))


def main() -> int:
    """Measure, print, and return the exit code."""
    arguments = argparse.ArgumentParser(prog="python -m bench.growth", description=__doc__)
    arguments.add_argument("--nodes", type=int, nargs="+", default=[6, 30, 90], help="even numbers, the least first")
    arguments.add_argument("--runs", type=int, default=3, help="how often each cluster is formed")
    arguments.add_argument("--record", action="store_true", help="write the result to bench/RESULTS.md")
    options = arguments.parse_args()
    end_on_sigterm()
    load = os.getloadavg()[0]

    rows, each_milliseconds = [], []
    for nodes in options.nodes:
        first, again = zip(*(formed(nodes) for _ in range(options.runs)), strict=True)
        each_milliseconds.append(median(first) / nodes * 1000)
        rows.append([str(nodes), median_and_range(first), f"{each_milliseconds[-1]:.0f} ms", median_and_range(again)])
        print(f"{nodes} nodes: formed in {median(first):.2f} s", flush=True)
    plans = planned(MOST_NODES)
    text = (
        f"Bare servers, shards of a primary and a replica, cluster-node-timeout 2 s; medians (and ranges) of "
        f"{options.runs} runs.\n\n"
        + table(["nodes", "formed and verified", "per node", "formed again"], rows)
        + f"\n\nThe plan for {MOST_NODES} nodes: "
        + ", ".join(f"{seconds:.2f} s when {name}" for name, seconds in plans.items())
        + ".\nTargets: time per node, the most nodes to the fewest; the longest plan as the share of a second."
    )
    targets = [
        Target("growth", each_milliseconds[-1] / each_milliseconds[0], 1.25),
        Target("plan-1000-nodes", max(plans.values()), 1.0, below=True),
    ]
    return publish(
        "growth", text, targets, f"{os.cpu_count()} cores, load {load:.1f} at the begin", record=options.record
    )


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("interrupted; everything was removed")
