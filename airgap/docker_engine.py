"""A Docker engine that answers: the running one, else Debian's docker.io, started in the background."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from airgap import apt
from airgap.lane import Lane
from airgap.problem import Problem
from airgap.processes import program_of

_ANSWER_SECONDS = 10
_START_SECONDS = 60
_DEFAULT_SOCKET = Path("/var/run/docker.sock")
_LOG = Path("/var/log/dockerd.log")
_PID_FILES = {Path("/var/run/docker.pid"): "dockerd", Path("/var/run/docker/containerd/containerd.pid"): "containerd"}


def is_ready(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether the engine that this user's docker command talks to answers."""
    return _version(environment) is not None


def prepare(lane: Lane, environment: Mapping[str, str] = os.environ) -> None:
    """Make an engine answer. Raises Problem with what to start or install where this cannot be done here."""
    if version := _version(environment):
        lane.say(f"Docker engine {version} answers")
        return
    chosen = address(environment)
    if chosen is not None and chosen != f"unix://{_DEFAULT_SOCKET}":
        raise Problem(
            f"the Docker engine at {chosen} does not answer: start it, or choose another (DOCKER_HOST, docker context)"
        )
    if sys.platform != "linux":
        raise Problem(
            "no Docker engine answers: start Docker Desktop, colima or another engine, and run the same command again"
        )
    if os.geteuid() != 0:
        raise Problem(_advice_without_root())
    if shutil.which("dockerd") is None or shutil.which("docker") is None:
        _install(lane)
        if _version(environment):
            lane.say("the Docker engine was started by its installation")
            return
    _start(lane, environment)


def address(environment: Mapping[str, str] = os.environ, home: Path | None = None) -> str | None:
    """The engine's address as the docker command would choose it: DOCKER_HOST, else the current context's.

    None stands for Docker's default. A context's address is needed because only the docker command knows contexts:
    provider plugins and Docker's Python library know DOCKER_HOST alone.
    """
    if host := environment.get("DOCKER_HOST"):
        return host
    folder = Path(environment.get("DOCKER_CONFIG") or (home or Path.home()) / ".docker")
    try:
        context = environment.get("DOCKER_CONTEXT") or json.loads((folder / "config.json").read_text()).get(
            "currentContext"
        )
        if not context or context == "default":
            return None
        # The docker command keeps a context under the hash of its name.
        described = folder / "contexts" / "meta" / hashlib.sha256(context.encode()).hexdigest() / "meta.json"
        host = json.loads(described.read_text())["Endpoints"]["docker"]["Host"]
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return None
    return host if isinstance(host, str) and host else None


def _version(environment: Mapping[str, str]) -> str | None:
    try:
        answer = subprocess.run(
            ["docker", "version", "--format", "{{.Server.Version}}"],
            env=dict(environment), capture_output=True, text=True, timeout=_ANSWER_SECONDS, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() or None if answer.returncode == 0 else None


def _advice_without_root() -> str:
    if _DEFAULT_SOCKET.exists() and not os.access(_DEFAULT_SOCKET, os.R_OK | os.W_OK):
        return (
            f"the Docker engine's socket {_DEFAULT_SOCKET} may not be used by this user: "
            "sudo usermod -aG docker $USER, then log in anew"
        )
    if shutil.which("dockerd"):
        return "no Docker engine answers: start it (sudo systemctl start docker) and run the same command again"
    return (
        "no Docker engine: install one (https://docs.docker.com/engine/install; Debian: sudo apt-get install docker.io)"
        " and add yourself to its group (sudo usermod -aG docker $USER)"
    )


def _install(lane: Lane) -> None:
    apt.install(lane, ["docker.io"], "a Docker engine")
    if shutil.which("docker") is None:
        # From Debian 13 on the docker command is a package of its own.
        apt.install(lane, ["docker-cli"], "the docker command")
    for command in ("dockerd", "docker"):
        if shutil.which(command) is None:
            raise Problem(f"a Docker engine: {command} is not on PATH even after its installation")


def _start(lane: Lane, environment: Mapping[str, str]) -> None:
    if Path("/run/systemd/system").is_dir():
        lane.say("starting the Docker engine (systemctl start docker)")
        lane.run(
            ["systemctl", "start", "docker"],
            "starting the Docker engine",
            advice="journalctl -u docker says why.",
            interruptible=False,
        )
        _wait(lane, environment, None, "journalctl -u docker says why")
        return
    if any(_is_running(pid_file, name) for pid_file, name in _PID_FILES.items() if name == "dockerd"):
        lane.say("dockerd is running but does not answer yet: waiting for it")
        _wait(lane, environment, None, f"end that dockerd; its log may be {_LOG}")
        return
    for pid_file, name in _PID_FILES.items():
        # Left by a crash. dockerd refuses to start, or waits for a containerd that is not there, when the number
        # happens to belong to another program by now.
        if pid_file.exists() and not _is_running(pid_file, name):
            lane.say(f"removing {pid_file}: that {name} is gone")
            pid_file.unlink()
    lane.say(f"no init system here: starting dockerd in the background, it stays after this command; its log: {_LOG}")
    with _LOG.open("ab") as log:
        # A session of its own, no terminal, no inherited pipe: nobody who started this command waits for dockerd's end.
        engine = subprocess.Popen(
            ["dockerd"], stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", start_new_session=True
        )
    _wait(lane, environment, engine, f"the end of {_LOG} says why")


def _wait(lane: Lane, environment: Mapping[str, str], engine: subprocess.Popen[bytes] | None, advice: str) -> None:
    started = spoke = time.monotonic()
    while time.monotonic() - started < _START_SECONDS:
        if version := _version(environment):
            lane.say(f"Docker engine {version} answers")
            return
        if engine is not None and engine.poll() is not None:
            last = "\n".join(f"    {line}" for line in _LOG.read_text(errors="replace").splitlines()[-10:])
            raise Problem(f"dockerd ended at once (exit code {engine.returncode}); {advice}:\n{last}")
        if time.monotonic() - spoke > 10:
            lane.say("... waiting for the Docker engine")
            spoke = time.monotonic()
        time.sleep(0.2)
    raise Problem(f"the Docker engine does not answer after {_START_SECONDS} s; {advice}")


def _is_running(pid_file: Path, name: str) -> bool:
    """Whether the process that a pid file names still is that program."""
    try:
        return program_of(int(pid_file.read_text())) == name
    except (OSError, ValueError):
        return False
