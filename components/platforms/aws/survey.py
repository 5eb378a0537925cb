"""Asks AWS, before anything is planned, what settings alone cannot say. What cannot be is one line with the setting."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import pulumi
import pulumi_aws as aws

from ...instance_types import Architecture, find_instance_type
from ...settings import NodeSettings, ReplicatedRedisSettings, SettingsError

_DEBIAN = "136693071363"  # the account that publishes Debian's images (Debian wiki: Cloud/AmazonEC2Image)
_DEBIAN_ARCHITECTURES: dict[Architecture, str] = {"arm64": "arm64", "x86_64": "amd64"}

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Site:
    """Where a deployment is.

    Attributes:
        partition: ``aws``, or that of China or of the US government.
        dns_suffix: what host names of AWS's services end in there.
        zones: availability zones in the order in which nodes are spread over them.
        images: the image to start from, by architecture.
    """

    account: str
    region: str
    partition: str
    dns_suffix: str
    zones: tuple[str, ...]
    images: dict[Architecture, str]


def survey(settings: NodeSettings, parent: pulumi.Resource) -> Site:
    """Find out where the deployment is. Raises SettingsError."""
    opts = pulumi.InvokeOptions(parent=parent)
    identity = _ask("platform", "AWS does not answer", lambda: aws.get_caller_identity(opts=opts))
    region = _ask("platform", "AWS does not answer", lambda: aws.get_region(opts=opts))
    partition = aws.get_partition(opts=opts)
    _check_groups(settings, opts)
    return Site(
        account=identity.account_id,
        region=region.region,
        partition=partition.partition,
        dns_suffix=partition.dns_suffix,
        zones=_zones(settings, opts),
        images={architecture: _image(settings, architecture, opts) for architecture in architectures(settings)},
    )


def architectures(settings: NodeSettings) -> list[Architecture]:
    """The architectures that the deployment's instances have."""
    types = [settings.aws.instance_type]
    if isinstance(settings, ReplicatedRedisSettings):
        types.append(settings.sentinel_instance_type)
    return sorted({find_instance_type(name).architecture for name in types})


def _zones(settings: NodeSettings, opts: pulumi.InvokeOptions) -> tuple[str, ...]:
    if settings.aws.vpc_id is not None:
        return _zones_of_subnets(settings.aws.vpc_id, settings.aws.subnet_ids, opts)
    known = _ask(
        "vpc-cidr",
        "the region's zones cannot be listed",
        lambda: aws.get_availability_zones(
            filters=[aws.GetAvailabilityZonesFilterArgs(name="opt-in-status", values=["opt-in-not-required"])],
            opts=opts,
        ),
    ).names
    wanted = settings.aws.availability_zones or tuple(sorted(known)[: settings.aws.zones])
    unknown = [zone for zone in wanted if zone not in known]
    if unknown:
        raise SettingsError(
            [f"availability-zones: the region has no {', '.join(unknown)}; use {', '.join(sorted(known))}"]
        )
    if len(wanted) < settings.aws.zones:
        raise SettingsError([f"vpc-cidr: the region has {len(wanted)} zones, but {settings.aws.zones} are needed"])
    return wanted


def _zones_of_subnets(vpc_id: str, subnet_ids: tuple[str, ...], opts: pulumi.InvokeOptions) -> tuple[str, ...]:
    vpc = _ask("vpc-id", f"there is no {vpc_id}", lambda: aws.ec2.get_vpc(id=vpc_id, opts=opts))
    problems = [
        f"vpc-id: {vpc_id} has {attribute} turned off, without which nodes do not find each other; turn it on"
        for attribute, on in (
            ("enableDnsSupport", vpc.enable_dns_support),
            ("enableDnsHostnames", vpc.enable_dns_hostnames),
        )
        if not on
    ]
    zones: dict[str, str] = {}
    for subnet_id in subnet_ids:
        subnet = _ask("subnet-ids", f"there is no {subnet_id}", partial(aws.ec2.get_subnet, id=subnet_id, opts=opts))
        if subnet.vpc_id != vpc_id:
            problems.append(f"subnet-ids: {subnet_id} is in {subnet.vpc_id}, not in {vpc_id}")
        elif subnet.map_public_ip_on_launch:
            problems.append(f"subnet-ids: {subnet_id} gives instances public addresses; use a private subnet")
        elif subnet.availability_zone in zones:
            problems.append(
                f"subnet-ids: {subnet_id} and {zones[subnet.availability_zone]} are both in zone "
                f"{subnet.availability_zone}; give subnets in different zones"
            )
        zones.setdefault(subnet.availability_zone, subnet_id)
    if problems:
        raise SettingsError(problems)
    return tuple(zones)


def _check_groups(settings: NodeSettings, opts: pulumi.InvokeOptions) -> None:
    groups = [("client-security-groups", group) for group in settings.aws.client_security_groups]
    if settings.aws.monitoring_security_group is not None:
        groups.append(("monitoring-security-group", settings.aws.monitoring_security_group))
    for setting, group in groups:
        _ask(setting, f"there is no {group}", partial(aws.ec2.get_security_group, id=group, opts=opts))


def _image(settings: NodeSettings, architecture: Architecture, opts: pulumi.InvokeOptions) -> str:
    wanted = settings.aws.ami_id
    if wanted is None:
        name = f"debian-13-{_DEBIAN_ARCHITECTURES[architecture]}-*"
        newest = _ask(
            "ami-id",
            f"no image {name} of Debian can be found; name one",
            lambda: aws.ec2.get_ami(
                most_recent=True,
                owners=[_DEBIAN],
                filters=[aws.ec2.GetAmiFilterArgs(name="name", values=[name])],
                opts=opts,
            ),
        )
        return str(newest.id)
    image = _ask(
        "ami-id",
        f"there is no {wanted}",
        lambda: aws.ec2.get_ami(filters=[aws.ec2.GetAmiFilterArgs(name="image-id", values=[wanted])], opts=opts),
    )
    if image.architecture != architecture:
        raise SettingsError(
            [f"ami-id: {wanted} is for {image.architecture}, but {settings.aws.instance_type} is {architecture}"]
        )
    return wanted


def _ask(setting: str, problem: str, invoke: Callable[[], Answer]) -> Answer:
    try:
        return invoke()
    except Exception as error:  # the SDK raises no narrower class for what a provider answers
        raise SettingsError([f"{setting}: {problem} ({error})"]) from None
