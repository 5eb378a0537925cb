"""Clients that write to a cluster all the time, read back what was acknowledged, and notice every error."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from types import TracebackType

import redis
from redis.cluster import RedisCluster

_LIFETIME_SECONDS = 3600


class ClusterLoad:
    """Two threads with a client each: plain keys spread over all slots, and pairs of keys with a hash tag, in
    transactions and with a lifetime. A context manager.
    """

    def __init__(self, connect: Callable[[], RedisCluster]) -> None:
        self._acknowledged: dict[str, tuple[str, float]] = {}
        self._times: list[float] = []
        self.errors: list[str] = []
        self._news = threading.Condition()
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(connect(), write), daemon=True)
            for write in (_write_plain, _write_pair)
        ]

    def __enter__(self) -> ClusterLoad:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=120)

    def wait_for_writes(self, count: int, seconds: float = 120) -> None:
        """Until that many more writes were acknowledged."""
        with self._news:
            wanted = len(self._times) + count
            assert self._news.wait_for(lambda: len(self._times) >= wanted, seconds), (
                f"no writes are acknowledged: {self.errors[-3:]}"
            )

    def longest_gap_seconds(self) -> float:
        return max((after - before for before, after in itertools.pairwise(sorted(self._times))), default=0.0)

    def lost(self, client: RedisCluster, *, spare_around: float | None = None) -> list[str]:
        """Keys whose acknowledged value is not there.

        ``spare_around``: when a primary died. It may not have sent its last writes to a replica.
        """
        with self._news:
            expected = {
                key: value
                for key, (value, at) in self._acknowledged.items()
                if spare_around is None or abs(at - spare_around) > 0.2
            }
        keys = list(expected)
        lost = []
        for start in range(0, len(keys), 500):
            part = keys[start : start + 500]
            found = client.mget_nonatomic(part)
            lost += [key for key, value in zip(part, found, strict=True) if value != expected[key]]
        return lost

    def _run(self, client: RedisCluster, write: Callable[[RedisCluster, int], dict[str, str]]) -> None:
        for number in itertools.count():
            if self._stop.wait(0.002):
                return
            try:
                written = write(client, number)
            except (redis.RedisError, redis.RedisClusterException, AttributeError) as error:
                self.errors.append(f"{type(error).__name__}: {error}")
                time.sleep(0.1)
                continue
            with self._news:
                now = time.monotonic()
                self._acknowledged.update({key: (value, now) for key, value in written.items()})
                self._times.append(now)
                self._news.notify_all()


def _write_plain(client: RedisCluster, number: int) -> dict[str, str]:
    key, value = f"load:{number}", str(number)
    client.set(key, value)
    back = client.get(key)
    if back != value:
        raise redis.DataError(f"{key} is {back!r} just after it was acknowledged as {value!r}")
    return {key: value}


def _write_pair(client: RedisCluster, number: int) -> dict[str, str]:
    written = {f"pair:{{{number}}}:{side}": f"{number}-{side}" for side in ("a", "b")}
    with client.pipeline(transaction=True) as transaction:  # type: ignore[no-untyped-call]
        for key, value in written.items():
            transaction.set(key, value, ex=_LIFETIME_SECONDS)
        transaction.execute()
    return written
