"""A steady writer: what an application with redis-py's ``master_for`` notices of a failover."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from redis.sentinel import Sentinel

_PAUSE_SECONDS = 0.001
_RETRY_SECONDS = 0.02
_ANSWER_SECONDS = 1.0
_PREFIX = "bench:"


def follow_sentinel(sentinels: list[tuple[str, int]], master_name: str, **login: Any) -> redis.Redis:
    """A client of the current primary. It never waits by itself, which would blur what is measured: the writer does."""
    options = {**login, "socket_timeout": _ANSWER_SECONDS, "decode_responses": True}
    sentinel = Sentinel(  # type: ignore[no-untyped-call]
        sentinels, sentinel_kwargs=options, force_master_ip=sentinels[0][0], **options
    )
    client: redis.Redis = sentinel.master_for(  # type: ignore[no-untyped-call]
        master_name, retry=Retry(NoBackoff(), 0)
    )
    return client


class Writer:
    """Writes one key after the other in a thread, and notes when each was acknowledged."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._acknowledged: list[tuple[float, int]] = []
        self._refusal = ""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._write, daemon=True)
        self._thread.start()

    def _write(self) -> None:
        for number in itertools.count():
            while not self._stop.is_set():
                try:
                    self._client.set(f"{_PREFIX}{number}", number)
                except redis.RedisError as error:
                    self._refusal = f"; the last refusal: {error}"
                    time.sleep(_RETRY_SECONDS)  # no primary yet, or one that may not acknowledge yet
                    continue
                self._acknowledged.append((time.monotonic(), number))
                break
            if self._stop.wait(_PAUSE_SECONDS):
                return

    def wait_for_writes(self, count: int, seconds: float) -> None:
        """Until so many more writes are acknowledged. Raises TimeoutError."""
        wanted = len(self._acknowledged) + count
        deadline = time.monotonic() + seconds
        while len(self._acknowledged) < wanted:
            if time.monotonic() > deadline:
                raise TimeoutError(f"fewer than {count} writes were acknowledged within {seconds:.0f} s{self._refusal}")
            time.sleep(0.01)

    @property
    def stall_seconds(self) -> float:
        """The longest time between two acknowledged writes."""
        times = [at for at, _ in self._acknowledged]
        return max(after - before for before, after in itertools.pairwise(times))

    def stop(self) -> None:
        """Write no more."""
        self._stop.set()
        self._thread.join()

    def lost(self) -> int:
        """How many acknowledged writes the primary does not have; all keys are removed."""
        numbers = [number for _, number in self._acknowledged]
        lost = 0
        for start in range(0, len(numbers), 1000):
            keys = [f"{_PREFIX}{number}" for number in numbers[start : start + 1000]]
            lost += sum(value is None for value in self._client.mget(keys))
            self._client.unlink(*keys)
        return lost


@contextmanager
def writing(client: redis.Redis) -> Iterator[Writer]:
    """A writer that has begun, and stops at the end."""
    writer = Writer(client)
    try:
        writer.wait_for_writes(200, 30)
        yield writer
    finally:
        writer.stop()


def until(condition: Callable[[], bool], what: str, seconds: float = 120) -> None:
    """Wait until the condition holds. Raises TimeoutError that names it."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds:.0f} s")
        time.sleep(0.05)
