from __future__ import annotations

import threading
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
from prometheus_client import start_http_server

from components.backups import watch as watch_module
from components.backups.errors import StoreError
from components.backups.metrics import registry_of
from components.backups.service import Progress, Service
from components.backups.status import Status
from components.backups.watch import Watch


@dataclass
class Clock:
    """Both of a machine's clocks."""

    now: datetime = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)
    seconds: float = 1000.0

    def timestamp(self) -> float:
        return self.now.timestamp()

    def wait(self, **time_span: float) -> None:
        self.now += timedelta(**time_span)
        self.seconds += timedelta(**time_span).total_seconds()


@dataclass
class FakeService:
    """As Watch sees a service."""

    schedule: str = "0 3 * * *"
    proof: bool = True
    order: Any = field(default_factory=lambda: SimpleNamespace(deployment="cache-local"))
    settled: bool = True
    error: Exception | None = None
    runs: int = 0
    reads: int = 0
    answer: Callable[[], Status] = Status

    def run_if_due(self, _progress: Progress, _now: datetime) -> bool:
        self.runs += 1
        if self.error:
            raise self.error
        return self.settled

    def status(self) -> Status:
        self.reads += 1
        return self.answer()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(watch_module, "datetime", SimpleNamespace(now=lambda _zone: made.now))
    monkeypatch.setattr(
        watch_module,
        "time",
        SimpleNamespace(monotonic=lambda: made.seconds, time=made.timestamp),
    )
    return made


def watch_of(service: FakeService) -> Watch:
    return Watch(cast(Service, service))


def told(_line: str) -> None:
    """Nobody listens."""


def steps(watch: Watch, clock: Clock, seconds: int) -> None:
    for _ in range(seconds // 15):
        clock.wait(seconds=15)
        watch.step(told)


def test_the_store_is_looked_at_in_the_beginning_and_when_a_tick_comes(clock: Clock) -> None:
    service = FakeService()
    watch = watch_of(service)
    watch.step(told)
    assert service.runs == 1
    steps(watch, clock, 14 * 3600)
    assert service.runs == 1
    steps(watch, clock, 2 * 3600)
    assert service.runs == 2


def test_what_another_host_takes_is_looked_for_again(clock: Clock) -> None:
    service = FakeService(settled=False)
    watch = watch_of(service)
    steps(watch, clock, 150)
    assert service.runs == 3
    service.settled = True
    steps(watch, clock, 3600)
    assert service.runs == 4


def test_what_failed_is_tried_again_after_five_minutes_and_said_once_each(clock: Clock) -> None:
    service = FakeService(error=StoreError("/backups: the file system is full"))
    watch = watch_of(service)
    lines: list[str] = []
    watch.step(lines.append)
    steps(watch, clock, 290)
    assert (service.runs, lines) == (1, ["error: /backups: the file system is full"])
    steps(watch, clock, 30)
    assert service.runs == 2


def test_a_clock_that_is_set_right_keeps_no_backup_from_being_taken(clock: Clock) -> None:
    service = FakeService()
    watch = watch_of(service)
    clock.now += timedelta(days=4000)
    watch.step(told)
    clock.now -= timedelta(days=4000)
    watch.step(told)
    steps(watch, clock, 600)
    assert service.runs == 2


def test_a_status_is_read_again_at_most_every_15_seconds(clock: Clock) -> None:
    service = FakeService()
    watch = watch_of(service)
    for _ in range(5):
        assert watch.view().reachable
    assert service.reads == 1
    service.answer = lambda: Status(keys=3)
    clock.wait(seconds=16)
    assert watch.view().status == Status(keys=3)
    assert service.reads == 2


def test_a_store_that_does_not_answer_is_told_and_what_was_known_stays(clock: Clock) -> None:
    service = FakeService(answer=lambda: Status(last_good_at=5.0))
    watch = watch_of(service)
    watch.view()

    def refuse() -> Status:
        raise StoreError("s3://backups: cannot be reached")

    service.answer = refuse
    clock.wait(seconds=16)
    view = watch.view()
    assert (view.status, view.reachable) == (Status(last_good_at=5.0), False)


def test_a_store_that_is_slow_does_not_hold_up_metrics(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch_module, "_PATIENCE_SECONDS", 0.05)
    release = threading.Event()

    def slow() -> Status:
        release.wait(10)
        return Status(keys=3)

    service = FakeService(answer=slow)
    watch = watch_of(service)
    view = watch.view()
    assert (view.status, view.reachable) == (None, False)
    watch.view()
    assert service.reads == 1
    release.set()
    monkeypatch.setattr(watch_module, "_PATIENCE_SECONDS", 5)
    assert watch.view().status == Status(keys=3)
    assert clock.seconds == 1000


def test_a_failure_that_could_not_be_noted_is_told_until_a_run_goes_well(clock: Clock) -> None:
    before = clock.now.timestamp() - 100
    service = FakeService(error=StoreError("full"), answer=lambda: Status(last_run_at=before))
    watch = watch_of(service)
    watch.step(told)
    assert watch.view().failed
    after = clock.now.timestamp() + 100
    service.answer = lambda: Status(last_run_at=after)
    clock.wait(seconds=200)
    assert not watch.view().failed


def test_the_schedules_longest_gap_is_told(clock: Clock) -> None:
    assert watch_of(FakeService()).view().longest_gap_seconds == 86400
    assert watch_of(FakeService(schedule="0 3 * * mon-fri")).view().longest_gap_seconds == 3 * 86400
    assert clock.seconds == 1000


def test_metrics_are_served_to_prometheus() -> None:
    watch = watch_of(FakeService(answer=lambda: Status(last_good_at=time.time())))
    server, thread = start_http_server(0, addr="127.0.0.1", registry=registry_of(watch.view))
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}/metrics", timeout=10) as answer:
            text = answer.read().decode()
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    assert 'redis_backup_store_reachable{deployment="cache-local"} 1.0' in text
    assert 'redis_backup_last_proven_timestamp_seconds{deployment="cache-local"} 0.0' in text
