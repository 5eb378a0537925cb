from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from airgap.places import PROJECT


@pytest.fixture(scope="module")
def pyproject() -> dict[str, Any]:
    return tomllib.loads((PROJECT / "pyproject.toml").read_text())


def test_distribution_names_every_package(pyproject: dict[str, Any]) -> None:
    components = PROJECT / "components"
    folders = {
        components,
        *(path.parent for path in components.rglob("*.py")),
        *(path.parent for path in components.rglob("*.sh")),
        *(path.parent for path in components.rglob("*.yml")),
    }
    packages = {".".join(("redis_production", *folder.relative_to(components).parts)) for folder in folders}

    assert set(pyproject["tool"]["setuptools"]["packages"]) == packages


def test_distribution_accepts_what_is_pinned(pyproject: dict[str, Any]) -> None:
    pinned = dict(re.findall(r"^([a-z0-9-]+)==(\S+)", (PROJECT / "requirements.txt").read_text(), re.MULTILINE))
    requirements = [Requirement(text) for text in pyproject["project"]["dependencies"]]

    assert requirements
    for requirement in requirements:
        assert requirement.specifier.contains(pinned[requirement.name]), requirement


def test_continuous_integration_can_start() -> None:
    run = PROJECT / ".ci" / "run"
    assert run.stat().st_mode & 0o111 == 0o111


def test_distribution_is_built_and_found_under_its_own_name(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "components"):
        copy = shutil.copytree if (PROJECT / name).is_dir() else shutil.copyfile
        copy(PROJECT / name, source / name)
    build = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--disable-pip-version-check",
    ]
    subprocess.run([*build, "--wheel-dir", tmp_path, source], check=True, stdin=subprocess.DEVNULL)
    (wheel,) = tmp_path.glob("redis_production-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")

    names = {path.relative_to(tmp_path / "installed").as_posix() for path in (tmp_path / "installed").rglob("*")}
    assert {"redis_production/host/start.sh", "redis_production/monitoring/backups.rules.yml"} <= names
    script = "import redis_production; print(redis_production.__file__)"
    environment = {"PYTHONPATH": str(tmp_path / "installed")}
    found = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == str(tmp_path / "installed" / "redis_production" / "__init__.py")
