"""What the measurements need of the Docker engine and the machine, and nothing of it left behind."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import sys
import time

import docker
from docker.errors import APIError, DockerException

_PREFIX = "bench-"
_REMOVAL_SECONDS = 60


def check_tools() -> None:
    """End with one line that says what is missing."""
    for tool, purpose in (
        ("pulumi", "to deploy"),
        ("docker", "for the hand-made topology"),
        ("bash", "for its script"),
    ):
        if shutil.which(tool) is None:
            sys.exit(f'{tool} is not on PATH; it is needed {purpose}. Run eval "$(make -s env)" first')
    try:
        docker.from_env().ping()
    except DockerException as error:
        sys.exit(
            f'the Docker engine does not answer ({error}). Run eval "$(make -s env)" first: it starts one if it can'
        )


def end_on_sigterm() -> None:
    """SIGTERM ends the program as Ctrl-C does, so that everything is removed."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def unique_name() -> str:
    """A name that nothing else on the engine has."""
    return f"{_PREFIX}{secrets.token_hex(3)}"


def remove_all(label: str, name: str) -> None:
    """Remove the containers and networks with a label, and the volumes whose name begins with ``name``-."""
    engine = docker.from_env()
    # What a killed process had asked the engine for may still appear, and some may be on their way out already.
    deadline = time.monotonic() + _REMOVAL_SECONDS
    while containers := engine.containers.list(all=True, filters={"label": label}, ignore_removed=True):
        for container in containers:
            try:
                container.remove(force=True, v=True)
            except APIError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
    for volume in engine.volumes.list(filters={"name": f"{name}-"}):
        volume.remove(force=True)
    for network in engine.networks.list(filters={"label": label}):
        network.remove()


def machine() -> str:
    """The machine's size and how busy it is, in words."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1024**3
    version = docker.from_env().version()["Version"]
    load = os.getloadavg()[0]
    return f"{os.cpu_count()} cores, {memory:.0f} GiB, Docker {version}, load {load:.1f}"
