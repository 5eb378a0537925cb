"""The committed stack files and the real Pulumi CLI: an operation leaves nothing to commit."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from airgap.places import PROJECT
from airgap.stacks import take_salts_out

STACKS = sorted(
    path.name.removeprefix("Pulumi.").removesuffix(".yaml") for path in (PROJECT / "stacks").glob("Pulumi.*.yaml")
)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of Pulumi.yaml and the stack files beside a program that exports a secret."""
    folder = tmp_path / "a project"
    shutil.copytree(PROJECT / "stacks", folder / "stacks")
    take_salts_out(folder / "stacks")
    text = (PROJECT / "Pulumi.yaml").read_text()
    # Both language hosts take the interpreter that runs this test.
    (folder / "Pulumi.yaml").write_text(text.replace("virtualenv: .venv", f"virtualenv: {PROJECT / '.venv'}"))
    (folder / "__main__.py").write_text("import pulumi\npulumi.export('secret', pulumi.Output.secret('hidden'))\n")
    return folder


def pulumi(project: Path, *arguments: str) -> str:
    environment = {
        **os.environ,
        "PULUMI_BACKEND_URL": f"file://{project}",
        "PULUMI_CONFIG_PASSPHRASE": "test",
        "PULUMI_FALLBACK_TO_STATE_SECRETS_MANAGER": "true",
        "PULUMI_SKIP_UPDATE_CHECK": "true",
    }
    finished = subprocess.run(
        ["pulumi", *arguments, "--non-interactive"],
        cwd=project, env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout


@pytest.mark.pulumi
@pytest.mark.parametrize("stack", STACKS)
def test_creating_a_stack_changes_only_the_salt(project: Path, stack: str) -> None:
    """Pulumi rewrites a stack file in a form of its own: the committed one must have it already."""
    file = project / "stacks" / f"Pulumi.{stack}.yaml"
    committed = file.read_text()

    pulumi(project, "stack", "init", stack)
    assert "encryptionsalt: " in file.read_text()
    take_salts_out(project / "stacks")

    assert file.read_text() == committed


@pytest.mark.pulumi
def test_state_is_readable_without_the_salt_in_the_file(project: Path) -> None:
    """What `make` relies on when it takes the salt out after each operation."""
    pulumi(project, "stack", "init", "local")
    for _ in range(2):
        take_salts_out(project / "stacks")
        pulumi(project, "up", "--yes", "--stack", "local")
        take_salts_out(project / "stacks")
        assert pulumi(project, "stack", "output", "--stack", "local", "secret", "--show-secrets") == "hidden\n"
        assert "hidden" not in (project / ".pulumi" / "stacks" / "redis-production" / "local.json").read_text()
    take_salts_out(project / "stacks")
    pulumi(project, "destroy", "--yes", "--stack", "local")
