"""ReplicatedRedis: a primary, its replicas, and the Sentinels that watch them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, ClassVar

import pulumi

from . import config_files
from .config_files import CONFIG_FOLDER, REDIS_USERS, Listener
from .credentials import Credentials
from .examples import python_example
from .formation_resource import Formation
from .hooks import RollingGate
from .nodes import Node, NodeKind, NodeSpec, Platform
from .platforms.docker import DockerPlatform
from .settings import ReplicatedRedisSettings, deployment_name
from .tls import CertificateAuthority, NodeCertificate
from .topology_resource import Topology


class ReplicatedRedis(pulumi.ComponentResource):
    """Redis with one primary, ``settings.replicas`` replicas and ``settings.sentinels`` Sentinels.

    Args:
        name: of the component: lower-case letters, digits and ``-``, at most 32. Names of containers, volumes and
            networks are ``<name>-<stack>-...``. Raises SettingsError, before anything is planned, when they could not
            be host names.
        settings: validated settings, see :class:`ReplicatedRedisSettings`.
        opts: Pulumi's resource options.

    Children: ``<name>-credentials``, ``<name>-certificate-authority``, for each node ``<name>-redis-<i>`` and
    ``<name>-sentinel-<i>`` with their certificate, volume and container, the platform's network,
    ``<name>-topology``, and ``<name>-formation``, which makes the nodes one deployment and keeps them so.

    Outputs:
        sentinels: Sentinels' addresses (``host:port``) for clients on the machine that runs Pulumi.
        master_name: the name to ask Sentinels for.
        primary: address of the primary when formation last ran; after a failover Sentinel knows better.
        replicas: addresses of the replicas when formation last ran.
        ca_certificate: PEM of the authority that signed every node's certificate.
        credentials: user -> password (secret).
        python_example: a redis-py script that connects (secret).
    """

    OUTPUTS: ClassVar = (
        "sentinels",
        "master_name",
        "primary",
        "replicas",
        "ca_certificate",
        "credentials",
        "python_example",
    )

    sentinels: pulumi.Output[list[str]]
    master_name: pulumi.Output[str]
    primary: pulumi.Output[str]
    replicas: pulumi.Output[list[str]]
    ca_certificate: pulumi.Output[str]
    credentials: pulumi.Output[dict[str, str]]
    python_example: pulumi.Output[str]

    def __init__(
        self, name: str, settings: ReplicatedRedisSettings, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        deployment = deployment_name(name, pulumi.get_stack())
        super().__init__("redis-production:index:ReplicatedRedis", name, None, opts)
        self._name = name
        self._settings = settings
        self._children = pulumi.ResourceOptions(parent=self)
        master_name = settings.master_name or deployment
        users = [*REDIS_USERS, *(["default"] if settings.default_user else [])]
        credentials = Credentials(f"{name}-credentials", users, self._children)
        platform = DockerPlatform(name, deployment, credentials.id, settings.image, self._children)
        authority = CertificateAuthority(
            f"{name}-certificate-authority",
            f"{deployment} certificate authority",
            settings.certificate_authority_lifetime_days,
            self._children,
        )
        self._passwords: pulumi.Output[dict[str, str]] = pulumi.Output.secret(credentials.passwords)
        self._authority = authority

        redis = [(f"{name}-redis-{i}", settings.port + i) for i in range(settings.replicas + 1)]
        sentinels = [(f"{name}-sentinel-{i}", settings.sentinel_port + i) for i in range(settings.sentinels)]
        listeners = {node: Listener(platform.host_name(node), port) for node, port in [*redis, *sentinels]}
        sentinel_listeners = [listeners[node] for node, _ in sentinels]
        live = config_files.live_settings(settings, settings.effective_min_replicas_to_write)

        target = {
            "nodes": [_member(node, listeners[node], platform) for node, _ in redis],
            "sentinels": [_member(node, listeners[node], platform) for node, _ in sentinels],
            "sentinel": {
                "master_name": master_name,
                "quorum": settings.quorum,
                "down_after_milliseconds": settings.down_after_milliseconds,
                "parallel_syncs": settings.parallel_syncs,
                "failover_timeout_milliseconds": settings.failover_timeout,
                "auth_user": "sentinel",
            },
            "live_settings": live,
        }
        Topology(f"{name}-topology", target, self._children)
        gate = RollingGate(name, target, self._passwords, authority.certificate)
        rules = config_files.redis_acl_rules(settings)
        redis_nodes = []
        for node, _ in redis:
            listener = listeners[node]
            env = config_files.node_env(listener, master_name, sentinel_listeners)
            files: dict[str, pulumi.Input[str]] = {
                "live.conf": config_files.live_conf(live),
                "node.env": env,
                "start.sh": config_files.host_script("start.sh"),
                "rejoin.sh": config_files.host_script("rejoin.sh"),
                "users.acl": self._secret_file(lambda passwords: config_files.users_acl(rules, passwords)),
            }
            restart_files: dict[str, pulumi.Input[str]] = {
                "redis.conf": self._secret_file(partial(_redis_conf, settings, listener)),
            }
            redis_nodes.append(self._create_node(platform, gate, node, "redis", listener, files, restart_files))
        sentinel_nodes = []
        for node, _ in sentinels:
            listener = listeners[node]
            files = {
                "node.env": config_files.node_env(listener, master_name, sentinel_listeners),
                "start.sh": config_files.host_script("start_sentinel.sh"),
            }
            restart_files = {
                "users.acl": self._secret_file(
                    lambda passwords: config_files.users_acl(config_files.sentinel_acl_rules(), passwords)
                ),
                "sentinel.conf": self._secret_file(partial(_sentinel_conf, settings, listener)),
            }
            sentinel_nodes.append(self._create_node(platform, gate, node, "sentinel", listener, files, restart_files))

        formation = Formation(
            f"{name}-formation",
            target=target,
            acl=self._passwords.apply(
                lambda passwords: {user: config_files.acl_definition(user, rules, passwords) for user in rules}
            ),
            passwords=self._passwords,
            ca_certificate=authority.certificate,
            generations={node.spec.name: node.generation for node in [*redis_nodes, *sentinel_nodes]},
            files_generations={node.spec.name: node.files_generation for node in redis_nodes},
            opts=self._children,
        )

        self.sentinels = pulumi.Output.from_input([_address(node.reach) for node in sentinel_nodes])
        self.master_name = pulumi.Output.from_input(master_name)
        self.primary = formation.primary
        self.replicas = formation.replicas
        self.ca_certificate = authority.certificate
        self.credentials = self._passwords
        self.python_example = pulumi.Output.secret(
            pulumi.Output.all(authority.certificate, self._passwords).apply(
                lambda values: python_example(
                    [node.reach for node in sentinel_nodes],
                    master_name,
                    values[0],
                    values[1]["app"],
                    settings.app_key_pattern,
                )
            )
        )
        self.register_outputs({output: getattr(self, output) for output in self.OUTPUTS})

    def _secret_file(self, render: Callable[[Mapping[str, str]], str]) -> pulumi.Output[str]:
        return self._passwords.apply(render)

    def _create_node(
        self,
        platform: Platform,
        gate: RollingGate,
        name: str,
        kind: NodeKind,
        listener: Listener,
        files: dict[str, pulumi.Input[str]],
        restart_files: dict[str, pulumi.Input[str]],
    ) -> Node:
        """Make one node with its certificate; the files are by name within the node's configuration folder."""
        certificate = NodeCertificate(
            f"{name}-certificate",
            self._authority,
            platform.certificate_names(listener),
            self._settings.certificate_lifetime_days,
            self._children,
        )
        access: dict[str, pulumi.Input[str]] = {
            "host.auth": self._secret_file(lambda passwords: config_files.host_auth(passwords["host"])),
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
            memory=self._settings.memory if kind == "redis" else self._settings.sentinel_memory,
            retain_data=self._settings.retain_data and kind == "redis",
            stop_grace_seconds=self._settings.stop_grace_seconds,
            files={f"{CONFIG_FOLDER}/{path}": content for path, content in files.items()},
            restart_files={f"{CONFIG_FOLDER}/{path}": content for path, content in restart_files.items()},
        )
        return platform.create_node(spec, pulumi.ResourceOptions.merge(self._children, gate.options))


def _redis_conf(settings: ReplicatedRedisSettings, listener: Listener, passwords: Mapping[str, str]) -> str:
    return config_files.redis_conf(settings, listener, passwords["replication"])


def _sentinel_conf(settings: ReplicatedRedisSettings, listener: Listener, passwords: Mapping[str, str]) -> str:
    return config_files.sentinel_conf(settings, listener, passwords["sentinel"])


def _member(name: str, listener: Listener, platform: Platform) -> dict[str, Any]:
    reach = platform.reach(listener)
    return {
        "name": name,
        "announced": {"host": listener.host, "port": listener.port},
        "reach": {"host": reach.host, "port": reach.port},
    }


def _address(listener: Listener) -> str:
    return f"{listener.host}:{listener.port}"
