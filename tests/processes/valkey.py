"""A Valkey that moves slots by itself: VALKEY_SERVER, else Debian's, fetched once and run with its own libraries."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path

_SUITE = "forky"
_KEPT = ("./bin", "./lib*", "./usr/lib*", "./usr/bin/valkey*")


def valkey_command() -> list[str]:
    """How to start a valkey-server of version 9 or later here. Fetching it takes about 20 s."""
    given = os.environ.get("VALKEY_SERVER")
    if given:
        return shlex.split(given)
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "redis-production"
    root = cache / f"valkey-server-{_SUITE}"
    if not root.exists():
        _fetch(root)
    (loader,) = root.glob("lib64/ld-linux*.so*")
    libraries = [root / "usr/lib", *root.glob("usr/lib/*-linux-*")]
    return [str(loader), "--library-path", ":".join(map(str, libraries)), str(root / "usr/bin/valkey-server")]


def _fetch(root: Path) -> None:
    if shutil.which("mmdebstrap") is None:
        raise RuntimeError("no Valkey 9 for the tests: install mmdebstrap, or name a valkey-server in VALKEY_SERVER")
    root.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=root.parent) as folder:
        archive, tree = Path(folder) / "root.tar", Path(folder) / "tree"
        subprocess.run(
            # A mirror of a suite in the making may be older than its index is good for.
            ["mmdebstrap", "--variant=essential", '--aptopt=Acquire::Check-Valid-Until "false"',
             "--include=valkey-server", _SUITE, str(archive)],
            check=True, capture_output=True,
        )  # fmt: skip
        tree.mkdir()
        subprocess.run(
            ["tar", "-x", "-C", str(tree), "-f", str(archive), "--no-same-owner", "--wildcards", *_KEPT],
            check=False, capture_output=True,
        )  # fmt: skip
        tree.rename(root)
