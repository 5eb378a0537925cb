"""The code that hosts and the backup container run, as one file: a Python zip application.

The same sources give the same bytes.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path

_PACKAGE = Path(__file__).parents[1]
_MODULES = (
    "client_check.py",
    "clients.py",
    "cluster_client.py",
    "key_patterns.py",
    "live_cluster.py",
    "live_deployment.py",
    "live_replication.py",
    "sentinel_client.py",
    "topologies.py",
    "remote/__init__.py",
    "remote/answers.py",
    "remote/program.py",
)
_MAIN = """\
import sys

from components.{} import main

sys.exit(main())
"""
FORMATION = "remote.program"
BACKUPS = "backups.program"
# Folders of the package, and libraries. Formation's host gets no code of backups: less to send with each request.
_FOLDERS = {FORMATION: ("formation",), BACKUPS: ("backups", "formation")}
_LIBRARIES = {FORMATION: ("redis",), BACKUPS: ("croniter", "prometheus_client", "redis")}
# What redis-py needs where Python is older than 3.11.3, and there alone it is installed.
_LIBRARY_OF_OLD_PYTHONS = "async_timeout"
# The first date that a zip archive can hold.
_DATE = (1980, 1, 1, 0, 0, 0)
_UNIX = 3
"""Where an archive says that it was made; else it is said of this machine."""


@cache
def archive(program: str = FORMATION) -> bytes:
    """Code and libraries of a ``program``: FORMATION, or BACKUPS.

    A host needs Python for formation and nothing else; for backups boto3 (with dateutil), cryptography and zstandard
    besides.
    """
    return _zipped([*_entries(program), *_of_library(_LIBRARY_OF_OLD_PYTHONS)], zipfile.ZIP_DEFLATED)


@cache
def plain_archive(program: str) -> bytes:
    """The same bytes whatever Python and compression a machine has: whoever deploys, nothing has changed.

    Uncompressed, and without what only an old Python needs, which the host has to have then.
    """
    return _zipped(_entries(program), zipfile.ZIP_STORED)


@cache
def fingerprint(program: str) -> str:
    """SHA-256 of what is in the archive, the same whatever Python and compression a machine has."""
    digest = hashlib.sha256()
    for name, source in sorted(_entries(program)):
        digest.update(f"{name}\0{len(source)}\0".encode() + source)
    return digest.hexdigest()


def _zipped(entries: Iterable[tuple[str, bytes]], compression: int) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive_file:
        for name, source in sorted(entries):
            info = zipfile.ZipInfo(name, _DATE)
            info.create_system = _UNIX
            info.external_attr = 0o644 << 16
            archive_file.writestr(info, source, compression)
    return content.getvalue()


def _entries(program: str) -> Iterator[tuple[str, bytes]]:
    yield "__main__.py", _MAIN.format(program).encode()
    # The package's own offers the components, which need Pulumi.
    yield "components/__init__.py", b""
    of_folders = (path for folder in _FOLDERS[program] for path in (_PACKAGE / folder).rglob("*.py"))
    for path in (*(_PACKAGE / name for name in _MODULES), *of_folders):
        yield f"components/{path.relative_to(_PACKAGE).as_posix()}", path.read_bytes()
    for library in _LIBRARIES[program]:
        yield from _of_library(library)


def _of_library(library: str) -> Iterator[tuple[str, bytes]]:
    spec = find_spec(library)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        for path in Path(folder).rglob("*.py"):
            relative = path.relative_to(folder)
            if "tests" not in relative.parts:
                yield f"{library}/{relative.as_posix()}", path.read_bytes()
