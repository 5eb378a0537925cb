"""An operator's decision which node's data to keep."""

from __future__ import annotations

import typer
from rich.console import Console

from .deployment import Deployment, replicated


def promote_node(deployment: Deployment, name: str, console: Console, *, confirmed: bool) -> None:
    """Make a node the primary and all others its replicas, after asking. Raises FormationError when it is refused."""
    node = replicated(deployment).node(name)
    if not confirmed:
        typer.confirm(f"{node.name} becomes the primary; what only the other nodes hold is lost. Go on?", abort=True)
    deployment.live.promote(node.name, console.print)
    console.print(f"{node.name} is the primary")
