"""The container image of Redis: the one present, else pulled, else made from Debian's packages.

The one that is made here has what the image of backups adds to the official one (Python and its libraries), too: where
no registry can be reached, a build on the engine reaches no package mirror either. A stand-in of an earlier checkout,
which may lack something, is made anew.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from airgap import apt
from airgap.lane import Lane
from airgap.problem import Problem

IMAGE = "redis:8.0.2"

_SUITE = "trixie"
"""Debian 13: its Redis is 8.0.2."""
_PACKAGES = (
    "redis-server", "redis-sentinel", "redis-tools", "ca-certificates",
    "python3", "python3-boto3", "python3-cryptography", "python3-zstandard",
)  # fmt: skip
_STAND_IN_LABEL = "redis-production.stand-in"
_CONTENT_LABEL = "redis-production.content"
_USER = "999"
"""The official image's user and group: files made under one image are readable under the other."""
_LEFT_OUT = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/info/*", "/usr/share/locale/*", "/usr/share/lintian/*")
_AWS_SERVICES = "/usr/lib/python3/dist-packages/botocore/data/{}/*"
_AWS_SERVICES_USED = ("cloudwatch", "s3", "secretsmanager", "sts")
"""The others' descriptions are ten times as large as all the rest of Python."""
_NO_ANSWER_SECONDS = 20.0


def is_ready(environment: Mapping[str, str] = os.environ, image: str = IMAGE) -> bool:
    """Whether the engine has the image: any but a stand-in that has not what this one would have."""
    answer = subprocess.run(
        ["docker", "image", "inspect", "--format", "{{json .Config.Labels}}", image],
        env=dict(environment), capture_output=True, text=True, check=False,
    )  # fmt: skip
    if answer.returncode != 0:
        return False
    labels = json.loads(answer.stdout or "null") or {}
    return _STAND_IN_LABEL not in labels or labels.get(_CONTENT_LABEL) == content_of_the_stand_in()


def content_of_the_stand_in() -> str:
    """What is in a stand-in that is made now, as its label says it."""
    return " ".join([*_PACKAGES, *(f"aws-{service}" for service in _AWS_SERVICES_USED)])


def prepare(lane: Lane, environment: Mapping[str, str] = os.environ, image: str = IMAGE) -> None:
    """Make the engine have the image. Raises Problem when it can neither be pulled nor made here."""
    if is_ready(environment, image):
        lane.say(f"image {image} is present")
        return
    try:
        _pull(lane, environment, image)
    except Problem as problem:
        lane.say(f"image {image} cannot be pulled: {problem.reason}")
    else:
        lane.say(f"image {image} is pulled")
        return
    _build(lane, environment, image)


def _pull(lane: Lane, environment: Mapping[str, str], image: str) -> None:
    lane.say(f"pulling image {image}")
    lane.run(
        ["docker", "pull", image],
        f"pulling {image}",
        advice="No container registry can be reached.",
        progress=lambda line: line if line.endswith(("Pull complete", "Downloaded newer image for " + image)) else None,
        environment=environment,
        first_line_within_seconds=_NO_ANSWER_SECONDS,
    )


def _build(lane: Lane, environment: Mapping[str, str], image: str) -> None:
    if shutil.which("mmdebstrap") is None:
        if not apt.can_install():
            raise Problem(
                f"image {image}: no container registry can be reached, and only a Debian machine can make the image "
                "itself (as root, or with mmdebstrap). Connect to the internet, or load the image: docker load"
            )
        apt.install(lane, ["mmdebstrap"], f"image {image}")
    lane.say(f"making image {image} from Debian 13's packages (about 30 seconds)")
    with tempfile.TemporaryDirectory(prefix="redis-production-image-") as temporary:
        archive = Path(temporary) / "root.tar"
        lane.run(
            [
                "mmdebstrap",
                *mmdebstrap_options(configured_proxy()),
                _SUITE,
                archive,
                *debian_mirrors(configured_targets()),
            ],
            f"unpacking Debian 13's Redis for {image}",
            advice="The Debian mirror of this machine (apt-get indextargets shows it) must offer Debian 13 (trixie).",
            progress=lambda line: line.removeprefix("I: ") if re.fullmatch(r"I: [a-z ]+packages.*", line) else None,
            environment=environment,
        )
        lane.run(
            ["docker", "import", *import_options(), archive, image],
            f"importing image {image}",
            advice="The engine's log says why.",
            environment=environment,
        )
    lane.say(f"image {image} is ready (a stand-in for the official one, made from Debian 13's packages)")


def mmdebstrap_options(http_proxy: str) -> list[str]:
    """What goes into the image and what stays out."""
    # The hooks run in this order; $1 is the new root. Only the numbers change, no owner's name.
    hooks = [
        f'chroot "$1" groupmod --gid {_USER} redis',
        f'chroot "$1" usermod --uid {_USER} redis',
        f'install --directory --owner={_USER} --group={_USER} "$1/data"',
        f'chown --recursive {_USER}:{_USER} "$1/var/lib/redis" "$1/var/log/redis" "$1/etc/redis"',
    ]
    return [
        "--variant=essential",
        f"--include={','.join(_PACKAGES)}",
        *(f"--dpkgopt=path-exclude={pattern}" for pattern in (*_LEFT_OUT, _AWS_SERVICES.format("*"))),
        *(f"--dpkgopt=path-include={_AWS_SERVICES.format(service)}" for service in _AWS_SERVICES_USED),
        *([f'--aptopt=Acquire::http::Proxy "{http_proxy}"'] if http_proxy else []),
        *(f"--customize-hook={hook}" for hook in hooks),
    ]


def import_options() -> list[str]:
    """The image's metadata, as the official image has it, and the label that tells the stand-in apart."""
    changes = [
        f"LABEL {_STAND_IN_LABEL}=true",
        f'LABEL {_CONTENT_LABEL}="{content_of_the_stand_in()}"',
        "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "WORKDIR /data",
        "VOLUME /data",
        "EXPOSE 6379",
        'CMD ["redis-server"]',
    ]
    return [option for change in changes for option in ("--change", change)]


def debian_mirrors(index_targets: Iterable[str]) -> list[str]:
    """The mirror of apt's configured Debian sources as a list of one; empty means mmdebstrap's own default.

    Each line of ``index_targets`` is ``origin|label|address``. Security and third-party archives are no mirror.
    """
    found: list[str] = []
    for line in index_targets:
        origin, label, address = line.strip().split("|", 2)
        if origin == label == "Debian" and address not in found:
            found.append(address)
    return found[:1]


def configured_targets() -> list[str]:
    """The package sources that apt is configured for, as ``debian_mirrors`` reads them."""
    answer = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(ORIGIN)|$(LABEL)|$(REPO_URI)", "Identifier: Packages"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return answer.stdout.splitlines() if answer.returncode == 0 else []


def configured_proxy() -> str:
    """The proxy that apt is configured for: mmdebstrap does not read the machine's apt configuration."""
    answer = subprocess.run(
        ["apt-config", "shell", "proxy", "Acquire::http::Proxy"], capture_output=True, text=True, check=False
    )
    return answer.stdout.strip().removeprefix("proxy=").strip("'")
