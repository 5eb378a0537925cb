"""A primary and its replicas without Sentinels, for tests of what a node gives out."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from components.backups.replication_stream import ReplicationStream
from components.formation import Access
from tests.processes.servers import PASSWORDS, Deployment, Process, wait_for

_MOST_SECONDS = 60
Deploy = Callable[..., Deployment]


def replicated(deploy: Deploy, replicas: int = 1, **options: Any) -> tuple[Process, ...]:
    """The primary, and its replicas in sync."""
    primary, *others = deploy(nodes=1 + replicas, sentinels=0, **options).nodes
    primary.ask("REPLICAOF", "NO", "ONE")
    for replica in others:
        follow(replica, primary)
    return primary, *others


def follow(replica: Process, primary: Process) -> None:
    replica.ask("REPLICAOF", "localhost", primary.port)
    wait_for(lambda: replica.info()["master_link_status"] == "up", f"{replica.name} follows {primary.name}")


def backup_access(process: Process) -> Access:
    certificate = process.authority.certificate if process.authority else None
    return Access("backup", PASSWORDS["backup"], certificate)


def stream_of(process: Process, **options: Any) -> ReplicationStream:
    """A connection as it is made in practice: as user ``backup``, with the rules that a deployment gives it."""
    return ReplicationStream(process.member, backup_access(process), **options)


def read_until(stream: ReplicationStream, offset: int) -> bytes:
    """The replication stream from where it is until an offset, or somewhat further."""
    content = b""
    deadline = time.monotonic() + _MOST_SECONDS
    for piece in stream.increments():
        content += piece
        if stream.offset >= offset:
            return content
        assert time.monotonic() < deadline, f"offset {stream.offset} of {offset} after {_MOST_SECONDS} s"
    raise AssertionError("the stream does not end by itself")
