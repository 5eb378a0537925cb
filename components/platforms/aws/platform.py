"""Nodes as EC2 instances in private subnets, one for each node, in as many availability zones as there are subnets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pulumi
import pulumi_aws as aws

from ...config_files import Listener
from ...nodes import BackupService, Node, NodeSpec
from ...settings import NodeSettings
from .. import aws_names
from .access import create_access, create_key, create_secret
from .alarms import create_alarms, create_backup_alarms, create_topic
from .backups import create_backup_files, place
from .bucket import create_bucket
from .context import Context
from .instances import Address, Foundation, create_address, create_node, zone_of
from .network import network_of
from .security_groups import create_nodes_group
from .survey import Site, architectures

if TYPE_CHECKING:
    from ...hooks import RollingGate


class AwsPlatform:
    """Children: the network (unless one is given), ``<name>-nodes`` (the nodes' security group, with a resource for
    each rule), ``<name>-key``, ``<name>-node`` (role, policy, profile), ``<name>-bucket``, ``<name>-alarms``,
    ``<name>-zone`` (private host names), and for each node ``<node>-interface``, ``<node>-name``, ``<node>-files`` (its
    secret), ``<node>-data`` (its volume), ``<node>`` (its instance), ``<node>-attachment`` and its alarms; with backups
    ``<name>-backup`` (a secret), ``<name>-backup-program`` (the code) and their alarms.

    Every node has a host of its own, so that all of a kind listen on the same port. Nodes are known by names of the
    private zone, everywhere.
    """

    def __init__(
        self, name: str, deployment: str, settings: NodeSettings, site: Site, opts: pulumi.ResourceOptions
    ) -> None:
        """``site``: what :func:`survey` has found for these settings."""
        self._context = context = Context(name, deployment, settings, site, opts)
        key = create_key(context)
        network = network_of(context, key.arn)
        group = create_nodes_group(context, network)
        self._bucket = create_bucket(context, key.arn)
        self._bucket_name = aws_names.bucket_name(deployment, site.account, site.region)
        self._foundation = Foundation(network, group, create_access(context, key, self._bucket_name))
        self._topic = create_topic(context, key)
        self._zone = aws.route53.Zone(
            f"{name}-zone",
            name=aws_names.zone_name(deployment),
            comment=f"Host names of {deployment}",
            vpcs=[aws.route53.ZoneVpcArgs(vpc_id=network.vpc_id)],
            tags=context.tags("zone"),
            opts=opts,
        )
        self._addresses: dict[str, Address] = {}

    def listener(self, node_name: str, base_port: int, ordinal: int) -> Listener:
        """At ``<kind>-<ordinal>.<deployment>.internal``, on the same port as all of its kind."""
        suffix = node_name.removeprefix(f"{self._context.name}-")
        return Listener(f"{suffix}.{aws_names.zone_name(self._context.deployment)}", base_port)

    def fails_with(self, node_name: str) -> str:
        """Its zone."""
        return self._context.site.zones[zone_of(self._context, node_name)]

    def reach(self, listener: Listener) -> Listener:
        """The same: formation runs inside the network, or where its names are known."""
        return listener

    def certificate_names(self, listener: Listener) -> list[str]:
        """The host name; ``localhost`` and loopback for what runs beside the server."""
        return [listener.host, "localhost", "127.0.0.1"]

    def record(self) -> dict[str, Any]:
        """``runner``: by what means formation runs inside, if it does; ``aws``: what no node can move away from."""
        settings, site = self._context.settings, self._context.site
        by_ssm = {"runner": {"kind": "ssm", "deployment": self._context.deployment, "region": site.region}}
        return {
            **(by_ssm if settings.aws.formation_runner == "ssm" else {}),
            "aws": {
                "region": site.region,
                "network": settings.aws.vpc_id or settings.aws.vpc_cidr,
                "zones": list(site.zones),
                "architectures": architectures(settings),
                "image": settings.aws.ami_id,
            },
        }

    def announce(self, listeners: Mapping[str, Listener], after: pulumi.Resource) -> None:
        """Give every node its address and its name, before the first of them looks for the others."""
        for node, listener in listeners.items():
            self._addresses[node] = create_address(self._context, self._foundation, self._zone, node, listener, after)

    def create_node(self, spec: NodeSpec, gate: RollingGate, opts: pulumi.ResourceOptions) -> Node:
        """Make the volume and the instance, which gets its files from Secrets Manager, and the alarms."""
        names = [address.record for address in self._addresses.values()]
        node, instance = create_node(
            self._context, self._foundation, spec, self._addresses[spec.name], names, gate, opts
        )
        create_alarms(self._context, spec, instance, self._topic, opts)
        return node

    def create_backup_service(self, service: BackupService, opts: pulumi.ResourceOptions) -> Sequence[pulumi.Resource]:
        """Make what hosts of Redis nodes fetch to take backups, and the alarms of backups."""
        context, key_arn = self._context, self._foundation.access.key_arn
        create_backup_alarms(context, self._topic, opts)
        return (create_backup_files(context, service, self._bucket_name, key_arn, self._bucket, opts),)

    def backup_place(self) -> Mapping[str, Any]:
        """The deployment's own bucket, and a folder of the data volume."""
        return place(self._context, self._bucket_name)

    def newest_backups(self, service_name: str) -> pulumi.Output[Mapping[str, Any] | None]:
        """Nothing yet."""
        nothing: Mapping[str, Any] | None = None
        return pulumi.Output.from_input(nothing)

    def give_access(
        self,
        passwords: pulumi.Output[Mapping[str, str]],
        acl: pulumi.Output[dict[str, str]],
        ca_certificate: pulumi.Output[str],
        opts: pulumi.ResourceOptions,
    ) -> Sequence[pulumi.Resource]:
        """A secret that the node that formation runs on reads, and the bucket that brings formation's code there."""
        if self._context.settings.aws.formation_runner == "direct":
            return ()
        secret = create_secret(
            self._context,
            f"{self._context.name}-formation-access",
            aws_names.formation_secret_name(self._context.deployment),
            self._foundation.access.key_arn,
            {"passwords": passwords, "acl": acl, "ca_certificate": ca_certificate},
            opts,
        )
        return (secret, *self._bucket)
