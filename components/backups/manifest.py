"""What a backup consists of: written last, so that a backup is there as a whole or not at all."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .errors import Damaged

MANIFEST = "manifest.json"
"""Name of its object within the backup's folder."""
PROOF = "proof.json"
"""Written when a backup was loaded and counted: see :class:`Proof`."""
FORMAT = 1
Ranges = tuple[tuple[int, int], ...]
"""Slots, as first and last of each range."""


@dataclass(frozen=True, kw_only=True)
class Piece:
    """An object of a backup: ``name`` within the backup's folder, and what it is before and after sealing.

    Checksums are SHA-256 in hexadecimal digits.
    """

    name: str
    plain_bytes: int
    plain_checksum: str
    stored_bytes: int
    stored_checksum: str


@dataclass(frozen=True, kw_only=True)
class ShardCopy:
    """One shard's data, as one of its nodes had them.

    Attributes:
        name: the shard's; of a replicated deployment, which has one, ``redis``.
        node: that it was copied from, a replica in sync if there was one.
        slots: that the shard had; empty unless of a cluster.
        importing: slots of which keys were arriving from another shard: a key of them counts if the shard that has the
            slot does not have the key; if it does, that one's is what clients had written last (:mod:`cut`).
        keys: that the snapshot has, by its own account (RDB opcode RESIZEDB), over all databases.
        expiring: how many of them have a time to live.
        replication_id: of the history that offsets are of.
        snapshot_offset: of the replication stream at the snapshot.
        cut_offset: up to which ``increments`` reach; the same when there are none.
        snapshot: an RDB file.
        increments: the replication stream from snapshot_offset to cut_offset, commands as they were sent.
        ignored: slots of which there may be copies here that were sent ahead, while another shard has all their keys:
            nothing of them is restored.
    """

    name: str
    node: str
    slots: Ranges
    importing: tuple[int, ...]
    keys: int
    expiring: int
    replication_id: str
    snapshot_offset: int
    cut_offset: int
    snapshot: Piece
    increments: Piece | None
    ignored: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """A backup.

    Attributes:
        deployment: whose it is.
        backup: its name: when it was begun, UTC, such as ``2026-11-26T03-00-00Z``.
        topology: ``replicated`` or ``cluster``.
        started_at: seconds since 1970 when it was begun: whatever was acknowledged before is in it.
        cut_at: seconds since 1970 of the moment that the data are of.
        finished_at: seconds since 1970 when everything but the manifest was stored.
        server: ``redis`` or ``valkey``.
        server_version: of the nodes.
        shards: every one, with every slot between them.
        compression: of the pieces: ``zstd``.
        encryption: of the pieces: None, or ``aes-256-gcm`` by the client (objects may be encrypted by S3 besides).
        key_fingerprint: which key, without telling it; None without encryption.
        users: the ACL file's lines; passwords in them are hashes.
        configuration: live settings of the nodes.
    """

    deployment: str
    backup: str
    topology: str
    started_at: float
    cut_at: float
    finished_at: float
    server: str
    server_version: str
    shards: tuple[ShardCopy, ...]
    compression: str
    encryption: str | None
    key_fingerprint: str | None
    users: tuple[str, ...]
    configuration: Mapping[str, str] = field(default_factory=dict)

    @property
    def keys(self) -> int:
        """Of all shards' snapshots."""
        return sum(shard.keys for shard in self.shards)

    @property
    def plain_bytes(self) -> int:
        """Of all pieces, before they were sealed."""
        return sum(piece.plain_bytes for shard in self.shards for piece in pieces_of(shard))

    @property
    def stored_bytes(self) -> int:
        """Of all pieces, as they are stored."""
        return sum(piece.stored_bytes for shard in self.shards for piece in pieces_of(shard))

    def to_json(self) -> bytes:
        """As it is stored, with a version of its format."""
        return (json.dumps({"format": FORMAT, **dataclasses.asdict(self)}, indent=1, sort_keys=True) + "\n").encode()

    @classmethod
    def from_json(cls, content: bytes) -> Manifest:
        """The opposite. Raises Damaged for anything that is not such a manifest."""
        try:
            values = json.loads(content)
            if values.pop("format") != FORMAT:
                raise Damaged(f"the manifest is of a format that this version does not know; it knows {FORMAT}")
            values["shards"] = tuple(_shard(each) for each in values["shards"])
            values["users"] = tuple(values["users"])
            return cls(**values)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise Damaged(f"the manifest is no manifest: {type(error).__name__}") from error


@dataclass(frozen=True, kw_only=True)
class Proof:
    """That a backup can be restored: a throwaway server has loaded every piece of it.

    Attributes:
        proven_at: seconds since 1970.
        keys: that were loaded, by shard; as many as the manifest says, less those that had expired.
        expired: keys whose time had come, by shard; none are counted where there are increments, as those may be about
            such keys.
        slots: keys of each slot that has any, over all shards; empty where databases beside 0 are used. A key that was
            on its way to another shard may be counted twice.
        sampled: how many values were read.
        manifest_checksum: SHA-256 of the manifest that it is about.
        server_version: of the throwaway server.
        after_increments: keys that there were once the increments were applied, by shard that has any.
    """

    proven_at: float
    keys: Mapping[str, int]
    expired: Mapping[str, int]
    slots: Mapping[str, int]
    sampled: int
    manifest_checksum: str
    server_version: str
    after_increments: Mapping[str, int] = field(default_factory=dict)

    def to_json(self) -> bytes:
        """As it is stored."""
        return (json.dumps(dataclasses.asdict(self), sort_keys=True) + "\n").encode()

    @classmethod
    def from_json(cls, content: bytes) -> Proof:
        """The opposite. Raises Damaged for anything that is no proof."""
        try:
            return cls(**json.loads(content))
        except (ValueError, TypeError) as error:
            raise Damaged(f"the proof is no proof: {type(error).__name__}") from error


def pieces_of(shard: ShardCopy) -> tuple[Piece, ...]:
    """The snapshot, and the increments if there are any."""
    return (shard.snapshot, *([shard.increments] if shard.increments else []))


def _shard(values: Mapping[str, Any]) -> ShardCopy:
    return ShardCopy(
        **{
            **values,
            "slots": tuple((int(first), int(last)) for first, last in values["slots"]),
            "importing": tuple(values["importing"]),
            "ignored": tuple(values.get("ignored", ())),
            "snapshot": Piece(**values["snapshot"]),
            "increments": Piece(**values["increments"]) if values["increments"] else None,
        }
    )
