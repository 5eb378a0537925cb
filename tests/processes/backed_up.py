"""What backups have, and clients that know what was acknowledged before one was begun."""

from __future__ import annotations

import contextlib
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import redis

from components.backups.catalog import Catalog
from components.backups.manifest import Manifest, Piece, ShardCopy
from components.backups.sealing import unseal
from components.backups.throwaway_server import throwaway_server
from components.formation.cluster.observation import slots_of
from components.formation.cluster.slots import slot_of
from components.topologies import CLUSTER

Contents = dict[bytes, tuple[bytes, int]]
"""Key -> its DUMP and when it ends."""


def contents_of(
    catalog: Catalog, manifest: Manifest, folder: Path, command: list[str], key: bytes | None = None
) -> Contents:
    """Everything that a backup has, each key from the shard that counts."""
    owned: Contents = {}
    arriving: Contents = {}
    for shard in manifest.shards:
        with loaded_shard(catalog, manifest, shard, folder, command, key) as client:
            found = dump(client)
        if manifest.topology != CLUSTER:
            return found
        slots, importing, ignored = set(slots_of(shard.slots)), set(shard.importing), set(shard.ignored)
        for name, value in found.items():
            slot = slot_of(name)
            assert slot in slots | importing | ignored, f"{name!r} of slot {slot} is in {shard.name}"
            if slot in slots:
                assert name not in owned, f"{name!r} is twice"
                owned[name] = value
            elif slot in importing:
                arriving[name] = value
    return arriving | owned


@contextmanager
def loaded_shard(
    catalog: Catalog, manifest: Manifest, shard: ShardCopy, folder: Path, command: list[str], key: bytes | None = None
) -> Iterator[redis.Redis]:
    """A client of a server with a shard's snapshot and increments."""
    with contextlib.ExitStack() as stack:

        def content(piece: Piece) -> Iterator[bytes]:
            return unseal(stack.enter_context(catalog.store.read(catalog.key(manifest.backup, piece.name))), key, piece)

        increments = content(shard.increments) if shard.increments else None
        server = throwaway_server(folder, content(shard.snapshot), increments, command=command)
        yield stack.enter_context(server).client


def dump(client: redis.Redis) -> Contents:
    """For values whose DUMP says the same for the same: a hash table's order depends on a server's seed."""
    return {key: (client.dump(key), client.pexpiretime(key)) for key in client.scan_iter(count=1000)}  # type: ignore[misc]


class Writer:
    """A client that writes ever larger numbers, and remembers which were acknowledged.

    ``write``: writes a value to a key and returns whether that is safe: it will outlast a failover.
    """

    def __init__(self, write: Callable[[str, int], bool], keys: int = 500) -> None:
        self._write = write
        self._keys = keys
        self._stop = threading.Event()
        self._acknowledged: dict[str, int] = {}
        self._tried: dict[str, int] = {}
        self._thread = threading.Thread(target=self._run)
        self.written = 0

    def __enter__(self) -> Writer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._thread.is_alive(), "the client has failed"
        self._stop.set()
        self._thread.join()

    def acknowledged(self) -> dict[str, int]:
        """Key -> the number that it has at least from now on."""
        return dict(self._acknowledged)

    def check(self, contents: Contents, before: dict[str, int]) -> None:
        """``contents`` have at least what was acknowledged ``before``, and nothing that was never written."""
        wrong = []
        for key, value in before.items():
            found = contents.get(key.encode())
            if found is None:
                wrong.append(f"{key} of slot {slot_of(key)}: missing instead of {value}")
            elif not value <= _number(found[0]) <= self._tried[key]:
                wrong.append(f"{key} of slot {slot_of(key)}: {_number(found[0])} instead of {value} or more")
        unknown = [
            name for name in contents if name.decode().startswith("written:") and name.decode() not in self._tried
        ]
        assert not wrong + unknown, f"{len(wrong)} of {len(before)} keys: {wrong[:10]}, {unknown[:10]}"

    def _run(self) -> None:
        value = 0
        while not self._stop.is_set():
            value += 1
            key = f"written:{random.randrange(self._keys)}"
            self._tried[key] = value
            with contextlib.suppress(redis.RedisError, OSError):
                if self._write(key, value):
                    self._acknowledged[key] = value
                    self.written += 1


def _number(dumped: bytes) -> int:
    """Of a DUMP of a string that is a number (Redis source, rdb.c: rdbEncodeInteger)."""
    assert dumped[0] == 0
    length = {0xC0: 1, 0xC1: 2, 0xC2: 4}[dumped[1]]
    return int.from_bytes(dumped[2 : 2 + length], "little", signed=True)
