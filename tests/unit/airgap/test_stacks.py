from __future__ import annotations

import json
import os
import socket
import stat
from pathlib import Path

import pytest

from airgap import stacks
from airgap.lane import Lane
from airgap.problem import Problem

SALT = "encryptionsalt: v1:5tNuUMEmLWw=:v1:EYhbJyZ7BlfAidro:vtPxHbN7BKbt8wPT7YETpcuKD7IYTw==\n"


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(stacks, "project_name", lambda: "redis-production")
    return tmp_path / "state folder"


def test_passphrase_is_random_private_and_made_once(state: Path) -> None:
    stacks.ensure_passphrase(state)
    passphrase = state / "passphrase"
    first = passphrase.read_text()
    assert len(first.strip()) >= 32
    assert stat.S_IMODE(passphrase.stat().st_mode) == 0o600
    assert stat.S_IMODE(state.stat().st_mode) == 0o700

    stacks.ensure_passphrase(state)
    assert passphrase.read_text() == first
    assert [path.name for path in state.iterdir()] == ["passphrase"]

    passphrase.unlink()
    stacks.ensure_passphrase(state)
    assert passphrase.read_text() != first


def test_lost_passphrase_is_never_replaced_under_existing_stacks(state: Path) -> None:
    folder = state / ".pulumi" / "stacks" / "redis-production"
    folder.mkdir(parents=True)
    (folder / "local.json").write_text("{}")

    with pytest.raises(Problem, match="put it back"):
        stacks.ensure_passphrase(state)


@pytest.mark.parametrize(
    ("latest", "expected"), [(None, False), ({"manifest": {}}, False), ({"resources": [{"urn": "u"}]}, True)]
)
def test_empty_stack_is_told_from_a_deployed_one(state: Path, latest: object, expected: bool) -> None:
    folder = state / ".pulumi" / "stacks" / "redis-production"
    folder.mkdir(parents=True)
    (folder / "local.json").write_text(json.dumps({"version": 3, "checkpoint": {"latest": latest}}))

    assert stacks.exists("local", state)
    assert not stacks.exists("other", state)
    assert stacks.has_resources("local", state) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"# why\nconfig:\n  a: 1\n{SALT}", "# why\nconfig:\n  a: 1\n"),
        (f"{SALT}config:\n  a: 1\n", "config:\n  a: 1\n"),
        ("config:\n  a: 1\n", "config:\n  a: 1\n"),
        (f"config:\n  a:\n    secure: v1:x\n{SALT}", f"config:\n  a:\n    secure: v1:x\n{SALT}"),
        ("config:\n  a: 'encryptionsalt: x'\n", "config:\n  a: 'encryptionsalt: x'\n"),
    ],
)
def test_salt_is_taken_out(tmp_path: Path, text: str, expected: str) -> None:
    file = tmp_path / "Pulumi.local.yaml"
    file.write_text(text)

    stacks.take_salts_out(tmp_path)

    assert file.read_text() == expected


def test_project_name_is_read(tmp_path: Path) -> None:
    file = tmp_path / "Pulumi.yaml"
    with pytest.raises(Problem, match="name: NAME"):
        stacks.project_name(file)
    file.write_text("# x\nname: redis-production\nruntime: python\n")
    assert stacks.project_name(file) == "redis-production"


def test_stack_without_settings_is_refused(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stacks, "exists", lambda _stack: False)
    with pytest.raises(Problem, match=r"stacks/Pulumi\.no-such-stack\.yaml does not exist"):
        stacks.ensure_stack(Lane("test"), "no-such-stack", {}, select=False)


@pytest.mark.parametrize(
    ("exists", "select", "called"),
    [
        (False, False, "stack init --no-select local --non-interactive\n"),
        (False, True, "stack select --create local --non-interactive\n"),
        (True, True, "stack select local --non-interactive\n"),
        (True, False, ""),
    ],
)
def test_stack_is_created_and_selected_as_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exists: bool, select: bool, called: str
) -> None:
    monkeypatch.setattr(stacks, "exists", lambda _stack: exists)
    (tmp_path / "stacks").mkdir()
    (tmp_path / "stacks" / "Pulumi.local.yaml").touch()
    monkeypatch.setattr(stacks, "PROJECT", tmp_path)
    record = fake_pulumi(tmp_path)

    stacks.ensure_stack(Lane("test"), "local", {"PATH": f"{tmp_path}:/bin"}, select=select)

    assert record.read_text() == called


def fake_pulumi(folder: Path) -> Path:
    """A pulumi command that only notes its arguments in the file returned."""
    record = folder / "called"
    record.touch()
    command = folder / "pulumi"
    command.write_text(f'#!/bin/sh\necho "$@" >> "{record}"\n')
    command.chmod(0o755)
    return record


@pytest.mark.parametrize(
    ("holder", "released"),
    [
        ({"hostname": socket.gethostname(), "pid": 99999999}, True),
        ({"hostname": socket.gethostname(), "pid": os.getpid()}, True),
        ({"hostname": "another-machine", "pid": 99999999}, False),
        ({}, True),
    ],
    ids=["gone", "number used again by another program", "another machine", "unreadable"],
)
def test_locks_of_dead_pulumis_are_released(
    state: Path, tmp_path: Path, holder: dict[str, object], released: bool
) -> None:
    folder = state / ".pulumi" / "locks" / "organization" / "redis-production" / "local"
    folder.mkdir(parents=True)
    (folder / "lock.json").write_text(json.dumps(holder))
    record = fake_pulumi(tmp_path)

    # subprocess looks a command up in the environment that it is given.
    stacks.release_stale_locks(Lane("test"), "local", {"PATH": f"{tmp_path}:/bin"}, state)

    assert record.read_text() == ("cancel --yes --stack local\n" if released else "")


def test_lock_of_a_living_pulumi_stays(state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = state / ".pulumi" / "locks" / "organization" / "redis-production" / "local"
    folder.mkdir(parents=True)
    (folder / "lock.json").write_text(json.dumps({"hostname": socket.gethostname(), "pid": os.getpid()}))
    monkeypatch.setattr(stacks, "program_of", lambda _pid: "pulumi")

    stacks.release_stale_locks(Lane("test"), "local", {"PATH": str(tmp_path)}, state)


def test_removing_the_last_stack_removes_every_copy_and_the_passphrase(state: Path, tmp_path: Path) -> None:
    backend = state / ".pulumi"
    for kind, file in {
        "stacks": "local.json.bak",
        "backups": "local/local.1.json",
        "history": "local/local-1.checkpoint.json",
    }.items():
        path = backend / kind / "redis-production" / file
        path.parent.mkdir(parents=True)
        path.write_text("secrets")
    (state / "passphrase").write_text("x")
    fake_pulumi(tmp_path)
    environment = {"PATH": f"{tmp_path}:/bin"}
    other = backend / "stacks" / "redis-production" / "other.json"
    other.write_text("{}")

    stacks.remove(Lane("test"), "local", environment, state)
    assert {path for path in state.rglob("*") if path.is_file()} == {state / "passphrase", other}

    other.unlink()
    stacks.remove(Lane("test"), "local", environment, state)
    assert not state.exists()
