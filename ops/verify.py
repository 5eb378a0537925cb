"""Proves a deployment from a client's side, and says how to connect."""

from __future__ import annotations

from rich.console import Console

from .deployment import ClusterDeployment, Deployment, ReplicatedDeployment, replicated


def verify_clients(deployment: Deployment, stack: str | None, console: Console) -> None:
    """Write a key as user ``app`` through Sentinel or the cluster, read it from a replica, delete it, and print how to
    connect. ``stack``: its name, None for the selected one.

    Raises FormationError naming what did not work.
    """
    console.print(f"verified: {deployment.live.verify()}", soft_wrap=True)
    _print_how_to_connect(deployment, stack, console)


def _print_how_to_connect(deployment: Deployment, stack: str | None, console: Console) -> None:
    if isinstance(deployment, ClusterDeployment):
        where = f"nodes        {', '.join(str(member.reach) for member in deployment.redis_nodes)}"
    else:
        where = _where_sentinels_are(replicated(deployment))
    chosen = f" STACK={stack}" if stack else ""
    if "runner" in deployment.record:
        reached = "where        inside the VPC of the nodes; python -m ops works from here, on one of their hosts\n"
    else:
        reached = "redis-cli    python -m ops cli\n"
    console.print(
        f"""
{where}
user         app (password and CA: pulumi stack output --show-secrets credentials, ca_certificate)
Python       pulumi stack output --show-secrets python_example > example.py && .venv/bin/python example.py
{reached}\
status       python -m ops status

in a shell of your own, first: eval "$(make -s env{chosen})"
""",
        highlight=False,
        soft_wrap=True,
    )


def _where_sentinels_are(deployment: ReplicatedDeployment) -> str:
    sentinels = ", ".join(str(member.reach) for member in deployment.target.sentinels)
    return f"Sentinels    {sentinels}\nmaster name  {deployment.target.sentinel.master_name}"
