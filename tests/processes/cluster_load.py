"""Clients that write to a cluster all the time and read back every write that was acknowledged."""

from __future__ import annotations

import contextlib
import threading
import traceback
from collections.abc import Iterator
from typing import Any

from redis.cluster import RedisCluster

from components.formation.cluster.slots import slot_of
from tests.processes.cluster_servers import Cluster

BIG_BYTES = 50 * 1024**2
# redis-py knows a node at localhost under another name than the one by which servers send clients to it. And there is
# no formation here that would tell a primary that comes back that it may send its data to replicas.
SETTINGS = {"cluster-preferred-endpoint-type": "ip", "repl-diskless-sync-delay": "0"}


class Load:
    """Writers, each with a client of its own and keys that nobody else writes."""

    def __init__(self, cluster: Cluster, *, writers: int = 2, tags: int = 400) -> None:
        self._cluster = cluster
        self._tags = tags
        self._stop = threading.Event()
        self.errors: list[str] = []
        self.acknowledged = 0
        self._expected: list[dict[str, str]] = [{} for _ in range(writers)]
        self._threads = [threading.Thread(target=self._write, args=(number,)) for number in range(writers)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _write(self, number: int) -> None:
        expected = self._expected[number]
        turn = 0
        with self._cluster.client() as client:
            while not self._stop.is_set():
                try:
                    self._turn(client, f"w{number}", turn, expected)
                except Exception:
                    self.errors.append(traceback.format_exc())
                turn += 1

    def _turn(self, client: RedisCluster, writer: str, turn: int, expected: dict[str, str]) -> None:
        """One write of each kind, and the keys of the same kinds of another turn read back."""
        tag, value = f"{writer}:{turn % self._tags}", str(turn)
        client.set(f"plain:{tag}", value)
        expected[f"plain:{tag}"] = value
        client.set(f"ttl:{tag}", value, ex=1000)
        expected[f"ttl:{tag}"] = value
        client.mset_nonatomic({f"{{{tag}}}:a": value})
        expected[f"{{{tag}}}:a"] = value
        with client.pipeline(transaction=True) as transaction:  # type: ignore[no-untyped-call]
            transaction.set(f"{{{tag}}}:b", value)
            transaction.set(f"{{{tag}}}:c", value)
            # New in every turn: a transaction of keys that exist and one that does not.
            transaction.set(f"{{{tag}}}:{turn}", value, ex=60)
            transaction.execute()
        expected[f"{{{tag}}}:b"] = expected[f"{{{tag}}}:c"] = value
        self.acknowledged += 4
        other = f"{writer}:{(turn * 7) % self._tags}"
        for key in (f"plain:{other}", f"ttl:{other}"):
            if key in expected:
                found = client.get(key)
                assert found == expected[key], f"{key} in slot {slot_of(key)}: {found!r} instead of {expected[key]}"
        if f"{{{other}}}:b" in expected:
            both = client.mget(f"{{{other}}}:b", f"{{{other}}}:c")
            assert both == [expected[f"{{{other}}}:b"]] * 2, f"{{{other}}}: {both}"

    def check(self) -> int:
        """Reads back everything that was acknowledged; returns how much."""
        assert not self.errors, f"{len(self.errors)} errors, the first: {self.errors[0]}"
        count = 0
        with self._cluster.client() as client:
            for expected in self._expected:
                for key, value in expected.items():
                    found = client.get(key)
                    assert found == value, f"{key} in slot {slot_of(key)}: {found!r} instead of {value}"
                    count += 1
                    if key.startswith("ttl:"):
                        assert 0 < client.ttl(key) <= 1000
        return count


@contextlib.contextmanager
def load_on(cluster: Cluster, **options: Any) -> Iterator[Load]:
    """Clients at work; when they have ended, everything is read back."""
    load = Load(cluster, **options)
    load.start()
    try:
        yield load
    finally:
        load.stop()
    assert load.check(), "nothing was written"
