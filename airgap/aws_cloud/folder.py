"""Where the look-alike keeps what must outlive a process: one folder per user, because its addresses exist once."""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from airgap.places import cache
from airgap.processes import program_of

ROOT = cache() / "aws-cloud"
LOG = ROOT / "log"
INSTANCES = ROOT / "instances"
VOLUMES = ROOT / "volumes"
_PID = ROOT / "pid"
_READY = ROOT / "ready"
_CREDENTIALS = ROOT / "credentials.json"


@dataclass(frozen=True)
class Credentials:
    """The access key of the deployer, an administrator of the look-alike's account."""

    access_key: str
    secret_key: str


def credentials() -> Credentials:
    """The deployer's key; made on first use and kept until ``stop``, so that a shell stays valid over a ``reset``."""
    if not _CREDENTIALS.exists():
        ROOT.mkdir(parents=True, exist_ok=True, mode=0o700)
        text = json.dumps({"access_key": "AKIA" + secrets.token_hex(8).upper(), "secret_key": secrets.token_hex(20)})
        with open(os.open(_CREDENTIALS, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
    return Credentials(**json.loads(_CREDENTIALS.read_text()))


def running() -> int | None:
    """The launcher's process, or None when none runs."""
    try:
        pid = int(_PID.read_text())
    except (OSError, ValueError):
        return None
    # The number may belong to another program by now; the launcher is a Python.
    return pid if program_of(pid).startswith("python") and _is_launcher(pid) else None


def note_running(pid: int) -> None:
    """Remember the launcher's process."""
    _PID.write_text(str(pid))


def is_ready() -> bool:
    """Whether the launcher that runs has said that everything answers."""
    return running() is not None and _READY.exists()


def note_ready() -> None:
    """Say that everything answers."""
    _READY.touch()


def forget_running() -> None:
    """Forget the launcher's process."""
    _READY.unlink(missing_ok=True)
    _PID.unlink(missing_ok=True)


def _is_launcher(pid: int) -> bool:
    try:
        return b"airgap.aws_cloud" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
