"""An operator's decision which node's data to keep."""

from __future__ import annotations

import typer
from rich.console import Console

from components.formation.replication.promotion import promote

from .deployment import Deployment, replicated

_TIMEOUT_SECONDS = 300


def promote_node(deployment: Deployment, name: str, console: Console, *, confirmed: bool) -> None:
    """Make a node the primary and all others its replicas, after asking. Raises FormationError when it is refused."""
    target = replicated(deployment).target
    node = deployment.node(name)
    if not confirmed:
        typer.confirm(f"{node.name} becomes the primary; what only the other nodes hold is lost. Go on?", abort=True)
    promote(
        target,
        deployment.access("admin"),
        node.name,
        progress=console.print,
        timeout_seconds=_TIMEOUT_SECONDS,
    )
    console.print(f"{node.name} is the primary")
