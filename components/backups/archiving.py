"""Archives what is written between backups, so that a deployment can be restored as it was at almost any moment.

One host does, whoever holds the claim. It reads every shard's replication stream from where the archive ends, or from
the newest backup's cut, and stores a segment every 20 s if anything was written: less than a minute is lost whatever
fails. When no node has the stream from there on any more, there is a gap: a new backup is taken at once, and archiving
goes on from it.
"""

from __future__ import annotations

import dataclasses
import itertools
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress

from .archive import Archive, Mark, Place, Position, Segment, place_of, segment_name
from .archive_tail import Tail, Where
from .catalog import Catalog
from .claims import Claim, Held
from .cut import AskAgain
from .cut_reader import CutReader, PrimaryReader, reader_of
from .errors import BackupError, Damaged, SourceError
from .manifest import Manifest
from .replication_stream import HistoryGone
from .sealing import ENCRYPTION, key_fingerprint
from .sources import survey
from .take import Order

Progress = Callable[[str], None]
_CLAIM = "increments"
_CLAIM_SECONDS = 40.0
_RENEW_SECONDS = 10.0
_RETRY_SECONDS = 5.0
_MARK_SECONDS = 1.0
_SEGMENT_SECONDS = 20.0
_IDLE_SECONDS = 180.0
_MOST_BYTES = 64 * 1024 * 1024
_STORE_SECONDS = 300.0
_NO_MARK_SECONDS = 60.0
_TIDY_SECONDS = 3600.0


class Archiver:
    """Archives one deployment.

    Args:
        order: the deployment.
        catalog: where its backups are, and its archive is.
        take_backup: takes a backup now; raises BackupError.
        progress: gets a line for what happens.
    """

    def __init__(self, order: Order, catalog: Catalog, take_backup: Callable[[], object], progress: Progress) -> None:
        self._order = order
        self._catalog = catalog
        self._take_backup = take_backup
        self._progress = progress
        self._archive = Archive(catalog.store, order.deployment)
        self._numbers = itertools.count(1)
        self._where = Where(record=order.record, access=order.access, key=order.key, archive=self._archive)

    def run(self, stop: threading.Event) -> None:
        """Archive until ``stop`` is set. What fails is told, and begun again where the archive ends."""
        while not stop.is_set():
            with self._whatever_fails():
                claim = self._catalog.claim(_CLAIM, socket.gethostname(), _CLAIM_SECONDS, time.time())
                if claim is not None:
                    self._run_with(claim, stop)
            stop.wait(_RETRY_SECONDS)

    def _run_with(self, claim: Claim, stop: threading.Event) -> None:
        try:
            with Held(claim, _CLAIM_SECONDS, _RENEW_SECONDS) as held:
                while not stop.is_set() and not held.lost.is_set():
                    with self._whatever_fails():
                        self._session(claim, stop, held.lost)
                    stop.wait(_RETRY_SECONDS)
        finally:
            with suppress(BackupError):
                claim.renew(0, time.time())  # the next one need not wait

    def _session(self, claim: Claim, stop: threading.Event, lost: threading.Event) -> None:
        tails = self._begin(stop)
        with ExitStack() as stack:
            for tail in tails:
                stack.callback(tail.close)
            shards = [tail.shard for tail in tails]
            with reader_of(self._order.record, self._order.access, shards) as reader:
                session = _Session(self._order, self._archive, claim, self._numbers, tails, reader)
                session.run(stop, lost, self._tidy)

    @contextmanager
    def _whatever_fails(self) -> Iterator[None]:
        """Is told, and nothing more: archiving must go on."""
        try:
            yield
        except Exception as error:
            problem = str(error) if isinstance(error, BackupError) else f"{type(error).__name__}: {error}"
            self._progress(f"error: archiving: {problem}")
            with suppress(BackupError):  # it may be the store that has failed
                status = dataclasses.replace(self._archive.status(), problem=" ".join(problem.split()))
                self._archive.put_status(status)

    def _begin(self, stop: threading.Event) -> list[Tail]:
        """Where the archive ends, else at the newest backup, else at one that is taken now."""
        found = survey(self._order.record, self._order.access, primaries_too=True)
        shards = {source.shard for source in found.sources}
        backup = self._catalog.latest()
        reasons = []
        try:
            latest = self._archive.latest()
        except Damaged as error:
            latest = None
            reasons.append(str(error))
        for begin in (latest.ends if latest else None, _ends(backup.manifest) if backup and backup.manifest else None):
            if begin is None:
                continue
            if begin.keys() != shards:
                reasons.append("there are other shards than before")
                continue
            try:
                return self._tails(begin)
            except HistoryGone as error:
                reasons.append(str(error))
        self._progress(f"a backup is taken for the archive to begin with: {reasons[0] if reasons else 'there is none'}")
        manifest = self._new_backup(stop)
        tails = self._tails(_ends(manifest))
        if reasons:
            status = self._archive.status()
            self._archive.put_status(dataclasses.replace(status, gaps=status.gaps + 1, last_gap_at=time.time()))
            self._progress("the archive has a gap before this backup")
        return tails

    def _tails(self, begin: Mapping[str, Position]) -> list[Tail]:
        tails: list[Tail] = []
        try:
            for shard, position in sorted(begin.items()):
                tails.append(Tail(self._where, shard, position, self._progress))
        except BaseException:
            for tail in tails:
                tail.close()
            raise
        return tails

    def _new_backup(self, stop: threading.Event) -> Manifest:
        """As soon as it is stored: proving it may take longer than nodes keep what was written since."""
        began = time.time()
        errors: list[BackupError] = []

        def take() -> None:
            try:
                self._take_backup()
            except BackupError as error:
                errors.append(error)

        taking = threading.Thread(target=take, daemon=True)
        taking.start()
        while True:
            ended = not taking.is_alive()
            latest = self._catalog.latest()
            if latest and latest.manifest and latest.manifest.started_at >= began:
                return latest.manifest
            if ended or stop.wait(_MARK_SECONDS):
                raise errors[0] if errors else SourceError("no backup was taken for the archive to begin with")

    def _tidy(self) -> None:
        """Delete what no kept backup needs."""
        cuts = [backup.manifest.cut_at for backup in self._catalog.backups() if backup.manifest]
        if cuts and (deleted := self._archive.delete_before(min(cuts))):
            self._progress(f"{deleted} segments of the archive are deleted: they are older than the oldest backup")


class _Session:
    """From where it begins to the first failure."""

    def __init__(
        self,
        order: Order,
        archive: Archive,
        claim: Claim,
        numbers: Iterator[int],
        tails: Sequence[Tail],
        reader: CutReader | PrimaryReader,
    ) -> None:
        self._order = order
        self._archive = archive
        self._claim = claim
        self._numbers = numbers
        self._tails = tails
        self._reader = reader
        self._marks: list[Mark] = []
        self._layouts: list[dict[str, Place]] = []
        self._name = ""
        self._began = self._marked = time.monotonic()

    def run(self, stop: threading.Event, lost: threading.Event, tidy: Callable[[], None]) -> None:
        """Until ``stop``; then everything that has come is stored. Raises BackupError, after the same."""
        self._name = self._new_name()
        for tail in self._tails:
            tail.start(self._name)
        looked = time.monotonic()
        tidied = 0.0
        while not stop.wait(_MARK_SECONDS):
            if lost.is_set():
                raise SourceError("another host archives: this one lost its claim")
            try:
                self._mark()
                failed = next((tail.error for tail in self._tails if tail.error), None)
                if failed:
                    raise failed
            except BackupError:
                self._store(None)
                raise
            now = time.monotonic()
            if self._is_due(now):
                self._store(self._new_name())
                if not tidied or now - tidied > _TIDY_SECONDS:
                    tidied = now
                    tidy()
            if now - looked > _RENEW_SECONDS:
                looked = now
                self._leave_primaries()
        self._store(None)

    def _is_due(self, now: float) -> bool:
        taken = max(tail.taken for tail in self._tails)
        idle = all(tail.idle for tail in self._tails)
        return taken > _MOST_BYTES or now - self._began > (_IDLE_SECONDS if idle else _SEGMENT_SECONDS)

    def _mark(self) -> None:
        """Raises SourceError when there are other shards, or where they are cannot be told for a minute."""
        try:
            parts = self._reader.read()
        except AskAgain as error:
            if time.monotonic() - self._marked > _NO_MARK_SECONDS:
                raise SourceError(
                    f"for {_NO_MARK_SECONDS:.0f} s it was not found out where the primaries are: {error}"
                ) from error
            return
        now = time.time()
        self._marked = time.monotonic()
        positions = {each.shard: Position(each.replication_id, each.offset) for each in self._reader.readings}
        layout = {shard: place_of(part) for shard, part in parts.items()}
        if not self._layouts or self._layouts[-1] != layout:
            self._layouts.append(layout)
        mark = Mark(now, positions, len(self._layouts) - 1)
        # As long as nothing happens, the first and the last moment say it all.
        if len(self._marks) > 1 and all(_same(mark, earlier) for earlier in self._marks[-2:]):
            self._marks.pop()
        self._marks.append(mark)

    def _store(self, following: str | None) -> None:
        """End the segment, and begin the next one, if any."""
        for tail in self._tails:
            tail.turn_to(following)
        parts = {tail.shard: tail.part(_STORE_SECONDS) for tail in self._tails}
        if not self._claim.is_held(time.time()):
            raise SourceError("another host archives: this one lost its claim")
        key = self._order.key
        self._archive.put(
            Segment(
                name=self._name,
                deployment=self._order.deployment,
                parts=parts,
                marks=tuple(self._marks),
                layouts=tuple(self._layouts),
                encryption=None if key is None else ENCRYPTION,
                key_fingerprint=None if key is None else key_fingerprint(key),
            )
        )
        reached = [
            mark.time
            for mark in self._marks
            if all(position.offset <= parts[shard].last for shard, position in mark.positions.items())
        ]
        # Those that are further on are told once more, by the segment that has what they are about.
        self._marks = [mark for mark in self._marks if mark.time > max(reached, default=0.0)]
        if not self._marks:
            self._layouts = []
        if following is not None:
            self._name = following
        self._began = time.monotonic()
        if reached:
            status = self._archive.status()
            self._archive.put_status(dataclasses.replace(status, archived_until=max(reached), problem=None))

    def _leave_primaries(self) -> None:
        """Where a copied node has become the primary, and there is a replica to take instead."""
        try:
            sources = {source.shard: source for source in survey(self._order.record, self._order.access).sources}
        except SourceError:
            return
        for tail in self._tails:
            source = sources.get(tail.shard)
            if source and tail.member == source.primary != source.copies[0]:
                tail.leave()

    def _new_name(self) -> str:
        return segment_name(time.time(), self._claim.number, next(self._numbers))


def _same(mark: Mark, other: Mark) -> bool:
    return (mark.positions, mark.layout) == (other.positions, other.layout)


def _ends(manifest: Manifest) -> dict[str, Position]:
    return {shard.name: Position(shard.replication_id, shard.cut_offset) for shard in manifest.shards}
