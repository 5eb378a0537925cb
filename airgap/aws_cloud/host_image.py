"""The image of the look-alike instances, made once from Debian 13's packages: systemd, cloud-init, Redis."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from airgap import apt, redis_image
from airgap.lane import Lane

_NAME = "redis-production-aws-host"
_PURPOSE = "the image of the look-alike instances"
_SUITE = "trixie"
_PACKAGES = (
    "ca-certificates", "cloud-init", "curl", "dbus", "e2fsprogs", "iproute2", "iputils-ping", "netcat-openbsd",
    "openssl", "procps", "python3-boto3", "python3-cryptography", "python3-zstandard", "redis-sentinel",
    "redis-server", "redis-tools", "systemd", "systemd-sysv", "util-linux", "xfsprogs",
)  # fmt: skip
_LEFT_OUT = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/info/*", "/usr/share/locale/*", "/usr/share/lintian/*")
_FILES = Path(__file__).parent / "host_image_files"
"""What makes an instance of the packages: copied over the image's root."""


@cache
def name() -> str:
    """The image's name on the engine: another one whenever its content is meant to change."""
    digest = hashlib.sha256(_packages_image().encode())
    for path in sorted(_FILES.rglob("*")):
        if path.is_symlink():
            digest.update(f"{path.relative_to(_FILES)} -> {path.readlink()}\n".encode())
        elif path.is_file() and "__pycache__" not in path.parts:
            digest.update(f"{path.relative_to(_FILES)} {path.stat().st_mode & 0o111:o}\n".encode() + path.read_bytes())
    return f"{_NAME}:{digest.hexdigest()[:12]}"


def prepare(lane: Lane, environment: Mapping[str, str] = os.environ) -> None:
    """Make the engine have the image. Raises Problem when it cannot be made here."""
    if redis_image.is_ready(environment, name()):
        return
    if not redis_image.is_ready(environment, _packages_image()):
        _make_packages_image(lane, environment)
    _add_files(lane, environment)
    _remove_older(environment)


def _packages_image() -> str:
    """The name of the image without our files: making it takes long, and it changes rarely."""
    return f"{_NAME}:packages-{hashlib.sha256(repr((_SUITE, _PACKAGES, _LEFT_OUT)).encode()).hexdigest()[:12]}"


def _make_packages_image(lane: Lane, environment: Mapping[str, str]) -> None:
    if shutil.which("mmdebstrap") is None:
        apt.install(lane, ["mmdebstrap"], _PURPOSE)
    lane.say(f"making {_PURPOSE} from Debian 13's packages (about a minute, once)")
    proxy = redis_image.configured_proxy()
    options = [
        "--variant=apt",
        f"--include={','.join(_PACKAGES)}",
        *(f"--dpkgopt=path-exclude={pattern}" for pattern in _LEFT_OUT),
        *([f'--aptopt=Acquire::http::Proxy "{proxy}"'] if proxy else []),
    ]
    mirrors = redis_image.debian_mirrors(redis_image.configured_targets())
    with tempfile.TemporaryDirectory(prefix="redis-production-image-") as temporary:
        archive = Path(temporary) / "root.tar"
        lane.run(
            ["mmdebstrap", *options, _SUITE, archive, *mirrors],
            f"unpacking Debian 13 for {_PURPOSE}",
            advice="The Debian mirror of this machine (apt-get indextargets shows it) must offer Debian 13 (trixie).",
            environment=environment,
        )
        lane.run(
            ["docker", "import", archive, _packages_image()],
            f"importing {_PURPOSE}",
            advice="The engine's log says why.",
            environment=environment,
        )


def _add_files(lane: Lane, environment: Mapping[str, str]) -> None:
    container = f"{_NAME}-{os.getpid()}"
    try:
        for doing in (
            ["create", "--name", container, _packages_image(), "true"],
            ["cp", f"{_FILES}/.", f"{container}:/"],
            ["commit", "--change", 'CMD ["/usr/local/sbin/look-alike-init"]', container, name()],
        ):
            lane.run(
                ["docker", *doing], f"making {_PURPOSE}", advice="The engine's log says why.", environment=environment
            )
    finally:
        subprocess.run(["docker", "rm", "--force", container], env=dict(environment), capture_output=True, check=False)


def _remove_older(environment: Mapping[str, str]) -> None:
    """Images that no code asks for any more only take room; one that is still in use is refused and stays."""
    listed = subprocess.run(
        ["docker", "image", "ls", "--format", "{{.Repository}}:{{.Tag}}", _NAME],
        env=dict(environment), capture_output=True, text=True, check=False,
    )  # fmt: skip
    for other in set(listed.stdout.split()) - {name(), _packages_image()}:
        subprocess.run(["docker", "image", "rm", other], env=dict(environment), capture_output=True, check=False)
