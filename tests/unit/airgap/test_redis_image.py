from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from airgap import apt, redis_image
from airgap.lane import Lane
from airgap.problem import Problem
from airgap.redis_image import (
    content_of_the_stand_in,
    debian_mirrors,
    import_options,
    is_ready,
    mmdebstrap_options,
    prepare,
)


def test_mirror_is_the_machines_debian_archive() -> None:
    targets = [
        "Vendor|Vendor|https://packages.example.org/",
        "Debian|Debian-Security|http://mirror.example.org/debian-security/",
        "Debian|Debian|http://mirror.example.org/debian/",
        "Debian|Debian|http://mirror.example.org/debian/",
        "Debian|Debian|http://second.example.org/debian/",
    ]
    assert debian_mirrors(targets) == ["http://mirror.example.org/debian/"]


def test_without_a_debian_source_mmdebstrap_decides() -> None:
    assert debian_mirrors(["Ubuntu|Ubuntu|http://archive.example.org/ubuntu/"]) == []
    assert debian_mirrors([]) == []


def test_apts_proxy_is_passed_on() -> None:
    assert '--aptopt=Acquire::http::Proxy "http://proxy:3128"' in mmdebstrap_options("http://proxy:3128")
    assert not [option for option in mmdebstrap_options("") if option.startswith("--aptopt")]


def test_image_is_labelled_as_a_stand_in() -> None:
    assert "LABEL redis-production.stand-in=true" in import_options()


@pytest.mark.parametrize(
    ("labels", "ready"),
    [
        (None, True),
        ({"maintainer": "somebody"}, True),
        ({"redis-production.stand-in": "true"}, False),
        ({"redis-production.stand-in": "true", "redis-production.content": "redis-server"}, False),
        ({"redis-production.stand-in": "true", "redis-production.content": content_of_the_stand_in()}, True),
    ],
)
def test_a_stand_in_that_lacks_something_does_not_do(
    tmp_path: Path, labels: dict[str, str] | None, ready: bool
) -> None:
    (tmp_path / "labels").write_text(json.dumps(labels))
    command = tmp_path / "docker"
    command.write_text(f'#!/bin/sh\n[ "$1 $2" = "image inspect" ] && exec cat {tmp_path}/labels\n')
    command.chmod(0o755)

    assert is_ready({"PATH": f"{tmp_path}:/usr/bin:/bin"}) is ready


def test_what_python_needs_of_aws_is_in_the_image_and_nothing_else_of_aws() -> None:
    options = mmdebstrap_options("")
    services = "/usr/lib/python3/dist-packages/botocore/data"

    assert options.index(f"--dpkgopt=path-exclude={services}/*/*") < options.index(
        f"--dpkgopt=path-include={services}/s3/*"
    )


def fake_docker(tmp_path: Path, pull: str) -> dict[str, str]:
    """A docker command that knows no image and whose pull does what the shell line says."""
    command = tmp_path / "docker"
    command.write_text(f'#!/bin/sh\n[ "$1" = pull ] || exit 1\n{pull}\n')
    command.chmod(0o755)
    return {"PATH": f"{tmp_path}:/usr/bin:/bin"}


@pytest.mark.parametrize(
    ("pull", "reason"),
    [
        ("echo 'dial tcp: lookup registry: no such host'; exit 1", "no such host"),
        ("exec sleep 60", "no answer within"),
    ],
)
def test_unreachable_registry_is_given_up_quickly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], pull: str, reason: str
) -> None:
    environment = fake_docker(tmp_path, pull)
    monkeypatch.setenv("PATH", environment["PATH"])
    monkeypatch.setattr(redis_image, "_NO_ANSWER_SECONDS", 0.5)
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    monkeypatch.setattr(apt, "can_install", lambda: False)

    with pytest.raises(Problem, match="no container registry can be reached"):
        prepare(Lane("test"), environment)

    assert reason in capsys.readouterr().err


def test_pulled_image_is_all_that_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    environment = fake_docker(tmp_path, "echo '8.0.2: Pulling from library/redis'")
    monkeypatch.setenv("PATH", environment["PATH"])

    prepare(Lane("test"), environment)

    assert "is pulled" in capsys.readouterr().err
