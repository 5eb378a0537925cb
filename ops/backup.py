"""Has the deployment's backup service take, prove, list and restore backups."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from components.backup_requests import ask

from .deployment import Deployment


def take_backup(deployment: Deployment, console: Console) -> None:
    """Take one now, and prove it where the settings say so. Raises FormationError why it failed."""
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


def restore_backup(
    deployment: Deployment,
    backup: str,
    console: Console,
    *,
    until: str | None,
    pattern: str | None,
    overwrite: bool,
    key: str | None,
) -> None:
    """Put a backup's data into the deployment: see :func:`components.backups.restore.restore`. Raises as above.

    ``key``: that the backup was sealed with, where it is another deployment's.
    """
    arguments = {"backup": backup, "until": until, "pattern": pattern, "overwrite": overwrite}
    secret = {"admin": deployment.passwords["admin"], "encryption_key": key}
    found = _ask(deployment, "restore", arguments, console, secret)
    functions = f", {found['functions']} libraries of functions" if found["functions"] else ""
    console.print(
        f"{found['backup']} is restored: {found['keys']} keys{functions}, as they were at {found['time']}, in "
        f"{found['seconds']:.1f} s",
        highlight=False,
        soft_wrap=True,
    )


def abandon_restore(deployment: Deployment, console: Console) -> None:
    """Empty a deployment that an interrupted restore has left, and let applications in. Raises as above."""
    _ask(deployment, "abandon", {}, console, {"admin": deployment.passwords["admin"]})
    console.print("the deployment is empty, and applications are let in", highlight=False)


def _ask(
    deployment: Deployment,
    operation: str,
    arguments: Mapping[str, Any],
    console: Console,
    secret: Mapping[str, str | None] | None = None,
) -> Any:
    def progress(line: str) -> None:
        console.print(line, highlight=False, soft_wrap=True)

    return ask(deployment.record, operation, arguments, progress, secret)
