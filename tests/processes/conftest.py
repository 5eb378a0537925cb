"""Deployments of bare processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.processes.certificates import Authority
from tests.processes.cluster_servers import Cluster, cluster
from tests.processes.servers import Deployment, deployment, server_command


@pytest.fixture(scope="session")
def redis_command() -> list[str]:
    """How redis-server is started here."""
    return server_command()


@pytest.fixture(scope="session")
def authority() -> Authority:
    """One certificate authority for all tests."""
    return Authority()


@pytest.fixture
def deploy(tmp_path: Path, redis_command: list[str]) -> Iterator[Callable[..., Deployment]]:
    """Makes deployments whose processes end with the test."""
    with ExitStack() as stack:

        def make(**options: Any) -> Deployment:
            folder = tmp_path / str(options.get("name", "cache-test"))
            return stack.enter_context(deployment(folder, redis_command, **options))

        yield make


@pytest.fixture
def start_cluster(tmp_path: Path, redis_command: list[str]) -> Iterator[Callable[..., Cluster]]:
    """Starts the processes of clusters, which end with the test."""
    with ExitStack() as stack:

        def make(**options: Any) -> Cluster:
            folder = tmp_path / str(options.get("name", "cache-test"))
            return stack.enter_context(cluster(folder, redis_command, **options))

        yield make
