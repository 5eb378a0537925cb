"""A client that writes all the time and remembers what was acknowledged."""

from __future__ import annotations

import itertools
import threading
import time
from types import TracebackType

import redis


class Writer:
    """Sets ``writer:<number>`` to its number, one after the other, through failovers; a context manager."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._acknowledged: list[tuple[int, float]] = []
        self._news = threading.Condition()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._write, daemon=True)

    def __enter__(self) -> Writer:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(timeout=120)

    @property
    def acknowledged(self) -> int:
        return len(self._acknowledged)

    def longest_gap_seconds(self) -> float:
        times = [at for _, at in self._acknowledged]
        return max((after - before for before, after in itertools.pairwise(times)), default=0.0)

    def wait_for_writes(self, count: int, seconds: float = 180) -> None:
        """Until that many more writes were acknowledged."""
        with self._news:
            wanted = len(self._acknowledged) + count
            assert self._news.wait_for(lambda: len(self._acknowledged) >= wanted, seconds), "no writes are acknowledged"

    def lost(self, client: redis.Redis, *, spare_last_before_gap: bool = False) -> list[int]:
        """Acknowledged writes that are not there.

        ``spare_last_before_gap``: leaves out those of the last 100 ms before the longest pause, when the primary died.
        """
        numbers = [number for number, _ in self._acknowledged]
        if spare_last_before_gap:
            times = [at for _, at in self._acknowledged]
            gaps = [after - before for before, after in itertools.pairwise(times)]
            died = times[gaps.index(max(gaps))]
            numbers = [number for number, at in self._acknowledged if not died - 0.1 <= at <= died]
        values = client.mget([f"writer:{number}" for number in numbers])
        return [number for number, value in zip(numbers, values, strict=True) if value != str(number)]

    def _write(self) -> None:
        number = 0
        while not self._stop.is_set():
            try:
                self._client.set(f"writer:{number}", number)
            except redis.RedisError:
                # Unknown whether it was written: it does not count.
                number += 1
                continue
            with self._news:
                self._acknowledged.append((number, time.monotonic()))
                self._news.notify_all()
            number += 1
