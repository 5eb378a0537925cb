"""Practises the loss of everything but the backups: on a scratch deployment with the settings of a stack."""

from __future__ import annotations

import dataclasses
import secrets
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.table import Table

from components.backup_requests import ask
from components.clients import cluster_client, sentinel_client

from .deployment import ClusterDeployment, Deployment, DeploymentError, replicated

_KEYS = 2000
_SECONDS_OF_WRITES_AFTER = 5.0
_PORTS = 100
_FIRST_PORT = 20_000
_LAST_PORT = 60_000
_SETTINGS = {
    # What is written to the scratch deployment is nobody's secret, and its key would be lost with its state.
    "backup-encryption": "none",
    "backup-target": "volume",
    "backup-proof": "true",
    "backups": "true",
    "app-key-pattern": "*",
    "retain-data": "true",
}
_SAYS_NOTHING = ("update failed", "preview failed", "exit code: 1")
_ONLY_FOR_S3 = (
    "backup-endpoint",
    "backup-region",
    "backup-access-key-id",
    "backup-secret-access-key",
    "backup-object-lock-days",
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Drill:
    """How a drill went.

    Attributes:
        deployment: of which the settings are.
        at: when, ISO 8601.
        backup: that was restored.
        keys: that came back.
        rpo_seconds: between the last write that came back and the last one that was acknowledged before the disaster.
        lost_writes: that were acknowledged after the backup was begun, and did not come back.
        rto_seconds: from the disaster until every key was read again.
        complete: whether all that was acknowledged before the backup was begun came back.
    """

    deployment: str
    at: str
    backup: str
    keys: int
    rpo_seconds: float
    lost_writes: int
    rto_seconds: float
    complete: bool


def drill_restore(stack: str | None, console: Console) -> bool:
    """Make a scratch deployment, fill it, back it up, destroy it with its volumes and its state, and bring it back.

    Prints RPO and RTO, files the report with the stack's backups, and leaves nothing of the scratch deployment. Returns
    whether everything that had to come back did. Raises DeploymentError or FormationError when it cannot be done.
    """
    real = Deployment.load(stack)
    if "runner" in real.record:
        raise DeploymentError("drills are done on platform docker; this stack is on aws")
    name = stack or _pulumi("stack", "--show-name").strip()
    scratch = f"drill-{secrets.token_hex(3)}"

    def say(line: str) -> None:
        console.print(line, highlight=False, soft_wrap=True)

    with _scratch_stack(name, scratch, say, is_cluster=isinstance(real, ClusterDeployment)):
        found = _practise(scratch, say)
    report = dataclasses.replace(found, deployment=_name(real))
    ask(real.record, "file_drill", {"report": dataclasses.asdict(report)}, say)
    _show(report, console)
    return report.complete


def _practise(scratch: str, say: Callable[[str], None]) -> Drill:
    say(f"deploying {scratch} with the settings of the stack")
    _up(scratch)
    deployment = Deployment.load(scratch)
    with _Writer(deployment) as writer:
        writer.wait_until(_KEYS)
        before = writer.acknowledged
        backup = str(ask(deployment.record, "take", {}, say))
        time.sleep(_SECONDS_OF_WRITES_AFTER)  # what a backup does not have is what a drill is about
        say(f"destroying {scratch}: containers, data volumes, network and state; its backups stay")
        writer.stop()
    last = writer.times[-1]
    disaster = time.time()
    _destroy(deployment, backups_too=False)
    _pulumi("stack", "rm", "--yes", "--force", "--preserve-config", "--stack", scratch)
    _pulumi("stack", "init", "--no-select", scratch)
    _pulumi("config", "set", "restore-from", backup, "--stack", scratch)
    say("bringing it back by pulumi up, with restore-from")
    _up(scratch)
    back = Deployment.load(scratch)
    survived = _read(back, writer)
    ended = time.time()
    newest = max(survived, default=-1)
    return Drill(
        deployment="",
        at=datetime.fromtimestamp(disaster, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        backup=backup,
        keys=len(survived),
        rpo_seconds=last - (writer.times[newest] if survived else writer.times[0]),
        lost_writes=writer.acknowledged - len(survived),
        rto_seconds=ended - disaster,
        complete=survived >= set(range(before)),
    )


@contextmanager
def _scratch_stack(name: str, scratch: str, say: Callable[[str], None], *, is_cluster: bool) -> Iterator[None]:
    _pulumi("stack", "init", "--no-select", "--copy-config-from", name, scratch)
    try:
        port = _free_ports()
        settings = {**_SETTINGS, "port": str(port)}
        if not is_cluster:
            settings["sentinel-port"] = str(port + _PORTS // 2)
        for setting, value in settings.items():
            _pulumi("config", "set", setting, value, "--stack", scratch)
        for setting in (*_ONLY_FOR_S3, "restore-from", "restore-point-in-time"):
            _pulumi("config", "rm", setting, "--stack", scratch)
        yield
    finally:
        say(f"removing {scratch}")
        _remove(scratch)


def _remove(scratch: str) -> None:
    with suppress(DeploymentError):  # it was not made, or is gone already
        _destroy(Deployment.load(scratch), backups_too=True)
    for subcommand in (["destroy", "--yes", "--skip-preview", "--refresh"], ["stack", "rm", "--yes", "--force"]):
        subprocess.run(
            ["pulumi", *subcommand, "--non-interactive", "--stack", scratch], capture_output=True, check=False
        )


def _name(deployment: Deployment) -> str:
    return deployment.redis_nodes[0].announced.host.rpartition("-redis-")[0]


def _destroy(deployment: Deployment, *, backups_too: bool) -> None:
    """Whatever it has on the engine."""
    mine = f"label=redis-production.deployment={_name(deployment)}"
    containers = _docker("ps", "--all", "--quiet", "--filter", mine)
    if containers:
        _docker("rm", "--force", *containers)
    volumes = [
        volume
        for volume in _docker("volume", "ls", "--quiet", "--filter", mine)
        if backups_too or not volume.endswith("-backups")
    ]
    if volumes:
        _docker("volume", "rm", *volumes)
    networks = _docker("network", "ls", "--quiet", "--filter", mine)
    if networks:
        _docker("network", "rm", *networks)


class _Writer:
    """Writes numbers one after the other, and knows when each was acknowledged."""

    def __init__(self, deployment: Deployment) -> None:
        self.times: list[float] = []
        self._client = _client(deployment)
        self._over = threading.Event()
        self._news = threading.Condition()
        self._thread = threading.Thread(target=self._write, daemon=True)

    def __enter__(self) -> _Writer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._client.close()

    @property
    def acknowledged(self) -> int:
        return len(self.times)

    def wait_until(self, count: int) -> None:
        with self._news:
            if not self._news.wait_for(lambda: self.acknowledged >= count or not self._thread.is_alive(), 120):
                raise DeploymentError(f"the scratch deployment took {self.acknowledged} writes only within 120 s")

    def stop(self) -> None:
        self._over.set()
        self._thread.join()

    def _write(self) -> None:
        while not self._over.is_set():
            self._client.set(_key(self.acknowledged), self.acknowledged)
            with self._news:
                self.times.append(time.time())
                self._news.notify_all()


def _read(deployment: Deployment, writer: _Writer) -> set[int]:
    client = _client(deployment)
    try:
        return {number for number in range(writer.acknowledged) if client.get(_key(number)) == str(number)}
    finally:
        client.close()


def _client(deployment: Deployment) -> Any:
    access = deployment.access("app")
    if isinstance(deployment, ClusterDeployment):
        return cluster_client(deployment.target, access)
    return sentinel_client(replicated(deployment).target, access)


def _key(number: int) -> str:
    return f"drill:{number}"


def _show(report: Drill, console: Console) -> None:
    table = Table(title=f"Drill of {report.deployment}, {report.at}", title_justify="left", show_header=False)
    table.add_row("restored", f"{report.backup}, {report.keys} keys")
    table.add_row("everything from before the backup is back", "yes" if report.complete else "NO")
    table.add_row("RPO: writes lost", f"{report.lost_writes} of the last {report.rpo_seconds:.1f} s")
    table.add_row("RTO: until everything was read again", f"{report.rto_seconds:.1f} s")
    console.print(table)
    console.print(
        "RPO here is what was written since the backup; in earnest that is up to a period of backup-schedule."
    )


def _up(stack: str) -> None:
    _pulumi("up", "--yes", "--skip-preview", "--stack", stack)


def _pulumi(*arguments: str) -> str:
    answer = subprocess.run(
        ["pulumi", *arguments, "--non-interactive", "--color=never"], capture_output=True, text=True, check=False
    )
    if answer.returncode:
        said = [line.strip() for line in (answer.stdout + answer.stderr).splitlines() if "error:" in line]
        why = [line.partition("error:")[2].strip() for line in said if not line.endswith(_SAYS_NOTHING)]
        raise DeploymentError(f"pulumi {arguments[0]} failed: {why[0] if why else 'it gave no reason'}")
    return answer.stdout


def _docker(*arguments: str) -> list[str]:
    answer = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)
    if answer.returncode:
        raise DeploymentError(f"docker {arguments[0]} failed: {answer.stderr.strip().splitlines()[-1]}")
    return answer.stdout.split()


def _free_ports() -> int:
    """The first of so many ports in a row that nobody listens on."""
    for first in range(_FIRST_PORT, _LAST_PORT, _PORTS):
        if all(_is_free(port) for port in range(first, first + _PORTS)):
            return first
    raise DeploymentError(f"no {_PORTS} ports in a row are free on this machine")


def _is_free(port: int) -> bool:
    with socket.socket() as listener:
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
