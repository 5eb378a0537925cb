"""The Docker engine as the look-alike uses it, and what on it belongs to the look-alike."""

from __future__ import annotations

import contextlib
import os
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import docker
from docker.errors import APIError, NotFound

from airgap import docker_engine

LABEL = "redis-production.aws-cloud"
"""The label of every container and network of the look-alike."""


@cache
def client() -> docker.DockerClient:
    """A client of the engine that the docker command talks to."""
    address = docker_engine.address(os.environ)
    return docker.DockerClient(base_url=address, timeout=120) if address else docker.from_env(timeout=120)


def remove_everything() -> None:
    """Remove every container and network of this life or an earlier one."""

    def remove(container: object) -> None:
        with contextlib.suppress(NotFound):
            container.remove(force=True, v=True)  # type: ignore[attr-defined]

    containers = client().containers.list(all=True, filters={"label": LABEL}, ignore_removed=True)
    if containers:
        with ThreadPoolExecutor(max_workers=4) as pool:
            list(pool.map(remove, containers))
    for network in client().networks.list(filters={"label": LABEL}):
        with contextlib.suppress(NotFound):
            network.remove()


def explain(error: APIError) -> str:
    """What the engine complains about, in its own words."""
    return str(error.explanation or error)
