"""Stacks on the project's own file backend: their passphrase, creation, stale locks, and removal without a trace.

Where the user chose another backend nothing of this applies: stacks, passphrases and locks there are the user's.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import shutil
import socket
from collections.abc import Mapping
from pathlib import Path

from airgap.lane import Lane
from airgap.places import PROJECT, STATE
from airgap.problem import Problem
from airgap.processes import program_of

_SALT = re.compile(r"^encryptionsalt: .*\n?", re.MULTILINE)


def project_name(file: Path = PROJECT / "Pulumi.yaml") -> str:
    """The project's name in Pulumi.yaml."""
    found = re.search(r"^name:\s*(\S+)", file.read_text(), re.MULTILINE) if file.exists() else None
    if found is None:
        raise Problem(f"{file} does not name the project: it needs a line name: NAME")
    return found[1]


def exists(stack: str, state: Path = STATE) -> bool:
    """Whether the project's backend holds the stack."""
    return _state_file(stack, state).exists()


def has_resources(stack: str, state: Path = STATE) -> bool:
    """Whether the stack's state names any resource."""
    checkpoint = json.loads(_state_file(stack, state).read_text())["checkpoint"]
    return bool((checkpoint.get("latest") or {}).get("resources"))


def ensure_passphrase(state: Path = STATE) -> None:
    """Make the passphrase of the project's backend, once: random, readable by this user only."""
    file = state / "passphrase"
    if file.exists():
        return
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    if any(state.glob(".pulumi/stacks/*/*.json")):
        raise Problem(
            f"{file} is missing, but stacks encrypted with it exist: put it back. "
            f"If it is lost for good, remove {state} and what the stacks created"
        )
    # Made under another name first: a passphrase cut short by a crash must never be used.
    partial = state / f"passphrase.partial-{os.getpid()}"
    with contextlib.suppress(FileExistsError):
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "w") as stream:
            stream.write(secrets.token_urlsafe(32) + "\n")
        os.link(partial, file)
    partial.unlink(missing_ok=True)


def ensure_stack(lane: Lane, stack: str, environment: Mapping[str, str], *, select: bool) -> None:
    """Create the stack on the project's backend when it does not exist yet.

    ``select`` makes it the one that ``pulumi`` without ``--stack`` means; else the selection stays what it is.
    """
    new = not exists(stack)
    if new:
        if not (PROJECT / "stacks" / f"Pulumi.{stack}.yaml").exists():
            raise Problem(
                f"stacks/Pulumi.{stack}.yaml does not exist: write it, or choose another stack with STACK=NAME"
            )
        lane.say(f"creating the stack {stack}")
    elif not select:
        return
    creation = ["init", "--no-select"] if not select else ["select", "--create"] if new else ["select"]
    lane.run(
        ["pulumi", "stack", *creation, stack, "--non-interactive"],
        f"creating the stack {stack}" if new else f"selecting the stack {stack}",
        advice="Pulumi's own message above says why.",
        folder=PROJECT,
        environment=environment,
    )


def release_stale_locks(lane: Lane, stack: str, environment: Mapping[str, str], state: Path = STATE) -> None:
    """Release the locks that a killed Pulumi left on the stack; a lock whose Pulumi is alive stays."""
    folder = state / ".pulumi" / "locks" / "organization" / project_name() / stack
    locks = list(folder.glob("*.json"))
    if not locks or any(_holder_may_be_alive(lock) for lock in locks):
        return
    lane.say(f"an interrupted run left the stack {stack} locked: releasing it")
    lane.run(
        ["pulumi", "cancel", "--yes", "--stack", stack],
        "releasing the lock",
        advice=f"If no other Pulumi runs, remove {folder}.",
        folder=PROJECT,
        environment=environment,
    )


def take_salts_out(stack_files: Path = PROJECT / "stacks") -> None:
    """Take the encryption salt, which Pulumi writes at every operation, out of the committed stack files again.

    Pulumi reads it from the state instead (PULUMI_FALLBACK_TO_STATE_SECRETS_MANAGER). A file that holds encrypted
    settings keeps it: they cannot be read without.
    """
    for file in stack_files.glob("Pulumi.*.yaml"):
        text = file.read_text()
        if _SALT.search(text) and "secure:" not in text:
            file.write_text(_SALT.sub("", text))


def remove(lane: Lane, stack: str, environment: Mapping[str, str], state: Path = STATE) -> None:
    """Remove the empty stack from the project's backend with its history; with the last one also the passphrase.

    Raises Problem when the stack still has resources.
    """
    lane.run(
        ["pulumi", "stack", "rm", "--yes", "--preserve-config", stack],
        f"removing the stack {stack}",
        advice="Pulumi's own message above says why.",
        folder=PROJECT,
        environment=environment,
    )
    backend, name = state / ".pulumi", project_name()
    # Pulumi keeps copies of the last states, with their (encrypted) secrets.
    shutil.rmtree(backend / "backups" / name / stack, ignore_errors=True)
    shutil.rmtree(backend / "history" / name / stack, ignore_errors=True)
    for copy in (backend / "stacks" / name).glob(f"{stack}.json*"):
        copy.unlink()
    if not any(state.glob(".pulumi/stacks/*/*.json")):
        shutil.rmtree(state)
    lane.say(f"the stack {stack} is gone, with its history")


def _state_file(stack: str, state: Path) -> Path:
    return state / ".pulumi" / "stacks" / project_name() / f"{stack}.json"


def _holder_may_be_alive(lock: Path) -> bool:
    try:
        content = json.loads(lock.read_text())
        host, pid = str(content["hostname"]), int(content["pid"])
    except (OSError, ValueError, KeyError, TypeError):
        return False
    if host != socket.gethostname():
        return True
    return program_of(pid).startswith("pulumi")
