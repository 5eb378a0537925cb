"""Settings of backups: one clear line for each mistake, and no secret in any of them."""

from __future__ import annotations

from typing import Any

import pulumi
import pytest
from pulumi.runtime.config import set_all_config

from components import ReplicatedRedisSettings, SettingsError, settings_from_mapping
from components.backup_settings import BackupSettings, S3Place, longest_gap
from components.settings import MEBIBYTE
from components.stack import deploy
from tests.unit.resource_graph import run_program

CANARY = "canary-of-a-secret-key"
S3 = {
    "backup-target": "s3://backups/redis",
    "backup-access-key-id": "AKIAEXAMPLE",
    "backup-secret-access-key": CANARY,
}

REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"backups": "sometimes"}, "backups: 'sometimes' is not true or false"),
    ({"backup-schedule": "daily"}, "backup-schedule: \"daily\" is no schedule: it needs five fields"),
    ({"backup-schedule": ""}, "backup-schedule: \"\" is no schedule: it needs five fields"),
    ({"backup-schedule": "0 25 * * *"}, "backup-schedule: \"0 25 * * *\" is no schedule: it is not"),
    ({"backup-schedule": "0 0 3 * * *"}, "backup-schedule: \"0 0 3 * * *\" is no schedule: it needs five fields"),
    ({"backup-schedule": "0 0 30 2 *"}, "backup-schedule: \"0 0 30 2 *\" is no schedule: it is not acceptable"),
    ({"backup-retention-days": 0}, "backup-retention-days: 0 is out of range; use 1 to 3650"),
    ({"backup-keep-weekly": 521}, "backup-keep-weekly: 521 is out of range; use 0 to 520"),
    ({"backup-keep-monthly": -1}, "backup-keep-monthly: -1 is out of range; use 0 to 120"),
    ({"backup-target": "folder"}, "backup-target: 'folder' is not s3://bucket or s3://bucket/prefix, nor volume"),
    ({"backup-target": "s3://B"}, "backup-target: 's3://B' is not s3://bucket or s3://bucket/prefix, nor volume"),
    ({"backup-target": "s3://b/a/../b"}, "backup-target: 's3://b/a/../b' is not s3://bucket or s3://bucket/prefix"),
    ({"backup-target": "s3://bucket/a//b"}, "backup-target: 's3://bucket/a//b' is not s3://bucket or s3://bucket/prefi"),
    ({"backup-endpoint": "https://s3.example.com"}, "backup-endpoint: is for a backup-target of s3://bucket/prefix"),
    ({"backup-secret-access-key": CANARY}, "backup-secret-access-key: is for a backup-target of s3://bucket/prefix"),
    ({"backup-target": "volume", "backup-region": "x"}, "backup-region: is for a backup-target of s3://bucket/prefix"),
    (S3 | {"backup-endpoint": "s3.example.com"}, "backup-endpoint: is not the URL of a server, without anything else"),
    (S3 | {"backup-endpoint": f"https://a:{CANARY}@b"}, "backup-endpoint: is not the URL of a server"),
    (S3 | {"backup-endpoint": "https://b:port"}, "backup-endpoint: is not the URL of a server"),
    (S3 | {"backup-endpoint": "https://b/path"}, "backup-endpoint: is not the URL of a server"),
    (S3 | {"backup-region": "Frankfurt am Main"}, "backup-region: 'Frankfurt am Main' is not a region such as"),
    (
        {"backup-target": "s3://backups"},
        "backup-access-key-id: a container has no other right to write to S3; give it and backup-secret-access-key",
    ),
    (
        {"backup-target": "s3://backups", "backup-access-key-id": "a"},
        "backup-secret-access-key: is missing; give it too, or leave out backup-access-key-id",
    ),
    (
        {"backup-target": "s3://backups", "backup-secret-access-key": CANARY},
        "backup-access-key-id: is missing; give it too, or leave out backup-secret-access-key",
    ),
    (S3 | {"backup-secret-access-key": f"{CANARY} x"}, "backup-secret-access-key: is no key; it must be one word"),
    ({"backup-secret-access-key": {"key": CANARY}}, "backup-secret-access-key: is not a text"),
    ({"backup-encryption": "server"}, "backup-encryption: 'server' is not one of none, client"),
    ({"backup-memory": "10mb"}, "backup-memory: 10485760 bytes is less than a backup needs; give at least 64mb"),
    ({"backup-memory": "lots"}, "backup-memory: 'lots' is not an amount of memory such as 512mb or 2gb"),
    ({"backup-object-lock-days": 7}, "backup-object-lock-days: a volume has no such lock; give an s3:// backup-target"),
    (S3 | {"backup-object-lock-days": -1}, "backup-object-lock-days: -1 is out of range; use 0 to 36500"),
    (
        {"backups": False, "point-in-time-recovery": True},
        "point-in-time-recovery: starts from a backup, but backups is false; turn backups on, or this off",
    ),
    ({"restore-from": "newest"}, "restore-from: 'newest' is not latest, a backup's name such as 2026-11-26T03-00-00Z"),
    ({"restore-from": "s3://bucket/2026-11-26T03-00-00Z"}, "restore-from: 's3://bucket/2026-11-26T03-00-00Z' is not"),
    (
        {"restore-from": "s3://bucket/prefix/cache-prod/latest"},
        "restore-from: needs the right to use S3, which comes with a backup-target of s3://bucket/prefix",
    ),
    (
        {"backups": False, "restore-from": "latest"},
        "restore-from: the backup service restores, but backups is false; turn backups on, or leave this out",
    ),
    (
        {"restore-point-in-time": "2026-11-26T12:00:00Z"},
        "restore-point-in-time: needs a backup to start from; give restore-from too, such as latest",
    ),
    (
        {"restore-from": "latest", "restore-point-in-time": "yesterday"},
        "restore-point-in-time: 'yesterday' is not a time with its offset such as 2026-11-26T12:30:00Z",
    ),
    (
        {"restore-from": "latest", "restore-point-in-time": "2026-11-26T12:00:00"},
        "restore-point-in-time: '2026-11-26T12:00:00' is not a time with its offset",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("values", "line"), REFUSED, ids=[line[:70] for _, line in REFUSED])
def test_a_mistake_is_refused_with_one_line_that_has_no_secret(values: dict[str, Any], line: str) -> None:
    with pytest.raises(SettingsError) as caught:
        settings_from_mapping(ReplicatedRedisSettings, values)

    assert [problem[: len(line)] for problem in caught.value.problems] == [line]
    assert CANARY not in str(caught.value)


@pytest.mark.parametrize(
    "values",
    [
        {"backups": False},
        {"backup-schedule": "*/15 2-4 * * mon-fri"},
        {"backup-retention-days": "3650", "backup-keep-weekly": "0", "backup-keep-monthly": "120"},
        {"backup-target": "volume", "backup-encryption": "client", "point-in-time-recovery": "true"},
        S3 | {"backup-endpoint": "http://minio:9000", "backup-region": "eu-central-1", "backup-object-lock-days": 30},
        {"restore-from": "2026-11-26T03-00-00Z"},
        S3 | {"restore-from": "s3://bucket/prefix/cache-prod/2026-11-26T03-00-00Z"},
        {"restore-from": "latest", "restore-point-in-time": "2026-11-26T12:00:00+02:00"},
    ],
)
def test_what_can_be_is_accepted(values: dict[str, Any]) -> None:
    settings_from_mapping(ReplicatedRedisSettings, values)


@pytest.mark.parametrize(
    ("target", "place"),
    [
        (None, None),
        ("volume", None),
        ("s3://backups", S3Place("backups", "")),
        ("s3://backups/", S3Place("backups", "")),
        ("s3://backups/redis/prod/", S3Place("backups", "redis/prod")),
    ],
)
def test_where_backups_go(target: str | None, place: S3Place | None) -> None:
    assert BackupSettings(backup_target=target).s3 == place


def test_a_backup_has_the_memory_of_a_node_and_what_it_takes_besides() -> None:
    given = BackupSettings(backup_memory=300 * MEBIBYTE)

    assert ReplicatedRedisSettings(memory=256 * MEBIBYTE).backup_memory == 512 * MEBIBYTE
    assert ReplicatedRedisSettings(backup=given).backup_memory == 300 * MEBIBYTE


def test_a_secret_is_not_in_what_the_settings_look_like() -> None:
    assert CANARY not in repr(settings_from_mapping(ReplicatedRedisSettings, S3))


def test_a_secret_that_stands_in_the_open_is_refused() -> None:
    config = {f"redis-production:{setting}": value for setting, value in S3.items()}
    set_all_config(config)
    try:
        with pytest.raises(pulumi.RunError) as caught:
            run_program(lambda: deploy() or {})  # type: ignore[func-returns-value]
    finally:
        set_all_config({})

    assert str(caught.value) == (
        "backup-secret-access-key: stands in the open; give it by pulumi config set --secret backup-secret-access-key"
    )


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        (
            {"point_in_time_recovery": True},
            "point-in-time-recovery: nothing does this on platform aws yet; leave it out",
        ),
        (
            {"backup_object_lock_days": 7},
            "backup-object-lock-days: the deployment's own bucket has no such lock; give an s3:// backup-target",
        ),
        (
            {"backup_target": "s3://backups", "backup_endpoint": "https://minio:9000"},
            "backup-endpoint: nodes on AWS reach HTTPS on port 443 only; give such a server",
        ),
        (
            {"backup_target": "s3://backups", "backup_endpoint": "http://minio"},
            "backup-endpoint: nodes on AWS reach HTTPS on port 443 only; give such a server",
        ),
    ],
)
def test_what_hosts_on_aws_cannot_do_is_refused(settings: dict[str, Any], problem: str) -> None:
    (found,) = BackupSettings(**settings).problems(on_aws=True)

    assert found.startswith(problem)


def test_hosts_on_aws_need_no_keys() -> None:
    target: dict[str, Any] = {"backup_target": "s3://backups/redis", "backup_object_lock_days": 7}

    assert BackupSettings(**target).problems(on_aws=True) == []
    assert BackupSettings(**target, backup_endpoint="https://s3.example.com").problems(on_aws=True) == []


def test_the_longest_gap_is_the_same_whenever_it_is_asked() -> None:
    gaps = {schedule: longest_gap(schedule).days for schedule in ("0 3 * * *", "0 3 * * 1", "0 3 1 * *", "0 3 29 2 *")}

    assert gaps == {"0 3 * * *": 1, "0 3 * * 1": 7, "0 3 1 * *": 31, "0 3 29 2 *": 1461}
