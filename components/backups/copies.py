"""The shards' copies of a backup in the store, each with what brings it to the moment that is wanted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from .archive import Archive
from .catalog import Catalog
from .errors import Damaged
from .manifest import Manifest
from .recovery import Recovery, ShardRecovery, increments_of
from .sealing import unseal, verify
from .throwaway_server import ThrowawayServer, throwaway_server

Progress = Callable[[str], None]


class Copies:
    """Reads and loads them.

    Args:
        catalog: that has the backup, and the archive of what was written after it.
        manifest: of the backup.
        recovery: up to which moment, see :mod:`recovery`.
        key: that everything was sealed with, if it was.
        scratch: a folder with room for the largest shard's files; nothing is left in it.
        command: how to start a throwaway server, see :func:`throwaway_server.throwaway_server`.
        progress: gets a line for each shard.
    """

    def __init__(
        self,
        catalog: Catalog,
        manifest: Manifest,
        recovery: Recovery,
        key: bytes | None,
        scratch: Path,
        *,
        command: Sequence[str] = (),
        progress: Progress,
    ) -> None:
        self.shards = recovery.shards
        self._catalog = catalog
        self._archive = Archive(catalog.store, catalog.deployment)
        self._manifest = manifest
        self._key = key
        self._scratch = scratch
        self._command = command
        self._progress = progress

    def verify(self) -> None:
        """Read through all of them. Raises Damaged naming backup and shard."""
        for each in self.shards:
            piece = each.shard.snapshot
            with self._named(each), self._catalog.store.read(self._place(piece.name)) as chunks:
                verify(chunks, self._key, piece)
                for _ in self._increments(each) or ():
                    pass
            self._progress(f"verified {each.shard.name}")

    @contextmanager
    def loaded(self, each: ShardRecovery) -> Iterator[ThrowawayServer]:
        """A server that has it. Raises Damaged naming backup and shard."""
        piece = each.shard.snapshot
        with ExitStack() as stack:
            with self._named(each):
                chunks = stack.enter_context(self._catalog.store.read(self._place(piece.name)))
                server = stack.enter_context(
                    throwaway_server(
                        self._scratch,
                        unseal(chunks, self._key, piece),
                        self._increments(each),
                        command=self._command,
                        background=False,
                    )
                )
            # What DUMP gives is unpacked again in a moment.
            server.client.config_set("rdbcompression", "no")
            self._progress(f"loaded {each.shard.name}: {sum(server.loaded.databases.values())} keys")
            yield server

    def _increments(self, each: ShardRecovery) -> Iterator[bytes] | None:
        return increments_of(self._catalog, self._archive, self._manifest, each, self._key)

    def _place(self, name: str) -> str:
        return self._catalog.key(self._manifest.backup, name)

    @contextmanager
    def _named(self, each: ShardRecovery) -> Iterator[None]:
        try:
            yield
        except Damaged as error:
            raise Damaged(f"{self._manifest.backup}, {each.shard.name}: {error}") from error
