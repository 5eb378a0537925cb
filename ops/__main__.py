"""``python -m ops``: looks at a deployment, and does by hand what Pulumi's runs do."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Optional

import typer
from rich.console import Console

from components.formation.errors import FormationError

from .deployment import Deployment, DeploymentError, cluster

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__, pretty_exceptions_enable=False)
# A pipe or a log has no width of its own: wide enough that no table wraps.
console = Console() if sys.stdout.isatty() else Console(width=160)
Stack = Annotated[Optional[str], typer.Option("--stack", "-s", help="Stack; the selected one if left out.")]  # noqa: UP045


@app.command()
def status(stack: Stack = None) -> None:
    """Show nodes, roles, replication, memory, and Sentinel's view or slots and keys. Exit code 1 if not healthy."""
    from .status import show_status

    raise typer.Exit(0 if show_status(Deployment.load(stack), console) else 1)


@app.command()
def verify(stack: Stack = None) -> None:
    """Write a key as a client does, through Sentinel or the cluster, read it from a replica, print how to connect."""
    from .verify import verify_clients

    verify_clients(Deployment.load(stack), stack, console)


@app.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
def cli(
    arguments: Annotated[Optional[list[str]], typer.Argument(help="A command; interactive if left out.")] = None,  # noqa: UP045
    stack: Stack = None,
    user: Annotated[str, typer.Option(help="ACL user: app, monitor, admin, ...")] = "app",
) -> None:
    """Open redis-cli on the current primary, or one of a cluster's, with the right user and certificate authority."""
    from .redis_cli import run_redis_cli

    raise typer.Exit(run_redis_cli(Deployment.load(stack), user, arguments or []))


@app.command()
def failover(
    stack: Stack = None,
    node: Annotated[Optional[str], typer.Option("--node", help="The replica to promote.")] = None,  # noqa: UP045
) -> None:
    """Hand the primary over to a replica without losing a write. In a cluster --node says which, and so which shard."""
    from .failover import hand_over_to

    hand_over_to(Deployment.load(stack), node, console)


@app.command()
def rebalance(
    stack: Stack = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
) -> None:
    """Give every shard of a cluster its share of the slots, and finish what an interruption left."""
    from .rebalance import rebalance as rebalance_slots

    rebalance_slots(cluster(Deployment.load(stack)), console, dry_run=dry_run)


@app.command()
def promote(
    node: Annotated[str, typer.Argument(help="The node whose data are to be kept.")],
    stack: Stack = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Make a node the primary when nothing else can decide, e.g. on volumes of an earlier deployment.

    The data of the other nodes are replaced by this node's.
    """
    from .promote import promote_node

    promote_node(Deployment.load(stack), node, console, confirmed=yes)


@app.command()
def costs(stack: Annotated[str, typer.Option("--stack", "-s", help="Stack on AWS; it need not be deployed.")]) -> None:
    """Say what a stack on AWS costs each month by the list prices of docs/prices.csv, beside ElastiCache."""
    from .costs import table

    typer.echo(table([stack]), nl=False)


backup = typer.Typer(no_args_is_help=True, help="Take, prove and list backups.")
app.add_typer(backup, name="backup")


@backup.command("take")
def backup_take(stack: Stack = None) -> None:
    """Take a backup now, beside the scheduled ones, and prove it where the settings say so."""
    from .backup import take_backup

    take_backup(Deployment.load(stack), console)


@backup.command("prove")
def backup_prove(
    name: Annotated[Optional[str], typer.Argument(help="A backup; the newest one if left out.")] = None,  # noqa: UP045
    stack: Stack = None,
) -> None:
    """Load a backup in a server of its own and count what it has."""
    from .backup import prove_backup

    prove_backup(Deployment.load(stack), name, console)


@backup.command("list")
def backup_list(stack: Stack = None) -> None:
    """Show every backup and what it is good for."""
    from .backup import list_backups

    list_backups(Deployment.load(stack), console)


@app.command()
def restore(
    backup: Annotated[
        str, typer.Argument(help="latest (proven), a backup's name, or s3://bucket/prefix/<deployment>/<either>.")
    ] = "latest",
    stack: Stack = None,
    until: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="With what was written after the backup up to this time, such as 2026-11-26T12:30:00Z."),
    ] = None,
    pattern: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Only keys that match, such as user:*, into the deployment while it is at work."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Data that are there may be lost.")] = False,
    abandon: Annotated[
        bool, typer.Option("--abandon", help="Instead: empty what an interrupted restore has left.")
    ] = False,
    key_file: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="File with the backup-encryption key of the deployment that made it, where that is another."),
    ] = None,
) -> None:
    """Put a backup's data into the deployment. Applications are logged out until everything is there."""
    from .backup import abandon_restore, restore_backup

    deployment = Deployment.load(stack)
    if abandon:
        abandon_restore(deployment, console)
        return
    key = _text_of(key_file) if key_file else None
    restore_backup(deployment, backup, console, until=until, pattern=pattern, overwrite=overwrite, key=key)


drill = typer.Typer(no_args_is_help=True, help="Practise what nobody wants to need.")
app.add_typer(drill, name="drill")


@drill.command("restore")
def drill_restore(stack: Stack = None) -> None:
    """Lose a scratch deployment with the stack's settings, bring it back from its backup, print RPO and RTO.

    The report is filed with the stack's backups. Exit code 1 if something that had to come back did not.
    """
    from .drill import drill_restore as practise

    raise typer.Exit(0 if practise(stack, console) else 1)


def _text_of(file: Path) -> str:
    try:
        return file.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise DeploymentError(f"--key-file {file}: cannot be read: {error}") from error


def main() -> None:
    """Run the command line; an expected failure is one clear line and exit code 1."""
    try:
        app()
    except (DeploymentError, FormationError) as error:
        Console(stderr=True).print(f"[red]error:[/red] {error}", highlight=False, soft_wrap=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
