"""How long ``pulumi up`` takes to a formed and verified deployment, beside the same topology made by hand.

Run as ``python -m bench.deploy``; ``--topology`` chooses one, ``--runs`` alternating runs of each, ``--record`` writes
the result to RESULTS.md.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from statistics import median
from typing import Any

from bench.by_hand import HandMade, HandMadeFailed, hand_made, hand_made_cluster
from bench.engine import check_tools, end_on_sigterm, machine
from bench.report import Target, median_and_range, publish, table
from bench.stack import PulumiFailed, Run, new_stack
from components.settings import RedisClusterSettings, ReplicatedRedisSettings

_PREVIEW_LIMIT_SECONDS = 3.0
_PREVIEWS = 2
_CONTAINERS = "containers"
_FORMATION = "formation, verified"


@dataclass(frozen=True)
class Kind:
    """A topology: its settings, the ways to make it by hand, and what the ratios to the first of them must be.

    ``suffix`` is part of the targets' names.
    """

    suffix: str
    words: str
    settings: Mapping[str, Any]
    by_hand: Mapping[str, Callable[[], AbstractContextManager[HandMade]]]
    script: str
    most_of_up: float
    less_of_formation: float


_replicated = partial(
    hand_made,
    down_after_milliseconds=ReplicatedRedisSettings.down_after_milliseconds,
    failover_timeout_milliseconds=ReplicatedRedisSettings.failover_timeout,
)
_cluster = partial(hand_made_cluster, node_timeout_milliseconds=RedisClusterSettings.cluster_node_timeout)
KINDS = {
    "replicated": Kind(
        "",
        "Three Redis nodes and three Sentinels",
        {},
        {"plain text": partial(_replicated, tls=False), "TLS": partial(_replicated, tls=True)},
        "docker run and redis-cli",
        1.5,
        1.0,
    ),
    "cluster": Kind(
        "-cluster",
        "Six nodes, three shards with a replica each",
        {"topology": "cluster"},
        {
            "plain text": _cluster,
            "TLS": partial(_cluster, tls=True),
            "plain text, full syncs at once": partial(_cluster, sync_delay_seconds=0),
        },
        "docker run and `redis-cli --cluster create` (full syncs start after 5 s, which is Redis's default)",
        1.0,
        0.5,
    ),
}


def parts(run: Run) -> dict[str, float]:
    """What one ``pulumi up`` spends its seconds on, by what ends last in each part."""
    ends = {
        "CLI starts": run.began("preludeEvent"),
        "program and plugins start": run.began("resourcePreEvent"),
        "credentials, certificates": run.done(":NodeCertificate"),
        _CONTAINERS: run.done(":Container"),
        _FORMATION: run.done(":Formation"),
        "CLI ends": run.seconds,
    }
    starts = [0.0, *list(ends.values())[:-1]]
    return {name: end - start for (name, end), start in zip(ends.items(), starts, strict=True)}


@dataclass
class Measured:
    """What was measured, run by run."""

    ups: list[Run] = field(default_factory=list)
    previews: list[Run] = field(default_factory=list)
    by_hand: dict[str, list[HandMade]] = field(default_factory=dict)


def measure(kind: Kind, runs: int) -> Measured:
    """Deployments and previews of ours, and hand-made deployments, taking turns."""
    measured = Measured()
    for turn in range(1, runs + 1):
        for way, make in kind.by_hand.items():
            with make() as made:
                measured.by_hand.setdefault(way, []).append(made)
        with new_stack(memory="128mb", retain_data=False, **kind.settings) as stack:
            measured.ups.append(stack.up())
            for _ in range(_PREVIEWS):
                preview = stack.preview()
                assert not preview.changes, f"the preview of an unchanged deployment shows {preview.changes}"
                measured.previews.append(preview)
        print(
            f"{kind.words}, run {turn} of {runs}: "
            f"{', '.join(f'by hand, {way} {made[-1].seconds:.2f} s' for way, made in measured.by_hand.items())}, "
            f"pulumi up {measured.ups[-1].seconds:.2f} s, no-change preview {measured.previews[-1].seconds:.2f} s",
            flush=True,
        )
    return measured


def main() -> int:
    """Measure, print, and return the exit code."""
    arguments = argparse.ArgumentParser(prog="python -m bench.deploy", description=__doc__)
    arguments.add_argument("--topology", choices=[*KINDS, "both"], default="both")
    arguments.add_argument("--runs", type=int, default=5, help="deployments of each kind")
    arguments.add_argument("--record", action="store_true", help="write the result to bench/RESULTS.md")
    options = arguments.parse_args()
    check_tools()
    end_on_sigterm()
    chosen = list(KINDS) if options.topology == "both" else [options.topology]
    return max([_measure_and_publish(KINDS[name], options.runs, record=options.record) for name in chosen])


def _measure_and_publish(kind: Kind, runs: int, *, record: bool) -> int:
    size = machine()
    measured = measure(kind, runs)

    split = [parts(run) for run in measured.ups]
    by_hand = list(measured.by_hand.values())
    of_hand = {
        _CONTAINERS: [median_and_range([made.containers_seconds for made in each]) for each in by_hand],
        _FORMATION: [median_and_range([made.formation_seconds for made in each]) for each in by_hand],
    }
    empty = [""] * len(by_hand)
    rows = [
        [
            "**everything**",
            median_and_range([run.seconds for run in measured.ups]),
            *(median_and_range([made.seconds for made in each]) for each in by_hand),
        ],
        *([name, median_and_range([each[name] for each in split]), *of_hand.get(name, empty)] for name in split[0]),
        ["no-change `pulumi preview`", median_and_range([run.seconds for run in measured.previews]), *empty],
    ]
    base = next(iter(kind.by_hand))
    text = (
        f"{kind.words}, images and plugins present; medians (and ranges) of {runs} alternating runs.\n"
        f"`pulumi up` includes TLS, ACLs and verification; by hand is {kind.script}.\n"
        f"Targets compare with {base} by hand; `preview` is the share of 3 s.\n\n"
        + table(["", "pulumi up", *(f"by hand, {way}" for way in kind.by_hand)], rows)
    )
    up, hand = _median(measured.ups), _median(measured.by_hand[base])
    of_base = median(made.formation_seconds for made in measured.by_hand[base])
    formation = median(each[_FORMATION] for each in split) / of_base
    targets = [
        Target(f"deploy{kind.suffix}", up / hand, kind.most_of_up),
        Target(f"formation{kind.suffix}", formation, kind.less_of_formation, below=True),
        Target(f"preview{kind.suffix}", _median(measured.previews) / _PREVIEW_LIMIT_SECONDS, 1.0, below=True),
    ]
    return publish(f"deploy{kind.suffix}", text, targets, size, record=record)


def _median(runs: Sequence[Run | HandMade]) -> float:
    return median(run.seconds for run in runs)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (PulumiFailed, HandMadeFailed) as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit("interrupted; everything was removed")
