"""Where things lie: the project's own folders, and the cache that all checkouts of one user share."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
VIRTUAL_ENVIRONMENT = PROJECT / ".venv"
STATE_NAME = ".pulumi-state"
STATE = PROJECT / STATE_NAME
PULUMI_HOME_PREFIX = "pulumi-home-"


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
