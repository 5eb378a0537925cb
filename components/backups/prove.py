"""Proves that a backup can be restored: loads every shard's data in a server of its own, counts, and reads samples."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import redis

from ..formation.cluster.observation import slots_of
from ..formation.cluster.slots import SLOT_COUNT, format_slots
from ..topologies import CLUSTER
from .catalog import Catalog, manifest_checksum
from .errors import BackupError, Damaged
from .manifest import MANIFEST, Manifest, Proof, ShardCopy
from .sealing import unseal
from .throwaway_server import throwaway_server

Progress = Callable[[str], None]
_SAMPLES = 100
_LOAD_SECONDS = 3600.0


def prove(
    catalog: Catalog,
    manifest: Manifest,
    key: bytes | None,
    scratch: Path,
    progress: Progress,
    command: Sequence[str] | None = None,
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
    command: Sequence[str] | None,
    counted: _Counts,
) -> None:
    of_a_cluster = manifest.topology == CLUSTER
    folder = Path(tempfile.mkdtemp(prefix="proof-", dir=scratch))
    try:
        data = folder / "dump.rdb"
        with (
            catalog.store.read(catalog.key(manifest.backup, shard.snapshot.name)) as chunks,
            data.open("wb") as file,
        ):
            for chunk in unseal(chunks, key, shard.snapshot):
                file.write(chunk)
        with throwaway_server(data, of_a_cluster=of_a_cluster, load_seconds=_LOAD_SECONDS, command=command) as client:
            info: dict[str, Any] = client.info()
            loaded, expired = int(info["rdb_last_load_keys_loaded"]), int(info["rdb_last_load_keys_expired"])
            several = sum(name.startswith("db") and name[2:].isdigit() for name in info) > 1
            # The manifest's number is of the first database; most deployments have no other.
            if loaded + expired < shard.keys or (not several and loaded + expired != shard.keys):
                raise Damaged(
                    f"a server has loaded {loaded} keys, and {expired} had expired, but the manifest says {shard.keys}"
                )
            if of_a_cluster:
                counted.slots.update(_by_slot(client, shard))
            counted.keys[shard.name], counted.expired[shard.name] = loaded, expired
            counted.sampled += _read_samples(client, loaded)
            counted.version = str(info.get("valkey_version") or info["redis_version"])
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _by_slot(client: redis.Redis, shard: ShardCopy) -> dict[str, int]:
    with client.pipeline(transaction=False) as pipeline:
        for slot in range(SLOT_COUNT):
            pipeline.execute_command("CLUSTER", "COUNTKEYSINSLOT", slot)  # type: ignore[no-untyped-call]
        found = {slot: int(count) for slot, count in enumerate(pipeline.execute()) if count}
    strays = found.keys() - set(slots_of(shard.slots))
    if strays:
        raise Damaged(f"it has keys of slots {format_slots(strays)}, which are not the shard's")
    return {str(slot): count for slot, count in found.items()}


def _read_samples(client: redis.Redis, keys: int) -> int:
    """Values that can be read as a whole; how many."""
    read = 0
    for _ in range(min(_SAMPLES, keys)):
        name = client.randomkey()
        if name is not None and client.dump(name) is not None:
            read += 1
    return read
