"""Hands a primary over by hand."""

from __future__ import annotations

from rich.console import Console

from .deployment import ClusterDeployment, Deployment, DeploymentError, replicated

_TIMEOUT_SECONDS = 120


def hand_over_to(deployment: Deployment, node: str | None, console: Console) -> None:
    """Hand the primary over to ``node``, or to the replica that Sentinel prefers; in a cluster, that of its shard.

    Raises HandOverFailed, or DeploymentError for a node that does not exist, or when a cluster's node is not named.
    """
    if isinstance(deployment, ClusterDeployment):
        _within_its_shard(deployment, node, console)
        return
    from components.formation.replication.hand_over import hand_over

    prefer = [deployment.node(node).name] if node else []
    hand_over(replicated(deployment).target, deployment.access("admin"), progress=console.print, prefer=prefer)


def _within_its_shard(deployment: ClusterDeployment, node: str | None, console: Console) -> None:
    from components.formation.cluster.hand_over import hand_over

    if node is None:
        raise DeploymentError("a cluster has a primary in every shard; name the replica that takes over with --node")
    hand_over(
        deployment.target,
        deployment.access("admin"),
        deployment.node(node).name,
        progress=console.print,
        timeout_seconds=_TIMEOUT_SECONDS,
    )
