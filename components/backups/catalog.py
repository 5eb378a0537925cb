"""Which backups of a deployment a store has, and which of them can be used.

In the store, below the deployment's name: a folder for each backup (:mod:`names`), ``status.json`` (:mod:`status`),
``claims/`` (:mod:`claims`), and ``drills/``: reports of restores that were practised.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Any

from . import status
from .claims import Claim, Claims
from .errors import Damaged, StoreError
from .manifest import FORMAT, MANIFEST, PROOF, Manifest, Proof, pieces_of
from .names import moment_of, name_of
from .retention import Candidate, Retention, to_delete
from .status import Status
from .store import Entry, Store


class State(Enum):
    """What a backup is good for."""

    GOOD = "good"
    """Everything that its manifest tells of is there, in its size."""
    UNFINISHED = "unfinished"
    """Without a manifest: one that is being taken or deleted, or what is left of that."""
    DAMAGED = "damaged"
    """The manifest cannot be read, or something that it tells of is missing or of another size."""
    FOREIGN = "foreign"
    """Of another deployment, or written by a later version: nothing to use or delete here."""


@dataclass(frozen=True, kw_only=True)
class Backup:
    """One in the store.

    Attributes:
        name: see :mod:`names`.
        state: see :class:`State`.
        problem: why it is not good, in one line; empty when it is.
        manifest: if it could be read, and is this deployment's.
        proof: that this very manifest's pieces were loaded once.
        size: of everything that it has, bytes in the store.
        modified_at: when the last of its objects was written, by the store's clock; seconds since 1970.
    """

    name: str
    state: State
    problem: str = ""
    manifest: Manifest | None = None
    proof: Proof | None = None
    size: int = 0
    modified_at: float = 0
    keys: tuple[str, ...] = field(default=(), repr=False)
    """Of all its objects."""

    @property
    def moment(self) -> datetime:
        """That its name says."""
        moment = moment_of(self.name)
        assert moment is not None
        return moment

    @property
    def good(self) -> bool:
        """Whether it can be restored, as far as that can be told without reading its pieces."""
        return self.state is State.GOOD

    @property
    def proven(self) -> bool:
        """Whether it was restored once."""
        return self.good and self.proof is not None


class Catalog:
    """The backups of one deployment. Every method raises StoreError when the store does.

    Args:
        store: where they are.
        deployment: their folder's name, and what their manifests must tell.
    """

    def __init__(self, store: Store, deployment: str) -> None:
        if not deployment or "/" in deployment:
            raise ValueError(f"{deployment!r} cannot be a deployment's name: it is empty or has a / in it")
        self._store = store
        self._deployment = deployment
        self._claims = Claims(store, self._key("claims"))

    @property
    def deployment(self) -> str:
        """Whose backups they are."""
        return self._deployment

    @property
    def store(self) -> Store:
        """Where they are."""
        return self._store

    def key(self, backup: str, name: str) -> str:
        """Of an object of a backup, in the store. Raises ValueError for what is no backup's name."""
        if moment_of(backup) is None:
            raise ValueError(f"{backup!r} is no backup's name: they are such as 2026-11-26T03-00-00Z")
        return self._key(backup, name)

    def names(self) -> list[str]:
        """Of all backups, oldest first, whatever they are good for."""
        return sorted(self._entries())

    def backups(self) -> list[Backup]:
        """All of them, oldest first."""
        return [self._backup(name, entries) for name, entries in sorted(self._entries().items())]

    def backup(self, name: str) -> Backup | None:
        """One of them; None when there is nothing of it."""
        entries = list(self._store.entries(self.key(name, "")))
        return self._backup(name, entries) if entries else None

    def latest(self, *, proven: bool = False, until: float | None = None) -> Backup | None:
        """The newest good one, or the newest proven one; ``until``: of those cut by then, seconds since 1970."""
        for name, entries in sorted(self._entries().items(), reverse=True):
            backup = self._backup(name, entries)
            early_enough = until is None or (backup.manifest is not None and backup.manifest.cut_at <= until)
            if early_enough and (backup.proven or (backup.good and not proven)):
                return backup
        return None

    def delete(self, name: str) -> None:
        """Remove it: the manifest first, so that it is never taken for good while its pieces vanish.

        When this is interrupted the rest is an unfinished backup. One of another deployment is not deleted: raises
        StoreError.
        """
        backup = self.backup(name)
        if backup is None:
            return
        if backup.state is State.FOREIGN:
            raise StoreError(f"{self._store.place}: {name} is not deleted: {backup.problem}")
        for first in (MANIFEST, PROOF):
            self._store.delete([self.key(name, first)])
        self._store.delete([key for key in backup.keys if not key.endswith((f"/{MANIFEST}", f"/{PROOF}"))])

    def remove_unfinished(self, older_than_seconds: float, now: float) -> list[str]:
        """Remove what was begun and not finished, and claims that nobody needs any more; the backups' names.

        Only what nothing was added to for so long, and nobody claims: choose the time so that the largest shard's copy
        is done in it, as an object is not seen before it is whole.
        """
        removed = []
        for backup in self.backups():
            # Claims are looked at last: whoever takes it up again has one before anything else.
            if (
                backup.state is State.UNFINISHED
                and backup.modified_at < now - older_than_seconds
                and not self._claims.is_claimed(backup.name, now)
                and self._store.get(self.key(backup.name, MANIFEST)) is None
            ):
                self._store.delete(list(backup.keys))
                removed.append(backup.name)
        self._claims.remove_expired(now - older_than_seconds)
        return removed

    def claim(self, name: str, owner: str, seconds: float, now: float) -> Claim | None:
        """See :meth:`claims.Claims.claim`: of several hosts one takes the backup."""
        return self._claims.claim(name, owner, seconds, now)

    def candidates(self) -> list[Candidate]:
        """For :func:`retention.to_delete`: those that are good or damaged."""
        return [
            Candidate(backup.name, backup.moment, backup.good, backup.proven)
            for backup in self.backups()
            if backup.state in {State.GOOD, State.DAMAGED}
        ]

    def delete_what_need_not_be_kept(self, retention: Retention, now: datetime) -> list[str]:
        """See :func:`retention.to_delete`; the names, oldest first."""
        names = to_delete(self.candidates(), now, retention)
        for name in names:
            self.delete(name)
        return names

    def kept(self) -> tuple[int, int]:
        """How many good ones there are, and the size of everything, bytes in the store."""
        backups = self.backups()
        return sum(backup.good for backup in backups), sum(backup.size for backup in backups)

    def put_manifest(self, manifest: Manifest) -> None:
        """The last thing to be written of a backup. Raises AlreadyThere when another has finished it before."""
        self._store.put(self.key(manifest.backup, MANIFEST), manifest.to_json(), only_if_absent=True)

    def put_proof(self, backup: str, proof: Proof) -> None:
        """Once it was loaded."""
        self._store.put(self.key(backup, PROOF), proof.to_json())

    def put_drill(self, report: Mapping[str, Any], now: datetime) -> str:
        """File how a drill of a restore went; what its report is called."""
        name = f"drills/{name_of(now)}.json"
        self._store.put(self._key(name), (json.dumps(dict(report), indent=1, sort_keys=True) + "\n").encode())
        return name

    def status(self) -> Status:
        """What the last run left. An empty one when there is none, or none that can be read: the next run writes it."""
        content = self._store.get(self._key(status.OBJECT))
        try:
            return Status() if content is None else Status.from_json(content)
        except Damaged:
            return Status()

    def put_status(self, changed: Status) -> None:
        """After each run, by whoever has the claim."""
        self._store.put(self._key(status.OBJECT), changed.to_json())

    def _key(self, *parts: str) -> str:
        return "/".join((self._deployment, *parts))

    def _entries(self) -> dict[str, list[Entry]]:
        """By backup."""
        found = defaultdict(list)
        begin = self._key("")
        # By their names, which begin with a year: there may be very many other objects, of what was written in between.
        for entry in self._store.entries(f"{begin}2"):
            name, separator, _ = entry.key.removeprefix(begin).partition("/")
            if separator and moment_of(name) is not None:
                found[name].append(entry)
        return found

    def _backup(self, name: str, entries: list[Entry]) -> Backup:
        sizes = {entry.key.removeprefix(self.key(name, "")): entry.size for entry in entries}
        # One that came after the store was listed tells of pieces that the list lacks.
        content = self._store.get(self.key(name, MANIFEST)) if MANIFEST in sizes else None
        manifest, state, problem = self._judged(name, content, sizes)
        return Backup(
            name=name,
            state=state,
            problem=problem,
            manifest=manifest,
            proof=self._proof(name, content) if content is not None and PROOF in sizes else None,
            size=sum(sizes.values()),
            modified_at=max(entry.modified_at for entry in entries),
            keys=tuple(entry.key for entry in entries),
        )

    def _judged(self, name: str, content: bytes | None, sizes: dict[str, int]) -> tuple[Manifest | None, State, str]:
        if content is None:
            return None, State.UNFINISHED, "it has no manifest: it is being taken, or was never finished"
        try:
            manifest = Manifest.from_json(content)
        except Damaged as error:
            return None, State.FOREIGN if _is_of_another_format(content) else State.DAMAGED, str(error)
        if (manifest.deployment, manifest.backup) != (self._deployment, name):
            problem = f"its manifest is that of {manifest.backup} of deployment {manifest.deployment}"
            return None, State.FOREIGN, problem
        problems = list(_missing(manifest, sizes))
        return manifest, State.DAMAGED if problems else State.GOOD, "; ".join(problems)

    def _proof(self, name: str, manifest: bytes) -> Proof | None:
        """None if it is no proof, or that of another manifest: the backup has to be proven anew."""
        content = self._store.get(self.key(name, PROOF))
        try:
            proof = Proof.from_json(content) if content is not None else None
        except Damaged:
            return None
        return proof if proof and proof.manifest_checksum == manifest_checksum(manifest) else None


def manifest_checksum(manifest: bytes) -> str:
    """What a proof tells of the manifest that it is about: SHA-256 of what is stored, in hexadecimal digits."""
    return hashlib.sha256(manifest).hexdigest()


def _missing(manifest: Manifest, sizes: dict[str, int]) -> Iterator[str]:
    for piece in (piece for shard in manifest.shards for piece in pieces_of(shard)):
        size = sizes.get(piece.name)
        if size is None:
            yield f"{piece.name} is missing"
        elif size != piece.stored_bytes:
            yield f"{piece.name} has {size} bytes instead of {piece.stored_bytes}"


def _is_of_another_format(content: bytes) -> bool:
    try:
        return isinstance(found := json.loads(content)["format"], int) and found != FORMAT
    except (ValueError, KeyError, TypeError):
        return False
