"""What clients notice when the primary is killed, beside Sentinel set up by hand; and of a planned hand-over.

The target compares with a hand-made deployment that uses TLS too. Plain text is shown beside it: there Sentinels notice
a dead primary about a second earlier. Down-after is counted from a PING without an answer; a Sentinel sends one when it
reconnects, but over TLS the first attempt, which is refused, fails before that, and the next one comes a second later
(Redis source, sentinel.c: sentinelReconnectInstance).

Run as ``python -m bench.failover``; ``--runs`` failovers of each kind, ``--record`` writes the result to RESULTS.md.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from statistics import median
from typing import Any

import docker
import redis

from bench.by_hand import HandMade, HandMadeFailed, hand_made
from bench.engine import check_tools, end_on_sigterm, machine
from bench.report import Target, median_and_range, publish, table
from bench.stack import PulumiFailed, Stack, new_stack
from bench.writer import follow_sentinel, until, writing

_DOWN_AFTER_MILLISECONDS = 5000
_FAILOVER_TIMEOUT_MILLISECONDS = 10000
_MEMBERS = 3


@dataclass(frozen=True)
class Failover:
    """One change of the primary under a writer: seconds without an acknowledged write, and acknowledged writes lost."""

    stall_seconds: float
    lost: int

    def __str__(self) -> str:
        return f"{self.stall_seconds:.2f} s, {self.lost} writes lost"


@dataclass(frozen=True)
class Watched:
    """A deployment that Sentinels watch: how to reach it, and how its containers are called."""

    name: str
    port: int
    sentinel_ports: tuple[int, ...]
    login: dict[str, Any]

    def client(self) -> redis.Redis:
        """The writer's client."""
        return follow_sentinel([("127.0.0.1", port) for port in self.sentinel_ports], self.name, **self.login)

    def primary_container(self) -> str:
        """The container of the primary that the Sentinels name."""
        _, port = self._sentinel(0).sentinel_get_master_addr_by_name(self.name)
        return f"{self.name}-redis-{int(port) - self.port}"

    def sentinel_failover(self) -> None:
        """What Redis offers for a planned change: SENTINEL FAILOVER."""
        self._sentinel(0).sentinel_failover(self.name)

    def wait_until_complete(self) -> None:
        """Until every Sentinel sees the primary, the replicas and the other Sentinels, and none of them down."""
        until(self._is_complete, f"{self.name}: every Sentinel sees all members up")

    def _is_complete(self) -> bool:
        try:
            return all(self._all_up(self._sentinel(number)) for number in range(_MEMBERS))
        except redis.RedisError:
            return False

    def _sentinel(self, number: int) -> Any:
        return redis.Redis(port=self.sentinel_ports[number], decode_responses=True, **self.login)

    def _all_up(self, sentinel: Any) -> bool:
        primary: dict[str, Any] = sentinel.sentinel_master(self.name)
        replicas: list[dict[str, Any]] = sentinel.sentinel_slaves(self.name)
        return (
            primary["flags"] == "master"
            and len(replicas) == _MEMBERS - 1
            and all(each["flags"] == "slave" and each["master-link-status"] == "ok" for each in replicas)
            and all(each["slave-priority"] != 0 for each in replicas)
            and primary["num-other-sentinels"] == _MEMBERS - 1
        )


def watched_stack(stack: Stack) -> Watched:
    """A deployed stack of ours."""
    deployment = stack.deployment()
    access = deployment.access("app")
    login = {
        "username": access.username,
        "password": access.password,
        "ssl": True,
        "ssl_ca_data": access.ca_certificate,
    }
    sentinel_ports = tuple(member.reach.port for member in deployment.target.sentinels)
    return Watched(stack.deployment_name, deployment.target.nodes[0].reach.port, sentinel_ports, login)


def watched_by_hand(made: HandMade) -> Watched:
    """The hand-made topology."""
    login = {"ssl": True, "ssl_ca_data": made.certificate} if made.certificate else {}
    return Watched(made.name, made.port, made.sentinel_ports, login)


def kill_primary(watched: Watched) -> Failover:
    """SIGKILL the container of the primary, and bring it back as a replica."""
    container = docker.from_env().containers.get(watched.primary_container())
    with writing(watched.client()) as writer:
        container.kill()
        writer.wait_for_writes(200, 60)
    failover = Failover(writer.stall_seconds, writer.lost())
    container.start()
    watched.wait_until_complete()
    return failover


def hand_over(watched: Watched, by: Callable[[], object]) -> Failover:
    """A planned change of the primary, made by ``by``."""
    before = watched.primary_container()
    with writing(watched.client()) as writer:
        by()
        until(lambda: watched.primary_container() != before, f"{watched.name}: another primary")
        # Only now can nobody write to the old primary any more.
        watched.wait_until_complete()
        writer.wait_for_writes(200, 60)
    return Failover(writer.stall_seconds, writer.lost())


def main() -> int:
    """Measure, print, and return the exit code."""
    arguments = argparse.ArgumentParser(prog="python -m bench.failover", description=__doc__)
    arguments.add_argument("--runs", type=int, default=7, help="failovers of each kind")
    arguments.add_argument("--record", action="store_true", help="write the result to bench/RESULTS.md")
    options = arguments.parse_args()
    check_tools()
    end_on_sigterm()
    size = machine()
    by_hand = {
        "down_after_milliseconds": _DOWN_AFTER_MILLISECONDS,
        "failover_timeout_milliseconds": _FAILOVER_TIMEOUT_MILLISECONDS,
    }
    with (
        hand_made(**by_hand, tls=True) as made,
        hand_made(**by_hand, tls=False) as plain,
        new_stack(
            memory="128mb",
            retain_data=False,
            down_after_milliseconds=_DOWN_AFTER_MILLISECONDS,
            failover_timeout=_FAILOVER_TIMEOUT_MILLISECONDS,
        ) as stack,
    ):
        stack.up()
        ours, with_tls, in_plain_text = watched_stack(stack), watched_by_hand(made), watched_by_hand(plain)
        killed = at_once("primary killed", options.runs, {
            "ours": lambda: kill_primary(ours),
            "by hand": lambda: kill_primary(with_tls),
            "by hand, plain text": lambda: kill_primary(in_plain_text),
        })  # fmt: skip
        handed_over = at_once("planned", options.runs, {
            "ours": lambda: hand_over(ours, lambda: stack.ops("failover")),
            "by hand": lambda: hand_over(with_tls, with_tls.sentinel_failover),
        })  # fmt: skip
    rows = [
        ["primary killed: seconds without an acknowledged write", *map(_stalls, killed.values())],
        ["acknowledged writes lost", *map(_lost, killed.values())],
        ["planned (`ops failover`, `SENTINEL FAILOVER`): seconds", *map(_stalls, handed_over.values()), ""],
        ["acknowledged writes lost", *map(_lost, handed_over.values()), ""],
    ]
    text = (
        f"down-after {_DOWN_AFTER_MILLISECONDS // 1000} s, one redis-py `master_for` writer; medians (and ranges) of "
        f"{options.runs} failovers of each kind, side by side.\n"
        "Sentinels over TLS notice a dead primary about a second later than in plain text, made by hand or not.\n\n"
        + table(["", *killed], rows)
    )
    ratio = _median(killed["ours"]) / _median(killed["by hand"])
    return publish("failover", text, [Target("failover", ratio, 1.1)], size, record=options.record)


def at_once(what: str, runs: int, kinds: dict[str, Callable[[], Failover]]) -> dict[str, list[Failover]]:
    """``runs`` rounds of all kinds at the same time: most of each is waiting, and they meet the same conditions."""
    results: dict[str, list[Failover]] = {kind: [] for kind in kinds}
    with ThreadPoolExecutor() as pool:
        for turn in range(1, runs + 1):
            running = {kind: pool.submit(run) for kind, run in kinds.items()}
            for kind, failover in running.items():
                results[kind].append(failover.result())
            latest = "; ".join(f"{kind} {each[-1]}" for kind, each in results.items())
            print(f"{what} {turn} of {runs}: {latest}", flush=True)
    return results


def _median(failovers: list[Failover]) -> float:
    return median(each.stall_seconds for each in failovers)


def _stalls(failovers: list[Failover]) -> str:
    return median_and_range([each.stall_seconds for each in failovers])


def _lost(failovers: list[Failover]) -> str:
    return str(sum(each.lost for each in failovers))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (PulumiFailed, HandMadeFailed, TimeoutError) as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit("interrupted; everything was removed")
