from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from airgap import provider_plugins, shell_environment
from airgap.places import PROJECT, VIRTUAL_ENVIRONMENT, own_pulumi_home
from airgap.pulumi_cli.find import PulumiCli
from airgap.shell_environment import (
    CHECKOUT,
    export_lines,
    users_own,
    uses_project_backend,
    variables,
    variables_without_pulumi,
)


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "DOCKER_CONFIG": str(tmp_path),
        "HOME": "/home/someone",
    }


@pytest.fixture
def cli(tmp_path: Path) -> PulumiCli:
    return PulumiCli(tmp_path / "cli bin", is_users_own=False)


def evaluated(lines: str, environment: dict[str, str]) -> dict[str, str]:
    """What a POSIX shell's environment is after evaluating the lines."""
    printed = subprocess.run(
        ["/bin/sh", "-c", 'eval "$LINES_UNDER_TEST"; unset LINES_UNDER_TEST; exec env -0'],
        env={**environment, "LINES_UNDER_TEST": lines},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return dict(entry.split("=", 1) for entry in printed.rstrip("\0").split("\0"))


@pytest.mark.parametrize(
    "value",
    ["/a folder/with  spaces", "it's", '"double"', "$HOME `id` $(id) \\", "line\nbreak", "a;b&c|d", "*", "ü", ""],
)
def test_any_value_survives_the_shell(value: str, environment: dict[str, str]) -> None:
    assert evaluated(export_lines({"VALUE": value}, environment), environment)["VALUE"] == value


def test_tools_come_first_and_once(cli: PulumiCli, environment: dict[str, str]) -> None:
    environment["PATH"] = f"{cli.folder}:/usr/bin:{VIRTUAL_ENVIRONMENT / 'bin'}"

    path = variables(cli, own_pulumi_home(environment), environment)["PATH"]

    assert path.split(os.pathsep) == [str(VIRTUAL_ENVIRONMENT / "bin"), str(cli.folder), "/usr/bin"]


def test_without_pulumi_only_what_leads_to_python_and_the_engine(environment: dict[str, str]) -> None:
    environment["DOCKER_HOST"] = "tcp://10.0.0.1:2375"

    assert variables_without_pulumi(environment) == {
        CHECKOUT: str(PROJECT),
        "PATH": f"{VIRTUAL_ENVIRONMENT / 'bin'}:{environment['PATH']}",
        "VIRTUAL_ENV": str(VIRTUAL_ENVIRONMENT),
        "DOCKER_HOST": "tcp://10.0.0.1:2375",
    }


def test_project_backend_and_passphrase_by_default(cli: PulumiCli, environment: dict[str, str]) -> None:
    result = variables(cli, own_pulumi_home(environment), environment)

    assert result["PULUMI_BACKEND_URL"] == f"file://{PROJECT}/.pulumi-state?metadata=skip"
    assert result["PULUMI_CONFIG_PASSPHRASE_FILE"] == f"{PROJECT}/.pulumi-state/passphrase"
    assert result["PULUMI_HOME"] == str(own_pulumi_home(environment))
    assert result["VIRTUAL_ENV"] == str(VIRTUAL_ENVIRONMENT)


@pytest.mark.parametrize("chosen", [{"PULUMI_BACKEND_URL": "s3://states"}, {"PULUMI_ACCESS_TOKEN": "pul-0"}])
def test_users_backend_is_respected(cli: PulumiCli, environment: dict[str, str], chosen: dict[str, str]) -> None:
    result = variables(cli, own_pulumi_home(environment), environment | chosen)

    assert not uses_project_backend(environment | chosen)
    assert not {
        "PULUMI_BACKEND_URL",
        "PULUMI_CONFIG_PASSPHRASE_FILE",
        "PULUMI_FALLBACK_TO_STATE_SECRETS_MANAGER",
    } & set(result)


@pytest.mark.parametrize(
    "chosen", [{"PULUMI_CONFIG_PASSPHRASE": ""}, {"PULUMI_CONFIG_PASSPHRASE_FILE": "/home/someone/passphrase"}]
)
def test_users_passphrase_is_respected(cli: PulumiCli, environment: dict[str, str], chosen: dict[str, str]) -> None:
    result = variables(cli, own_pulumi_home(environment), environment | chosen)

    assert "PULUMI_CONFIG_PASSPHRASE_FILE" not in result
    assert "PULUMI_BACKEND_URL" in result


def test_users_own_pulumi_home_is_not_set(environment: dict[str, str], tmp_path: Path) -> None:
    own = PulumiCli(tmp_path / "bin", is_users_own=True)

    assert "PULUMI_HOME" not in variables(own, own.home(environment), environment)


def test_downloads_are_switched_off_only_beside_the_stand_in(cli: PulumiCli, environment: dict[str, str]) -> None:
    home = own_pulumi_home(environment)
    name = "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION"
    assert name not in variables(cli, home, environment)

    folder = provider_plugins.DOCKER.folder(home)
    folder.mkdir(parents=True)
    (folder / ".stand-in").touch()
    assert variables(cli, home, environment)[name] == "true"


def test_evaluating_twice_changes_nothing(cli: PulumiCli, environment: dict[str, str]) -> None:
    home = own_pulumi_home(environment)
    first = variables(cli, home, environment)
    after = evaluated(export_lines(first, environment), environment)

    assert variables(cli, home, users_own(after)) == first
    again = evaluated(export_lines(first, after), after)
    assert again == after


def test_variables_of_another_checkout_are_not_taken_for_the_users(
    cli: PulumiCli, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    home = own_pulumi_home(environment)
    monkeypatch.setattr(shell_environment, "PROJECT", Path("/another checkout"))
    other = evaluated(export_lines(variables(cli, home, environment), environment), environment)
    assert other["PULUMI_BACKEND_URL"] == "file:///another checkout/.pulumi-state?metadata=skip"
    monkeypatch.undo()

    here = variables(cli, home, users_own(other))

    assert here["PULUMI_BACKEND_URL"] == f"file://{PROJECT}/.pulumi-state?metadata=skip"
    assert here["PULUMI_CONFIG_PASSPHRASE_FILE"] == f"{PROJECT}/.pulumi-state/passphrase"


def test_backend_chosen_after_an_evaluation_is_the_users(cli: PulumiCli, environment: dict[str, str]) -> None:
    after = (
        environment | variables(cli, own_pulumi_home(environment), environment) | {"PULUMI_BACKEND_URL": "s3://states"}
    )

    assert users_own(after)["PULUMI_BACKEND_URL"] == "s3://states"
    assert CHECKOUT not in users_own(after)


def test_what_is_no_longer_meant_is_unset(cli: PulumiCli, environment: dict[str, str]) -> None:
    before = environment | variables(cli, own_pulumi_home(environment), environment)
    users_cli = PulumiCli(Path("/usr/bin"), is_users_own=True)

    after = evaluated(
        export_lines(variables(users_cli, Path("/home/someone/.pulumi"), users_own(before)), before), before
    )

    assert "PULUMI_HOME" not in after
