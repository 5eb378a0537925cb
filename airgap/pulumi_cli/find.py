"""Which Pulumi CLI serves this project."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from airgap.places import cache, own_pulumi_home
from airgap.pulumi_cli.build import built_cli_folder
from airgap.pulumi_cli.download import released_cli_folder

OLDEST_VERSION = (3, 238, 0)
"""Since 3.238.0 a failed after-hook fails the deployment (pulumi/pulumi pull request 22935). It was a warning before,
and a deployment whose verification failed would have been called a success. Resource hooks came in 3.182.0."""


@dataclass(frozen=True)
class PulumiCli:
    """A usable Pulumi CLI: the folder of its executables, and whether it is the user's or brought by this package."""

    folder: Path
    is_users_own: bool

    def home(self, environment: Mapping[str, str] = os.environ) -> Path:
        """Its PULUMI_HOME: the user's CLI keeps the user's home."""
        if not self.is_users_own:
            return own_pulumi_home(environment)
        configured = environment.get("PULUMI_HOME")
        if configured and Path(configured) != own_pulumi_home(environment):
            return Path(configured)
        return Path.home() / ".pulumi"


def find(environment: Mapping[str, str] = os.environ) -> PulumiCli | None:
    """The CLI to use, or None when one must be brought first: the user's own if new enough, else one from the cache."""
    if own := users_own_cli(environment):
        return PulumiCli(own.parent, is_users_own=True)
    for folder in (released_cli_folder(environment), built_cli_folder(environment)):
        if (folder / "pulumi").exists():
            return PulumiCli(folder, is_users_own=False)
    return None


def users_own_cli(environment: Mapping[str, str]) -> Path | None:
    """The first ``pulumi`` on PATH that this package did not bring, if it is new enough."""
    own_cache = cache(environment).resolve()
    for entry in environment.get("PATH", "").split(os.pathsep):
        candidate = Path(entry or ".") / "pulumi"
        if not os.access(candidate, os.X_OK) or candidate.is_dir() or own_cache in candidate.resolve().parents:
            continue
        version = version_of(candidate, environment)
        return candidate if version is not None and version >= OLDEST_VERSION else None
    return None


def version_of(executable: Path, environment: Mapping[str, str]) -> tuple[int, int, int] | None:
    """What ``pulumi version`` says, or None when it does not answer with a version."""
    quiet = {**environment, "PULUMI_SKIP_UPDATE_CHECK": "true"}
    try:
        answer = subprocess.run(
            [executable, "version"], capture_output=True, text=True, env=quiet, timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return parse_version(answer.stdout)


def parse_version(text: str) -> tuple[int, int, int] | None:
    """``v3.259.0`` or ``3.259.0-dev.1`` as three numbers; None for anything else."""
    found = re.match(r"v?(\d+)\.(\d+)\.(\d+)\b", text.strip())
    return (int(found[1]), int(found[2]), int(found[3])) if found else None
