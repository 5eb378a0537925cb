"""Rehearsals of the AWS stacks: the look-alike runs, and every stack is gone after its test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("boto3", reason="requirements-rehearsal.txt is not installed")

from tests.airgap.aws_cloud import launcher
from tests.aws.rehearsed_stack import RehearsedStack, names

MakeStack = Callable[..., RehearsedStack]


@pytest.fixture
def make_stack(tmp_path: Path) -> Iterator[MakeStack]:
    """Makes stacks on a look-alike that has nothing else, unless one runs already."""
    with launcher.running() as ours, names():
        stacks: list[RehearsedStack] = []

        def make(like: str, **changes: object) -> RehearsedStack:
            stacks.append(RehearsedStack(tmp_path / f"project-{len(stacks)}", like, **changes))
            return stacks[-1]

        yield make
        if not ours:  # what is ours ends with all it has
            for stack in stacks:
                stack.destroy()
