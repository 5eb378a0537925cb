"""The code that hosts run, as one file: a Python zip application. The same sources give the same bytes."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
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

from components.remote.program import main

sys.exit(main())
"""
# redis-py needs the second one where Python is older than 3.11.3, and there alone it is installed.
_LIBRARIES = ("redis", "async_timeout")
# The first date that a zip archive can hold.
_DATE = (1980, 1, 1, 0, 0, 0)


@cache
def archive() -> bytes:
    """Formation, what calls it, and redis-py; a host needs Python for it and nothing else."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive_file:
        for name, source in sorted(_entries()):
            info = zipfile.ZipInfo(name, _DATE)
            info.external_attr = 0o644 << 16
            archive_file.writestr(info, source, zipfile.ZIP_DEFLATED)
    return content.getvalue()


def _entries() -> Iterator[tuple[str, bytes]]:
    yield "__main__.py", _MAIN.encode()
    # The package's own offers the components, which need Pulumi.
    yield "components/__init__.py", b""
    for path in (*(_PACKAGE / name for name in _MODULES), *(_PACKAGE / "formation").rglob("*.py")):
        yield f"components/{path.relative_to(_PACKAGE).as_posix()}", path.read_bytes()
    for library in _LIBRARIES:
        spec = find_spec(library)
        for folder in (spec.submodule_search_locations or ()) if spec else ():
            for path in Path(folder).rglob("*.py"):
                yield f"{library}/{path.relative_to(folder).as_posix()}", path.read_bytes()
