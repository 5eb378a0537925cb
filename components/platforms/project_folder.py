"""Files that a program makes for its engine: in the project's own folder, under a path that is the same everywhere."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

FOLDER = Path(".redis-production")
"""Relative to the folder where Pulumi runs programs and plugins."""


def put(path: Path, content: bytes) -> None:
    """Write a file below FOLDER, at once: another program of the same project may be reading it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _replace(FOLDER / ".gitignore", b"*\n")
    _replace(path, content)


def _replace(path: Path, content: bytes) -> None:
    descriptor, temporary = tempfile.mkstemp(dir=FOLDER)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    Path(temporary).chmod(0o644)
    Path(temporary).replace(path)
