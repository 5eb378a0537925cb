"""Hands a primary over by hand."""

from __future__ import annotations

from rich.console import Console

from .deployment import ClusterDeployment, Deployment, DeploymentError


def hand_over_to(deployment: Deployment, node: str | None, console: Console) -> None:
    """Hand the primary over to ``node``, or to the replica that Sentinel prefers; in a cluster, that of its shard.

    Raises HandOverFailed, or DeploymentError for a node that does not exist, or when a cluster's node is not named.
    """
    if node is None and isinstance(deployment, ClusterDeployment):
        raise DeploymentError("a cluster has a primary in every shard; name the replica that takes over with --node")
    deployment.live.hand_over(deployment.node(node).name if node else None, console.print)
