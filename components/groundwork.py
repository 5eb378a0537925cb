"""What deployments of every topology stand on: credentials, a certificate authority, a platform, and nodes on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pulumi

from . import config_files
from .config_files import CONFIG_FOLDER, Listener
from .credentials import Credentials
from .hooks import RollingGate
from .nodes import Node, NodeKind, NodeSpec
from .platforms.docker import DockerPlatform
from .settings import NodeSettings
from .tls import CertificateAuthority, NodeCertificate
from .topology_resource import Topology


class Groundwork:
    """Makes ``<name>-credentials``, the platform's network and image, and ``<name>-certificate-authority``.

    Args:
        name: the component's.
        deployment: what host names begin with, see :func:`settings.deployment_name`.
        settings: of the nodes.
        users: who gets a password.
        children: options of everything that is made, which say whose children they are.
    """

    def __init__(
        self,
        name: str,
        deployment: str,
        settings: NodeSettings,
        users: Sequence[str],
        children: pulumi.ResourceOptions,
    ) -> None:
        self._settings = settings
        self._children = children
        every_user = [*users, *(["default"] if settings.default_user else [])]
        credentials = Credentials(f"{name}-credentials", every_user, children)
        self._platform = DockerPlatform(name, deployment, credentials.id, settings.image, children)
        self._authority = CertificateAuthority(
            f"{name}-certificate-authority",
            f"{deployment} certificate authority",
            settings.certificate_authority_lifetime_days,
            children,
        )
        self.passwords: pulumi.Output[Mapping[str, str]] = pulumi.Output.secret(credentials.passwords)
        self.ca_certificate: pulumi.Output[str] = self._authority.certificate

    def listener(self, node: str, port: int) -> Listener:
        """Where a node of this name listens."""
        return Listener(self._platform.host_name(node), port)

    def member(self, node: str, listener: Listener) -> dict[str, Any]:
        """The node as formation's target has it."""
        reach = self._platform.reach(listener)
        return {
            "name": node,
            "announced": {"host": listener.host, "port": listener.port},
            "reach": {"host": reach.host, "port": reach.port},
        }

    def secret_file(self, render: Callable[[Mapping[str, str]], str]) -> pulumi.Output[str]:
        """The text that ``render`` makes of the passwords."""
        return self.passwords.apply(render)

    def users_acl(self, rules: Mapping[str, str]) -> pulumi.Output[str]:
        """users.acl for these rules."""
        return self.secret_file(lambda passwords: config_files.users_acl(rules, passwords))

    def acl_definitions(self, rules: Mapping[str, str]) -> pulumi.Output[dict[str, str]]:
        """User -> what ``ACL SETUSER`` takes, for these rules."""
        return self.passwords.apply(
            lambda passwords: {user: config_files.acl_definition(user, rules, passwords) for user in rules}
        )

    def create_node(
        self,
        gate: RollingGate,
        topology: Topology,
        name: str,
        kind: NodeKind,
        listener: Listener,
        memory: int,
        files: Mapping[str, pulumi.Input[str]],
        restart_files: Mapping[str, pulumi.Input[str]],
    ) -> Node:
        """Make one node with its certificate; the files are by name within the node's configuration folder.

        Redis takes changed ``files`` while it runs; a change of ``restart_files`` replaces the node. Nothing is done
        before ``topology`` has found the wanted one to be possible.
        """
        certificate = NodeCertificate(
            f"{name}-certificate",
            self._authority,
            self._platform.certificate_names(listener),
            self._settings.certificate_lifetime_days,
            self._children,
        )
        access: dict[str, pulumi.Input[str]] = {
            "host.auth": self.secret_file(lambda passwords: config_files.host_auth(passwords["host"])),
            "health.sh": config_files.host_script("health.sh"),
        }
        tls: dict[str, pulumi.Input[str]] = {
            "tls/ca.crt": self._authority.certificate,
            "tls/node.crt": certificate.certificate,
            "tls/node.key": pulumi.Output.secret(certificate.private_key),
        }
        # Redis takes a new certificate while it runs (CONFIG SET tls-cert-file); Sentinel only when it starts.
        files = {**files, **access, **(tls if kind == "redis" else {})}
        restart_files = {**restart_files, **(tls if kind == "sentinel" else {})}
        spec = NodeSpec(
            name=name,
            kind=kind,
            listener=listener,
            start_script=f"{CONFIG_FOLDER}/start.sh",
            health_script=f"{CONFIG_FOLDER}/health.sh",
            memory=memory,
            retain_data=self._settings.retain_data and kind == "redis",
            stop_grace_seconds=self._settings.stop_grace_seconds,
            files={f"{CONFIG_FOLDER}/{path}": content for path, content in files.items()},
            restart_files={f"{CONFIG_FOLDER}/{path}": content for path, content in restart_files.items()},
        )
        after = pulumi.ResourceOptions(depends_on=[topology])
        opts = pulumi.ResourceOptions.merge(self._children, pulumi.ResourceOptions.merge(gate.options, after))
        return self._platform.create_node(spec, opts)


def address(listener: Listener) -> str:
    """``host:port``."""
    return f"{listener.host}:{listener.port}"
