"""Proves that a backup can be restored: loads every shard's data in a server of its own, counts, and reads samples."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import redis

from ..formation.cluster.observation import slots_of
from ..formation.cluster.slots import format_slots
from ..topologies import CLUSTER
from .catalog import Catalog, manifest_checksum
from .errors import BackupError, Damaged
from .manifest import MANIFEST, Manifest, Piece, Proof, ShardCopy
from .sealing import unseal
from .throwaway_server import throwaway_server

Progress = Callable[[str], None]
_SAMPLES = 100


def prove(
    catalog: Catalog,
    manifest: Manifest,
    key: bytes | None,
    scratch: Path,
    progress: Progress,
    command: Sequence[str] = (),
) -> Proof:
    """Load it shard by shard, and record that it could be.

    Args:
        catalog: where it is.
        manifest: of the backup.
        key: that it was sealed with, if it was.
        scratch: a folder with room for the largest shard's RDB file; nothing is left in it.
        progress: gets a line for each shard.
        command: see :func:`throwaway_server.throwaway_server`.

    Raises Damaged when it is not what the manifest says, BackupError when it cannot be found out.
    """
    content = catalog.store.get(catalog.key(manifest.backup, MANIFEST))
    if content is None:
        raise BackupError(f"{manifest.backup} has no manifest any more")
    counted = _Counts()
    for shard in manifest.shards:
        try:
            _prove_shard(catalog, manifest, shard, key, scratch, command, counted)
        except Damaged as error:
            raise Damaged(f"{manifest.backup}, {shard.name}: {error}") from error
        progress(f"proven {shard.name}: {counted.keys[shard.name]} keys")
    proof = Proof(
        proven_at=time.time(),
        keys=counted.keys,
        expired=counted.expired,
        slots=dict(counted.slots),
        sampled=counted.sampled,
        manifest_checksum=manifest_checksum(content),
        server_version=counted.version,
        after_increments=counted.after_increments,
    )
    catalog.put_proof(manifest.backup, proof)
    return proof


class _Counts:
    def __init__(self) -> None:
        self.keys: dict[str, int] = {}
        self.expired: dict[str, int] = {}
        self.slots: Counter[str] = Counter()
        self.after_increments: dict[str, int] = {}
        self.sampled = 0
        self.version = ""


def _prove_shard(
    catalog: Catalog,
    manifest: Manifest,
    shard: ShardCopy,
    key: bytes | None,
    scratch: Path,
    command: Sequence[str],
    counted: _Counts,
) -> None:
    of_a_cluster = manifest.topology == CLUSTER

    def content(piece: Piece) -> Iterator[bytes]:
        return unseal(stack.enter_context(catalog.store.read(catalog.key(manifest.backup, piece.name))), key, piece)

    with ExitStack() as stack:
        server = stack.enter_context(
            throwaway_server(
                scratch,
                content(shard.snapshot),
                content(shard.increments) if shard.increments else None,
                command=command,
                cluster=of_a_cluster,
            )
        )
        loaded = server.loaded
        # With increments nothing is left out of the snapshot: they may be about keys whose time has come.
        expired = loaded.expired or 0
        # The manifest's number is of the first database; most deployments have no other.
        several = len(loaded.databases) > 1
        if loaded.keys + expired < shard.keys or (not several and loaded.keys + expired != shard.keys):
            raise Damaged(
                f"a server has loaded {loaded.keys} keys, and {expired} had expired, but the manifest says {shard.keys}"
            )
        if of_a_cluster:
            _count_slots(server.keys_by_slot(), shard, counted)
        counted.keys[shard.name], counted.expired[shard.name] = loaded.keys, expired
        if shard.increments:
            counted.after_increments[shard.name] = sum(loaded.databases.values())
        counted.sampled += _read_samples(server.client, sum(loaded.databases.values()))
        counted.version = loaded.version


def _count_slots(by_slot: Mapping[int, int], shard: ShardCopy, counted: _Counts) -> None:
    counting = {*slots_of(shard.slots), *shard.importing}
    strays = by_slot.keys() - counting - set(shard.ignored)
    if strays:
        raise Damaged(f"it has keys of slots {format_slots(strays)}, which are not the shard's")
    counted.slots.update({str(slot): count for slot, count in by_slot.items() if slot in counting})


def _read_samples(client: redis.Redis, keys: int) -> int:
    """Values that can be read as a whole; how many."""
    read = 0
    for _ in range(min(_SAMPLES, keys)):
        name = client.randomkey()
        if name is not None and client.dump(name) is not None:
            read += 1
    return read
