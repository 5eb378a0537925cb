"""Which segments, up to which offset, bring a backup to a moment. Pure, but for reading what was found."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from .archive import Archive, Mark, Place, Position, Segment, SegmentPart
from .catalog import Catalog
from .errors import BackupError
from .manifest import Manifest, Piece, ShardCopy
from .sealing import unseal


class NotRestorable(BackupError):
    """There is no such moment in the archive."""


@dataclass(frozen=True)
class Stretch:
    """Bytes of a segment's piece: so many are skipped, and so many taken."""

    segment: str
    piece: Piece
    skip: int
    take: int


@dataclass(frozen=True)
class ShardRecovery:
    """One shard: what follows its backup, where that ends, and which keys count then."""

    shard: ShardCopy
    stretches: tuple[Stretch, ...]
    cut_offset: int
    place: Place


@dataclass(frozen=True)
class Recovery:
    """What restores a deployment as it was at ``time``, seconds since 1970."""

    time: float
    shards: tuple[ShardRecovery, ...]


def segments_until(manifest: Manifest, segments: Iterable[Segment], moment: float) -> Recovery:
    """What follows a backup until a moment: the last mark that is not after it.

    ``segments``: of any time and in any order; those that do not continue the backup are left out. ``moment``: seconds
    since 1970. Raises NotRestorable naming the earliest and the latest moment of this backup.
    """
    chains = {shard.name: _Chain(shard) for shard in manifest.shards}
    marks: list[tuple[Mark, Mapping[str, Place]]] = []
    for segment in sorted(segments, key=lambda each: each.name):
        for shard, chain in chains.items():
            if shard in segment.parts:
                chain.add(segment.name, segment.parts[shard])
        marks += [(mark, segment.layouts[mark.layout]) for mark in segment.marks]
    at_backup = {shard.name: Position(shard.replication_id, shard.cut_offset) for shard in manifest.shards}
    places = {shard.name: _place_in(shard) for shard in manifest.shards}
    marks = [
        (Mark(manifest.cut_at, at_backup, 0), places),
        *(
            (mark, layout)
            for mark, layout in marks
            if mark.time >= manifest.cut_at
            and mark.positions.keys() == chains.keys()
            and all(chain.has(mark.positions[shard]) for shard, chain in chains.items())
        ),
    ]
    marks.sort(key=lambda each: each[0].time)
    earliest, latest = marks[0][0].time, marks[-1][0].time
    if not earliest <= moment <= latest:
        raise NotRestorable(
            f"{manifest.backup} can be brought to any moment from {_text(earliest)} to {_text(latest)}, and "
            f"{_text(moment)} is not between them: "
            + ("choose an earlier backup" if moment < earliest else "choose a later backup, or an earlier moment")
        )
    mark, layout = next(each for each in reversed(marks) if each[0].time <= moment)
    return Recovery(
        mark.time,
        tuple(
            ShardRecovery(
                shard,
                chains[shard.name].until(mark.positions[shard.name].offset),
                mark.positions[shard.name].offset,
                layout.get(shard.name, Place()),
            )
            for shard in manifest.shards
        ),
    )


def recovery_of(manifest: Manifest) -> Recovery:
    """The backup as it is."""
    return Recovery(
        manifest.cut_at,
        tuple(ShardRecovery(shard, (), shard.cut_offset, _place_in(shard)) for shard in manifest.shards),
    )


@dataclass
class _Chain:
    """One shard's stream from its backup's cut on, as far as segments continue it."""

    shard: ShardCopy
    stretches: list[Stretch] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._end = self.shard.cut_offset
        self._histories = [Position(self.shard.replication_id, self.shard.cut_offset)]

    def add(self, segment: str, part: SegmentPart) -> None:
        """Continue with it, if it does."""
        known = [history.replication_id for history in part.histories]
        current = self._histories[-1].replication_id
        if not part.first <= self._end <= part.last or current not in known:
            return
        later = part.histories[known.index(current) + 1 :]
        if later and later[0].offset < self._end:
            return  # the histories have parted before
        self._histories += later
        if part.piece is not None and part.last > self._end:
            self.stretches.append(Stretch(segment, part.piece, self._end - part.first, part.last - self._end))
        self._end = part.last

    def has(self, position: Position) -> bool:
        """Whether the stream comes there, and is of that history there."""
        if not self.shard.cut_offset <= position.offset <= self._end:
            return False
        ends = [*(history.offset for history in self._histories[1:]), self._end]
        return any(
            history.replication_id == position.replication_id and position.offset <= end
            for history, end in zip(self._histories, ends, strict=True)
        )

    def until(self, offset: int) -> tuple[Stretch, ...]:
        """What there is up to it."""
        found: list[Stretch] = []
        left = offset - self.shard.cut_offset
        for stretch in self.stretches:
            if left > 0:
                found.append(replace(stretch, take=min(stretch.take, left)))
                left -= stretch.take
        return tuple(found)


def increments_of(
    catalog: Catalog, archive: Archive, manifest: Manifest, recovery: ShardRecovery, key: bytes | None
) -> Iterator[bytes] | None:
    """What follows the shard's snapshot: the backup's increments, then the archive's; None if that is nothing.

    Raises BackupError as :func:`sealing.unseal` does.
    """
    pieces: Sequence[tuple[str, Piece, int, int]] = [
        *(
            [(catalog.key(manifest.backup, piece.name), piece, 0, piece.plain_bytes)]
            if (piece := recovery.shard.increments)
            else []
        ),
        *(
            (archive.key(each.segment, each.piece.name), each.piece, each.skip, each.take)
            for each in recovery.stretches
        ),
    ]

    def read() -> Iterator[bytes]:
        for name, piece, skip, take in pieces:
            position = 0
            with catalog.store.read(name) as chunks:
                # To the end, although it may not be needed: only there everything has been verified.
                for content in unseal(chunks, key, piece):
                    useful = content[max(skip - position, 0) : max(skip + take - position, 0)]
                    position += len(content)
                    if useful:
                        yield useful

    return read() if pieces else None


def _place_in(shard: ShardCopy) -> Place:
    return Place(shard.slots, shard.importing, shard.ignored)


def _text(time: float) -> str:
    return datetime.fromtimestamp(time, UTC).isoformat(timespec="seconds")
