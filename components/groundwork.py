"""What deployments of every topology stand on: credentials, a certificate authority, a platform, and nodes on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import pulumi

from . import backup_files, config_files
from .backup_key import BackupKey
from .config_files import CONFIG_FOLDER, Listener
from .credentials import Credentials
from .formation_resource import Formation
from .hooks import RollingGate
from .nodes import BackupService, Node, NodeKind, NodeSpec, Platform
from .restoration import Restoration
from .settings import NodeSettings
from .tls import CertificateAuthority, NodeCertificate
from .topology_resource import Topology


class Groundwork:
    """Makes ``<name>-credentials``, ``<name>-backup-key``, what nodes share on the platform, and
    ``<name>-certificate-authority``.

    Raises SettingsError, before anything is made, when the platform says that a setting cannot be.

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
        self._name = name
        self._deployment = deployment
        self._settings = settings
        self._children = children
        make_platform = _platform_maker(name, deployment, settings, children)
        every_user = [*users, *(["default"] if settings.default_user else [])]
        credentials = Credentials(f"{name}-credentials", every_user, children)
        backup_key = BackupKey(f"{name}-backup-key", children)
        self._platform = make_platform(credentials.id)
        self._authority = CertificateAuthority(
            f"{name}-certificate-authority",
            f"{deployment} certificate authority",
            settings.certificate_authority_lifetime_days,
            children,
        )
        self.passwords: pulumi.Output[Mapping[str, str]] = pulumi.Output.secret(credentials.passwords)
        self.credentials: pulumi.Output[Mapping[str, str]] = pulumi.Output.secret(
            pulumi.Output.all(credentials.passwords, backup_key.key).apply(
                lambda both: {**both[0], backup_files.ENCRYPTION_KEY: both[1]}
            )
        )
        """The users' passwords, and the key that backups can be sealed with."""
        self.ca_certificate: pulumi.Output[str] = self._authority.certificate
        self.backups: pulumi.Output[Mapping[str, Any] | None] = self._newest_backups()
        """The newest good and the newest proven backup, as of the program's start."""

    def listener(self, node: str, base_port: int, ordinal: int) -> Listener:
        """Where a node of this name listens; ``ordinal`` tells it from the others of its kind."""
        return self._platform.listener(node, base_port, ordinal)

    def member(self, node: str, listener: Listener) -> dict[str, Any]:
        """The node as formation's target has it."""
        reach = self._platform.reach(listener)
        zone = self._platform.fails_with(node)
        return {
            "name": node,
            "announced": {"host": listener.host, "port": listener.port},
            "reach": {"host": reach.host, "port": reach.port},
            **({"host": zone} if zone else {}),
        }

    def topology(self, name: str, target: Mapping[str, Any], listeners: Mapping[str, Listener]) -> Topology:
        """Record the wanted topology, with what the platform has to say to it, and make its host names known.

        ``listeners`` has every node's, by its name.
        """
        topology = Topology(name, {**target, **self._platform.record()}, self._children)
        self._platform.announce(listeners, topology)
        return topology

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
        return self._platform.create_node(spec, gate, pulumi.ResourceOptions.merge(self._children, after))

    def form(
        self, name: str, topology: Topology, results: Sequence[str], rules: Mapping[str, str], nodes: Sequence[Node]
    ) -> Formation:
        """Make the nodes one deployment, of which backups are taken. ``results``: what formation finds out; ``rules``:
        ACL rules of the Redis nodes.
        """
        acl = self.acl_definitions(rules)
        needs = self._platform.give_access(self.passwords, acl, self.ca_certificate, self._children)
        needs = [*needs, *(resource for node in nodes for resource in node.ready_with)]
        formation = Formation(
            name,
            target=topology.record,
            results=results,
            acl=acl,
            passwords=self.passwords,
            ca_certificate=self.ca_certificate,
            generations={node.spec.name: node.generation for node in nodes},
            files_generations={node.spec.name: node.files_generation for node in nodes if node.spec.kind == "redis"},
            begins_closed=self._settings.backup.restore_from is not None,
            opts=pulumi.ResourceOptions.merge(self._children, pulumi.ResourceOptions(depends_on=needs)),
        )
        if self._settings.backup.backups:
            self._back_up(topology, formation)
        return formation

    def _newest_backups(self) -> pulumi.Output[Mapping[str, Any] | None]:
        if self._settings.backup.backups:
            return self._platform.newest_backups(self._backup_service)
        nothing: Mapping[str, Any] | None = None
        return pulumi.Output.from_input(nothing)

    @property
    def _backup_service(self) -> str:
        return f"{self._name}-backup"

    def _back_up(self, topology: Topology, formation: Formation) -> None:
        """Take backups from now on, of nodes that are one deployment; what it starts from is restored before."""
        settings = self._settings.backup
        secret = pulumi.Output.all(self.credentials, self.ca_certificate).apply(
            lambda values: backup_files.secret(settings, *values)
        )
        service = BackupService(
            name=self._backup_service,
            memory=self._settings.backup_memory,
            target=settings.backup_target,
            retain_data=self._settings.retain_data,
            files={
                backup_files.CONFIGURATION: backup_files.configuration(
                    settings, self._deployment, topology.record, self._platform.backup_place()
                ),
                backup_files.SECRET: pulumi.Output.secret(secret),
            },
        )
        after = pulumi.ResourceOptions(depends_on=[formation])
        ready = self._platform.create_backup_service(service, pulumi.ResourceOptions.merge(self._children, after))
        if settings.restore_from is not None:
            Restoration(
                f"{self._name}-restoration",
                record=topology.record,
                restore_from=settings.restore_from,
                until=settings.restore_point_in_time,
                passwords=self.passwords,
                ca_certificate=self.ca_certificate,
                opts=pulumi.ResourceOptions.merge(self._children, pulumi.ResourceOptions(depends_on=ready)),
            )


def published_on(nodes: Sequence[Node]) -> str | None:
    """The host where the nodes' ports are published; None where they are reached by the names that they announce."""
    return next((node.reach.host for node in nodes if node.reach != node.spec.listener), None)


def address(listener: Listener) -> str:
    """``host:port``."""
    return f"{listener.host}:{listener.port}"


def _platform_maker(
    name: str, deployment: str, settings: NodeSettings, children: pulumi.ResourceOptions
) -> Callable[[pulumi.Input[str]], Platform]:
    """What makes the platform of an identity, once everything that can be checked before is.

    A program loads the platform that it deploys to, and no other.
    """
    if settings.platform == "aws":
        from .platforms.aws import AwsPlatform, survey

        site = survey(settings, cast(pulumi.Resource, children.parent))
        return lambda _identity: AwsPlatform(name, deployment, settings, site, children)
    from .platforms.docker import DockerPlatform

    return lambda identity: DockerPlatform(name, deployment, identity, settings.image, children)
