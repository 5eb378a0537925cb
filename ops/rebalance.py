"""Does by hand what formation does: gives every shard its share of the slots, and heals what an interruption left."""

from __future__ import annotations

from rich.console import Console

from .deployment import ClusterDeployment, DeploymentError


def rebalance(deployment: ClusterDeployment, console: Console, *, dry_run: bool) -> None:
    """Show what has to be done, and do it unless ``dry_run``.

    Raises DeploymentError for a refusal, FormationError when it cannot be done.
    """
    live = deployment.live
    forecast = live.forecast(frozenset())
    if forecast.refusals:
        raise DeploymentError("; ".join(forecast.refusals))
    lines = [*forecast.lines, *(f"waiting for: {wait}" for wait in forecast.waits)]
    for line in lines:
        console.print(line, highlight=False, soft_wrap=True)
    if not lines:
        console.print("nothing to do: the slots are spread as wanted")
    elif not dry_run:
        live.rebalance(console.print)
        console.print("done")
