from __future__ import annotations

import socket
from pathlib import Path

import pytest

from airgap import aws_provider, docker_provider, provider_plugins
from airgap.lane import Lane
from airgap.places import own_pulumi_home
from airgap.problem import Problem
from airgap.provider_plugins import AWS, DOCKER, Plugin, can_connect, home_in_use, needed, prepare, uses_stand_in
from airgap.pulumi_cli.find import PulumiCli


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return {
        "PATH": "/usr/bin:/bin",
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "PULUMI_HOME": str(tmp_path / "users home"),
        "TEST_CALLS": str(tmp_path / "calls"),
    }


@pytest.fixture
def cli(tmp_path: Path) -> PulumiCli:
    """A CLI whose ``plugin install`` only makes the plugin's file; it fails without --file while ``offline`` exists."""
    executable = tmp_path / "bin" / "pulumi"
    executable.parent.mkdir()
    executable.write_text(
        f"""#!/bin/sh
echo "$@" >> "$TEST_CALLS"
case "$*" in *--file*) ;; *) if [ -e "{tmp_path}/offline" ]; then echo refused; exit 1; fi;; esac
mkdir -p "$PULUMI_HOME/plugins/resource-$4-v$5"
touch "$PULUMI_HOME/plugins/resource-$4-v$5/pulumi-resource-$4"
"""
    )
    executable.chmod(0o755)
    return PulumiCli(executable.parent, is_users_own=True)


def internet(monkeypatch: pytest.MonkeyPatch, reachable: bool) -> None:
    monkeypatch.setattr(provider_plugins, "can_connect", lambda _url: reachable)


def test_vendors_plugin_goes_to_the_users_home(
    cli: PulumiCli, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    internet(monkeypatch, reachable=True)
    assert home_in_use(cli, [DOCKER], environment) is None

    prepare(Lane("test"), cli, [DOCKER], environment)

    assert home_in_use(cli, [DOCKER], environment) == tmp_path / "users home"
    assert not uses_stand_in(tmp_path / "users home")


@pytest.mark.parametrize("connects", [False, True], ids=["no internet", "download fails"])
def test_stand_in_goes_to_a_home_of_its_own(
    cli: PulumiCli, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, connects: bool
) -> None:
    internet(monkeypatch, reachable=connects)
    (tmp_path / "offline").touch()

    prepare(Lane("test"), cli, [DOCKER], environment)

    home = own_pulumi_home(environment)
    assert home_in_use(cli, [DOCKER], environment) == home
    assert uses_stand_in(home)
    assert not DOCKER.folder(tmp_path / "users home").exists()
    calls = (tmp_path / "calls").read_text().splitlines()
    assert len(calls) == 1 + connects
    assert calls[-1].startswith(f"plugin install resource docker {DOCKER.version()} --reinstall --file ")

    prepare(Lane("test"), cli, [DOCKER], environment)
    assert (tmp_path / "calls").read_text().splitlines() == calls, "what is installed is not installed again"


def test_stand_in_is_installed_anew_when_it_changed(
    cli: PulumiCli, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    internet(monkeypatch, reachable=False)
    prepare(Lane("test"), cli, [DOCKER], environment)
    monkeypatch.setattr(provider_plugins, "stand_in_fingerprint", lambda: "another")
    assert home_in_use(cli, [DOCKER], environment) is None

    prepare(Lane("test"), cli, [DOCKER], environment)
    assert home_in_use(cli, [DOCKER], environment) == own_pulumi_home(environment)


def test_unfinished_installation_is_repeated(cli: PulumiCli, environment: dict[str, str], tmp_path: Path) -> None:
    folder = DOCKER.folder(tmp_path / "users home")
    folder.mkdir(parents=True)
    (folder / "pulumi-resource-docker").touch()
    # Pulumi leaves this mark beside a plugin while it unpacks it.
    Path(f"{folder}.partial").touch()

    assert home_in_use(cli, [DOCKER], environment) is None


def test_version_belongs_to_the_sdk(tmp_path: Path) -> None:
    file = tmp_path / "requirements.txt"
    plugin = Plugin("docker", "Docker", file)
    file.write_text("pulumi==3.272.0\npulumi-docker==5.2.0\n")
    assert plugin.version() == "5.2.0"
    file.write_text("pulumi==3.272.0\n")
    with pytest.raises(Problem, match="does not pin pulumi-docker"):
        plugin.version()


def test_stand_ins_say_the_versions_that_are_pinned() -> None:
    assert DOCKER.version() == docker_provider.VERSION
    assert AWS.version() == aws_provider.VERSION


def test_a_stack_needs_the_plugin_of_its_platform(tmp_path: Path) -> None:
    file = tmp_path / "Pulumi.dev.yaml"
    assert needed(file) == (DOCKER,), "a stack without a file has the defaults"
    file.write_text("config:\n  redis-production:memory: 1gb\n")
    assert needed(file) == (DOCKER,)
    for written in ("aws", '"aws"', "'aws'  # Frankfurt"):
        file.write_text(f"config:\n  redis-production:platform: {written}\n")
        assert needed(file) == (AWS,)
    assert needed(None) == (DOCKER, AWS)


def test_plugins_that_are_needed_together_are_in_one_home(
    cli: PulumiCli, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    internet(monkeypatch, reachable=True)
    prepare(Lane("test"), cli, [DOCKER], environment)
    (tmp_path / "offline").touch()
    assert home_in_use(cli, [DOCKER, AWS], environment) is None

    prepare(Lane("test"), cli, [DOCKER, AWS], environment)

    assert home_in_use(cli, [DOCKER, AWS], environment) == own_pulumi_home(environment)
    assert home_in_use(cli, [DOCKER], environment) == tmp_path / "users home", "the vendor's goes before the stand-in"


def test_connecting_tells_reachable_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HTTPS_PROXY", raising=False)
    monkeypatch.delenv("https_proxy", raising=False)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert can_connect(f"https://127.0.0.1:{port}/path")
    assert not can_connect(f"https://127.0.0.1:{port}/path")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
    assert can_connect(f"https://127.0.0.1:{port}/path")
