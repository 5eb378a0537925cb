"""Runs checkov, a public scanner of infrastructure, on a plan. It gets an environment of its own: it pins much else."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from airgap.lane import Lane
from airgap.places import PROJECT, cache
from airgap.virtual_environment import fingerprint, prepare

_REQUIREMENTS = (PROJECT / "requirements-scan.txt",)
_ARGUMENTS = "--framework terraform_plan --output json --soft-fail --skip-download".split()
"""Findings are no failure of the command; only built-in rules are used."""
_TIMEOUT_SECONDS = 300


@dataclass(frozen=True, order=True)
class Finding:
    """What one rule says of one resource."""

    check: str
    resource: str
    title: str

    def __str__(self) -> str:
        return f"{self.check} {self.resource}: {self.title}"


@dataclass(frozen=True)
class Report:
    """All findings about a plan."""

    passed: frozenset[Finding]
    failed: frozenset[Finding]


def install() -> Path:
    """The scanner's command, installed from PyPI once."""
    folder = cache() / f"scanner-{fingerprint(_REQUIREMENTS)[:12]}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    prepare(Lane("scanner"), _REQUIREMENTS, folder)
    return folder / "bin" / "checkov"


def scan(command: Path, plan: Mapping[str, Any], folder: Path) -> Report:
    """What the scanner's built-in rules say of ``plan``, which is written to ``folder``; nothing is sent anywhere."""
    file = folder / "plan.json"
    file.write_text(json.dumps(plan))
    done = subprocess.run(
        [command, *_ARGUMENTS, "--file", file],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "HOME": str(folder), "LOG_LEVEL": "ERROR"},
        capture_output=True,
        text=True,
        check=False,
        timeout=_TIMEOUT_SECONDS,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    answer = json.loads(done.stdout)
    results = answer["results"]
    assert not results["parsing_errors"], results["parsing_errors"]
    return Report(_findings(results["passed_checks"]), _findings(results["failed_checks"]))


def _findings(records: list[dict[str, Any]]) -> frozenset[Finding]:
    return frozenset(Finding(each["check_id"], each["resource"], each["check_name"]) for each in records)
