"""Has a deployment's backups taken, proven, ...: the program that its container, or a host, has is run there once
more.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Mapping
from typing import Any

from .backups.sources import members_of
from .formation import FormationError
from .platforms.backup_image import PROGRAM
from .remote import answers
from .remote_deployment import RemoteDeployment

Progress = Callable[[str], None]


def ask(
    record: Mapping[str, Any],
    operation: str,
    arguments: Mapping[str, Any],
    progress: Progress,
    secret: Mapping[str, str | None] | None = None,
) -> Any:
    """The operation's result, see :mod:`components.backups.program`.

    Args:
        record: of the deployment.
        operation: what to do.
        arguments: JSON-able, without a secret.
        progress: gets each line that the service says.
        secret: what else it needs; on its way it is in no command line and no environment.

    Raises FormationError when the service does not answer, or with what the operation ended with.
    """
    if "aws" in record:
        return _ask_host(record, operation, arguments, progress, secret or {})
    if shutil.which("docker") is None:
        raise FormationError("docker is not on PATH; it is needed to reach the backup container")
    container = backup_container(record)
    request = {"request": {"operation": operation, "arguments": dict(arguments)}, "secret": dict(secret or {})}
    command = ["docker", "exec", "-i", container, "python3", PROGRAM, "run"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as running:
        assert running.stdin is not None
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdin.write(json.dumps(request))
        running.stdin.close()
        answer = None
        for text in running.stdout:
            said = json.loads(text)
            if "line" in said:
                progress(said["line"])
            else:
                answer = said
        problem = running.stderr.read().strip()
    if answer is None:
        why = problem.splitlines()[-1] if problem else "it said nothing"
        raise FormationError(
            f"{container}: the backup service does not answer ({why}); is `backups` true, and the container running?"
        )
    return answers.result_of(answer)


def _ask_host(
    record: Mapping[str, Any],
    operation: str,
    arguments: Mapping[str, Any],
    progress: Progress,
    secret: Mapping[str, str | None],
) -> Any:
    """The host reads the administrator's password itself."""
    if secret.get("encryption_key"):
        raise FormationError("a key of another deployment is not sent to hosts on AWS: restore that backup elsewhere")
    if "runner" not in record:
        raise FormationError(
            "with formation-runner direct no host can be asked; there redis-production-backup.timer takes backups"
        )
    return RemoteDeployment(record).back_up(operation, arguments, progress)


def backup_container(record: Mapping[str, Any]) -> str:
    """The name of the container that takes backups, from the label that every container of the deployment has.

    Raises FormationError when there is no container of it on this machine's engine.
    """
    node = members_of(record)[0].announced.host
    label = '{{index .Config.Labels "redis-production.deployment"}}'
    found = subprocess.run(
        ["docker", "inspect", "--format", label, node], capture_output=True, text=True, check=False
    )  # fmt: skip
    if found.returncode or not found.stdout.strip():
        raise FormationError(f"{node}: there is no such container; is the stack deployed on this machine's engine?")
    return f"{found.stdout.strip()}-backup"
