"""What a node is on any platform, and the one interface that platforms implement."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

import pulumi

from .config_files import Listener

if TYPE_CHECKING:
    from .hooks import RollingGate

NodeKind = Literal["redis", "sentinel"]


@dataclass(frozen=True, kw_only=True)
class NodeSpec:
    """A node as a component wants it, before a platform makes it.

    Attributes:
        name: resource name, ``<component>-<kind>-<ordinal>``.
        kind: ``redis`` or ``sentinel``.
        listener: where it listens and the host name it announces; the same inside and outside its host.
        start_script: the file (in ``files``) that starts the server.
        health_script: the file (in ``files``) that says whether the server answers.
        files: read-only files by absolute path. A change of one reaches the running node's disk and touches nothing
        else:
            formation puts it to use, or the next start does.
        restart_files: files that are used when the server starts only: a change of one replaces the node.
        memory: limit in bytes.
        retain_data: whether the data volume outlives the node's removal from the stack.
        stop_grace_seconds: time the server has to stop by itself.
    """

    name: str
    kind: NodeKind
    listener: Listener
    start_script: str
    health_script: str
    memory: int
    retain_data: bool
    stop_grace_seconds: int
    files: Mapping[str, pulumi.Input[str]] = field(default_factory=dict)
    restart_files: Mapping[str, pulumi.Input[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Node:
    """A node that a platform has made.

    Attributes:
        spec: what was asked for.
        reach: where the machine that runs Pulumi connects to.
        generation: changes whenever the node is made anew (a container's or an instance's id).
        files_generation: changes whenever one of its files does.
        ready_with: what has to exist besides before the node can be reached.
    """

    spec: NodeSpec
    reach: Listener
    generation: pulumi.Output[str]
    files_generation: pulumi.Output[str]
    ready_with: Sequence[pulumi.Resource] = ()


@dataclass(frozen=True, kw_only=True)
class BackupService:
    """What takes the backups of a deployment, before a platform makes it.

    Attributes:
        name: resource name, ``<component>-backup``.
        memory: limit in bytes.
        target: volume or ``s3://...``; None: the platform's own.
        retain_data: whether backups on a volume outlive the deployment.
        files: read-only files by absolute path; a change of one makes it start anew.
    """

    name: str
    memory: int
    target: str | None
    retain_data: bool
    files: Mapping[str, pulumi.Input[str]]


class Platform(Protocol):
    """Makes nodes. One object per component; network rules that nodes share are made with the first node."""

    def listener(self, node_name: str, base_port: int, ordinal: int) -> Listener:
        """Where the node of this name listens, and the host name under which other nodes and clients find it.

        Both are stable across restarts. ``ordinal`` tells the node from the others of its kind: where nodes share a
        host, each has a port of its own.
        """
        ...

    def fails_with(self, node_name: str) -> str:
        """What takes the node down when it fails, such as a zone; the same text for all that it takes down."""
        ...

    def reach(self, listener: Listener) -> Listener:
        """Where the machine that runs Pulumi, or formation for it, reaches a node that listens at ``listener``."""
        ...

    def certificate_names(self, listener: Listener) -> list[str]:
        """Host names and addresses under which clients may connect to the node."""
        ...

    def record(self) -> dict[str, Any]:
        """What the topology's record says besides: how formation gets to the nodes, and what nodes cannot change."""
        ...

    def announce(self, listeners: Mapping[str, Listener], after: pulumi.Resource) -> None:
        """Let every node of the deployment be known by its name before the first of them is made.

        Nothing is done before ``after`` exists.
        """
        ...

    def create_node(self, spec: NodeSpec, gate: RollingGate, opts: pulumi.ResourceOptions) -> Node:
        """Make the node with its data volume. It starts unformed; nothing is waited for but its existence.

        ``gate`` is told before the node is stopped and after it was started.
        """
        ...

    def backup_place(self) -> Mapping[str, Any]:
        """What backup.json says otherwise than for a container: ``scratch``, and ``store`` without a backup-target."""
        ...

    def create_backup_service(self, service: BackupService, opts: pulumi.ResourceOptions) -> Sequence[pulumi.Resource]:
        """Make what takes backups, beside the nodes. Returns what a restore has to wait for."""
        ...

    def newest_backups(self, service_name: str) -> pulumi.Output[Mapping[str, Any] | None]:
        """What the backup service of this name tells now, see :func:`newest_backups.newest_backups`.

        None when there is none yet, and when it cannot be asked: it is only to be shown, and must not hold up or fail
        anything.
        """
        ...

    def give_access(
        self,
        passwords: pulumi.Output[Mapping[str, str]],
        acl: pulumi.Output[dict[str, str]],
        ca_certificate: pulumi.Output[str],
        opts: pulumi.ResourceOptions,
    ) -> Sequence[pulumi.Resource]:
        """Put where formation finds it what it takes to log in, if the machine that runs Pulumi is not where it runs.

        Returns what formation has to wait for.
        """
        ...


def digest_of(files: Mapping[str, pulumi.Input[str]]) -> pulumi.Output[str]:
    """A fingerprint of file contents, which may be secret: not reversible, as every secret in them is random."""

    def digest(contents: str) -> str:
        return hashlib.sha256(contents.encode()).hexdigest()

    return pulumi.Output.unsecret(pulumi.Output.json_dumps(dict(sorted(files.items()))).apply(digest))
