"""Writes between backups, in the store: the replication streams of all shards, in segments, with marks of time.

Below the deployment's name, in ``increments/``: a folder for each segment, with a piece for each shard (sealed as those
of backups are) and, written last, ``segment.json``. Segments are named by the time when they were begun, so that names
sort by time. One continues where the one before ended, unless there is a gap.

A mark is a moment at which it is known how far every shard was; what is restored is restored up to a mark. In a cluster
the offsets of a mark are a cut (:mod:`cut`), so that it does not matter whether slots were on their way then.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from ..formation.cluster.slots import slot_ranges
from .cut import Part
from .errors import Damaged
from .manifest import Piece, Ranges
from .names import moment_of, name_of
from .store import Store

FOLDER = "increments"
INDEX = "segment.json"
_FORMAT = 1
_MARGIN_SECONDS = 300.0
"""What is known of a moment may be in the segment after it, which is begun so much later at most."""


@dataclass(frozen=True)
class Position:
    """An offset in a shard's replication stream, and the id of the history that it is of."""

    replication_id: str
    offset: int


@dataclass(frozen=True)
class Place:
    """Which keys of a shard's copy count: see :class:`manifest.ShardCopy`."""

    slots: Ranges = ()
    importing: tuple[int, ...] = ()
    ignored: tuple[int, ...] = ()


@dataclass(frozen=True)
class Mark:
    """Where every shard was at a time.

    Attributes:
        time: seconds since 1970; whatever was written later is not before the positions.
        positions: by shard.
        layout: number of the segment's layout that tells which keys count then.
    """

    time: float
    positions: Mapping[str, Position]
    layout: int


@dataclass(frozen=True, kw_only=True)
class SegmentPart:
    """One shard's part of a segment: the bytes of its replication stream after ``first`` up to ``last``.

    ``histories``: where the stream was of which history, in order; the first one is where the part begins. There is
    more than one after a failover, and what is before the next one's offset is of both. ``piece``: None if ``first``
    is ``last``.
    """

    first: int
    last: int
    histories: tuple[Position, ...]
    piece: Piece | None


@dataclass(frozen=True, kw_only=True)
class Segment:
    """A stretch of time.

    Attributes:
        name: its folder's.
        deployment: whose it is.
        parts: by shard.
        marks: in the order of time; their positions may be in the next segment.
        layouts: by shard, of which keys count, as the marks number them.
        encryption: of the pieces: None, or ``aes-256-gcm``.
        key_fingerprint: which key, without telling it.
    """

    name: str
    deployment: str
    parts: Mapping[str, SegmentPart]
    marks: tuple[Mark, ...]
    layouts: tuple[Mapping[str, Place], ...]
    encryption: str | None = None
    key_fingerprint: str | None = None

    @property
    def ends(self) -> dict[str, Position]:
        """Where the next one continues, by shard."""
        return {shard: Position(part.histories[-1].replication_id, part.last) for shard, part in self.parts.items()}

    def to_json(self) -> bytes:
        """As it is stored."""
        return (json.dumps({"format": _FORMAT, **dataclasses.asdict(self)}, sort_keys=True) + "\n").encode()

    @classmethod
    def from_json(cls, content: bytes) -> Segment:
        """The opposite. Raises Damaged for anything that is no such segment."""
        try:
            values = json.loads(content)
            if values.pop("format") != _FORMAT:
                raise Damaged(f"the segment is of a format that this version does not know; it knows {_FORMAT}")
            values["parts"] = {shard: _part(part) for shard, part in values["parts"].items()}
            values["marks"] = tuple(_mark(mark) for mark in values["marks"])
            values["layouts"] = tuple(
                {shard: _place(place) for shard, place in layout.items()} for layout in values["layouts"]
            )
            return cls(**values)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise Damaged(f"the segment is no segment: {type(error).__name__}") from error


@dataclass(frozen=True, kw_only=True)
class ArchiveStatus:
    """How archiving goes. Times are seconds since 1970; None for what never was.

    Attributes:
        archived_until: up to which everything that was written can be restored.
        gaps: how often writes were not archived, since a node did not have them any more.
        last_gap_at: when that was last.
        problem: what is wrong at the moment, in one line; None if nothing is.
    """

    archived_until: float | None = None
    gaps: int = 0
    last_gap_at: float | None = None
    problem: str | None = None

    def to_json(self) -> bytes:
        """As it is stored."""
        return (json.dumps(dataclasses.asdict(self), sort_keys=True) + "\n").encode()

    @classmethod
    def from_json(cls, content: bytes) -> ArchiveStatus:
        """The opposite; an empty one for what is no status."""
        known = {each.name for each in dataclasses.fields(cls)}
        try:
            return cls(**{name: value for name, value in json.loads(content).items() if name in known})
        except (ValueError, TypeError, AttributeError):
            return cls()


@dataclass(frozen=True)
class Archive:
    """The segments of one deployment. Every method raises StoreError when the store does."""

    store: Store
    deployment: str
    _status: str = field(default="status.json", repr=False)

    def key(self, segment: str, name: str) -> str:
        """Of an object of a segment, in the store."""
        return f"{self.deployment}/{FOLDER}/{segment}/{name}"

    def names(self) -> list[str]:
        """Of all segments that are complete, oldest first."""
        return sorted(name for name, last in self._objects() if last == INDEX)

    def segment(self, name: str) -> Segment:
        """One of them. Raises Damaged, naming it, if it is none."""
        content = self.store.get(self.key(name, INDEX))
        if content is None:
            raise Damaged(f"segment {name} is not there any more")
        try:
            return Segment.from_json(content)
        except Damaged as error:
            raise Damaged(f"{name}: {error}") from error

    def latest(self) -> Segment | None:
        """The newest one."""
        names = self.names()
        return self.segment(names[-1]) if names else None

    def between(self, begin: float, end: float) -> list[Segment]:
        """Those that may have something of that time, seconds since 1970; some more, as clocks may differ."""
        names = self.names()
        started = [started_at(name) for name in names]
        chosen = [
            name
            for number, name in enumerate(names)
            if started[number] <= end + _MARGIN_SECONDS
            and (number + 1 == len(names) or started[number + 1] >= begin - _MARGIN_SECONDS)
        ]
        return [self.segment(name) for name in chosen]

    def put(self, segment: Segment) -> None:
        """The last thing to be written of it."""
        self.store.put(self.key(segment.name, INDEX), segment.to_json(), only_if_absent=True)

    def delete_before(self, time: float) -> int:
        """Delete segments that ended before that, seconds since 1970, and what is left of unfinished ones; how many.

        The newest one stays: it is where archiving continues.
        """
        objects: dict[str, list[str]] = {}
        for name, last in self._objects():
            objects.setdefault(name, []).append(last)
        names = sorted(objects)
        done = 0
        for name, following in itertools.pairwise(names):
            if started_at(following) < time - _MARGIN_SECONDS:
                # The index first, so that it is never taken for complete.
                self.store.delete([self.key(name, INDEX)])
                self.store.delete([self.key(name, last) for last in objects[name] if last != INDEX])
                done += 1
        return done

    def status(self) -> ArchiveStatus:
        """What was told last."""
        content = self.store.get(f"{self.deployment}/{FOLDER}/{self._status}")
        return ArchiveStatus() if content is None else ArchiveStatus.from_json(content)

    def put_status(self, status: ArchiveStatus) -> None:
        """By whoever has the claim."""
        self.store.put(f"{self.deployment}/{FOLDER}/{self._status}", status.to_json())

    def _objects(self) -> Iterator[tuple[str, str]]:
        """Segment and name of each."""
        begin = f"{self.deployment}/{FOLDER}/"
        for entry in self.store.entries(begin):
            segment, separator, last = entry.key.removeprefix(begin).partition("/")
            if separator and moment_of(segment.partition(".")[0]):
                yield segment, last


def place_of(part: Part) -> Place:
    """As it is stored."""
    return Place(slot_ranges(part.slots), tuple(sorted(part.importing)), tuple(sorted(part.ignored)))


def segment_name(started: float, claim_number: int, count: int) -> str:
    """Names sort by time, and differ whoever writes them."""
    return f"{name_of(datetime.fromtimestamp(started, UTC))}.{claim_number:06}.{count:06}"


def started_at(name: str) -> float:
    """When a segment was begun, seconds since 1970, to a second."""
    moment = moment_of(name.partition(".")[0])
    assert moment is not None
    return moment.timestamp()


def _part(values: Mapping[str, Any]) -> SegmentPart:
    return SegmentPart(
        first=int(values["first"]),
        last=int(values["last"]),
        histories=tuple(Position(**each) for each in values["histories"]),
        piece=Piece(**values["piece"]) if values["piece"] else None,
    )


def _mark(values: Mapping[str, Any]) -> Mark:
    positions = {shard: Position(**each) for shard, each in values["positions"].items()}
    return Mark(float(values["time"]), positions, int(values["layout"]))


def _place(values: Mapping[str, Any]) -> Place:
    return Place(
        tuple((int(first), int(last)) for first, last in values["slots"]),
        tuple(values["importing"]),
        tuple(values["ignored"]),
    )
