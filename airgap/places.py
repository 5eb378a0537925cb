"""Where things lie: the project's own folders, and the cache that all checkouts of one user share."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
VIRTUAL_ENVIRONMENT = PROJECT / ".venv"
REHEARSAL = "REHEARSAL"
"""The variable that says, with any value, that stacks of AWS are for the look-alike on this machine."""
PULUMI_HOME_PREFIX = "pulumi-home-"


def is_rehearsal(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether stacks of AWS are for the look-alike."""
    return bool(environment.get(REHEARSAL))


def state_name(*, rehearsal: bool) -> str:
    """The folder of the project's Pulumi backend; rehearsals have one of their own: real stacks must not meet them."""
    return ".pulumi-state-rehearsal" if rehearsal else ".pulumi-state"


STATE = PROJECT / state_name(rehearsal=is_rehearsal())


def cache(environment: Mapping[str, str] = os.environ) -> Path:
    """The folder for what is expensive to get, by the XDG rules: $XDG_CACHE_HOME, else ~/.cache."""
    # The XDG specification says that a relative path is to be ignored.
    configured = Path(environment.get("XDG_CACHE_HOME", ""))
    base = configured if configured.is_absolute() else Path.home() / ".cache"
    return base / "redis-production"


def own_pulumi_home(environment: Mapping[str, str] = os.environ) -> Path:
    """PULUMI_HOME for a Pulumi CLI or a plugin that this package brought: the user's own ~/.pulumi stays untouched.

    Every checkout has one of its own, because the stand-in plugins belong to the checkout's code.
    """
    checkout = hashlib.sha256(str(PROJECT).encode()).hexdigest()[:12]
    return cache(environment) / f"{PULUMI_HOME_PREFIX}{checkout}"
