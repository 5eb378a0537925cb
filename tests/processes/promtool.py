"""promtool: PROMTOOL, else the one on PATH, else that of Debian's package, fetched once and not installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path


def promtool() -> str:
    """Its path. Fetching it takes about 3 s."""
    given = os.environ.get("PROMTOOL") or shutil.which("promtool")
    if given:
        return given
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "redis-production"
    program = cache / "promtool"
    if not program.exists():
        _fetch(program)
    return str(program)


def _fetch(program: Path) -> None:
    if shutil.which("apt-get") is None:
        raise RuntimeError("no promtool for the tests: install Prometheus, or name its promtool in PROMTOOL")
    program.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=program.parent) as folder:
        download = ["apt-get", "--quiet", "--option", "APT::Sandbox::User=root", "download", "prometheus"]
        if subprocess.run(download, cwd=folder, capture_output=True, check=False).returncode:
            # The package lists are old, or were never read.
            subprocess.run(["apt-get", "--quiet", "update"], capture_output=True, check=False)
            subprocess.run(download, cwd=folder, capture_output=True, check=True)
        (package,) = Path(folder).glob("prometheus_*.deb")
        subprocess.run(["dpkg-deb", "--extract", package, folder], check=True, capture_output=True)
        # At once: another run of the tests may be fetching it, too.
        (Path(folder) / "usr/bin/promtool").replace(program)
