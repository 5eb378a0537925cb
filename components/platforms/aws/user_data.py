"""What an instance is told when it first boots (cloud-init). It holds no secret: others than the node may read it.

It is plain text, not compressed: the same settings make the same bytes wherever Pulumi runs, and a change of the bytes
replaces the instance. What an instance can do without until it has the node's files comes with those. Pure: nothing
here knows of Pulumi.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

LARGEST_USER_DATA = 16384
"""Bytes that EC2 takes."""

_HOST_FILES = Path(__file__).parents[2] / "host" / "aws"
_FETCHED = ("watch.py",)
_FETCHED_FOR_BACKUPS = ("redis-production-backup.service", "redis-production-backup.timer")
_PROGRAMS = "/usr/local/lib/redis-production"
_UNITS = "/etc/systemd/system"
_UNIT_SUFFIXES = (".service", ".timer")


@dataclass(frozen=True, kw_only=True)
class Host:
    """What an instance has to know of itself.

    Attributes:
        environment: what its programs get as environment.
        memory: bytes that the server may use.
        stop_grace_seconds: time the server has to stop by itself.
    """

    environment: Mapping[str, str]
    memory: int
    stop_grace_seconds: int


def user_data(host: Host) -> str:
    """The cloud-config of an instance. Raises ValueError when it is larger than EC2 takes."""
    files = {f"{_PROGRAMS}/host.env": _lines(f"{name}={value}" for name, value in sorted(host.environment.items()))}
    for path in sorted(_HOST_FILES.iterdir()):
        if path.is_file() and path.name not in (*_FETCHED, *_FETCHED_FOR_BACKUPS):
            folder = _UNITS if path.suffix in _UNIT_SUFFIXES else _PROGRAMS
            files[f"{folder}/{path.name}"] = path.read_text()
    files[f"{_UNITS}/redis-production.service.d/node.conf"] = _lines(
        ["[Service]", f"MemoryMax={host.memory}", f"TimeoutStopSec={host.stop_grace_seconds}"]
    )
    config = {
        "write_files": [{"path": path, "content": content} for path, content in files.items()],
        "runcmd": [["/bin/sh", f"{_PROGRAMS}/bootstrap.sh"]],
    }
    # JSON is YAML, and needs no indentation.
    text = f"#cloud-config\n{json.dumps(config, separators=(',', ':'), ensure_ascii=False)}\n"
    if len(text.encode()) > LARGEST_USER_DATA:
        raise ValueError(f"user data has {len(text.encode())} bytes, but EC2 takes {LARGEST_USER_DATA}")
    return text


def fetched_programs(*, backups: bool) -> dict[str, str]:
    """Programs and units that a host gets with the node's files, by name: a change of one replaces no instance."""
    names = (*_FETCHED, *(_FETCHED_FOR_BACKUPS if backups else ()))
    return {name: (_HOST_FILES / name).read_text() for name in names}


def _lines(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)
