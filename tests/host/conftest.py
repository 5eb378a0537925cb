"""Deployments of containers, gone after the test."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from components.formation import FormationError
from tests.host.containers import Containers, remove_leftovers

MakeContainers = Callable[..., Containers]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test of this folder needs an engine."""
    for item in items:
        if "tests/host" in item.nodeid:
            item.add_marker(pytest.mark.docker)


@pytest.fixture(scope="session", autouse=True)
def _nothing_left_of_a_killed_run() -> None:
    remove_leftovers()


@pytest.fixture(scope="module")
def shared() -> Iterator[Containers]:
    """A formed deployment for tests that leave it as it is, or healed."""
    with Containers() as containers:
        containers.start_anew()
        yield containers


@pytest.fixture
def formed(shared: Containers) -> Containers:
    """The shared deployment, whole again whatever the test before did to it."""
    try:
        shared.form()
        shared.wait_until_whole()
    except (AssertionError, FormationError):  # the test before failed half way
        shared.start_anew()
    return shared


@pytest.fixture
def make() -> Iterator[MakeContainers]:
    """Makes a deployment of started, unformed nodes with settings of its own."""
    with contextlib.ExitStack() as stack:

        def start(**values: Any) -> Containers:
            containers = stack.enter_context(Containers(**values))
            containers.start_all()
            return containers

        yield start
