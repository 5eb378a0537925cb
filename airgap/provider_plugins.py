"""Provider plugins of the Pulumi engine: the vendor's where it can be downloaded, else a stand-in from this package.

Nothing outside this package knows which one is installed.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import socket
import tempfile
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from airgap.lane import Lane
from airgap.places import PROJECT, VIRTUAL_ENVIRONMENT, own_pulumi_home
from airgap.problem import Problem
from airgap.pulumi_cli.download import RELEASES
from airgap.pulumi_cli.find import PulumiCli

_STAND_IN_PACKER = PROJECT / "airgap" / "docker_provider" / "package.py"
_STAMP = ".stand-in"
_CONNECT_SECONDS = 4.0


def docker_version(requirements: Path = PROJECT / "requirements.txt") -> str:
    """The plugin version that belongs to the pinned ``pulumi-docker`` SDK."""
    found = re.search(r"^pulumi-docker==(\S+)", requirements.read_text(), re.MULTILINE)
    if found is None:
        raise Problem(f"{requirements.name} does not pin pulumi-docker: add pulumi-docker==VERSION")
    return found[1]


def plugin_folder(home: Path) -> Path:
    """Where Pulumi keeps the Docker plugin under a PULUMI_HOME."""
    return home / "plugins" / f"resource-docker-v{docker_version()}"


def home_in_use(cli: PulumiCli, environment: Mapping[str, str] = os.environ) -> Path | None:
    """The PULUMI_HOME whose Docker plugin is complete and current, or None when one must be installed first.

    The stand-in is never put into the user's own home: it covers less than the vendor's plugin, and other projects read
    that home too.
    """
    for home in dict.fromkeys((cli.home(environment), own_pulumi_home(environment))):
        folder = plugin_folder(home)
        if not (folder / "pulumi-resource-docker").exists() or Path(f"{folder}.partial").exists():
            continue
        if not uses_stand_in(home) or (folder / _STAMP).read_text() == stand_in_fingerprint():
            return home
    return None


def uses_stand_in(home: Path) -> bool:
    """Whether the plugin installed under this PULUMI_HOME is the stand-in."""
    return (plugin_folder(home) / _STAMP).exists()


def stand_in_fingerprint(packer: Path = _STAND_IN_PACKER) -> str:
    """A hash of what is installed: a launcher, written by the packer, that runs the stand-in's code where it lies.

    A change of that code needs no new installation; a change of the launcher or of the checkout's place does.
    """
    return hashlib.sha256(str(packer).encode() + packer.read_bytes()).hexdigest()


def prepare(lane: Lane, cli: PulumiCli, environment: Mapping[str, str] = os.environ) -> None:
    """Install the Docker plugin. Raises Problem when neither the vendor's nor the stand-in can be installed."""
    if home_in_use(cli, environment) is not None:
        return
    version = docker_version()
    own_home = own_pulumi_home(environment)
    if not uses_stand_in(own_home) and can_connect(RELEASES):
        lane.say(f"downloading the vendor's Docker plugin {version}")
        try:
            _install(lane, cli, cli.home(environment), [], environment)
        except Problem as problem:
            lane.say(f"the vendor's Docker plugin cannot be downloaded: {problem.reason}")
        else:
            return
    lane.say(f"installing the stand-in for the vendor's Docker plugin {version}")
    with tempfile.TemporaryDirectory(prefix="redis-production-plugin-") as temporary:
        archive = Path(temporary) / "pulumi-resource-docker.tar.gz"
        lane.run(
            [VIRTUAL_ENVIRONMENT / "bin" / "python", "-m", "airgap.provider_protocol.package", archive],
            "packing the stand-in",
            advice="It is part of this project: airgap/docker_provider must be complete.",
            folder=PROJECT,
            environment=environment,
        )
        # The stamp is written last: an interrupted installation is repeated.
        shutil.rmtree(plugin_folder(own_home), ignore_errors=True)
        _install(lane, cli, own_home, ["--file", str(archive)], environment)
        (plugin_folder(own_home) / _STAMP).write_text(stand_in_fingerprint())


def can_connect(url: str, seconds: float = _CONNECT_SECONDS) -> bool:
    """Whether the host of an address accepts connections: tells in a moment that there is no internet.

    A configured proxy is taken to lead everywhere.
    """
    if os.environ.get("HTTPS_PROXY") or os.environ.get("https_proxy"):
        return True
    parts = urlsplit(url)
    try:
        with socket.create_connection((parts.hostname or "", parts.port or 443), timeout=seconds):
            return True
    except OSError:
        return False


def _install(lane: Lane, cli: PulumiCli, home: Path, options: list[str], environment: Mapping[str, str]) -> None:
    version = docker_version()
    lane.run(
        [cli.folder / "pulumi", "plugin", "install", "resource", "docker", version, "--reinstall", *options],
        f"installing the Docker plugin {version}",
        advice="Pulumi's own message above says why.",
        environment={**environment, "PULUMI_HOME": str(home), "PULUMI_SKIP_UPDATE_CHECK": "true"},
    )
