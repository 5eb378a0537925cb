"""The order of the tests, and the Pulumi CLI for those that need it."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]

# Tests that wait for servers come first: meanwhile the Pulumi CLI is built where there is none. Then those that need
# it; quick ones come last, so that no long file runs alone at the end.
_LAST = ("docker", "aws", "aws_scan", "unit")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort the folders; who needs the Pulumi CLI asks for it before anything else."""
    for item in items:
        if isinstance(item, pytest.Function) and item.get_closest_marker("pulumi"):
            item.fixturenames.insert(0, "pulumi_cli")

    def place(item: pytest.Item) -> int:
        folder = item.path.relative_to(PROJECT / "tests").parts[0]
        return _LAST.index(folder) if folder in _LAST else -1

    items.sort(key=place)


@pytest.fixture(scope="session")
def pulumi_cli() -> None:
    """The Pulumi CLI and its plugins, as `eval "$(make -s env)"` gives them; one that is being built is waited for."""
    command = [sys.executable, "-m", "airgap", "env", "--development"]
    answer = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    if answer.returncode != 0:
        pytest.fail(f"the Pulumi CLI cannot be brought:\n{answer.stderr}", pytrace=False)
    words = shlex.split(answer.stdout)
    for verb, what in zip(words[::2], words[1::2], strict=True):
        name, _, value = what.partition("=")
        if verb == "export":
            os.environ[name] = value
        else:
            os.environ.pop(name, None)
