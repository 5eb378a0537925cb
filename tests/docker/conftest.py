"""Stacks on the real engine, made by the real CLI, gone after the test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.docker.stack import PulumiStack

MakeStack = Callable[..., PulumiStack]


@pytest.fixture
def make_stack(tmp_path: Path) -> Iterator[MakeStack]:
    """Makes stacks; each is removed from the engine after the test, whatever state it is in."""
    stacks: list[PulumiStack] = []

    def make(**config: Any) -> PulumiStack:
        stack = PulumiStack(tmp_path / f"project-{len(stacks)}", **config)
        stacks.append(stack)
        return stack

    yield make
    for stack in stacks:
        stack.clean_up()


@pytest.fixture
def stack(make_stack: MakeStack) -> PulumiStack:
    """A formed deployment of three Redis nodes and three Sentinels."""
    made = make_stack()
    made.up()
    return made


@pytest.fixture(scope="module")
def shared_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PulumiStack]:
    """As `stack`, for all tests of a file; whoever uses it leaves it well for the next test."""
    made = PulumiStack(tmp_path_factory.mktemp("stack") / "project")
    try:
        made.up()
        yield made
    finally:
        made.clean_up()


@pytest.fixture(scope="module")
def shared_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PulumiStack]:
    """A formed cluster of three shards with a replica each; whoever uses it leaves it well for the next test."""
    made = PulumiStack(tmp_path_factory.mktemp("cluster") / "project", topology="cluster")
    try:
        made.up()
        yield made
    finally:
        made.clean_up()
