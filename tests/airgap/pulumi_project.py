"""A Pulumi project in a temporary folder, run by the real CLI with the Docker stand-in installed as its plugin."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from airgap.docker_provider import VERSION
from airgap.provider_protocol.package import write_package

PASSPHRASE = "test"
_TIMEOUT_SECONDS = 180


class PulumiProject:
    """One project with the stack `dev` and its state in the folder itself."""

    def __init__(self, folder: Path, home: Path, name: str = "realdemo") -> None:
        self.folder = folder
        self.environment = {
            **os.environ,
            # The language host takes the first `python` on PATH: it must be the one that has the Pulumi SDK.
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PULUMI_HOME": str(home),
            "PULUMI_BACKEND_URL": f"file://{folder}",
            "PULUMI_CONFIG_PASSPHRASE": PASSPHRASE,
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
        }
        (folder / "Pulumi.yaml").write_text(f"name: {name}\nruntime: python\n")
        self.program("")
        self.run("stack", "init", "dev")

    def program(self, text: str) -> None:
        """Set the project's program."""
        (self.folder / "__main__.py").write_text(f"import pulumi\nimport pulumi_docker as docker\n{text}")

    def run(
        self, *arguments: str, fails: bool = False, environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run one Pulumi command; it must succeed, or fail if that is what is expected."""
        finished = subprocess.run(
            ["pulumi", *arguments, "--non-interactive"],
            cwd=self.folder,
            env={**self.environment, **(environment or {})},
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_SECONDS,
            check=False,
        )
        assert (finished.returncode != 0) == fails, finished.stdout + finished.stderr
        return finished

    def up(self, fails: bool = False) -> str:
        """Deploy; returns what was printed."""
        finished = self.run("up", "--yes", "--skip-preview", fails=fails)
        return finished.stdout + finished.stderr

    def resources(self) -> dict[str, dict[str, Any]]:
        """The recorded resources by logical name."""
        exported = json.loads(self.run("stack", "export").stdout)
        return {one["urn"].rpartition("::")[2]: one for one in exported["deployment"]["resources"]}

    def planned_operations(self) -> dict[str, str]:
        """What a preview would do, by logical name; unchanged resources are left out."""
        steps = json.loads(self.run("preview", "--json").stdout)["steps"]
        return {one["urn"].rpartition("::")[2]: one["op"] for one in steps if one["op"] != "same"}


def install_stand_in(home: Path) -> None:
    """Install the stand-in plugin into a PULUMI_HOME, as the vendor's would be."""
    archive = write_package("docker", home / "pulumi-resource-docker.tar.gz", Path(sys.executable))
    subprocess.run(
        ["pulumi", "plugin", "install", "resource", "docker", VERSION, "--file", str(archive)],
        env={**os.environ, "PULUMI_HOME": str(home), "PULUMI_SKIP_UPDATE_CHECK": "true"},
        capture_output=True,
        check=True,
        timeout=60,
    )
