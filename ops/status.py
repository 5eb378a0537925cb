"""Shows a deployment's topology as a table."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from rich.console import Console
from rich.table import Table

from components.backup_requests import backup_container
from components.formation.closing import is_closed
from components.formation.cluster import health as cluster_health
from components.formation.errors import FormationError
from components.formation.replication import health as replication_health
from components.newest_backups import proven, status_of

from .deployment import Deployment, replicated


def show_status(deployment: Deployment, console: Console) -> bool:
    """Print a row for each node and Sentinel, and what is wrong; return whether the deployment is healthy."""
    found = deployment.live.status()
    if isinstance(found, cluster_health.Status):
        console.print(_cluster_table(found.rows))
    else:
        console.print(_replication_table(replicated(deployment).target.sentinel.master_name, found.rows))
    if line := _backup_line(deployment, datetime.now(UTC)):
        console.print(line, highlight=False)
    return _say_whether_healthy([*found.reasons, *_closed(deployment)], console)


def _closed(deployment: Deployment) -> list[str]:
    """Why applications are not let in, if they are not."""
    if "runner" in deployment.record:
        return []
    try:
        closed = is_closed(deployment.redis_nodes, deployment.access("admin"))
    except FormationError:
        return []  # a node that does not answer is told of anyway
    return (
        ["applications are logged out until a restore has ended: python -m ops restore, or restore --abandon"]
        if closed
        else []
    )


def _backup_line(deployment: Deployment, now: datetime) -> str | None:
    """How old the newest proven backup is; None where that cannot be had."""
    if "runner" in deployment.record or shutil.which("docker") is None:
        return None
    try:
        status = status_of(backup_container(deployment.record))
    except FormationError:
        return None
    if status is None:
        return None
    newest = proven(status)
    if newest is None:
        return "no backup is proven yet"
    return f"newest proven backup: {newest['name']}, {_age(now - datetime.fromisoformat(newest['stored_at']))} old"


def _age(span: timedelta) -> str:
    """In the largest units that say enough."""
    minutes, seconds = divmod(max(round(span.total_seconds()), 0), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min" if minutes else f"{seconds} s"


def _replication_table(title: str, rows: Sequence[replication_health.Row]) -> Table:
    table = Table(title=title, title_justify="left")
    for heading in ("node", "role", "host", "link"):
        table.add_column(heading, overflow="fold")
    for heading in ("lag", "memory"):
        table.add_column(heading, justify="right")
    table.add_column("Sentinel's view")
    for row in rows:
        memory = _memory(row.memory_used, row.memory_max)
        table.add_row(row.name, row.role, row.host, row.link, _lag(row.lag_bytes), memory, row.seen_by)
    return table


def _cluster_table(rows: Sequence[cluster_health.Row]) -> Table:
    shards = {row.shard for row in rows if row.shard}
    table = Table(title=f"{len(shards)} shards", title_justify="left")
    for heading in ("shard", "node", "role", "host"):
        table.add_column(heading, overflow="fold")
    for heading in ("slots", "keys", "memory"):
        table.add_column(heading, justify="right")
    table.add_column("link", overflow="fold")
    table.add_column("lag", justify="right")
    shard = ""
    for row in rows:
        table.add_row(
            row.shard if row.shard != shard else "",
            row.name,
            row.role,
            row.host,
            _number(row.slots),
            _number(row.keys),
            _memory(row.memory_used, row.memory_max),
            row.link,
            _lag(row.lag_bytes),
        )
        shard = row.shard
    return table


def _say_whether_healthy(reasons: Sequence[str], console: Console) -> bool:
    console.print("[red]not healthy[/red]" if reasons else "healthy")
    for reason in reasons:
        console.print(f"- {reason}", highlight=False, soft_wrap=True)
    return not reasons


def _lag(size: int | None) -> str:
    return "" if size is None else f"{size} B"


def _number(count: int | None) -> str:
    return "" if count is None else str(count)


def _memory(used: int | None, most: int | None) -> str:
    if used is None:
        return ""
    text = f"{used / 1024**2:.1f}"
    return f"{text} / {most / 1024**2:.0f} MiB" if most else f"{text} MiB"
