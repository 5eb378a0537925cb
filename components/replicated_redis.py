"""ReplicatedRedis: a primary, its replicas, and the Sentinels that watch them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar

import pulumi

from . import config_files
from .config_files import REDIS_USERS, Listener
from .examples import python_example
from .groundwork import Groundwork, address, published_on
from .hooks import RollingGate
from .settings import ReplicatedRedisSettings, deployment_name


class ReplicatedRedis(pulumi.ComponentResource):
    """Redis with one primary, ``settings.replicas`` replicas and ``settings.sentinels`` Sentinels.

    Args:
        name: of the component: lower-case letters, digits and ``-``, at most 32. Names of containers, volumes and
            networks are ``<name>-<stack>-...``. Raises SettingsError, before anything is planned, when they could not
            be host names.
        settings: validated settings, see :class:`ReplicatedRedisSettings`.
        opts: Pulumi's resource options.

    Children: ``<name>-credentials``, ``<name>-backup-key``, ``<name>-certificate-authority``, for each node
    ``<name>-redis-<i>`` and ``<name>-sentinel-<i>`` with their certificate, volume and container, the platform's
    network, ``<name>-topology``, and ``<name>-formation``, which makes the nodes one deployment and keeps them so; then
    ``<name>-backup``, which takes backups, with what belongs to it.

    Outputs:
        sentinels: Sentinels' addresses (``host:port``) for clients on the machine that runs Pulumi.
        master_name: the name to ask Sentinels for.
        primary: address of the primary when formation last ran; after a failover Sentinel knows better.
        replicas: addresses of the replicas when formation last ran.
        backups: newest good and newest proven backup when the program began, see
            :func:`newest_backups.newest_backups`; None before the first one.
        ca_certificate: PEM of the authority that signed every node's certificate.
        credentials: user -> password, and the key that backups can be sealed with (secret).
        python_example: a redis-py script that connects (secret).
    """

    OUTPUTS: ClassVar = (
        "sentinels",
        "master_name",
        "primary",
        "replicas",
        "backups",
        "ca_certificate",
        "credentials",
        "python_example",
    )

    sentinels: pulumi.Output[list[str]]
    master_name: pulumi.Output[str]
    primary: pulumi.Output[str]
    replicas: pulumi.Output[list[str]]
    backups: pulumi.Output[Mapping[str, Any] | None]
    ca_certificate: pulumi.Output[str]
    credentials: pulumi.Output[Mapping[str, str]]
    python_example: pulumi.Output[str]

    def __init__(
        self, name: str, settings: ReplicatedRedisSettings, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        deployment = deployment_name(name, pulumi.get_stack())
        super().__init__("redis-production:index:ReplicatedRedis", name, None, opts)
        children = pulumi.ResourceOptions(parent=self)
        master_name = settings.master_name or deployment
        groundwork = Groundwork(name, deployment, settings, REDIS_USERS, children)
        redis = {
            node: groundwork.listener(node, settings.port, i)
            for i, node in enumerate(f"{name}-redis-{i}" for i in range(settings.replicas + 1))
        }
        sentinels = {
            node: groundwork.listener(node, settings.sentinel_port, i)
            for i, node in enumerate(f"{name}-sentinel-{i}" for i in range(settings.sentinels))
        }
        live = config_files.live_settings(settings, settings.effective_min_replicas_to_write)

        target = {
            "nodes": [groundwork.member(node, listener) for node, listener in redis.items()],
            "sentinels": [groundwork.member(node, listener) for node, listener in sentinels.items()],
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
        topology = groundwork.topology(f"{name}-topology", target, {**redis, **sentinels})
        gate = RollingGate(name, topology.record, groundwork.passwords, groundwork.ca_certificate)
        rules = config_files.redis_acl_rules(settings)
        redis_nodes = []
        for node, listener in redis.items():
            files: dict[str, pulumi.Input[str]] = {
                "live.conf": config_files.live_conf(live),
                "node.env": config_files.node_env(listener, master_name, sentinels.values()),
                **config_files.redis_scripts(),
                "users.acl": groundwork.users_acl(rules),
            }
            restart_files: dict[str, pulumi.Input[str]] = {
                "redis.conf": groundwork.secret_file(partial(_redis_conf, settings, listener)),
            }
            redis_nodes.append(
                groundwork.create_node(
                    gate, topology, node, "redis", listener, settings.node_memory, files, restart_files
                )
            )
        sentinel_nodes = []
        for node, listener in sentinels.items():
            files = {
                "node.env": config_files.node_env(listener, master_name, sentinels.values()),
                "start.sh": config_files.host_script("start_sentinel.sh"),
            }
            restart_files = {
                "users.acl": groundwork.users_acl(config_files.sentinel_acl_rules()),
                "sentinel.conf": groundwork.secret_file(partial(_sentinel_conf, settings, listener)),
            }
            sentinel_nodes.append(
                groundwork.create_node(
                    gate, topology, node, "sentinel", listener, settings.sentinel_node_memory, files, restart_files
                )
            )

        formation = groundwork.form(
            f"{name}-formation", topology, ("primary", "replicas"), rules, [*redis_nodes, *sentinel_nodes]
        )

        self.sentinels = pulumi.Output.from_input([address(node.reach) for node in sentinel_nodes])
        self.master_name = pulumi.Output.from_input(master_name)
        self.primary = formation.primary
        self.replicas = formation.replicas
        self.backups = groundwork.backups
        self.ca_certificate = groundwork.ca_certificate
        self.credentials = groundwork.credentials
        self.python_example = pulumi.Output.secret(
            pulumi.Output.all(groundwork.ca_certificate, groundwork.passwords).apply(
                lambda values: python_example(
                    [node.reach for node in sentinel_nodes],
                    master_name,
                    values[0],
                    values[1]["app"],
                    settings.app_key_pattern,
                    published_on(sentinel_nodes),
                )
            )
        )
        self.register_outputs({output: getattr(self, output) for output in self.OUTPUTS})


def _redis_conf(settings: ReplicatedRedisSettings, listener: Listener, passwords: Mapping[str, str]) -> str:
    return config_files.redis_conf(settings, listener, passwords["replication"])


def _sentinel_conf(settings: ReplicatedRedisSettings, listener: Listener, passwords: Mapping[str, str]) -> str:
    return config_files.sentinel_conf(settings, listener, passwords["sentinel"])
