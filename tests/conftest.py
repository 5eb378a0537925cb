"""The order of the tests, and the Pulumi CLI for those that need it."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Who needs the Pulumi CLI asks for it before anything else, and files are sorted.

    Those whose tests mostly wait for servers come first: meanwhile the CLI is built where there is none. Those that
    need it come next, and quick ones last, so that no long file runs alone at the end.
    """
    need_the_cli = set()
    for item in items:
        if isinstance(item, pytest.Function) and item.get_closest_marker("pulumi"):
            item.fixturenames.insert(0, "pulumi_cli")
            need_the_cli.add(item.path)

    def place(item: pytest.Item) -> tuple[bool, bool]:
        return PROJECT / "tests" / "unit" in item.path.parents, item.path in need_the_cli

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
