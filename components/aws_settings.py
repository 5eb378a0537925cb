"""Settings that only platform ``aws`` has. Nothing here knows of Pulumi, and nothing asks AWS."""

from __future__ import annotations

import ipaddress
import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from .instance_types import InstanceType, find_instance_type
from .ranges import range_problem

FormationRunner = Literal["ssm", "direct"]

FEWEST_ZONES = 3
"""With fewer, the loss of one zone would take a majority of the Sentinels, or of the primaries, along."""
SMALLEST_DATA_VOLUME = 4
"""GiB."""
SENTINEL_DATA_VOLUME = 1
"""GiB."""
INTERFACE_ENDPOINTS = (
    "ssm", "ssmmessages", "ec2messages", "secretsmanager", "kms", "logs", "monitoring",
)  # fmt: skip
"""AWS's services that nodes need, by the names that their endpoints have."""

_PRIVATE = [ipaddress.IPv4Network(text) for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")]
_EVERYWHERE = ("0.0.0.0/0", "::/0")
_VPC_ID = re.compile(r"vpc-[0-9a-f]{8,17}")
_SUBNET_ID = re.compile(r"subnet-[0-9a-f]{8,17}")
_GROUP_ID = re.compile(r"sg-[0-9a-f]{8,17}")
_IMAGE_ID = re.compile(r"ami-[0-9a-f]{8,17}")
_ZONE = re.compile(r"[a-z]{2}(-[a-z0-9]+)+-[0-9][a-z]")
_TOPIC_ARN = re.compile(r"arn:aws[a-z-]*:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_-]{1,256}")
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
_RESERVED_IN_A_SUBNET = 5 + len(INTERFACE_ENDPOINTS)
"""Addresses that AWS keeps in every subnet, and one for each interface endpoint."""


@dataclass(frozen=True, kw_only=True)
class AwsSettings:
    """Where and how nodes run on AWS. Checked when a deployment's settings are, and only for platform ``aws``.

    Attributes:
        instance_type: of every Redis node; its memory less what the host needs is the node's.
        ami_id: the image of every instance, Debian 13 or Amazon Linux 2023; a change replaces one node at a time.
            None: the newest Debian 13 when a node is first made, which it then keeps.
        vpc_id: an existing network; with ``subnet_ids``, instead of ``vpc_cidr``.
        subnet_ids: private subnets of ``vpc_id``, each in another zone, three at least. Their order is where nodes are.
        vpc_cidr: a new network with these addresses (private, /16 to /24) and a private subnet in each zone.
        availability_zones: the zones of the new network, three at least; none: the first three of the region.
        nat: whether nodes of the new network reach the internet, which an image without Redis needs to install it.
        interface_endpoints: whether nodes of the new network reach AWS's services by endpoints inside of it.
        client_security_groups: whose members may connect to Redis and Sentinel.
        client_cidrs: private address ranges (IPv4) that may connect to Redis and Sentinel.
        monitoring_security_group: whose members may read the metrics exporter.
        data_volume_size: of each Redis node, GiB (gp3), 4 to 16384; it can grow only.
        data_volume_iops: operations a second, 3000 to 16000.
        data_volume_throughput: MiB/s, 125 to 1000, at most a quarter of ``data_volume_iops``.
        root_volume_size: of each instance, GiB, 8 to 1024.
        protection: whether instances are protected against termination, and Redis nodes' data volumes against any
            removal by Pulumi.
        formation_runner: where the formation runs: ``ssm`` on one of the nodes, ``direct`` on the machine that runs
            Pulumi, which then needs a route to the nodes.
        alarm_email: who gets the alarms by mail, by way of a topic that is made.
        alarm_topic: ARN of an existing SNS topic that gets the alarms, instead.
    """

    instance_type: str = "m7g.large"
    ami_id: str | None = None
    vpc_id: str | None = None
    subnet_ids: tuple[str, ...] = ()
    vpc_cidr: str | None = None
    availability_zones: tuple[str, ...] = ()
    nat: bool = False
    interface_endpoints: bool = True
    client_security_groups: tuple[str, ...] = ()
    client_cidrs: tuple[str, ...] = ()
    monitoring_security_group: str | None = None
    data_volume_size: int = 40
    data_volume_iops: int = 3000
    data_volume_throughput: int = 125
    root_volume_size: int = 10
    protection: bool = True
    formation_runner: FormationRunner = "ssm"
    alarm_email: str | None = None
    alarm_topic: str | None = None

    @property
    def zones(self) -> int:
        """How many zones nodes are spread over."""
        return len(self.subnet_ids) or len(self.availability_zones) or FEWEST_ZONES

    @property
    def redis_instance(self) -> InstanceType:
        """What is known of ``instance_type``. Raises ValueError for an unknown one."""
        return find_instance_type(self.instance_type)

    def problems(self, *, nodes: int) -> list[str]:
        """What is wrong, one line each; ``nodes`` is how many instances there will be."""
        return [
            *self._network_problems(nodes),
            *self._client_problems(),
            *self._host_problems(),
            *self._alarm_problems(),
        ]

    def _network_problems(self, nodes: int) -> list[str]:
        if self.vpc_id is None and self.vpc_cidr is None:
            return ["vpc-cidr: a network is needed; give vpc-cidr for a new one, or vpc-id and subnet-ids"]
        if self.vpc_id is not None and self.vpc_cidr is not None:
            return ["vpc-cidr: is for a new network, but vpc-id names an existing one; leave one of them out"]
        return self._existing_network_problems() if self.vpc_cidr is None else self._new_network_problems(nodes)

    def _existing_network_problems(self) -> list[str]:
        problems = [
            *_pattern_problem("vpc-id", self.vpc_id or "", _VPC_ID, "a VPC such as vpc-0123456789abcdef0"),
            *(
                problem
                for subnet in self.subnet_ids
                for problem in _pattern_problem(
                    "subnet-ids", subnet, _SUBNET_ID, "a subnet such as subnet-0123456789abcdef0"
                )
            ),
            *_repeated("subnet-ids", self.subnet_ids),
        ]
        if len(set(self.subnet_ids)) < FEWEST_ZONES:
            problems.append(
                f"subnet-ids: {len(set(self.subnet_ids))} subnet(s) cannot hold a deployment that outlives a zone; "
                f"give {FEWEST_ZONES} or more, each in another zone"
            )
        if self.nat:
            problems.append("nat: is for a new network; an existing one (vpc-id) has the routes that it has")
        if self.availability_zones:
            problems.append("availability-zones: is for a new network; with subnet-ids the subnets say the zones")
        return problems

    def _new_network_problems(self, nodes: int) -> list[str]:
        problems = []
        if self.subnet_ids:
            problems.append("subnet-ids: belong to an existing network; give vpc-id too, or leave them out")
        for zone in self.availability_zones:
            problems += _pattern_problem("availability-zones", zone, _ZONE, "a zone such as eu-central-1a")
        problems += _repeated("availability-zones", self.availability_zones)
        if self.availability_zones and len(set(self.availability_zones)) < FEWEST_ZONES:
            problems.append(
                f"availability-zones: {len(set(self.availability_zones))} zone(s) are too few to outlive the loss of "
                f"one; give {FEWEST_ZONES} or more"
            )
        if not self.nat and self.ami_id is None:
            problems.append(
                "nat: without it nodes cannot install Redis; set nat to true, or give an image that has it (ami-id)"
            )
        if not self.nat and not self.interface_endpoints:
            problems.append(
                "interface-endpoints: without them and without nat nodes cannot reach AWS's services; turn one of them "
                "on"
            )
        try:
            subnets = private_subnets(self.vpc_cidr or "", self.zones)
        except ValueError as error:
            return [*problems, f"vpc-cidr: {error}"]
        usable = subnets[0].num_addresses - _RESERVED_IN_A_SUBNET
        if -(-nodes // self.zones) > usable:
            problems.append(
                f"vpc-cidr: {self.vpc_cidr} leaves {usable} addresses in each zone, too few for {nodes} nodes; "
                "use a larger range"
            )
        return problems

    def _client_problems(self) -> list[str]:
        problems = [*_repeated("client-security-groups", self.client_security_groups)]
        groups = [("client-security-groups", group) for group in self.client_security_groups]
        if self.monitoring_security_group is not None:
            groups.append(("monitoring-security-group", self.monitoring_security_group))
        for setting, group in groups:
            problems += _pattern_problem(setting, group, _GROUP_ID, "a security group such as sg-0123456789abcdef0")
        networks = []
        for text in self.client_cidrs:
            try:
                networks.append(private_network(text))
            except ValueError as error:
                problems.append(f"client-cidrs: {error}")
        problems += [
            f"client-cidrs: {one} and {other} overlap; give each address once"
            for one, other in itertools.combinations(networks, 2)
            if one.overlaps(other)
        ]
        return problems

    def _host_problems(self) -> list[str]:
        problems = [
            *range_problem("data-volume-size", self.data_volume_size, SMALLEST_DATA_VOLUME, 16384),
            *range_problem("data-volume-iops", self.data_volume_iops, 3000, 16000),
            *range_problem("data-volume-throughput", self.data_volume_throughput, 125, 1000),
            *range_problem("root-volume-size", self.root_volume_size, 8, 1024),
        ]
        if not problems and self.data_volume_throughput * 4 > self.data_volume_iops:
            problems.append(
                f"data-volume-throughput: {self.data_volume_throughput} MiB/s needs data-volume-iops of at least "
                f"{self.data_volume_throughput * 4}"
            )
        try:
            find_instance_type(self.instance_type)
        except ValueError as error:
            problems.append(f"instance-type: {error}")
        if self.ami_id is not None:
            problems += _pattern_problem("ami-id", self.ami_id, _IMAGE_ID, "an image such as ami-0123456789abcdef0")
        runners = get_args(FormationRunner)
        if self.formation_runner not in runners:
            problems.append(f"formation-runner: '{self.formation_runner}' is not one of {', '.join(runners)}")
        return problems

    def _alarm_problems(self) -> list[str]:
        problems = []
        if self.alarm_email is not None:
            problems += _pattern_problem("alarm-email", self.alarm_email, _EMAIL, "an address such as ops@example.com")
        if self.alarm_topic is not None:
            problems += _pattern_problem("alarm-topic", self.alarm_topic, _TOPIC_ARN, "the ARN of an SNS topic")
        if self.alarm_email is not None and self.alarm_topic is not None:
            problems.append(
                "alarm-email: is for a topic that is made, but alarm-topic names one; leave one of them out"
            )
        return problems


def private_network(text: str) -> ipaddress.IPv4Network:
    """The IPv4 range that ``text`` names, if it is all private (RFC 1918, or 100.64.0.0/10 of RFC 6598).

    Raises ValueError, in one line, for anything else: nothing outside may ever connect, whatever routes there are.
    """
    if text.strip() in _EVERYWHERE:
        raise ValueError(f"{text} is everybody; name the address ranges of the clients, or use client-security-groups")
    try:
        network = ipaddress.IPv4Network(text)
    except ValueError:
        raise ValueError(f"'{text}' is not an IPv4 address range such as 10.0.0.0/16") from None
    if not any(network.subnet_of(private) for private in _PRIVATE):
        allowed = ", ".join(map(str, _PRIVATE))
        raise ValueError(f"{text} is not private; use ranges within {allowed}")
    return network


def private_subnets(vpc_cidr: str, zones: int) -> list[ipaddress.IPv4Network]:
    """The private subnets of a new network, one for each zone. Raises ValueError for a range that cannot hold them."""
    return _parts(vpc_cidr, zones)[:zones]


def public_subnet(vpc_cidr: str, zones: int) -> ipaddress.IPv4Network:
    """The first /28 after the private subnets: it holds the NAT gateway, and nothing else."""
    return next(_parts(vpc_cidr, zones)[zones].subnets(new_prefix=28))


def _parts(vpc_cidr: str, zones: int) -> list[ipaddress.IPv4Network]:
    network = private_network(vpc_cidr)
    if not 16 <= network.prefixlen <= 24:
        raise ValueError(f"{vpc_cidr} must be /16 to /24")
    return list(network.subnets(prefixlen_diff=zones.bit_length()))  # a power of two that is more than the zones


def _pattern_problem(setting: str, value: str, pattern: re.Pattern[str], wanted: str) -> list[str]:
    return [] if pattern.fullmatch(value) else [f"{setting}: '{value}' is not {wanted}"]


def _repeated(setting: str, values: Sequence[str]) -> list[str]:
    return [
        f"{setting}: {value} is given twice" for value in sorted({each for each in values if values.count(each) > 1})
    ]
