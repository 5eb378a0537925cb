"""Which backups a deployment on a Docker engine has, by the copy of the status that its backup container keeps.

Read with one request to the engine, for whoever only wants to show it: whatever goes wrong, nothing is known then.
Without the docker library and the backups' own code, as Pulumi's program has to start quickly.
"""

from __future__ import annotations

import io
import json
import subprocess
import tarfile
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from . import backup_files

_SECONDS = 2.0
_MOST_BYTES = 1 << 20
"""The container could put anything there."""


def status_of(container: str) -> dict[str, Any] | None:
    """See :class:`backups.status.Status`, as plain values; None when it cannot be had: no container, no engine, ..."""
    try:
        answer = subprocess.run(
            ["docker", "cp", f"{container}:{backup_files.STATUS}", "-"],
            stdin=subprocess.DEVNULL, capture_output=True, timeout=_SECONDS, check=True,
        )  # fmt: skip
        with tarfile.open(fileobj=io.BytesIO(answer.stdout)) as archive:
            member = archive.next()
            file = archive.extractfile(member) if member is not None and member.size <= _MOST_BYTES else None
            found = json.loads(file.read()) if file is not None else None
    except (OSError, subprocess.SubprocessError, tarfile.TarError, ValueError, KeyError):
        return None
    return found if isinstance(found, dict) else None


def newest_backups(container: str) -> dict[str, Any] | None:
    """As the stack's output tells it; None before the first one, and when the status cannot be had.

    ``last_good`` and ``last_proven``: ``name``, and ``stored_at`` in ISO 8601. ``last_proven`` is None before there is
    a proven one.
    """
    status = status_of(container)
    if status is None:
        return None
    good = _shown(status, "last_good", "last_good_at")
    return None if good is None else {"last_good": good, "last_proven": proven(status)}


def proven(status: Mapping[str, Any]) -> dict[str, str] | None:
    """The newest proven backup of a status."""
    return _shown(status, "last_proven", "last_proven_stored_at")


def _shown(status: Mapping[str, Any], name: str, moment: str) -> dict[str, str] | None:
    try:
        stored_at = datetime.fromtimestamp(float(status[moment]), UTC)
        return {"name": str(status[name]), "stored_at": stored_at.isoformat(timespec="seconds")}
    except (KeyError, TypeError, ValueError, OverflowError, OSError):
        return None
