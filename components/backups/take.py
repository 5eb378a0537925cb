"""Takes a backup: every shard's data, from a node that can be spared, sealed on the way into the store."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import redis

from ..formation import FormationError
from ..formation.closing import acl_list, waiting_users
from ..formation.connection import Connections, reason
from ..formation.members import Access, Member
from ..topologies import CLUSTER, topology_of
from .archive import place_of
from .catalog import Catalog
from .cut import AskAgain, Part, Reading
from .cut_reader import CutReader
from .errors import SourceError
from .following import Following
from .manifest import Manifest, Piece, ShardCopy
from .replication_stream import ReplicationStream
from .sealing import COMPRESSION, ENCRYPTION, key_fingerprint, seal
from .sources import Source, settled_survey

Progress = Callable[[str], None]
_ATTEMPTS = 5
_SETTLE_SECONDS = 60.0
_CATCH_UP_SECONDS = 30.0
_CUT_SECONDS = 60.0
_REACH_SECONDS = 15.0
_LOOK_AGAIN_SECONDS = 0.5
_ASK_AGAIN_SECONDS = 0.05
_AT_ONCE = 2
"""Snapshots that are taken at the same time: each needs memory for its fork on the node."""


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
    then. The shards of a cluster are all cut at one point, however long the copies take and whatever moves from shard
    to shard meanwhile (:mod:`cut`): each snapshot is followed by what was written until then. What cannot be followed,
    after some failovers, is begun anew, five times at most.

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
    together = topology_of(order.record) == CLUSTER
    turns = threading.Semaphore(_AT_ONCE)
    stop = threading.Event()
    copies = [
        _Copy(order, catalog, backup, f"{source.shard}.{claim_number}", source, together, turns, stop, progress)
        for source in survey.sources
    ]
    with ThreadPoolExecutor(len(copies), thread_name_prefix="backup") as pool:
        running = [pool.submit(copy.run) for copy in copies]
        try:
            cut_at, parts = _cut(order, copies, running, progress) if together else (0.0, {})
        except BaseException:
            stop.set()
            raise
    shards = tuple(future.result() for future in running)
    return Manifest(
        deployment=order.deployment,
        backup=backup,
        topology=topology_of(order.record),
        started_at=started_at,
        cut_at=cut_at or copies[0].begun_at,
        finished_at=time.time(),
        server=survey.server,
        server_version=survey.version,
        shards=tuple(_with_part(shard, parts.get(shard.name)) for shard in shards),
        compression=COMPRESSION,
        encryption=None if order.key is None else ENCRYPTION,
        key_fingerprint=None if order.key is None else key_fingerprint(order.key),
        users=_users(order.access, survey.sources[0].copies[0]),
    )


def _cut(
    order: Order, copies: Sequence[_Copy], running: Sequence[Future[ShardCopy]], progress: Progress
) -> tuple[float, Mapping[str, Part]]:
    """Once every snapshot is there, end all copies at one point; when that was, and what each counts for.

    Raises SourceError if there is no such point for a minute, or what any of the copies has raised.
    """
    deadline: float | None = None
    with CutReader(order.record, order.access, [copy.shard for copy in copies]) as reader:
        while True:
            _raise_first_error(running)
            followed = [copy.following for copy in copies if copy.following]
            if len(followed) == len(copies) and deadline is None:
                deadline = time.monotonic() + _CUT_SECONDS
                progress("all shards are copied; following them to one point")
            problem = SourceError("the copies do not follow their primaries: replicas may be behind")
            try:
                parts = reader.read()
                cut_at = time.time()
                for copy in copies:
                    copy.allow(reader.readings)
                if deadline is not None and _wait_until_reached(copies, running):
                    for each in followed:
                        each.finish()
                    return cut_at, parts
            except AskAgain as error:
                problem = error
            if deadline is not None and time.monotonic() > deadline:
                raise SourceError(f"no point was found to end all copies at within {_CUT_SECONDS:.0f} s: {problem}")
            time.sleep(_LOOK_AGAIN_SECONDS if deadline is None else _ASK_AGAIN_SECONDS)


def _wait_until_reached(copies: Sequence[_Copy], running: Sequence[Future[ShardCopy]]) -> bool:
    deadline = time.monotonic() + _REACH_SECONDS
    while not all(copy.has_reached() for copy in copies):
        if time.monotonic() > deadline:
            return False
        _raise_first_error(running)
        time.sleep(_ASK_AGAIN_SECONDS)
    return True


def _raise_first_error(running: Sequence[Future[ShardCopy]]) -> None:
    errors = [error for future in running if future.done() and (error := future.exception())]
    if errors:
        raise next((error for error in errors if not isinstance(error, _Stopped)), errors[0])


def _with_part(shard: ShardCopy, part: Part | None) -> ShardCopy:
    if part is None:
        return shard
    place = place_of(part)
    return replace(shard, slots=place.slots, importing=place.importing, ignored=place.ignored)


class _Copy:
    """One shard's copy, made by a thread of its own.

    Attributes:
        shard: its name.
        following: once its snapshot is there, of what is to be cut together with others.
        begun_at: seconds since 1970 when its snapshot was begun.
    """

    def __init__(
        self,
        order: Order,
        catalog: Catalog,
        backup: str,
        name: str,
        source: Source,
        together: bool,
        turns: threading.Semaphore,
        stop: threading.Event,
        progress: Progress,
    ) -> None:
        self.shard = source.shard
        self.following: Following | None = None
        self.begun_at = 0.0
        self._order = order
        self._catalog = catalog
        self._backup = backup
        self._name = name
        self._source = source
        self._together = together
        self._turns = turns
        self._stop = stop
        self._progress = progress
        self._cut = ("", 0)

    def allow(self, readings: Sequence[Reading]) -> None:
        """Tell where its primary is."""
        self._cut = next((each.replication_id, each.offset) for each in readings if each.shard == self.shard)
        if self.following:
            self.following.allow(*self._cut)

    def has_reached(self) -> bool:
        """Whether everything up to there is stored, and nothing after it."""
        return self.following is not None and self.following.has_reached(*self._cut)

    def run(self) -> ShardCopy:
        """Raises BackupError; all other copies stop then."""
        try:
            return self._run()
        except BaseException:
            self._stop.set()
            raise

    def _run(self) -> ShardCopy:
        source, member = self._source, self._source.copies[0]
        name = f"{self._name}.rdb"
        with ExitStack() as stack:
            with self._turn():
                if member != source.primary:
                    _wait_until_caught_up(self._order.access, source, member)
                stream = stack.enter_context(ReplicationStream(member, self._order.access))
                snapshot = stream.full_copy(with_increments=self._together)
                self.begun_at = time.time()
                if snapshot.offset < source.offset:
                    raise SourceError(f"{member.name}: its history has changed; a failover may be under way")
                self._progress(f"copying {source.shard} from {member.name}")
                with self._catalog.store.upload(self._catalog.key(self._backup, name)) as upload:
                    facts = seal(self._unless_stopped(snapshot.chunks()), upload, self._order.key)
            self._progress(f"copied {source.shard}: {facts.plain_bytes} bytes, {facts.stored_bytes} in the store")
            increments = self._follow(stream) if self._together else None
        head = snapshot.head
        assert head is not None  # of every snapshot that has come as a whole
        return ShardCopy(
            name=source.shard,
            node=member.name,
            slots=(),
            importing=(),
            keys=head.keys,
            expiring=head.expiring,
            replication_id=stream.replication_id,
            snapshot_offset=snapshot.offset,
            cut_offset=self.following.offset if self.following else snapshot.offset,
            snapshot=facts.piece(name),
            increments=increments,
        )

    def _follow(self, stream: ReplicationStream) -> Piece | None:
        """Store what is written until the cut; None if that is nothing."""
        self.following = Following(stream)
        pieces = (piece for piece in self._unless_stopped(self.following.pieces()) if piece)
        first = next(pieces, None)
        if first is None:
            return None
        name = f"{self._name}.increments"
        with self._catalog.store.upload(self._catalog.key(self._backup, name)) as upload:
            return seal(itertools.chain([first], pieces), upload, self._order.key).piece(name)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        while not self._turns.acquire(timeout=_LOOK_AGAIN_SECONDS):
            self._check_stopped()
        try:
            yield
        finally:
            self._turns.release()

    def _unless_stopped(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            self._check_stopped()
            yield chunk

    def _check_stopped(self) -> None:
        if self._stop.is_set():
            raise _Stopped("another shard could not be copied")


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


def _users(access: Access, member: Member) -> tuple[str, ...]:
    with Connections(access) as connections:
        try:
            lines = tuple(acl_list(connections, member))
        except FormationError as error:
            raise SourceError(str(error)) from error
    if waiting_users(lines) is not None:
        raise SourceError(f"{member.name}: is being restored, and may have half of its data")
    return lines
