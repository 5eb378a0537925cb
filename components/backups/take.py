"""Takes a backup: every shard's data, from a node that can be spared, sealed on the way into the store."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import redis

from ..formation.closing import waiting_users
from ..formation.connection import Connections, reason
from ..formation.members import Access, Member
from ..topologies import CLUSTER, topology_of
from .catalog import Catalog
from .errors import SourceError
from .manifest import Manifest, ShardCopy
from .replication_stream import ReplicationStream
from .sealing import COMPRESSION, ENCRYPTION, key_fingerprint, seal
from .sources import Source, settled_survey

Progress = Callable[[str], None]
_ATTEMPTS = 5
_SETTLE_SECONDS = 60.0
_CATCH_UP_SECONDS = 30.0
_AT_ONCE = 2
"""Shards that are copied at the same time: each needs memory for its upload here, and for its fork there."""


@dataclass(frozen=True, kw_only=True)
class Order:
    """What to back up.

    Attributes:
        deployment: its name.
        record: its topology, members announced where they can be reached.
        access: as user ``backup``.
        key: of 32 bytes that pieces are encrypted with; None: they are not.
    """

    deployment: str
    record: Mapping[str, Any]
    access: Access
    key: bytes | None = None


class _Stopped(SourceError):
    """Another shard could not be copied: all are begun anew."""


def take(order: Order, catalog: Catalog, backup: str, claim_number: int, progress: Progress) -> Manifest:
    """Take a backup of that name; its manifest, which is written last.

    ``claim_number``: of the claim to the backup; two that hold one after the other do not write the same objects.

    Whatever was acknowledged before it is begun is in it: a replica is copied from once it has all that its primary had
    then. In a cluster the slots must have the same owners before the first and after the last shard is copied, and
    none may be on its way; else it is begun anew, five times at most.

    Raises BackupError; nothing is listed as good then.
    """
    for attempt in itertools.count(1):
        try:
            manifest = _attempt(order, catalog, backup, claim_number, progress)
            break
        except SourceError as error:
            if attempt == _ATTEMPTS:
                raise
            progress(f"{error}; trying again")
    catalog.put_manifest(manifest)
    return manifest


def _attempt(order: Order, catalog: Catalog, backup: str, claim_number: int, progress: Progress) -> Manifest:
    started_at = time.time()
    survey = settled_survey(order.record, order.access, _SETTLE_SECONDS)
    moving = [source.shard for source in survey.sources if source.moving]
    if moving:
        raise SourceError(f"{', '.join(sorted(moving))}: slots are on their way; a backup needs them to stay")
    stop = threading.Event()

    def copy(source: Source) -> ShardCopy:
        try:
            name = f"{source.shard}.{claim_number}.rdb"
            return _copied(order, catalog, backup, name, source, stop, progress)
        except BaseException:
            stop.set()
            raise

    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="backup") as pool:
        copies = [pool.submit(copy, source) for source in survey.sources]
    errors = [error for each in copies if (error := each.exception())]
    if errors:
        raise next((error for error in errors if not isinstance(error, _Stopped)), errors[0])
    shards = tuple(each.result() for each in copies)
    cut_at = time.time()
    if topology_of(order.record) == CLUSTER:
        after = settled_survey(order.record, order.access, _SETTLE_SECONDS)
        if [each.slots for each in after.sources] != [each.slots for each in survey.sources] or any(
            each.moving for each in after.sources
        ):
            raise SourceError("slots have moved while shards were copied")
    return Manifest(
        deployment=order.deployment,
        backup=backup,
        topology=topology_of(order.record),
        started_at=started_at,
        cut_at=cut_at,
        finished_at=time.time(),
        server=survey.server,
        server_version=survey.version,
        shards=shards,
        compression=COMPRESSION,
        encryption=None if order.key is None else ENCRYPTION,
        key_fingerprint=None if order.key is None else key_fingerprint(order.key),
        users=_users(order.access, survey.sources[0].copies[0]),
    )


def _copied(
    order: Order, catalog: Catalog, backup: str, name: str, source: Source, stop: threading.Event, progress: Progress
) -> ShardCopy:
    member = source.copies[0]
    if member != source.primary:
        _wait_until_caught_up(order.access, source, member)
    with ReplicationStream(member, order.access) as stream, catalog.store.upload(catalog.key(backup, name)) as upload:
        snapshot = stream.full_copy()
        if snapshot.offset < source.offset:
            raise SourceError(f"{member.name}: its history has changed; a failover may be under way")
        progress(f"copying {source.shard} from {member.name}")
        facts = seal(_until(stop, snapshot.chunks()), upload, order.key)
        head = snapshot.head
    assert head is not None  # of every snapshot that has come as a whole
    progress(f"copied {source.shard}: {facts.plain_bytes} bytes, {facts.stored_bytes} in the store")
    return ShardCopy(
        name=source.shard,
        node=member.name,
        slots=source.slots,
        importing=(),
        keys=head.keys,
        expiring=head.expiring,
        replication_id=snapshot.replication_id,
        snapshot_offset=snapshot.offset,
        cut_offset=snapshot.offset,
        snapshot=facts.piece(name),
        increments=None,
    )


def _wait_until_caught_up(access: Access, source: Source, member: Member) -> None:
    """Until the replica has what the primary had when it was asked. Raises SourceError."""
    deadline = time.monotonic() + _CATCH_UP_SECONDS
    with Connections(access) as connections:
        while True:
            try:
                info = connections.ask(member, "INFO", "replication")
            except redis.RedisError as error:
                raise SourceError(f"{member.name}: {reason(error)}") from error
            if int(info["master_repl_offset"]) >= source.offset:
                return
            if time.monotonic() > deadline:
                raise SourceError(f"{member.name}: is behind {source.primary.name} for {_CATCH_UP_SECONDS:.0f} s")
            time.sleep(0.05)


def _until(stop: threading.Event, chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Ends in an error when another shard's copy has failed: all are begun anew then."""
    for chunk in chunks:
        if stop.is_set():
            raise _Stopped("another shard could not be copied")
        yield chunk


def _users(access: Access, member: Member) -> tuple[str, ...]:
    with Connections(access) as connections:
        try:
            lines = tuple(str(line) for line in connections.ask(member, "ACL", "LIST"))
        except redis.RedisError as error:
            raise SourceError(f"{member.name}: its ACL users cannot be listed: {reason(error)}") from error
    if waiting_users(lines) is not None:
        raise SourceError(f"{member.name}: is being restored, and may have half of its data")
    return lines
