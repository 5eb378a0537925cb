"""Whether a disk has room for what is loaded. It is perhaps a node's own, which must never fill up."""

from __future__ import annotations

import shutil
from pathlib import Path

from .errors import BackupError
from .manifest import Manifest, pieces_of


def require_room(scratch: Path, manifest: Manifest) -> None:
    """Raises BackupError unless the largest shard fits twice: a node may have to write its data anew meanwhile."""
    needed = 2 * max(sum(piece.plain_bytes for piece in pieces_of(shard)) for shard in manifest.shards)
    free = shutil.disk_usage(scratch).free
    if free < needed:
        raise BackupError(
            f"{manifest.backup} is not loaded: {scratch} has {free} bytes free, but {needed} are needed: make it larger"
        )
