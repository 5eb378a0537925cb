"""One shard's replication stream on its way into the archive: from node to node, and from segment to segment."""

from __future__ import annotations

import itertools
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..formation.members import Access, Member
from .archive import Archive, Position, SegmentPart
from .errors import BackupError, SourceError
from .manifest import Piece
from .replication_stream import HistoryGone, ReplicationStream
from .sealing import seal
from .sources import Source, survey

_PING = b"*1\r\n$4\r\nPING\r\n"
_LOOK_AGAIN_SECONDS = 0.5
_TIMES_GONE = 3
_OPEN_SECONDS = 30.0


@dataclass(frozen=True, kw_only=True)
class Where:
    """Where streams come from, and where they go to: of a service's order, and its archive."""

    record: Mapping[str, Any]
    access: Access
    key: bytes | None
    archive: Archive


class Tail:
    """A thread that reads a shard's stream on and on, and stores it, a part for each segment.

    Attributes:
        shard: its name.
        member: the node that the stream comes from.
        idle: whether nothing but signs of life has come since the part was begun.
        taken: how many bytes have come since then.
        error: why it has ended; what came before is stored with the last part.
    """

    def __init__(self, where: Where, shard: str, begin: Position, progress: Callable[[str], None]) -> None:
        """Raises HistoryGone if no node has the stream from there on, SourceError if none can be asked."""
        self.shard = shard
        self.idle = True
        self.taken = 0
        self.error: BackupError | None = None
        self._where = where
        self._progress = progress
        self._histories = [begin]
        self._first = self._offset = begin.offset
        self._ended = threading.Event()
        self._turn = threading.Event()
        self._next_segment: str | None = None
        self._parts: queue.SimpleQueue[SegmentPart | BaseException] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._leaving = False
        self._gone = 0
        self._stream: ReplicationStream | None = None
        self._increments: Iterator[bytes] = iter(())
        self.member: Member | None = None
        deadline = time.monotonic() + _OPEN_SECONDS
        while not self._open():
            if time.monotonic() > deadline:
                raise SourceError(f"{shard}: no node of it could be read from within {_OPEN_SECONDS:.0f} s")
            time.sleep(_LOOK_AGAIN_SECONDS)

    def start(self, segment: str) -> None:
        """Begin with the part of that segment."""
        self._next_segment = segment
        self._thread.start()

    def turn_to(self, segment: str | None) -> None:
        """End the part, and begin that of the next segment; None: end altogether. Then ask for the `part`."""
        self._next_segment = segment
        self._turn.set()

    def part(self, timeout_seconds: float) -> SegmentPart:
        """The part that has ended. Raises BackupError if it could not be stored."""
        try:
            part = self._parts.get(timeout=timeout_seconds)
        except queue.Empty:
            raise SourceError(f"{self.shard}: its part was not stored within {timeout_seconds:.0f} s") from None
        if isinstance(part, BaseException):
            raise part
        return part

    def leave(self) -> None:
        """Take another node, as this one has become the primary."""
        self._leaving = True

    def close(self) -> None:
        """End without storing what has come."""
        self._ended.set()
        self._turn.set()
        if self._thread.is_alive():
            self._thread.join()
        if self._stream is not None:
            self._stream.close()

    def _run(self) -> None:
        try:
            while self._next_segment is not None:
                segment, self._next_segment = self._next_segment, None
                self._first, self._histories = self._offset, self._histories[-1:]
                self.idle, self.taken = True, 0
                piece = self._store(segment)
                self._parts.put(
                    SegmentPart(first=self._first, last=self._offset, histories=tuple(self._histories), piece=piece)
                )
        except BaseException as error:
            self.error = error if isinstance(error, BackupError) else SourceError(f"{self.shard}: {error!r}")
            self._parts.put(error)

    def _store(self, segment: str) -> Piece | None:
        pieces = self._pieces()
        first = next(pieces, None)
        if first is None:
            return None
        name = f"{self.shard}.increments"
        with self._where.archive.store.upload(self._where.archive.key(segment, name)) as upload:
            return seal(itertools.chain([first], pieces), upload, self._where.key).piece(name)

    def _pieces(self) -> Iterator[bytes]:
        while not self._turn.is_set():
            if self.error is not None:
                self._turn.wait()
                break
            try:
                piece = self._next()
            except BackupError as error:
                self.error = error
                continue
            if self._stream and self._stream.replication_id != self._histories[-1].replication_id:
                self._histories.append(Position(self._stream.replication_id, self._offset))
            if piece:
                self.idle = self.idle and not piece.replace(_PING, b"")
                self.taken += len(piece)
                yield piece
                self._offset += len(piece)
        self._turn.clear()
        if self._ended.is_set():
            raise SourceError(f"{self.shard}: archiving was ended")

    def _next(self) -> bytes:
        """What has come, maybe nothing. Raises HistoryGone when no node has what comes next."""
        try:
            if self._stream is not None and not self._leaving:
                return next(self._increments)
        except SourceError as error:
            self._progress(f"{error}; {self.shard} is archived from another node")
        if self._stream is not None:
            self._stream.close()
        self._stream, self._leaving = None, False
        if not self._open():
            self._turn.wait(_LOOK_AGAIN_SECONDS)
        return b""

    def _open(self) -> bool:
        """Go on with whichever node has the stream; False if none is found at the moment. Raises HistoryGone."""
        problems: list[SourceError] = []
        for member in self._candidates():
            stream = ReplicationStream(member, self._where.access)
            try:
                stream.__enter__()
                stream.continue_from(self._histories[-1].replication_id, self._offset)
            except SourceError as error:
                stream.close()
                problems.append(error)
                continue
            self._stream, self.member, self._increments, self._gone = stream, member, stream.increments(), 0
            return True
        gone = [each for each in problems if isinstance(each, HistoryGone)]
        self._gone = self._gone + 1 if gone and len(gone) == len(problems) else 0
        # Just after a failover nodes may not have found each other yet.
        if self._gone == _TIMES_GONE:
            raise gone[0]
        return False

    def _candidates(self) -> list[Member]:
        """Replicas in sync, then the primary, as far as they can be found out now."""
        try:
            sources = survey(self._where.record, self._where.access, primaries_too=True).sources
        except SourceError:
            return []
        source: Source | None = next((each for each in sources if each.shard == self.shard), None)
        return [] if source is None else list(dict.fromkeys((*source.copies, source.primary)))
