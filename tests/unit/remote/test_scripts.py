"""The scripts that hosts are sent: what a shell makes of them, with stand-ins for a host's tools."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from components.remote import scripts

ARGUMENTS = ["eu-west-1", "bucket with 'quotes'", "code"]


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    folder = tmp_path / "tools"
    folder.mkdir()
    return folder


def tool(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{text}\n")
    (folder / name).chmod(0o755)


def run(script: str, tools: Path) -> subprocess.CompletedProcess[str]:
    """With nothing on PATH but the tools."""
    return subprocess.run(
        ["/bin/sh", "-c", script], env={"PATH": str(tools)}, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    "script",
    [scripts.wait_until_ready(), scripts.fetch_files(), scripts.run_program(ARGUMENTS), scripts.run_backups(ARGUMENTS)],
    ids=["ready", "files", "program", "backups"],
)
def test_nothing_in_it_means_something_to_ssm(script: str) -> None:
    assert "{{" not in script, "SSM would put a parameter there"
    assert len(script) < 16_000


@pytest.mark.parametrize("outcome", [0, 2])
def test_a_boot_with_warnings_is_one(tools: Path, outcome: int) -> None:
    tool(tools, "cloud-init", f"exit {outcome}")

    assert run(scripts.wait_until_ready() + "echo ready", tools).stdout == "ready\n"


def test_a_host_without_cloud_init_was_made_otherwise(tools: Path) -> None:
    assert run(scripts.wait_until_ready() + "echo ready", tools).stdout == "ready\n"


def test_a_boot_that_failed_shows_how_it_ended(tools: Path) -> None:
    tool(tools, "cloud-init", "exit 1")
    tool(tools, "tail", 'echo "$*"')
    done = run(scripts.wait_until_ready() + "echo ready", tools)

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines() == [
        "its first boot failed; the end of what cloud-init said:",
        "-n 15 /var/log/cloud-init-output.log",
    ]


@pytest.mark.parametrize(("state", "starts"), [("inactive", 1), ("failed", 1), ("activating", 2)])
def test_files_are_fetched_after_the_script_began(tools: Path, state: str, starts: int) -> None:
    tool(tools, "systemctl", f'[ "$1" = is-active ] && echo {state} || echo "$*" >&2')
    done = run(scripts.fetch_files(), tools)

    assert done.returncode == 0
    assert done.stderr.splitlines() == ["start redis-production-files.service"] * starts


def test_files_that_could_not_be_fetched_show_why(tools: Path) -> None:
    tool(tools, "systemctl", "echo inactive; exit 1")
    tool(tools, "journalctl", "echo denied")
    done = run(scripts.fetch_files(), tools)

    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "its files could not be fetched; the end of what redis-production-files.service said:",
        "denied",
    ]


def test_a_host_without_a_python_that_is_new_enough_says_so(tools: Path) -> None:
    tool(tools, "python3", "exit 1")
    done = run(scripts.run_program(ARGUMENTS), tools)

    assert (done.returncode, done.stderr) == (1, "it has no Python 3.11 or newer\n")


def test_the_program_runs_without_rights_and_with_its_arguments(tools: Path) -> None:
    tool(tools, "python3", "exit 1")
    tool(tools, "python3.12", f'exec {sys.executable} "$@"')
    tool(tools, "setpriv", 'for word in "$@"; do echo "$word"; done; echo "$HOME"')
    words = run(scripts.run_program(ARGUMENTS), tools).stdout
    options, program = words.split("python3\n-I\n-c\n", 1)

    assert options.split() == ["--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs"]
    assert program.endswith("\npython3.12\n" + "\n".join(ARGUMENTS) + "\n/nonexistent\n")
    compile(program[: program.index("\npython3.12\n")], "host.py", "exec")


def test_backups_are_asked_of_the_hosts_own_program_as_the_nodes_user(tools: Path, tmp_path: Path) -> None:
    tool(tools, "systemctl", "true")
    tool(tools, "setpriv", 'for word in "$@"; do echo "$word"; done')
    program = tmp_path / "backup.pyz"
    script = scripts.run_backups(ARGUMENTS).replace("/etc/redis-production/backup.pyz", str(program))
    missing = run(script, tools)
    program.touch()
    words = run(script, tools).stdout

    assert missing.returncode == 1
    assert missing.stderr.startswith("it has nothing to take backups with; is `backups` true")
    options = "--reuid=redis\n--regid=redis\n--clear-groups\n--no-new-privs\n"
    assert words.startswith(f"{options}mkdir\n-p\n/data/backup\n{options}python3\n-I\n-c\n")
    assert words.endswith("\npython3\n" + "\n".join(ARGUMENTS) + "\n")
