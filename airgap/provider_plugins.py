"""Provider plugins of the Pulumi engine: the vendor's where they can be downloaded, else stand-ins from this package.

Nothing outside this package knows which one is installed.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import socket
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from airgap.lane import Lane
from airgap.places import PROJECT, VIRTUAL_ENVIRONMENT, own_pulumi_home
from airgap.problem import Problem
from airgap.pulumi_cli.download import RELEASES
from airgap.pulumi_cli.find import PulumiCli

_STAND_IN_PACKER = PROJECT / "airgap" / "provider_protocol" / "package.py"
_STAMP = ".stand-in"
_CONNECT_SECONDS = 4.0


@dataclass(frozen=True)
class Plugin:
    """One plugin; its version is that of the SDK which a requirements file pins."""

    name: str
    """As Pulumi calls it: docker."""
    title: str
    """As people call it: Docker."""
    requirements: Path

    def version(self) -> str:
        """The version that belongs to the pinned SDK. Raises Problem: none is pinned."""
        pin = re.escape(f"pulumi-{self.name}==")
        found = re.search(rf"^{pin}(\S+)", self.requirements.read_text(), re.MULTILINE)
        if found is None:
            name = f"pulumi-{self.name}"
            raise Problem(f"{self.requirements.name} does not pin {name}: add {name}==VERSION")
        return found[1]

    def folder(self, home: Path) -> Path:
        """Where Pulumi keeps the plugin under a PULUMI_HOME."""
        return home / "plugins" / f"resource-{self.name}-v{self.version()}"

    def is_stand_in(self, home: Path) -> bool:
        """Whether what is installed under this PULUMI_HOME is the stand-in."""
        return (self.folder(home) / _STAMP).exists()

    def is_current(self, home: Path) -> bool:
        """Whether the plugin is installed under this PULUMI_HOME, completely, and as it is to be now."""
        folder = self.folder(home)
        if not (folder / f"pulumi-resource-{self.name}").exists() or Path(f"{folder}.partial").exists():
            return False
        return not self.is_stand_in(home) or (folder / _STAMP).read_text() == stand_in_fingerprint()


DOCKER = Plugin("docker", "Docker", PROJECT / "requirements.txt")
AWS = Plugin("aws", "AWS", PROJECT / "requirements-aws.txt")


def needed(stack_file: Path | None) -> tuple[Plugin, ...]:
    """The plugins that a stack's platform needs; without a stack (None) all, as tests have stacks of every kind."""
    if stack_file is None:
        return (DOCKER, AWS)
    text = stack_file.read_text() if stack_file.exists() else ""
    on_aws = re.search(r"""^\s*redis-production:platform:\s*["']?aws\b""", text, re.MULTILINE)
    return (AWS,) if on_aws else (DOCKER,)


def home_in_use(cli: PulumiCli, plugins: Sequence[Plugin], environment: Mapping[str, str] = os.environ) -> Path | None:
    """The PULUMI_HOME in which all these plugins are complete and current, or None when one must be installed first.

    A stand-in is never put into the user's own home: it covers less than the vendor's plugin, and other projects read
    that home too.
    """
    for home in dict.fromkeys((cli.home(environment), own_pulumi_home(environment))):
        if all(plugin.is_current(home) for plugin in plugins):
            return home
    return None


def uses_stand_in(home: Path) -> bool:
    """Whether a plugin installed under this PULUMI_HOME is a stand-in."""
    return any(plugin.is_stand_in(home) for plugin in (DOCKER, AWS))


def stand_in_fingerprint(packer: Path = _STAND_IN_PACKER) -> str:
    """A hash of what is installed: a launcher, written by the packer, that runs the stand-in's code where it lies.

    A change of that code needs no new installation; a change of the launcher or of the checkout's place does.
    """
    return hashlib.sha256(str(packer).encode() + packer.read_bytes()).hexdigest()


def prepare(
    lane: Lane,
    cli: PulumiCli,
    plugins: Sequence[Plugin],
    environment: Mapping[str, str] = os.environ,
) -> None:
    """Install these plugins into one PULUMI_HOME.

    Raises Problem: neither the vendor's nor the stand-in of one can be installed.
    """
    if home_in_use(cli, plugins, environment) is not None:
        return
    own_home = own_pulumi_home(environment)
    if not uses_stand_in(own_home) and can_connect(RELEASES):
        try:
            for plugin in (one for one in plugins if not one.is_current(cli.home(environment))):
                lane.say(f"downloading the vendor's {plugin.title} plugin {plugin.version()}")
                _install(lane, cli, plugin, cli.home(environment), [], environment)
        except Problem as problem:
            lane.say(f"the vendor's plugin cannot be downloaded: {problem.reason}")
        else:
            return
    for plugin in (one for one in plugins if not one.is_current(own_home)):
        _install_stand_in(lane, cli, plugin, own_home, environment)


def _install_stand_in(lane: Lane, cli: PulumiCli, plugin: Plugin, home: Path, environment: Mapping[str, str]) -> None:
    lane.say(f"installing the stand-in for the vendor's {plugin.title} plugin {plugin.version()}")
    with tempfile.TemporaryDirectory(prefix="redis-production-plugin-") as temporary:
        archive = Path(temporary) / f"pulumi-resource-{plugin.name}.tar.gz"
        lane.run(
            [VIRTUAL_ENVIRONMENT / "bin" / "python", "-m", "airgap.provider_protocol.package", plugin.name, archive],
            "packing the stand-in",
            advice=f"It is part of this project: airgap/{plugin.name}_provider must be complete.",
            folder=PROJECT,
            environment=environment,
        )
        # The stamp is written last: an interrupted installation is repeated.
        shutil.rmtree(plugin.folder(home), ignore_errors=True)
        _install(lane, cli, plugin, home, ["--file", str(archive)], environment)
        (plugin.folder(home) / _STAMP).write_text(stand_in_fingerprint())


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


def _install(
    lane: Lane, cli: PulumiCli, plugin: Plugin, home: Path, options: list[str], environment: Mapping[str, str]
) -> None:
    version = plugin.version()
    lane.run(
        [cli.folder / "pulumi", "plugin", "install", "resource", plugin.name, version, "--reinstall", *options],
        f"installing the {plugin.title} plugin {version}",
        advice="Pulumi's own message above says why.",
        environment={**environment, "PULUMI_HOME": str(home), "PULUMI_SKIP_UPDATE_CHECK": "true"},
    )
