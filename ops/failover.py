"""Hands the primary over by hand."""

from __future__ import annotations

from rich.console import Console

from components.formation.replication.hand_over import hand_over

from .deployment import Deployment


def hand_over_to(deployment: Deployment, node: str | None, console: Console) -> None:
    """Hand the primary over to ``node``, or to the replica that Sentinel prefers.

    Raises HandOverFailed, or DeploymentError for a node that does not exist.
    """
    prefer = [deployment.node(node).name] if node else []
    hand_over(deployment.target, deployment.access("admin"), progress=console.print, prefer=prefer)
