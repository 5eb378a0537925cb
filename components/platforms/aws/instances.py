"""A node: an address and a data volume that stay, and an instance that comes and goes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pulumi
import pulumi_aws as aws

from ...aws_settings import SENTINEL_DATA_VOLUME
from ...config_files import CONFIG_FOLDER, Listener
from ...hooks import START_SUFFIX
from ...instance_types import find_instance_type
from ...nodes import Node, NodeSpec, digest_of
from ...settings import ReplicatedRedisSettings
from .. import aws_names
from .access import Access, create_secret
from .context import Context
from .network import Network
from .security_groups import NodesGroup
from .user_data import Host, fetched_programs, user_data

if TYPE_CHECKING:
    from ...hooks import RollingGate

_DATA_DEVICE = "/dev/sdf"
_RECORD_SECONDS = 60


@dataclass(frozen=True)
class Address:
    """Where a node is, whichever instance it has."""

    interface: aws.ec2.NetworkInterface
    record: aws.route53.Record


@dataclass(frozen=True)
class Foundation:
    """What nodes stand on."""

    network: Network
    group: NodesGroup
    access: Access


def zone_of(context: Context, node: str) -> int:
    """The number of the zone that a node is in.

    Copy c of shard s is in zone s + c, so that the copies of a shard, and as far as can be the primaries of different
    shards, are in different zones; Sentinel i is in zone i.
    """
    ordinals = [int(part) for part in node.removeprefix(f"{context.name}-").split("-")[1:]]
    return sum(ordinals) % len(context.site.zones)


def create_address(
    context: Context,
    foundation: Foundation,
    zone: aws.route53.Zone,
    node: str,
    listener: Listener,
    after: pulumi.Resource,
) -> Address:
    """Make a node's network interface, which keeps its address, and its host name."""
    opts = context.options(pulumi.ResourceOptions(depends_on=[after]))
    suffix = node.removeprefix(f"{context.name}-")
    interface = aws.ec2.NetworkInterface(
        f"{node}-interface",
        subnet_id=foundation.network.subnet_ids[zone_of(context, node)],
        security_groups=[foundation.group.id],
        description=f"{node} of {context.deployment}",
        tags=context.tags(f"{suffix}-interface", node),
        opts=opts,
    )
    record = aws.route53.Record(
        f"{node}-name",
        zone_id=zone.zone_id,
        name=listener.host,
        type="A",
        ttl=_RECORD_SECONDS,
        records=[interface.private_ip],
        opts=opts,
    )
    return Address(interface, record)


def create_node(
    context: Context,
    foundation: Foundation,
    spec: NodeSpec,
    address: Address,
    names: Sequence[pulumi.Resource],
    gate: RollingGate,
    opts: pulumi.ResourceOptions,
) -> tuple[Node, aws.ec2.Instance]:
    """Make a node. ``names``: host names of all nodes, which have to be there before one asks for them: the network's
    DNS remembers for minutes that there was none.
    """
    access = foundation.access
    secret = create_secret(
        context,
        f"{spec.name}-files",
        aws_names.node_secret_name(context.deployment, spec.name),
        access.key_arn,
        {**spec.files, **spec.restart_files, **_programs(context, spec)},
        opts,
        spec.name,
    )
    volume = _create_volume(context, spec, access, opts)
    instance = _create_instance(
        context,
        spec,
        address,
        access,
        volume,
        pulumi.ResourceOptions.merge(
            pulumi.ResourceOptions.merge(opts, gate.stop_options),
            pulumi.ResourceOptions(
                depends_on=[
                    secret, access.policy, access.log_group, *foundation.group.rules, *foundation.network.ways_out,
                    *names,
                ]
            ),
        ),
    )  # fmt: skip
    attachment = aws.ec2.VolumeAttachment(
        f"{spec.name}{START_SUFFIX}",
        device_name=_DATA_DEVICE,
        instance_id=instance.id,
        volume_id=volume.id,
        skip_destroy=True,  # the end of the instance detaches it, when the server has stopped
        opts=pulumi.ResourceOptions.merge(pulumi.ResourceOptions(parent=opts.parent), gate.start_options),
    )
    node = Node(spec, spec.listener, instance.id, secret.version_id, (attachment, address.record, access.policy))
    return node, instance


def _create_volume(context: Context, spec: NodeSpec, access: Access, opts: pulumi.ResourceOptions) -> aws.ebs.Volume:
    settings, holds_data = context.settings.aws, spec.kind == "redis"
    suffix = f"{spec.name.removeprefix(f'{context.name}-')}-data"
    return aws.ebs.Volume(
        f"{spec.name}-data",
        availability_zone=context.site.zones[zone_of(context, spec.name)],
        type="gp3",
        size=settings.data_volume_size if holds_data else SENTINEL_DATA_VOLUME,
        iops=settings.data_volume_iops if holds_data else None,
        throughput=settings.data_volume_throughput if holds_data else None,
        encrypted=True,
        kms_key_id=access.key_arn,
        tags=context.tags(suffix, spec.name),
        # A change of any of what is ignored would replace the volume, and with it the data: it is set once.
        opts=pulumi.ResourceOptions(
            parent=opts.parent,
            protect=settings.protection and holds_data,
            retain_on_delete=spec.retain_data,
            ignore_changes=["availabilityZone", "encrypted", "kmsKeyId", "snapshotId"],
        ),
    )


def _create_instance(
    context: Context,
    spec: NodeSpec,
    address: Address,
    access: Access,
    volume: aws.ebs.Volume,
    opts: pulumi.ResourceOptions,
) -> aws.ec2.Instance:
    settings = context.settings.aws
    type_name = _instance_type(context, spec)
    suffix = spec.name.removeprefix(f"{context.name}-")
    tags = context.tags(suffix, spec.name)
    return aws.ec2.Instance(
        spec.name,
        ami=context.site.images[find_instance_type(type_name).architecture],
        instance_type=type_name,
        primary_network_interface=aws.ec2.InstancePrimaryNetworkInterfaceArgs(
            network_interface_id=address.interface.id
        ),
        iam_instance_profile=access.profile,
        metadata_options=aws.ec2.InstanceMetadataOptionsArgs(
            http_endpoint="enabled", http_tokens="required", http_put_response_hop_limit=1
        ),
        root_block_device=aws.ec2.InstanceRootBlockDeviceArgs(
            volume_type="gp3",
            volume_size=settings.root_volume_size,
            encrypted=True,
            kms_key_id=access.key_arn,
            delete_on_termination=True,
            tags=context.tags(f"{suffix}-root", spec.name),
        ),
        ebs_optimized=True,
        instance_initiated_shutdown_behavior="stop",
        disable_api_termination=settings.protection,
        force_destroy=True,  # by Pulumi, which asks the gate first
        user_data=pulumi.Output.all(volume.id, digest_of(spec.restart_files)).apply(
            lambda values: user_data(_host(context, spec, *values))
        ),
        user_data_replace_on_change=True,
        tags=tags,
        opts=pulumi.ResourceOptions.merge(
            opts,
            pulumi.ResourceOptions(
                delete_before_replace=True,
                # EC2 would stop and start the instance: behind the gate's back, and several at once.
                replace_on_changes=["instanceType", "ebsOptimized"],
                # Without ami-id a node keeps the image it was made from.
                ignore_changes=[] if settings.ami_id else ["ami"],
            ),
        ),
    )


def _instance_type(context: Context, spec: NodeSpec) -> str:
    settings = context.settings
    if spec.kind == "sentinel":
        assert isinstance(settings, ReplicatedRedisSettings)
        return settings.sentinel_instance_type
    return settings.aws.instance_type


def _programs(context: Context, spec: NodeSpec) -> dict[str, str]:
    """With backups also what fetches the rest of it.

    Sentinels' hosts have more time for them, but not the memory: a proof loads a shard's data in a server of its own.
    """
    backups = context.settings.backup.backups and spec.kind == "redis"
    files = fetched_programs(backups=backups)
    if backups:
        files["backup.source"] = aws_names.backup_secret_name(context.deployment)
    return {f"{CONFIG_FOLDER}/{name}": text for name, text in files.items()}


def _host(context: Context, spec: NodeSpec, volume_id: str, restart_files: str) -> Host:
    return Host(
        environment={
            "KIND": spec.kind,
            "NODE": spec.name,
            "REGION": context.site.region,
            "DNS_SUFFIX": context.site.dns_suffix,
            "SECRET": aws_names.node_secret_name(context.deployment, spec.name),
            "NAMESPACE": aws_names.metrics_namespace(context.deployment),
            "LOG_GROUP": aws_names.log_group_name(context.deployment, "nodes"),
            "SSM_AGENT": "yes" if context.settings.aws.formation_runner == "ssm" else "no",
            "VOLUME": volume_id,
            "RESTART_FILES": restart_files,
        },
        memory=spec.memory,
        stop_grace_seconds=spec.stop_grace_seconds,
    )
