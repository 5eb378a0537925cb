"""Does by hand what formation does: gives every shard its share of the slots, and heals what an interruption left."""

from __future__ import annotations

from rich.console import Console

from components.formation.cluster import form, preview

from .deployment import ClusterDeployment, DeploymentError

_TIMEOUT_SECONDS = 300


def rebalance(deployment: ClusterDeployment, console: Console, *, dry_run: bool) -> None:
    """Show what has to be done, and do it unless ``dry_run``.

    Raises DeploymentError for a refusal, FormationError when it cannot be done.
    """
    access = deployment.access("admin")
    plan, _ = preview(deployment.target, access)
    if plan.refusals:
        raise DeploymentError("; ".join(plan.refusals))
    for line in [*plan.describe(), *(f"waiting for: {wait}" for wait in plan.waits)]:
        console.print(line, highlight=False, soft_wrap=True)
    if plan.done:
        console.print("nothing to do: the slots are spread as wanted")
    elif not dry_run:
        form(deployment.target, access, progress=console.print, timeout_seconds=_TIMEOUT_SECONDS)
        console.print("done")
