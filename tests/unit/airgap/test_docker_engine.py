from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from pathlib import Path

import pytest

from airgap import docker_engine
from airgap.docker_engine import address, prepare
from airgap.lane import Lane
from airgap.problem import Problem


def write_context(home: Path, name: str, host: str, *, current: bool) -> None:
    folder = home / ".docker" / "contexts" / "meta" / hashlib.sha256(name.encode()).hexdigest()
    folder.mkdir(parents=True)
    (folder / "meta.json").write_text(json.dumps({"Name": name, "Endpoints": {"docker": {"Host": host}}}))
    (home / ".docker" / "config.json").write_text(json.dumps({"currentContext": name} if current else {}))


def test_docker_host_wins(tmp_path: Path) -> None:
    write_context(tmp_path, "desktop-linux", "unix:///desktop.sock", current=True)

    assert address({"DOCKER_HOST": "tcp://10.0.0.1:2375"}, tmp_path) == "tcp://10.0.0.1:2375"


def test_current_context_is_followed(tmp_path: Path) -> None:
    write_context(tmp_path, "desktop-linux", "unix:///home/someone/.docker/run/docker.sock", current=True)

    assert address({}, tmp_path) == "unix:///home/someone/.docker/run/docker.sock"


def test_context_named_in_the_environment_is_followed(tmp_path: Path) -> None:
    write_context(tmp_path, "colima", "unix:///colima.sock", current=False)

    assert address({}, tmp_path) is None
    assert address({"DOCKER_CONTEXT": "colima"}, tmp_path) == "unix:///colima.sock"
    assert address({"DOCKER_CONTEXT": "default"}, tmp_path) is None


@pytest.mark.parametrize("config", [None, "", "{", "[]", '{"currentContext": "gone"}', '{"currentContext": null}'])
def test_without_a_usable_context_docker_decides(tmp_path: Path, config: str | None) -> None:
    if config is not None:
        (tmp_path / "config.json").write_text(config)

    assert address({"DOCKER_CONFIG": str(tmp_path)}) is None


def no_engine(tmp_path: Path) -> dict[str, str]:
    """An environment whose docker command finds no engine."""
    command = tmp_path / "docker"
    command.write_text("#!/bin/sh\necho 'Cannot connect to the Docker daemon' >&2\nexit 1\n")
    command.chmod(0o755)
    return {"PATH": str(tmp_path), "DOCKER_CONFIG": str(tmp_path)}


def test_engine_that_the_user_chose_is_named(tmp_path: Path) -> None:
    with pytest.raises(Problem, match=r"tcp://10\.0\.0\.1:2375 does not answer: start it"):
        prepare(Lane("test"), no_engine(tmp_path) | {"DOCKER_HOST": "tcp://10.0.0.1:2375"})


def test_advice_on_a_mac(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")

    with pytest.raises(Problem, match="start Docker Desktop"):
        prepare(Lane("test"), no_engine(tmp_path))


@pytest.mark.parametrize(
    ("socket_exists", "installed", "advice"),
    [
        (True, True, "sudo usermod -aG docker"),
        (False, True, "sudo systemctl start docker"),
        (False, False, "sudo apt-get install docker.io"),
    ],
)
def test_advice_without_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, socket_exists: bool, installed: bool, advice: str
) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(os, "access", lambda *_arguments: False)
    monkeypatch.setattr(shutil, "which", lambda _name: "/usr/sbin/dockerd" if installed else None)
    monkeypatch.setattr(docker_engine, "_DEFAULT_SOCKET", tmp_path if socket_exists else tmp_path / "absent")

    with pytest.raises(Problem, match=advice):
        prepare(Lane("test"), no_engine(tmp_path))


def test_pid_file_counts_only_for_the_program_it_was_written_by(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    name = Path("/proc/self/comm").read_text().strip()

    pid_file.write_text(f"{os.getpid()}\n")
    assert docker_engine._is_running(pid_file, name)
    assert not docker_engine._is_running(pid_file, "dockerd")
    pid_file.write_text("99999999\n")
    assert not docker_engine._is_running(pid_file, name)
    assert not docker_engine._is_running(tmp_path / "absent", name)
