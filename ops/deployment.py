"""Finds a deployment: its topology and access, from its stack."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from components.formation.cluster.target import ClusterTarget
from components.formation.members import Access, Member
from components.formation.replication.target import ReplicationTarget
from components.live_deployment import LiveDeployment, live_deployment
from components.topologies import CLUSTER, topology_of


class DeploymentError(Exception):
    """The stack cannot be read, or does not hold a deployment."""


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """A deployment as its stack describes it. One of the two below, by its topology."""

    record: Mapping[str, Any]
    ca_certificate: str
    passwords: dict[str, str] = field(repr=False)

    @property
    def live(self) -> LiveDeployment:
        """Its live nodes, reached as Pulumi's runs reach them."""
        return live_deployment(self.record, self.passwords, self.ca_certificate)

    @property
    def redis_nodes(self) -> Sequence[Member]:
        """Every Redis node."""
        raise NotImplementedError

    @staticmethod
    def load(stack: str | None) -> Deployment:
        """Read a stack (None: the selected one) with the Pulumi CLI.

        Raises DeploymentError when the stack cannot be read or was never deployed.
        """
        if shutil.which("pulumi") is None:
            raise DeploymentError('pulumi is not on PATH; run eval "$(make -s env)" first')
        return Deployment.from_state(_exported(stack))

    @staticmethod
    def from_state(state: Mapping[str, Any]) -> Deployment:
        """Make a deployment from a stack's state, exported with its secrets. It need not be formed yet.

        Raises DeploymentError when the state has none, or more than one.
        """
        try:
            topology = _the_one(state, "Topology")["target"]
            passwords = json.loads(_the_one(state, "Credentials")["passwords"]["plaintext"])
            ca_certificate = _the_one(state, "CertificateAuthority")["certificate"]
        except KeyError:
            raise DeploymentError("the stack was exported without its secrets") from None
        if topology_of(topology) == CLUSTER:
            return ClusterDeployment(
                record=topology,
                target=ClusterTarget.from_dict(topology),
                ca_certificate=ca_certificate,
                passwords=passwords,
            )
        sentinel = {**topology["sentinel"], "auth_password": passwords["sentinel"]}
        return ReplicatedDeployment(
            record=topology,
            target=ReplicationTarget.from_dict({**topology, "sentinel": sentinel}),
            ca_certificate=ca_certificate,
            passwords=passwords,
        )

    def access(self, user: str) -> Access:
        """How ``user`` logs in. Raises DeploymentError for a user that the deployment does not have."""
        if user not in self.passwords:
            raise DeploymentError(f"there is no user {user}; use one of {', '.join(sorted(self.passwords))}")
        return Access(user, self.passwords[user], self.ca_certificate)

    def node(self, name: str) -> Member:
        """The Redis node of that name. Raises DeploymentError when there is none."""
        for member in self.redis_nodes:
            if name in (member.name, member.announced.host):
                return member
        names = ", ".join(member.name for member in self.redis_nodes)
        raise DeploymentError(f"there is no node {name}; use one of {names}")


@dataclass(frozen=True, kw_only=True)
class ReplicatedDeployment(Deployment):
    """A primary, its replicas and Sentinels."""

    target: ReplicationTarget

    @property
    def redis_nodes(self) -> Sequence[Member]:
        """Primary and replicas."""
        return self.target.nodes


@dataclass(frozen=True, kw_only=True)
class ClusterDeployment(Deployment):
    """A cluster."""

    target: ClusterTarget

    @property
    def redis_nodes(self) -> Sequence[Member]:
        """The members of all shards."""
        return self.target.members


def replicated(deployment: Deployment) -> ReplicatedDeployment:
    """Raises DeploymentError for another topology."""
    if not isinstance(deployment, ReplicatedDeployment):
        raise DeploymentError("the stack holds a cluster; that is for topology replicated only")
    return deployment


def cluster(deployment: Deployment) -> ClusterDeployment:
    """Raises DeploymentError for another topology."""
    if not isinstance(deployment, ClusterDeployment):
        raise DeploymentError("the stack holds a primary with Sentinels; that is for topology cluster only")
    return deployment


def _the_one(state: Mapping[str, Any], kind: str) -> dict[str, Any]:
    resources = state.get("deployment", {}).get("resources") or []
    found: list[dict[str, Any]] = [
        each["outputs"] for each in resources if each["type"] == f"pulumi-python:dynamic/redis-production:{kind}"
    ]
    if not found:
        raise DeploymentError("the stack holds no deployment; run `pulumi up` first")
    if len(found) > 1:
        raise DeploymentError("the stack holds more than one deployment; that is not supported here")
    return found[0]


def _exported(stack: str | None) -> dict[str, Any]:
    command = ["pulumi", "stack", "export", "--show-secrets", "--non-interactive"]
    answer = subprocess.run(
        [*command, *(["--stack", stack] if stack else [])], capture_output=True, text=True, check=False
    )
    if answer.returncode:
        lines = answer.stderr.strip().splitlines() or ["it gave no reason"]
        raise DeploymentError(f"pulumi stack export failed: {lines[0].removeprefix('error: ')}")
    state: dict[str, Any] = json.loads(answer.stdout)
    return state
