"""Has the deployment's backup service take, prove and list backups."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from components.platforms.backup_image import PROGRAM
from components.remote import answers

from .deployment import Deployment, DeploymentError


def take_backup(deployment: Deployment, console: Console) -> None:
    """Take one now, and prove it where the settings say so. Raises DeploymentError, or FormationError why it failed."""
    name = _ask(deployment, "take", {}, console)
    console.print(f"{name} is there" if name else "another backup is being taken", highlight=False)


def prove_backup(deployment: Deployment, backup: str | None, console: Console) -> None:
    """Load a backup, None: the newest one, in a server of its own. Raises as above."""
    name = _ask(deployment, "prove", {"backup": backup}, console)
    console.print(f"{name} is proven", highlight=False)


def list_backups(deployment: Deployment, console: Console) -> None:
    """Show every backup, oldest first, and what it is good for. Raises as above."""
    found = _ask(deployment, "list", {}, console)
    if not found:
        console.print("There is no backup yet; take one with `python -m ops backup take`.")
        return
    table = Table("backup", "state", "proven", "keys", "bytes in the store", "")
    for each in found:
        proven = "yes" if each["proven"] else "no"
        keys = "" if each["keys"] is None else str(each["keys"])
        table.add_row(each["name"], each["state"], proven, keys, str(each["bytes"]), each["problem"])
    console.print(table)


def _ask(deployment: Deployment, operation: str, arguments: Mapping[str, Any], console: Console) -> Any:
    if "runner" in deployment.record:
        raise DeploymentError("backups are not taken on platform aws yet")
    if shutil.which("docker") is None:
        raise DeploymentError("docker is not on PATH; it is needed to reach the backup container")
    container = backup_container(deployment)
    request = json.dumps({"request": {"operation": operation, "arguments": dict(arguments)}})
    command = ["docker", "exec", "-i", container, "python3", PROGRAM, "run"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as running:
        assert running.stdin is not None
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdin.write(request)
        running.stdin.close()
        answer = None
        for text in running.stdout:
            said = json.loads(text)
            if "line" in said:
                console.print(said["line"], highlight=False, soft_wrap=True)
            else:
                answer = said
        problem = running.stderr.read().strip()
    if answer is None:
        why = problem.splitlines()[-1] if problem else "it said nothing"
        raise DeploymentError(
            f"{container}: the backup service does not answer ({why}); is `backups` true, and the container running?"
        )
    return answers.result_of(answer)


def backup_container(deployment: Deployment) -> str:
    """The name of the container that takes backups, from the label that every container of the deployment has.

    Raises DeploymentError when there is no container of it on this machine's engine.
    """
    node = deployment.redis_nodes[0].announced.host
    label = '{{index .Config.Labels "redis-production.deployment"}}'
    found = subprocess.run(
        ["docker", "inspect", "--format", label, node], capture_output=True, text=True, check=False
    )  # fmt: skip
    if found.returncode or not found.stdout.strip():
        raise DeploymentError(f"{node}: there is no such container; is the stack deployed on this machine's engine?")
    return f"{found.stdout.strip()}-backup"
