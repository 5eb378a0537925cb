"""The committed AWS stacks as plans: the very program, its settings from the stack's file, against mocks of AWS.

(No preview by the CLI: the resources are the same, and nothing here needs an engine, a plugin or credentials.)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pulumi
import yaml
from pulumi.runtime import mocks
from pulumi.runtime.config import set_all_config

from components.stack import deploy
from tests.aws_scan.terraform_plan import terraform_plan
from tests.unit.aws_graph import Aws
from tests.unit.resource_graph import run_program

_STACKS = Path(__file__).parents[2] / "stacks"
STACKS = tuple(sorted(path.name.split(".")[1] for path in _STACKS.glob("Pulumi.aws-*.yaml")))


class _Recorder(Aws):
    """Keeps what the mocks answer."""

    def __init__(self) -> None:
        super().__init__()
        self.made: dict[tuple[str, str], dict[str, Any]] = {}

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        identifier, outputs = super().new_resource(args)
        self.made[args.typ, args.name] = {**outputs, "id": identifier}
        return identifier, outputs


def plan_of_stack(stack: str, changes: Mapping[str, str | None] | None = None) -> dict[str, Any]:
    """The plan of a stack. ``changes``: settings that differ from the committed ones; None leaves one out."""
    settings = yaml.safe_load((_STACKS / f"Pulumi.{stack}.yaml").read_text())["config"]
    settings |= {f"redis-production:{name}": value for name, value in (changes or {}).items()}
    set_all_config({name: value for name, value in settings.items() if value is not None})
    try:
        return plan_of(deploy, stack)
    finally:
        set_all_config({})


def plan_of(program: Callable[[], object], stack: str = "aws-dev") -> dict[str, Any]:
    """The plan of a program."""

    def run() -> dict[str, pulumi.Output[Any]]:
        program()
        return {}

    recorder = _Recorder()
    graph = run_program(run, stack, answers=recorder)
    return terraform_plan(graph.resources, recorder.made)
