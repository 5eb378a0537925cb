"""Reads the paths that a change touches, one a line; prints the AWS stacks that it can reach as a JSON list.

    git diff --no-renames --name-only BASE HEAD | python3 .github/changed_stacks.py

Run in the project's folder, with a plain Python: nothing is installed where this runs.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable
from pathlib import Path

# What every stack is made of, and what deploys it. Tests, documents and packages for development reach no stack.
_EVERY_STACK = re.compile(r"components/|\.github/|(__main__\.py|Pulumi\.yaml|requirements(-aws)?\.txt)$")
_STACK_FILE = re.compile(r"stacks/Pulumi\.([A-Za-z0-9_.-]+)\.yaml")
_ON_AWS = re.compile(r"""^\s+redis-production:platform:\s*["']?aws["']?\s*(#.*)?$""", re.MULTILINE)


def aws_stacks(project: Path) -> list[str]:
    """The stacks whose file says ``platform: aws``, by name."""
    files = {
        file.name.removeprefix("Pulumi.").removesuffix(".yaml"): file for file in project.glob("stacks/Pulumi.*.yaml")
    }
    return sorted(stack for stack, file in files.items() if _ON_AWS.search(file.read_text()))


def changed_stacks(paths: Iterable[str], stacks: Iterable[str]) -> list[str]:
    """Those of the stacks that a change to these paths can reach, in the same order."""
    touched = set(paths)
    if any(_EVERY_STACK.match(path) for path in touched):
        return list(stacks)
    own = {found[1] for path in touched if (found := _STACK_FILE.fullmatch(path))}
    return [stack for stack in stacks if stack in own]


if __name__ == "__main__":
    print(json.dumps(changed_stacks(sys.stdin.read().splitlines(), aws_stacks(Path()))))
