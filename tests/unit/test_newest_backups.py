from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from components import newest_backups as module
from components.backup_files import SCRATCH_FOLDER, STATUS
from components.backups.status import OBJECT, Status
from components.formation import FormationError
from components.newest_backups import newest_backups, status_of
from ops import status as ops_status
from ops.deployment import Deployment

KNOWN = Status(
    last_good="2026-11-26T03-00-00Z", last_good_at=1795662009.25, last_proven="2026-11-25T03-00-00Z",
    last_proven_stored_at=1795575609.0,
)  # fmt: skip


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Makes what is called docker do what a shell script says."""

    def make(script: str) -> None:
        program = tmp_path / "docker"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")

    return make


def packed(folder: Path, content: bytes) -> Path:
    """As docker cp gives a file."""
    path = folder / "answer.tar"
    with tarfile.open(path, "w") as archive:
        member = tarfile.TarInfo("status.json")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return path


def test_the_newest_backups_of_a_container(tmp_path: Path, engine: Callable[[str], None]) -> None:
    answer = packed(tmp_path, KNOWN.to_json())
    engine(f'[ "$*" = "cp cache-local-backup:/data/status.json -" ] && cat {answer}')
    assert newest_backups("cache-local-backup") == {
        "last_good": {"name": "2026-11-26T03-00-00Z", "stored_at": "2026-11-26T03:00:09+00:00"},
        "last_proven": {"name": "2026-11-25T03-00-00Z", "stored_at": "2026-11-25T03:00:09+00:00"},
    }


def test_without_a_proven_one(tmp_path: Path, engine: Callable[[str], None]) -> None:
    engine(f"cat {packed(tmp_path, Status(last_good='2026-11-26T03-00-00Z', last_good_at=1795662009).to_json())}")
    found = newest_backups("cache-local-backup")
    assert found is not None
    assert found["last_proven"] is None


@pytest.mark.parametrize(
    "content",
    [
        Status().to_json(),
        b"{}",
        b"[]",
        b"{",
        b"\xff",
        b"null",
        json.dumps({"last_good": 3, "last_good_at": 1e300}).encode(),
        json.dumps({"last_good": "x", "last_good_at": "soon"}).encode(),
        b" " * (module._MOST_BYTES + 1),
    ],
)
def test_what_tells_of_no_backup(tmp_path: Path, engine: Callable[[str], None], content: bytes) -> None:
    engine(f"cat {packed(tmp_path, content)}")
    assert newest_backups("cache-local-backup") is None


@pytest.mark.parametrize(
    "script", ["echo 'no such container' >&2; exit 1", "exit 0", "echo something else", "exec sleep 30"]
)
def test_an_engine_that_does_not_help_holds_nothing_up(
    engine: Callable[[str], None], monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    monkeypatch.setattr(module, "_SECONDS", 0.5)
    engine(script)
    assert status_of("cache-local-backup") is None


def test_without_docker(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: Any, **__: Any) -> None:
        raise FileNotFoundError

    monkeypatch.setattr(subprocess, "run", missing)
    assert newest_backups("cache-local-backup") is None


def test_the_copy_is_where_the_service_keeps_it() -> None:
    assert f"{SCRATCH_FOLDER}/{OBJECT}" == STATUS


def deployment(record: dict[str, Any] | None = None) -> Deployment:
    return cast(Deployment, SimpleNamespace(record=record or {}))


@pytest.mark.parametrize(
    ("stored_at", "age"),
    [(25, "25 s"), (61, "1 min"), (3600 * 5 + 180, "5 h 3 min"), (86400 * 2 + 3700, "2 d 1 h"), (-3, "0 s")],
)
def test_status_says_how_old_the_newest_proven_backup_is(
    monkeypatch: pytest.MonkeyPatch, stored_at: float, age: str
) -> None:
    now = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)
    found = {"last_proven": "2026-11-26T03-00-00Z", "last_proven_stored_at": now.timestamp() - stored_at}
    monkeypatch.setattr(shutil, "which", lambda _: "/usr/bin/docker")
    monkeypatch.setattr(ops_status, "backup_container", lambda _: "cache-local-backup")
    monkeypatch.setattr(ops_status, "status_of", lambda _: found)
    assert ops_status._backup_line(deployment(), now) == f"newest proven backup: 2026-11-26T03-00-00Z, {age} old"


def test_status_says_nothing_of_what_it_cannot_know(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_container(_: Deployment) -> str:
        raise FormationError("there is no such container")

    now = datetime.now(UTC)
    monkeypatch.setattr(shutil, "which", lambda _: "/usr/bin/docker")
    monkeypatch.setattr(ops_status, "backup_container", lambda _: "cache-local-backup")
    monkeypatch.setattr(ops_status, "status_of", lambda _: {})
    assert ops_status._backup_line(deployment(), now) == "no backup is proven yet"
    assert ops_status._backup_line(deployment({"runner": "cache-redis-0"}), now) is None
    monkeypatch.setattr(ops_status, "status_of", lambda _: None)
    assert ops_status._backup_line(deployment(), now) is None
    monkeypatch.setattr(ops_status, "backup_container", no_container)
    assert ops_status._backup_line(deployment(), now) is None
