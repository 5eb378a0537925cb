"""The project's virtual environment: made from the pinned requirements, made anew when they change."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from airgap import apt
from airgap.lane import Lane
from airgap.places import PROJECT, VIRTUAL_ENVIRONMENT
from airgap.problem import Problem

# Each file brings along the ones before it.
RUNTIME = (PROJECT / "requirements.txt",)
AWS = (*RUNTIME, PROJECT / "requirements-aws.txt")
REHEARSAL = (*AWS, PROJECT / "requirements-rehearsal.txt")
DEVELOPMENT = (*REHEARSAL, PROJECT / "requirements-dev.txt")


def is_ready(requirements: Sequence[Path], folder: Path = VIRTUAL_ENVIRONMENT) -> bool:
    """Whether the environment holds what these requirement files pin, and at most the development ones besides."""
    if not os.access(folder / "bin" / "python", os.X_OK):
        return False
    try:
        return _stamp(requirements, folder).read_text() == fingerprint(requirements)
    except OSError:
        return False


def fingerprint(requirements: Sequence[Path]) -> str:
    """A hash of everything that the requirement files say."""
    digest = hashlib.sha256()
    for path in requirements:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def prepare(lane: Lane, requirements: Sequence[Path], folder: Path = VIRTUAL_ENVIRONMENT) -> None:
    """Make the environment hold what the requirement files pin.

    The last files come on top of an environment that already has the first ones; in every other case the environment
    is made anew, so that nothing remains that is no longer pinned. An interrupted run leaves no stamp and is repeated
    by the next one.
    """
    if is_ready(requirements, folder):
        return
    python = folder / "bin" / "python"
    if not any(is_ready(requirements[:count], folder) for count in range(1, len(requirements))):
        _require_venv_module(lane)
        lane.say(f"making the virtual environment {folder.name} with Python {sys.version.split()[0]}")
        # _base_executable: this very program may be running in the environment that is made anew.
        base_python = getattr(sys, "_base_executable", sys.executable)
        lane.run(
            [base_python, "-m", "venv", "--clear", folder],
            "making the virtual environment",
            advice="Python's venv module is needed (on Debian: apt-get install python3-venv).",
        )
    lane.say(f"installing the pinned packages of {requirements[-1].name} from PyPI")
    lane.run(
        [python, "-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--progress-bar", "off",
         "-r", requirements[-1]],
        f"installing {requirements[-1].name}",
        advice="PyPI, or the package index that pip is configured for, must be reachable (pip config list shows it).",
        progress=lambda line: f"unpacking {line.count(',') + 1} packages" if line.startswith("Installing ") else None,
    )  # fmt: skip
    for count in range(1, len(requirements) + 1):  # serves for every smaller one, too
        _stamp(requirements[:count], folder).write_text(fingerprint(requirements[:count]))
    lane.say("the virtual environment is ready")


def _stamp(requirements: Sequence[Path], folder: Path) -> Path:
    return folder / f".installed-{requirements[-1].stem}"


def _require_venv_module(lane: Lane) -> None:
    """Debian splits the parts that venv needs off into packages of their own."""
    if importlib.util.find_spec("ensurepip") and importlib.util.find_spec("venv"):
        return
    package = f"python{sys.version_info.major}.{sys.version_info.minor}-venv"
    apt.install(lane, [package], "Python's venv module")
    importlib.invalidate_caches()
    if not importlib.util.find_spec("ensurepip"):
        raise Problem(f"Python's ensurepip module is still missing after installing {package}: reinstall Python")
