"""The command line: ``python -m airgap env`` and its sisters, called by the Makefile."""

from __future__ import annotations

import sys

if sys.version_info < (3, 11):  # noqa: UP036 - the very line that tells users of an older Python
    sys.exit(
        f"Python 3.11 or newer is needed, this is {sys.version.split()[0]}: install one, or name it: make PYTHON=..."
    )

import argparse
import fcntl
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from airgap import (
    docker_engine,
    provider_plugins,
    redis_image,
    rehearsal,
    shell_environment,
    stacks,
    virtual_environment,
)
from airgap.lane import Lane, run_side_by_side
from airgap.places import PROJECT, cache, is_rehearsal
from airgap.problem import Problem
from airgap.pulumi_cli.build import build
from airgap.pulumi_cli.download import download
from airgap.pulumi_cli.find import OLDEST_VERSION, PulumiCli, find


def main(arguments: list[str] | None = None) -> int:
    """Run one command; 0 when everything is in place, 1 after naming what is missing."""
    parser = argparse.ArgumentParser(prog="python -m airgap", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    venv = commands.add_parser("venv", help="make the virtual environment")
    venv.add_argument("--development", action="store_true", help="with the packages for tests and checks")
    env = commands.add_parser("env", help="put everything in place, then print what a shell must export to use it")
    env.add_argument("--development", action="store_true", help="with the packages for tests and checks")
    env.add_argument("--stack", help="create this stack if it does not exist, and release locks that a killed run left")
    env.add_argument("--without-pulumi", action="store_true", help="leave out what needs the Pulumi CLI")
    env.add_argument("--select", action="store_true", help="make the stack the one that pulumi means without --stack")
    commands.add_parser("pulumi-cli", help="bring a Pulumi CLI if there is none; others wait for it meanwhile")
    commands.add_parser("tidy", help="take Pulumi's encryption salts out of the committed stack files")
    left = commands.add_parser("stack-left", help="print what destroy has to remove: nothing, stack, resources")
    left.add_argument("stack")
    remove = commands.add_parser("remove-stack", help="remove a destroyed stack with its history")
    remove.add_argument("stack")
    chosen = parser.parse_args(arguments)

    # Stopped by kill like by Ctrl-C: what runs is stopped, too, and the next run continues.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    lane = Lane("setup")
    try:
        match chosen.command:
            case "venv":
                requirements = virtual_environment.DEVELOPMENT if chosen.development else virtual_environment.RUNTIME
                if not virtual_environment.is_ready(requirements):
                    with _one_at_a_time(lane, "set-up"):
                        virtual_environment.prepare(Lane("python"), requirements)
            case "pulumi-cli":
                _bring_pulumi_cli(Lane("pulumi"), shell_environment.users_own(os.environ))
            case "env" if chosen.without_pulumi:
                sys.stdout.write(_env_without_pulumi(lane, development=chosen.development))
            case "env":
                sys.stdout.write(_env(lane, chosen.stack, select=chosen.select, development=chosen.development))
            case "tidy":
                _tidy()
            case "stack-left":
                print(_left_of(chosen.stack))
            case "remove-stack":
                if _uses_project_backend():
                    stacks.remove(lane, chosen.stack, os.environ)
                    _tidy()
    except Problem as problem:
        lane.say(f"ERROR: {problem}")
        return 1
    except OSError as error:
        # A full disk, a folder of another user: the system's own words and the file say it all.
        lane.say(f"ERROR: {error.strerror or error}" + (f": {error.filename}" if error.filename else ""))
        return 1
    except KeyboardInterrupt:
        lane.say("interrupted: the next run continues")
        return 130
    return 0


def _env_without_pulumi(lane: Lane, *, development: bool) -> str:
    environment = shell_environment.users_own(os.environ)
    plugins = provider_plugins.needed(None)
    requirements = _requirements(plugins, development=development)
    if not _is_ready_without_pulumi(environment, plugins, requirements):
        with _one_at_a_time(lane, "set-up"):
            run_side_by_side(_works_without_pulumi(environment, plugins, requirements))
    return shell_environment.export_lines(shell_environment.variables_without_pulumi(environment), os.environ)


def _env(lane: Lane, stack: str | None, *, select: bool, development: bool) -> str:
    environment = shell_environment.users_own(os.environ)
    cli = find(environment)
    plugins = provider_plugins.needed(PROJECT / "stacks" / f"Pulumi.{stack}.yaml" if stack else None)
    requirements = _requirements(plugins, development=development)
    home = provider_plugins.home_in_use(cli, plugins, environment) if cli else None
    if home is None or not _is_ready_without_pulumi(environment, plugins, requirements):
        with _one_at_a_time(lane, "set-up"):
            cli = _put_in_place(environment, plugins, requirements)
        home = provider_plugins.home_in_use(cli, plugins, environment)
    assert cli is not None
    assert home is not None
    if is_rehearsal(environment):
        rehearsal.begin(lane, environment)
    variables = shell_environment.variables(cli, home, environment)
    if shell_environment.uses_project_backend(environment):
        if "PULUMI_CONFIG_PASSPHRASE_FILE" in variables:
            stacks.ensure_passphrase()
        if stack:
            with_variables = {**environment, **variables}
            stacks.release_stale_locks(lane, stack, with_variables)
            stacks.ensure_stack(lane, stack, with_variables, select=select)
        stacks.take_salts_out()
    return shell_environment.export_lines(variables, os.environ)


def _is_ready_without_pulumi(
    environment: dict[str, str], plugins: tuple[provider_plugins.Plugin, ...], requirements: tuple[Path, ...]
) -> bool:
    return virtual_environment.is_ready(requirements) and (
        provider_plugins.DOCKER not in plugins
        or (docker_engine.is_ready(environment) and redis_image.is_ready(environment))
    )


def _works_without_pulumi(
    environment: dict[str, str], plugins: tuple[provider_plugins.Plugin, ...], requirements: tuple[Path, ...]
) -> dict[Lane, Callable[[Lane], None]]:
    def python(lane: Lane) -> None:
        virtual_environment.prepare(lane, requirements)

    def docker(lane: Lane) -> None:
        if provider_plugins.DOCKER not in plugins:
            return
        docker_engine.prepare(lane, environment)
        redis_image.prepare(lane, environment)

    return {Lane("python"): python, Lane("docker"): docker}


def _bring_pulumi_cli(lane: Lane, environment: dict[str, str]) -> None:
    if find(environment) is not None:
        return
    with _one_at_a_time(lane, "pulumi-cli"):
        if find(environment) is not None:  # the one that was waited for
            return
        for left_over in cache(environment).glob("pulumi-*.partial-*"):
            shutil.rmtree(left_over, ignore_errors=True)
        oldest = ".".join(map(str, OLDEST_VERSION))
        lane.say(f"no Pulumi CLI {oldest} or newer on PATH: bringing one, kept in {cache(environment)}")
        if not download(lane, environment=environment):
            build(lane, environment)


def _put_in_place(
    environment: dict[str, str], plugins: tuple[provider_plugins.Plugin, ...], requirements: tuple[Path, ...]
) -> PulumiCli:
    run_side_by_side(
        {
            **_works_without_pulumi(environment, plugins, requirements),
            Lane("pulumi"): lambda lane: _bring_pulumi_cli(lane, environment),
        }
    )
    cli = find(environment)
    if cli is None:
        raise Problem("the Pulumi CLI disappeared while it was being set up: run the same command again")
    provider_plugins.prepare(Lane("pulumi"), cli, plugins, environment)
    return cli


def _requirements(plugins: tuple[provider_plugins.Plugin, ...], *, development: bool) -> tuple[Path, ...]:
    if development:
        return virtual_environment.DEVELOPMENT
    if is_rehearsal():
        return virtual_environment.REHEARSAL
    return virtual_environment.AWS if provider_plugins.AWS in plugins else virtual_environment.RUNTIME


def _left_of(stack: str) -> str:
    if not _uses_project_backend():
        return "resources"  # maybe: only Pulumi knows
    if not stacks.exists(stack):
        return "nothing"
    return "resources" if stacks.has_resources(stack) else "stack"


def _uses_project_backend() -> bool:
    return shell_environment.uses_project_backend(shell_environment.users_own(os.environ))


def _tidy() -> None:
    if _uses_project_backend():
        stacks.take_salts_out()


@contextmanager
def _one_at_a_time(lane: Lane, what: str) -> Iterator[None]:
    """Two terminals must not install the same things at the same time. The lock ends with the process that holds it."""
    folder = cache()
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{what}.lock").open("w") as file:
        if not _lock(file):
            lane.say("another set-up is running: waiting for it")
            lane.wait_until(lambda: _lock(file), "waiting for another set-up")
        yield


def _lock(file: TextIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
