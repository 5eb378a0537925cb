from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from airgap import virtual_environment
from airgap.lane import Lane
from airgap.virtual_environment import DEVELOPMENT, RUNTIME, is_ready, prepare


@pytest.fixture
def requirements(tmp_path: Path) -> tuple[Path, Path]:
    files = tmp_path / "requirements.txt", tmp_path / "requirements-dev.txt"
    for file in files:
        file.write_text("")
    return files


class FakeLane(Lane):
    """Does what `python -m venv --clear` and `pip install` do to the folder's outside."""

    def run(self, command: Sequence[str | Path], *_arguments: object, **_options: object) -> None:
        if "venv" in command:
            folder = Path(command[-1])
            shutil.rmtree(folder, ignore_errors=True)
            (folder / "bin").mkdir(parents=True)
            (folder / "bin" / "python").symlink_to(sys.executable)


def test_environment_follows_its_requirements(tmp_path: Path, requirements: tuple[Path, Path]) -> None:
    folder = tmp_path / "virtual environment"
    runtime = requirements[:1]
    lane = FakeLane("test")
    assert not is_ready(runtime, folder)

    prepare(lane, runtime, folder)
    assert is_ready(runtime, folder)
    assert not is_ready(requirements, folder)

    left_over = folder / "left-over"
    left_over.touch()
    prepare(lane, requirements, folder)
    assert is_ready(requirements, folder)
    assert is_ready(runtime, folder)
    assert left_over.exists(), "development packages come on top"

    requirements[0].write_text("# changed\n")
    assert not is_ready(runtime, folder)
    prepare(lane, runtime, folder)
    assert is_ready(runtime, folder)
    assert not is_ready(requirements, folder)
    assert not left_over.exists(), "a changed requirement makes everything anew"


def test_interrupted_installation_is_repeated(tmp_path: Path, requirements: tuple[Path, Path]) -> None:
    class Interrupted(FakeLane):
        def run(self, command: Sequence[str | Path], *arguments: object, **options: object) -> None:
            if "pip" in command:
                raise KeyboardInterrupt
            super().run(command, *arguments, **options)

    with pytest.raises(KeyboardInterrupt):
        prepare(Interrupted("test"), requirements[:1], tmp_path / "venv")

    assert not is_ready(requirements[:1], tmp_path / "venv")


def test_environment_whose_python_is_gone_is_made_anew(tmp_path: Path, requirements: tuple[Path, Path]) -> None:
    folder = tmp_path / "venv"
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").symlink_to("/no/such/python")
    (folder / ".installed-requirements").write_text(virtual_environment.fingerprint(requirements[:1]))

    assert not is_ready(requirements[:1], folder)


@pytest.mark.parametrize("file", [*RUNTIME, DEVELOPMENT[-1]], ids=lambda path: path.name)
def test_every_requirement_is_pinned(file: Path) -> None:
    lines = [line for line in file.read_text().splitlines() if line and not line.startswith(("#", "-r "))]

    assert lines
    assert [line for line in lines if not re.match(r"[a-z0-9-]+==[^=\s]+( ;|$)", line)] == []


def test_development_environment_made_first_serves_for_the_runtime(
    tmp_path: Path, requirements: tuple[Path, Path]
) -> None:
    folder = tmp_path / "venv"
    prepare(FakeLane("test"), requirements, folder)

    assert is_ready(requirements[:1], folder), "`make up` after `make test` must not make everything anew"
