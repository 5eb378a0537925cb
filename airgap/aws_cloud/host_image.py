"""The image of the look-alike instances: Debian 13 with systemd, cloud-init and Redis, made once from Debian's packages."""

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
from airgap.aws_cloud import addresses
from airgap.lane import Lane

_SUITE = "trixie"
_PACKAGES = (
    "ca-certificates", "cloud-init", "curl", "dbus", "e2fsprogs", "iproute2", "iputils-ping", "netcat-openbsd",
    "openssl", "procps", "python3-boto3", "redis-sentinel", "redis-server", "redis-tools", "systemd",
    "systemd-sysv", "util-linux", "xfsprogs",
)  # fmt: skip
_LEFT_OUT = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/info/*", "/usr/share/locale/*", "/usr/share/lintian/*")
_FILES = Path(__file__).parent / "host_image_files"
"""What makes an instance of the packages: copied over the image's root."""
_HOOKS = (
    f'sync-in "{_FILES}" /',
    'chroot "$1" systemctl --quiet enable amazon-ssm-agent.service',
    # Programs find the look-alike's API by the standard variable, services included.
    'mkdir -p "$1/etc/systemd/system.conf.d"',
    f'printf "[Manager]\\nDefaultEnvironment=AWS_ENDPOINT_URL={addresses.ENDPOINT}\\n" '
    '>"$1/etc/systemd/system.conf.d/10-look-alike.conf"',
)


@cache
def name() -> str:
    """The image's name on the engine: another one whenever its content is meant to change."""
    digest = hashlib.sha256(
        repr((_SUITE, _PACKAGES, _LEFT_OUT, [hook.replace(str(_FILES), "") for hook in _HOOKS])).encode()
    )
    for path in sorted(_FILES.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            digest.update(f"{path.relative_to(_FILES)} {path.stat().st_mode & 0o111:o}\n".encode() + path.read_bytes())
    return f"redis-production-aws-host:{digest.hexdigest()[:12]}"


def prepare(lane: Lane, environment: Mapping[str, str] = os.environ) -> None:
    """Make the engine have the image. Raises Problem when it cannot be made here."""
    if redis_image.is_ready(environment, name()):
        return
    if shutil.which("mmdebstrap") is None:
        apt.install(lane, ["mmdebstrap"], "the image of the look-alike instances")
    lane.say("making the image of the look-alike instances from Debian 13's packages (about a minute, once)")
    with tempfile.TemporaryDirectory(prefix="redis-production-image-") as temporary:
        archive = Path(temporary) / "root.tar"
        lane.run(
            [
                "mmdebstrap",
                *_options(redis_image.configured_proxy()),
                _SUITE,
                archive,
                *redis_image.debian_mirrors(redis_image.configured_targets()),
            ],
            "unpacking Debian 13 for the look-alike instances",
            advice="The Debian mirror of this machine (apt-get indextargets shows it) must offer Debian 13 (trixie).",
            environment=environment,
        )
        lane.run(
            ["docker", "import", "--change", 'CMD ["/usr/local/sbin/look-alike-init"]', archive, name()],
            "importing the image of the look-alike instances",
            advice="The engine's log says why.",
            environment=environment,
        )
    _remove_older(environment)


def _options(proxy: str) -> list[str]:
    return [
        "--variant=apt",
        f"--include={','.join(_PACKAGES)}",
        *(f"--dpkgopt=path-exclude={pattern}" for pattern in _LEFT_OUT),
        *([f'--aptopt=Acquire::http::Proxy "{proxy}"'] if proxy else []),
        *(f"--customize-hook={hook}" for hook in _HOOKS),
    ]


def _remove_older(environment: Mapping[str, str]) -> None:
    """An image that no code asks for any more only takes room; one that another checkout runs is refused and stays."""
    listed = subprocess.run(
        ["docker", "image", "ls", "--format", "{{.Repository}}:{{.Tag}}", name().partition(":")[0]],
        env=dict(environment), capture_output=True, text=True, check=False,
    )  # fmt: skip
    for other in set(listed.stdout.split()) - {name()}:
        subprocess.run(["docker", "image", "rm", other], env=dict(environment), capture_output=True, check=False)
