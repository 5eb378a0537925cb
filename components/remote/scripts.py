"""The shell scripts that hosts are sent. None holds a secret: SSM keeps them, and shows them to many."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

_FOLDER = Path(__file__).parent


def wait_until_ready() -> str:
    """Waits until the host's first boot is over; fails when that failed."""
    return _text("ready.sh")


def fetch_files() -> str:
    """The same, then lets the host fetch its files, so that what has changed is on its disk."""
    return _text("ready.sh") + _text("files.sh")


def run_program(arguments: Sequence[str]) -> str:
    """The same, then runs :mod:`host` as an unprivileged user; ``arguments``: its own, without the first."""
    given = f"program={shlex.quote(_text('host.py'))}\nset -- {shlex.join(arguments)}\n"
    return _text("ready.sh") + given + _text("run.sh")


def run_backups(arguments: Sequence[str]) -> str:
    """Lets the host fetch its files, then runs :mod:`host` as who takes backups there; ``arguments``: as above."""
    given = f"program={shlex.quote(_text('host.py'))}\nset -- {shlex.join(arguments)}\n"
    return fetch_files() + given + _text("backup.sh")


def _text(name: str) -> str:
    return (_FOLDER / name).read_text()
