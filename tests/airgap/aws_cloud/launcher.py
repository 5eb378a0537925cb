"""The launcher's command line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).parents[3]


def launcher(*arguments: str) -> str:
    """Run one of its commands; what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "airgap.aws_cloud", *arguments], cwd=PROJECT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
