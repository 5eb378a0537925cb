"""Proves that a backup can be restored: loads every shard's data in a server of its own, counts, and reads samples."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import redis

from ..formation.cluster.observation import slots_of
from ..formation.cluster.slots import format_slots
from ..topologies import CLUSTER
from .catalog import Catalog, manifest_checksum
from .errors import BackupError, Damaged
from .manifest import MANIFEST, Manifest, Proof, ShardCopy
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
    )
    catalog.put_proof(manifest.backup, proof)
    return proof


class _Counts:
    def __init__(self) -> None:
        self.keys: dict[str, int] = {}
        self.expired: dict[str, int] = {}
        self.slots: Counter[str] = Counter()
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
    with (
        catalog.store.read(catalog.key(manifest.backup, shard.snapshot.name)) as chunks,
        throwaway_server(
            scratch, unseal(chunks, key, shard.snapshot), command=command, cluster=of_a_cluster
        ) as server,
    ):  # fmt: skip
        loaded = server.loaded
        expired = loaded.expired or 0
        # The manifest's number is of the first database; most deployments have no other.
        several = len(loaded.databases) > 1
        if loaded.keys + expired < shard.keys or (not several and loaded.keys + expired != shard.keys):
            raise Damaged(
                f"a server has loaded {loaded.keys} keys, and {expired} had expired, but the manifest says {shard.keys}"
            )
        if of_a_cluster:
            by_slot = server.keys_by_slot()
            strays = by_slot.keys() - set(slots_of(shard.slots))
            if strays:
                raise Damaged(f"it has keys of slots {format_slots(strays)}, which are not the shard's")
            counted.slots.update({str(slot): count for slot, count in by_slot.items()})
        counted.keys[shard.name], counted.expired[shard.name] = loaded.keys, expired
        counted.sampled += _read_samples(server.client, loaded.keys)
        counted.version = loaded.version


def _read_samples(client: redis.Redis, keys: int) -> int:
    """Values that can be read as a whole; how many."""
    read = 0
    for _ in range(min(_SAMPLES, keys)):
        name = client.randomkey()
        if name is not None and client.dump(name) is not None:
            read += 1
    return read
