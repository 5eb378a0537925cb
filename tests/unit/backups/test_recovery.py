"""Which segments bring a backup to a moment."""

from __future__ import annotations

import hashlib
import itertools
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.backups.archive import Archive, Mark, Place, Position, Segment, SegmentPart, segment_name
from components.backups.catalog import Catalog
from components.backups.errors import Damaged
from components.backups.folder_store import FolderStore
from components.backups.manifest import Manifest, Piece, ShardCopy
from components.backups.recovery import NotRestorable, Recovery, increments_of, segments_until
from components.backups.sealing import seal

BEGAN = 1_800_000_000.0
SHARDS = ("a", "b")
NAME = "2026-11-26T03-00-00Z"


def piece(name: str, size: int) -> Piece:
    return Piece(name=name, plain_bytes=size, plain_checksum="", stored_bytes=size, stored_checksum="")


def manifest(cuts: dict[str, int], *, time: float = BEGAN, history: str = "first") -> Manifest:
    return Manifest(
        deployment="cache",
        backup=NAME,
        topology="cluster",
        started_at=time - 1,
        cut_at=time,
        finished_at=time + 1,
        server="redis",
        server_version="8.0.2",
        shards=tuple(
            ShardCopy(
                name=shard,
                node="",
                slots=(),
                importing=(),
                keys=0,
                expiring=0,
                replication_id=history,
                snapshot_offset=cut,
                cut_offset=cut,
                snapshot=piece("snapshot", 1),
                increments=None,
            )
            for shard, cut in cuts.items()
        ),
        compression="zstd",
        encryption=None,
        key_fingerprint=None,
        users=(),
    )


def segment(number: int, parts: dict[str, SegmentPart], *marks: tuple[float, str, tuple[int, ...]]) -> Segment:
    return Segment(
        name=segment_name(BEGAN + number, 1, number),
        deployment="cache",
        parts=parts,
        marks=tuple(
            Mark(time, {shard: Position(history, offset) for shard, offset in zip(parts, offsets, strict=True)}, 0)
            for time, history, offsets in marks
        ),
        layouts=({shard: Place(((number, number),)) for shard in parts},),
    )


def part(first: int, last: int, *histories: tuple[str, int]) -> SegmentPart:
    found = tuple(Position(*each) for each in histories or (("first", first),))
    return SegmentPart(first=first, last=last, histories=found, piece=piece("part", last - first))


def spans(recovery: Recovery) -> dict[str, list[tuple[int, int]]]:
    return {each.shard.name: [(part.skip, part.take) for part in each.stretches] for each in recovery.shards}


@given(st.data())
def test_it_is_the_stream_from_the_cut_to_the_last_mark_before(data: st.DataObject) -> None:
    """Bytes of a stream that is cut anywhere into segments, and marked anywhere."""
    count = data.draw(st.integers(1, 5))
    lengths = {shard: data.draw(st.lists(st.integers(0, 9), min_size=count, max_size=count)) for shard in SHARDS}
    ends = {shard: list(itertools.accumulate(lengths[shard], initial=100)) for shard in SHARDS}
    cuts = {shard: data.draw(st.integers(100, ends[shard][-1])) for shard in SHARDS}
    times = sorted(data.draw(st.lists(st.floats(1, 100), max_size=8)))
    offsets = {
        shard: sorted(
            data.draw(st.lists(st.integers(cuts[shard], ends[shard][-1] + 3), min_size=len(times), max_size=len(times)))
        )
        for shard in SHARDS
    }
    marks = [
        (BEGAN + time, "first", tuple(offsets[shard][number] for shard in SHARDS)) for number, time in enumerate(times)
    ]
    segments = [
        segment(
            number,
            {shard: part(ends[shard][number], ends[shard][number + 1]) for shard in SHARDS},
            *(marks if number == 0 else ()),
        )
        for number in range(count)
    ]
    known = [
        (BEGAN, tuple(cuts.values())),
        *(
            (time, found)
            for time, _, found in marks
            if all(offset <= ends[shard][-1] for shard, offset in zip(SHARDS, found, strict=True))
        ),
    ]
    moment = BEGAN + data.draw(st.floats(-10, 110))
    shuffled = data.draw(st.permutations(segments))
    if not BEGAN <= moment <= known[-1][0]:
        with pytest.raises(NotRestorable, match="can be brought to any moment from"):
            segments_until(manifest(cuts), shuffled, moment)
        return
    recovery = segments_until(manifest(cuts), shuffled, moment)
    # Of several marks at the same time any will do.
    assert recovery.time == max(time for time, _ in known if time <= moment)
    assert tuple(each.cut_offset for each in recovery.shards) in [at for time, at in known if time == recovery.time]
    for each in recovery.shards:
        covered = [
            offset
            for stretch in each.stretches
            for first in [next(s for s in segments if s.name == stretch.segment).parts[each.shard.name].first]
            for offset in range(first + stretch.skip, first + stretch.skip + stretch.take)
        ]
        assert covered == list(range(each.shard.cut_offset, each.cut_offset))


def test_after_a_failover_what_was_lost_with_the_primary_is_no_mark() -> None:
    """The stream goes on as `second` at 15; of `first` there was more, which no replica had got."""
    parts = {"a": part(10, 30, ("first", 10), ("second", 15))}
    found = segment(0, parts, (BEGAN + 1, "first", (14,)), (BEGAN + 2, "first", (17,)), (BEGAN + 3, "second", (20,)))
    backup = manifest({"a": 10})
    assert segments_until(backup, [found], BEGAN + 2.5).shards[0].cut_offset == 14
    assert segments_until(backup, [found], BEGAN + 3).shards[0].cut_offset == 20
    later = manifest({"a": 17}, history="second")
    assert spans(segments_until(later, [found], BEGAN + 3)) == {"a": [(7, 3)]}
    lost = manifest({"a": 17})
    with pytest.raises(NotRestorable):
        segments_until(lost, [found], BEGAN + 3)


def test_beyond_a_gap_the_later_backup_is_needed() -> None:
    segments = [
        segment(0, {"a": part(10, 20)}, (BEGAN + 5, "first", (20,))),
        segment(9, {"a": part(30, 40)}, (BEGAN + 9, "first", (40,))),
    ]
    with pytest.raises(NotRestorable) as caught:
        segments_until(manifest({"a": 10}), segments, BEGAN + 8)
    latest = datetime.fromtimestamp(BEGAN + 5, UTC).isoformat()
    assert f"to {latest}" in str(caught.value)
    assert "choose a later backup" in str(caught.value)
    assert segments_until(manifest({"a": 30}, time=BEGAN + 8), segments, BEGAN + 9).shards[0].cut_offset == 40


def test_a_moment_before_the_backup_needs_an_earlier_one() -> None:
    with pytest.raises(NotRestorable, match="choose an earlier backup"):
        segments_until(manifest({"a": 10}), [], BEGAN - 1)
    assert segments_until(manifest({"a": 10}), [], BEGAN).shards[0].stretches == ()


def test_which_keys_count_is_as_it_was_then() -> None:
    segments = [
        segment(3, {"a": part(10, 20)}, (BEGAN + 4, "first", (20,))),
        segment(7, {"a": part(20, 30)}, (BEGAN + 8, "first", (30,))),
    ]
    assert segments_until(manifest({"a": 10}), segments, BEGAN + 5).shards[0].place.slots == ((3, 3),)
    assert segments_until(manifest({"a": 10}), segments, BEGAN + 8).shards[0].place.slots == ((7, 7),)


def test_segments_in_a_store(folder_store: FolderStore) -> None:
    archive = Archive(folder_store, "cache")
    assert archive.latest() is None
    for number in (0, 1000, 2000):
        archive.put(segment(number, {"a": part(number, number + 1000)}, (BEGAN + number, "first", (number,))))
    assert [each.parts["a"].first for each in archive.between(BEGAN + 1400, BEGAN + 1500)] == [1000]
    latest = archive.latest()
    assert latest is not None
    assert latest.ends == {"a": Position("first", 3000)}
    folder_store.put(archive.key(segment_name(BEGAN + 900, 1, 1), "a.increments"), b"never finished")
    assert len(archive.names()) == 3
    assert archive.delete_before(BEGAN + 5000) == 3
    assert [archive.segment(name) for name in archive.names()] == [latest]
    assert len(list(folder_store.entries())) == 1
    # Backups do not see them.
    assert Catalog(folder_store, "cache").names() == []
    with pytest.raises(Damaged, match="is no segment"):
        Segment.from_json(b"[]")


@given(
    stream=st.binary(min_size=1, max_size=40),
    borders=st.lists(st.integers(0, 40), max_size=3),
    cut=st.integers(0, 40),
    end=st.integers(0, 40),
)
def test_what_is_read_is_the_stream(stream: bytes, borders: list[int], cut: int, end: int) -> None:
    with TemporaryDirectory() as folder:
        store = FolderStore(Path(folder))
        archive = Archive(store, "cache")
        limits = sorted({0, len(stream), *(min(border, len(stream)) for border in borders)})
        cut, end = sorted((min(cut, len(stream)), min(end, len(stream))))
        segments = []
        for number, (first, last) in enumerate(itertools.pairwise(limits)):
            name = segment_name(BEGAN + number, 1, number)
            with store.upload(archive.key(name, "a.increments")) as upload:
                stored = seal(iter([stream[first:last]]), upload, None).piece("a.increments")
            assert stored.plain_checksum == hashlib.sha256(stream[first:last]).hexdigest()
            histories = (Position("first", first),)
            parts = {"a": SegmentPart(first=first, last=last, histories=histories, piece=stored)}
            segments.append(segment(number, parts, (BEGAN + 1, "first", (end,))))
        backup = manifest({"a": cut})
        recovery = segments_until(backup, segments, BEGAN + 1)
        found = increments_of(Catalog(store, "cache"), archive, backup, recovery.shards[0], None)
        assert b"".join(found or ()) == stream[cut:end]
