"""The vendor's release of the Pulumi CLI, with its own language hosts."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tarfile
import tempfile
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Mapping
from pathlib import Path

from airgap.lane import Lane
from airgap.places import cache

VERSION = "3.272.0"
"""The release that belongs to the Python SDK in requirements.txt."""

RELEASES = "https://get.pulumi.com/releases/sdk"
_CONNECT_SECONDS = 4.0
_READ_BYTES = 1 << 20


def released_cli_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Where the downloaded release lies, or would lie."""
    return cache(environment) / f"pulumi-release-{VERSION}" / "bin"


def archive_name(system: str, machine: str) -> str | None:
    """The release archive for a machine (``sys.platform``, ``platform.machine()``), None where the vendor has none."""
    systems = {"linux": "linux", "darwin": "darwin"}
    machines = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64", "arm64": "arm64"}
    if system not in systems or machine.lower() not in machines:
        return None
    return f"pulumi-v{VERSION}-{systems[system]}-{machines[machine.lower()]}.tar.gz"


def download(lane: Lane, releases: str = RELEASES, environment: Mapping[str, str] = os.environ) -> bool:
    """Fetch the vendor's release into the cache; False, after saying why, when it cannot be had."""
    target = released_cli_folder(environment)
    name = archive_name(sys.platform, platform.machine())
    if name is None:
        lane.say(f"the vendor has no Pulumi release for {sys.platform} on {platform.machine()}")
        return False
    target.parent.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="pulumi-release.partial-", dir=target.parent.parent) as temporary:
        archive = Path(temporary) / name
        try:
            _fetch(lane, f"{releases}/{name}", archive)
            unpacked = Path(temporary) / "unpacked"
            with tarfile.open(archive) as tar:
                # Python 3.11.2, Debian 12's, does not know extraction filters yet.
                tar.extraction_filter = getattr(tarfile, "data_filter", lambda member, _path: member)
                tar.extractall(unpacked)  # noqa: S202 - the vendor's own archive, over https
            executables = next(path.parent for path in sorted(unpacked.rglob("pulumi")) if path.is_file())
        except (OSError, EOFError, zlib.error, tarfile.TarError, StopIteration) as error:
            lane.say(f"the vendor's Pulumi release cannot be downloaded ({_reason(error)})")
            return False
        shutil.rmtree(target.parent, ignore_errors=True)
        target.parent.mkdir()
        executables.rename(target)
    lane.say(f"Pulumi CLI {VERSION}: the vendor's release is in {target}")
    return True


def _fetch(lane: Lane, url: str, target: Path) -> None:
    # https only, or a test's own server: the scheme is never a user's input.
    with urllib.request.urlopen(url, timeout=_CONNECT_SECONDS) as answer, target.open("wb") as file:  # noqa: S310
        total = int(answer.headers.get("Content-Length") or 0)
        lane.say(f"downloading the Pulumi CLI {VERSION} ({total / 1e6:.0f} MB)")
        fetched, spoke = 0, time.monotonic()
        while chunk := answer.read(_READ_BYTES):
            file.write(chunk)
            fetched += len(chunk)
            if time.monotonic() - spoke > 5:
                lane.say(f"... {fetched / 1e6:.0f} of {total / 1e6:.0f} MB")
                spoke = time.monotonic()
        if total and fetched != total:
            raise OSError(f"the connection ended after {fetched} of {total} bytes")


def _reason(error: BaseException) -> str:
    if isinstance(error, urllib.error.URLError) and not isinstance(error, urllib.error.HTTPError):
        return str(error.reason)
    return str(error) or type(error).__name__
