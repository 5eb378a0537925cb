"""What a node is on any platform, and the one interface that platforms implement."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

import pulumi

from .config_files import Listener

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
    """

    spec: NodeSpec
    reach: Listener
    generation: pulumi.Output[str]
    files_generation: pulumi.Output[str]


class Platform(Protocol):
    """Makes nodes. One object per component; network rules that nodes share are made with the first node."""

    def host_name(self, node_name: str) -> str:
        """The host name under which other nodes and clients find the node: stable across restarts."""
        ...

    def reach(self, listener: Listener) -> Listener:
        """Where the machine that runs Pulumi reaches a node that listens at ``listener``."""
        ...

    def certificate_names(self, listener: Listener) -> list[str]:
        """Host names and addresses under which clients may connect to the node."""
        ...

    def create_node(self, spec: NodeSpec, opts: pulumi.ResourceOptions) -> Node:
        """Make the node with its data volume. It starts unformed; nothing is waited for but its existence."""
        ...
