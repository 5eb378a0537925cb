"""RedisCluster: shards, each a primary and its replicas, which have the hash slots among them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar

import pulumi

from . import config_files
from .config_files import CLUSTER_USERS, Listener
from .examples import cluster_python_example
from .groundwork import Groundwork, address, published_on
from .hooks import RollingGate
from .settings import RedisClusterSettings, deployment_name
from .topologies import CLUSTER


class RedisCluster(pulumi.ComponentResource):
    """Redis Cluster with ``settings.shards`` shards of one primary and ``settings.replicas_per_shard`` replicas.

    Args:
        name: of the component: lower-case letters, digits and ``-``, at most 32. Names of containers, volumes and
            networks are ``<name>-<stack>-...``. Raises SettingsError, before anything is planned, when they could not
            be host names.
        settings: validated settings, see :class:`RedisClusterSettings`.
        opts: Pulumi's resource options.

    Children: ``<name>-credentials``, ``<name>-backup-key``, ``<name>-certificate-authority``, for each node
    ``<name>-redis-<shard>-<copy>`` with its certificate, volume and container, the platform's network,
    ``<name>-topology``, and ``<name>-formation``, which makes the nodes one cluster, moves its slots, and keeps it so;
    then ``<name>-backup``, which takes backups, with what belongs to it.

    Outputs:
        nodes: every node's address (``host:port``) for clients on the machine that runs Pulumi.
        shards: name, slots, primary and replicas of each shard when formation last ran; after a failover the cluster
            knows better.
        backups: newest good and newest proven backup when the program began, see
            :func:`newest_backups.newest_backups`; None before the first one.
        ca_certificate: PEM of the authority that signed every node's certificate.
        credentials: user -> password, and the key that backups can be sealed with (secret).
        python_example: a redis-py script that connects (secret).
    """

    OUTPUTS: ClassVar = ("nodes", "shards", "backups", "ca_certificate", "credentials", "python_example")

    nodes: pulumi.Output[list[str]]
    shards: pulumi.Output[list[dict[str, Any]]]
    backups: pulumi.Output[Mapping[str, Any] | None]
    ca_certificate: pulumi.Output[str]
    credentials: pulumi.Output[Mapping[str, str]]
    python_example: pulumi.Output[str]

    def __init__(self, name: str, settings: RedisClusterSettings, opts: pulumi.ResourceOptions | None = None) -> None:
        deployment = deployment_name(name, pulumi.get_stack())
        super().__init__("redis-production:index:RedisCluster", name, None, opts)
        children = pulumi.ResourceOptions(parent=self)
        groundwork = Groundwork(name, deployment, settings, CLUSTER_USERS, children)

        def listener_of(node: str) -> Listener:
            _, shard, copy = node.rsplit("-", 2)
            return groundwork.listener(node, settings.port, settings.ordinal_of(int(shard), int(copy)))

        shards = {
            f"{name}-redis-{shard}": [f"{name}-redis-{shard}-{copy}" for copy in range(settings.replicas_per_shard + 1)]
            for shard in range(settings.shards)
        }
        listeners = {node: listener_of(node) for nodes in shards.values() for node in nodes}
        live = config_files.cluster_live_settings(settings)
        target = {
            "topology": CLUSTER,
            "shards": [
                {
                    "name": shard,
                    "members": [groundwork.member(node, listeners[node]) for node in nodes],
                    "weight": settings.weight_of(ordinal),
                }
                for ordinal, (shard, nodes) in enumerate(shards.items())
            ],
            "live_settings": live,
        }
        topology = groundwork.topology(f"{name}-topology", target, listeners)
        gate = RollingGate(name, topology.record, groundwork.passwords, groundwork.ca_certificate, listener_of)
        rules = config_files.cluster_acl_rules(settings)
        made = []
        for node, listener in listeners.items():
            files: dict[str, pulumi.Input[str]] = {
                "live.conf": config_files.live_conf(live),
                "node.env": config_files.cluster_node_env(listener),
                **config_files.cluster_scripts(),
                "users.acl": groundwork.users_acl(rules),
            }
            restart_files: dict[str, pulumi.Input[str]] = {
                "redis.conf": groundwork.secret_file(partial(_redis_conf, settings, listener, node)),
            }
            made.append(
                groundwork.create_node(
                    gate, topology, node, "redis", listener, settings.node_memory, files, restart_files
                )
            )

        formation = groundwork.form(f"{name}-formation", topology, ("shards",), rules, made)

        self.nodes = pulumi.Output.from_input([address(node.reach) for node in made])
        self.shards = formation.shards
        self.backups = groundwork.backups
        self.ca_certificate = groundwork.ca_certificate
        self.credentials = groundwork.credentials
        self.python_example = pulumi.Output.secret(
            pulumi.Output.all(groundwork.ca_certificate, groundwork.passwords).apply(
                lambda values: cluster_python_example(
                    [node.reach for node in made],
                    values[0],
                    values[1]["app"],
                    settings.app_key_pattern,
                    published_on(made),
                )
            )
        )
        self.register_outputs({output: getattr(self, output) for output in self.OUTPUTS})


def _redis_conf(
    settings: RedisClusterSettings, listener: Listener, node_name: str, passwords: Mapping[str, str]
) -> str:
    return config_files.cluster_redis_conf(settings, listener, node_name, passwords["replication"])
