"""What a shell needs so that ``pulumi``, typed by hand, finds the project's tools, backend and passphrase."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from airgap import docker_engine, rehearsal
from airgap.places import (
    PROJECT,
    PULUMI_HOME_PREFIX,
    REHEARSAL,
    VIRTUAL_ENVIRONMENT,
    cache,
    is_rehearsal,
    own_pulumi_home,
    state_name,
)
from airgap.provider_plugins import uses_stand_in
from airgap.pulumi_cli.find import PulumiCli

CHECKOUT = "REDIS_PRODUCTION_CHECKOUT"
"""Names the checkout that a shell's variables came from: another checkout does not take them for the user's own."""


def users_own(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment without what an earlier ``airgap env``, of this checkout or another, put into it.

    In a rehearsal also without what leads to a backend or an account of the user's own.
    """
    rehearsing = is_rehearsal(environment)
    environment = rehearsal.without_access(environment, rehearsing=rehearsing)
    if rehearsing:
        elsewhere = ("PULUMI_BACKEND_URL", "PULUMI_ACCESS_TOKEN", "PULUMI_CONFIG_PASSPHRASE")
        environment = {name: value for name, value in environment.items() if name not in elsewhere}
    checkout = environment.get(CHECKOUT)
    if checkout is None:
        return environment
    homes = str(cache(environment) / PULUMI_HOME_PREFIX)
    states = [Path(checkout) / state_name(rehearsal=mode) for mode in (False, True)]
    ours = {
        CHECKOUT: True,
        "PULUMI_BACKEND_URL": environment.get("PULUMI_BACKEND_URL") in [*map(_backend_url, states)],
        "PULUMI_CONFIG_PASSPHRASE_FILE": environment.get("PULUMI_CONFIG_PASSPHRASE_FILE")
        in [*map(_passphrase, states)],
        "PULUMI_HOME": environment.get("PULUMI_HOME", "").startswith(homes),
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": True,
    }
    return {name: value for name, value in environment.items() if not ours.get(name)}


def uses_project_backend(environment: Mapping[str, str]) -> bool:
    """Whether stacks live in the project's own folder: unless the user chose a backend or gave a Cloud token."""
    return not (environment.get("PULUMI_BACKEND_URL") or environment.get("PULUMI_ACCESS_TOKEN"))


def variables_without_pulumi(environment: Mapping[str, str]) -> dict[str, str]:
    """Those of ``variables`` that lead to the virtual environment and the Docker engine."""
    result = {
        CHECKOUT: str(PROJECT),
        "PATH": _path([VIRTUAL_ENVIRONMENT / "bin"], environment),
        "VIRTUAL_ENV": str(VIRTUAL_ENVIRONMENT),
    }
    if address := docker_engine.address(environment):
        result["DOCKER_HOST"] = address
    return result


def variables(cli: PulumiCli, home: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """The variables to set on top of the user's own environment (see ``users_own``)."""
    result = {
        **variables_without_pulumi(environment),
        "PATH": _path([VIRTUAL_ENVIRONMENT / "bin", cli.folder], environment),
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        # Resources with delete hooks refuse a destroy that does not run the program.
        "PULUMI_RUN_PROGRAM": "true",
    }
    if home == own_pulumi_home(environment):
        result["PULUMI_HOME"] = str(home)
    if uses_stand_in(home):
        # Nothing can be downloaded: looking for hosts that do not answer would only cost time.
        result["PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION"] = "true"
    if is_rehearsal(environment):
        result |= {REHEARSAL: environment[REHEARSAL], **rehearsal.variables()}
    if uses_project_backend(environment):
        state = PROJECT / state_name(rehearsal=is_rehearsal(environment))
        result["PULUMI_BACKEND_URL"] = _backend_url(state)
        # Stack files are committed without an encryption salt: the one in the state counts.
        result["PULUMI_FALLBACK_TO_STATE_SECRETS_MANAGER"] = "true"
        if "PULUMI_CONFIG_PASSPHRASE" not in environment and not environment.get("PULUMI_CONFIG_PASSPHRASE_FILE"):
            result["PULUMI_CONFIG_PASSPHRASE_FILE"] = _passphrase(state)
    return result


def export_lines(result: Mapping[str, str], environment: Mapping[str, str]) -> str:
    """Lines that any POSIX shell can ``eval``, whatever the values hold.

    ``environment`` is the shell's present one: what an earlier evaluation left there and is no longer meant is unset.
    """
    stale = environment.keys() - users_own(environment).keys() - result.keys()
    lines = [f"unset {name}" for name in sorted(stale)]
    lines += [f"export {name}={shlex.quote(value)}" for name, value in result.items()]
    return "".join(f"{line}\n" for line in lines)


def _backend_url(state: Path) -> str:
    # Without the files for metadata, which nobody reads: a Pulumi that is killed while it writes one leaves it empty,
    # and then the state beside it, which is whole, is refused as well ("failed to load checkpoint: EOF").
    return f"file://{state}?metadata=skip"


def _passphrase(state: Path) -> str:
    return str(state / "passphrase")


def _path(folders: Sequence[Path], environment: Mapping[str, str]) -> str:
    first = [*map(str, folders)]
    users = environment.get("PATH", os.defpath).split(os.pathsep)
    return os.pathsep.join([*first, *(entry for entry in users if entry not in first)])
