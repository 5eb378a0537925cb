from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from components.backups import metrics
from components.backups.errors import Damaged
from components.backups.manifest import Manifest, Piece, ShardCopy
from components.backups.metrics import View, registry_of
from components.backups.status import Status


def manifest() -> Manifest:
    snapshot = Piece(name="redis.rdb", plain_bytes=100, plain_checksum="p", stored_bytes=40, stored_checksum="s")
    shard = ShardCopy(
        name="redis", node="cache-redis-1", slots=(), importing=(), keys=7, expiring=1, replication_id="id",
        snapshot_offset=1, cut_offset=1, snapshot=snapshot, increments=None,
    )  # fmt: skip
    return Manifest(
        deployment="cache", backup="2026-11-26T03-00-00Z", topology="replicated", started_at=1000.5, cut_at=1001,
        finished_at=1020.5, server="redis", server_version="8.4.0", shards=(shard,), compression="zstd",
        encryption=None, key_fingerprint=None, users=(),
    )  # fmt: skip


def view(status: Status | None, **values: Any) -> View:
    failed = status is not None and status.last_run_failed
    known = {"reachable": True, "failed": failed, "longest_gap_seconds": 86400.0, "proof": True}
    return View(deployment="cache", status=status, **{**known, **values})


def samples(status: Status | None, **values: Any) -> dict[str, float]:
    registry = registry_of(lambda: view(status, **values))
    families = text_string_to_metric_families(generate_latest(registry).decode())
    found = [sample for family in families for sample in family.samples]
    assert all(sample.labels == {"deployment": "cache"} for sample in found)
    return {sample.name.removeprefix("redis_backup_"): sample.value for sample in found}


statuses = st.builds(
    Status,
    last_run_failed=st.booleans(),
    last_good=st.none() | st.text(),
    last_good_at=st.none() | st.floats(allow_nan=False, allow_infinity=False),
    keys=st.none() | st.integers(),
    last_failure=st.none() | st.text(),
)


@given(statuses)
def test_comes_back_as_it_was(status: Status) -> None:
    assert Status.from_json(status.to_json()) == status


def test_what_a_later_version_added_is_left_out() -> None:
    assert Status.from_json(b'{"keys": 3, "more": 1}') == Status(keys=3)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"3", b"\xff"])
def test_what_is_no_status(content: bytes) -> None:
    with pytest.raises(Damaged, match="the status is no status"):
        Status.from_json(content)


def test_a_failure_leaves_what_was_good() -> None:
    good = Status().after_backup(manifest()).after_proof(manifest(), now=1100, seconds=8)
    failed = good.after_failure("it\nfailed", now=2000)
    assert failed.last_run_failed
    assert failed.last_failure == "it failed"
    assert (failed.last_good_at, failed.last_proven_at, failed.last_run_at) == (1020.5, 1100, 2000)
    again = failed.after_backup(manifest())
    assert not again.last_run_failed
    assert again.last_failure == "it failed"


def test_metrics() -> None:
    status = Status().after_backup(manifest()).after_proof(manifest(), now=1100, seconds=8).with_kept(3, 99)
    assert samples(status) == {
        "last_success_timestamp_seconds": 1020.5,
        "last_proven_timestamp_seconds": 1020.5,
        "last_proof_timestamp_seconds": 1100,
        "last_run_timestamp_seconds": 1100,
        "last_run_failed": 0,
        "duration_seconds": 20,
        "proof_duration_seconds": 8,
        "size_bytes": 40,
        "plain_size_bytes": 100,
        "keys": 7,
        "kept_backups": 3,
        "kept_bytes": 99,
        "store_reachable": 1,
        "schedule_longest_gap_seconds": 86400,
        "proof_enabled": 1,
    }
    assert samples(status.after_failure("no", now=2000))["last_run_failed"] == 1


def test_without_any_backup_alerts_see_a_time_long_ago() -> None:
    found = samples(Status())
    assert {value for name, value in found.items() if name.endswith("timestamp_seconds")} == {0}


def test_of_a_store_that_never_answered_nothing_is_made_up() -> None:
    assert samples(None, reachable=False, failed=True) == {
        "last_run_failed": 1,
        "store_reachable": 0,
        "schedule_longest_gap_seconds": 86400,
        "proof_enabled": 1,
    }


def test_an_old_backup_that_is_proven_again_is_not_the_newest_one() -> None:
    good = Status().after_proof(manifest(), now=1100, seconds=8)
    again = good.after_proof(dataclasses.replace(manifest(), backup="2026-11-25T03-00-00Z"), now=2000, seconds=9)
    assert again == dataclasses.replace(good, last_run_at=2000)


def test_the_table_tells_of_every_metric() -> None:
    for name in samples(Status()):
        assert f"``redis_backup_{name}``" in (metrics.__doc__ or "")
