"""Shows a deployment's topology as a table."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from components.formation.replication.health import Row, status
from components.formation.replication.observation import observe

from .deployment import Deployment


def show_status(deployment: Deployment, console: Console) -> bool:
    """Print a row for each node and Sentinel, and what is wrong; return whether the deployment is healthy."""
    found = status(deployment.target, observe(deployment.target, deployment.access("admin")))
    table = Table(title=f"{deployment.target.sentinel.master_name}", title_justify="left")
    for heading in ("node", "role", "host", "link"):
        table.add_column(heading, overflow="fold")
    for heading in ("lag", "memory"):
        table.add_column(heading, justify="right")
    table.add_column("Sentinel's view")
    for row in found.rows:
        table.add_row(row.name, row.role, row.host, row.link, _lag(row), _memory(row), row.seen_by)
    console.print(table)
    console.print("healthy" if found.healthy else "[red]not healthy[/red]")
    for reason in found.reasons:
        console.print(f"- {reason}", highlight=False, soft_wrap=True)
    return found.healthy


def _lag(row: Row) -> str:
    return "" if row.lag_bytes is None else f"{row.lag_bytes} B"


def _memory(row: Row) -> str:
    if row.memory_used is None:
        return ""
    used = f"{row.memory_used / 1024**2:.1f}"
    return f"{used} / {row.memory_max / 1024**2:.0f} MiB" if row.memory_max else f"{used} MiB"
