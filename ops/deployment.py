"""Finds a deployment: its topology and access, from its stack."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from components.formation.members import Access, Member
from components.formation.replication.target import ReplicationTarget


class DeploymentError(Exception):
    """The stack cannot be read, or does not hold a deployment."""


@dataclass(frozen=True)
class Deployment:
    """A deployment as its stack describes it."""

    target: ReplicationTarget
    ca_certificate: str
    passwords: dict[str, str] = field(repr=False)

    @classmethod
    def load(cls, stack: str | None) -> Deployment:
        """Read a stack (None: the selected one) with the Pulumi CLI.

        Raises DeploymentError when the stack cannot be read or was never deployed.
        """
        if shutil.which("pulumi") is None:
            raise DeploymentError('pulumi is not on PATH; run eval "$(make -s env)" first')
        return cls.from_state(_exported(stack))

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Deployment:
        """Make a deployment from a stack's state, exported with its secrets. It need not be formed yet.

        Raises DeploymentError when the state has none, or more than one.
        """
        try:
            topology = _the_one(state, "Topology")["target"]
            passwords = json.loads(_the_one(state, "Credentials")["passwords"]["plaintext"])
            ca_certificate = _the_one(state, "CertificateAuthority")["certificate"]
        except KeyError:
            raise DeploymentError("the stack was exported without its secrets") from None
        sentinel = {**topology["sentinel"], "auth_password": passwords["sentinel"]}
        target = ReplicationTarget.from_dict({**topology, "sentinel": sentinel})
        return cls(target, ca_certificate, passwords)

    def access(self, user: str) -> Access:
        """How ``user`` logs in. Raises DeploymentError for a user that the deployment does not have."""
        if user not in self.passwords:
            raise DeploymentError(f"there is no user {user}; use one of {', '.join(sorted(self.passwords))}")
        return Access(user, self.passwords[user], self.ca_certificate)

    def node(self, name: str) -> Member:
        """The Redis node of that name. Raises DeploymentError when there is none."""
        for member in self.target.nodes:
            if name in (member.name, member.announced.host):
                return member
        names = ", ".join(member.name for member in self.target.nodes)
        raise DeploymentError(f"there is no node {name}; use one of {names}")


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
