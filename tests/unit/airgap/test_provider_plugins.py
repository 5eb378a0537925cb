from __future__ import annotations

import socket
from pathlib import Path

import pytest

from airgap import provider_plugins
from airgap.lane import Lane
from airgap.places import own_pulumi_home
from airgap.problem import Problem
from airgap.provider_plugins import can_connect, docker_version, home_in_use, plugin_folder, prepare, uses_stand_in
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
mkdir -p "$PULUMI_HOME/plugins/resource-docker-v{docker_version()}"
touch "$PULUMI_HOME/plugins/resource-docker-v{docker_version()}/pulumi-resource-docker"
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
    assert home_in_use(cli, environment) is None

    prepare(Lane("test"), cli, environment)

    assert home_in_use(cli, environment) == tmp_path / "users home"
    assert not uses_stand_in(tmp_path / "users home")


@pytest.mark.parametrize("connects", [False, True], ids=["no internet", "download fails"])
def test_stand_in_goes_to_a_home_of_its_own(
    cli: PulumiCli, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, connects: bool
) -> None:
    internet(monkeypatch, reachable=connects)
    (tmp_path / "offline").touch()

    prepare(Lane("test"), cli, environment)

    home = own_pulumi_home(environment)
    assert home_in_use(cli, environment) == home
    assert uses_stand_in(home)
    assert not plugin_folder(tmp_path / "users home").exists()
    calls = (tmp_path / "calls").read_text().splitlines()
    assert len(calls) == 1 + connects
    assert calls[-1].startswith(f"plugin install resource docker {docker_version()} --reinstall --file ")

    prepare(Lane("test"), cli, environment)
    assert (tmp_path / "calls").read_text().splitlines() == calls, "what is installed is not installed again"


def test_stand_in_is_installed_anew_when_it_changed(
    cli: PulumiCli, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    internet(monkeypatch, reachable=False)
    prepare(Lane("test"), cli, environment)
    monkeypatch.setattr(provider_plugins, "stand_in_fingerprint", lambda: "another")
    assert home_in_use(cli, environment) is None

    prepare(Lane("test"), cli, environment)
    assert home_in_use(cli, environment) == own_pulumi_home(environment)


def test_unfinished_installation_is_repeated(cli: PulumiCli, environment: dict[str, str], tmp_path: Path) -> None:
    folder = plugin_folder(tmp_path / "users home")
    folder.mkdir(parents=True)
    (folder / "pulumi-resource-docker").touch()
    # Pulumi leaves this mark beside a plugin while it unpacks it.
    Path(f"{folder}.partial").touch()

    assert home_in_use(cli, environment) is None


def test_version_belongs_to_the_sdk(tmp_path: Path) -> None:
    file = tmp_path / "requirements.txt"
    file.write_text("pulumi==3.272.0\npulumi-docker==5.2.0\n")
    assert docker_version(file) == "5.2.0"
    file.write_text("pulumi==3.272.0\n")
    with pytest.raises(Problem, match="does not pin pulumi-docker"):
        docker_version(file)


def test_connecting_tells_reachable_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HTTPS_PROXY", raising=False)
    monkeypatch.delenv("https_proxy", raising=False)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert can_connect(f"https://127.0.0.1:{port}/path")
    assert not can_connect(f"https://127.0.0.1:{port}/path")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
    assert can_connect(f"https://127.0.0.1:{port}/path")
