"""Who may connect to nodes, and where nodes may connect to. Nobody logs in: there is no rule for SSH."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_aws as aws

from ...settings import RedisClusterSettings, ReplicatedRedisSettings
from .context import Context
from .network import Network

EXPORTER_PORT = 9121
"""Where a node's metrics exporter listens."""
_BUS_OFFSET = 10000
_HTTPS = 443


@dataclass(frozen=True)
class _Rule:
    """One rule of the nodes' group; ``peer`` is a field of the rule resource, with its value."""

    name: str
    port: int
    peer: tuple[str, pulumi.Input[str]]
    description: str

    def arguments(self, group: pulumi.Input[str]) -> dict[str, Any]:
        field, value = self.peer
        return {
            "security_group_id": group,
            "ip_protocol": "tcp",
            "from_port": self.port,
            "to_port": self.port,
            "description": self.description,
            field: value,
        }


@dataclass(frozen=True)
class NodesGroup:
    """The security group of every node. A node that starts before the rules are there reaches nothing."""

    id: pulumi.Output[str]
    rules: tuple[pulumi.Resource, ...]


def create_nodes_group(context: Context, network: Network) -> NodesGroup:
    """Make the group and its rules."""
    name, deployment = context.name, context.deployment
    group = aws.ec2.SecurityGroup(
        f"{name}-nodes",
        name=f"{deployment}-nodes",
        description=f"Redis nodes of {deployment}",
        vpc_id=network.vpc_id,
        tags=context.tags("nodes"),
        opts=context.opts,
    )
    ingress = [*_from_clients(context), *_from_monitoring(context), *_among_nodes(context, group)]
    egress = [*_among_nodes(context, group), *_to_services(context, network)]
    rules: list[pulumi.Resource] = [
        aws.vpc.SecurityGroupIngressRule(
            f"{name}-from-{rule.name}",
            **rule.arguments(group.id),
            tags=context.tags(f"from-{rule.name}"),
            opts=context.opts,
        )
        for rule in ingress
    ]
    rules += [
        aws.vpc.SecurityGroupEgressRule(
            f"{name}-to-{rule.name}",
            **rule.arguments(group.id),
            tags=context.tags(f"to-{rule.name}"),
            opts=context.opts,
        )
        for rule in egress
    ]
    if network.endpoints_group is not None:
        from_nodes = _Rule("nodes", _HTTPS, ("referenced_security_group_id", group.id), "Nodes use AWS services")
        rules.append(
            aws.vpc.SecurityGroupIngressRule(
                f"{name}-endpoints-from-nodes",
                **from_nodes.arguments(network.endpoints_group),
                tags=context.tags("endpoints-from-nodes"),
                opts=context.opts,
            )
        )
    return NodesGroup(group.id, tuple(rules))


def _client_ports(context: Context) -> Mapping[str, int]:
    settings = context.settings
    sentinel = {"sentinel": settings.sentinel_port} if isinstance(settings, ReplicatedRedisSettings) else {}
    return {"redis": settings.port, **sentinel}


def _from_clients(context: Context) -> Iterator[_Rule]:
    settings = context.settings.aws
    for server, port in _client_ports(context).items():
        for group in settings.client_security_groups:
            yield _Rule(f"{group}-{server}", port, ("referenced_security_group_id", group), f"Clients use {server}")
        for cidr in settings.client_cidrs:
            yield _Rule(f"{cidr.replace('/', '-')}-{server}", port, ("cidr_ipv4", cidr), f"Clients use {server}")


def _from_monitoring(context: Context) -> Iterator[_Rule]:
    group = context.settings.aws.monitoring_security_group
    if group is not None:
        yield _Rule("monitoring", EXPORTER_PORT, ("referenced_security_group_id", group), "Metrics are read")


def _among_nodes(context: Context, group: aws.ec2.SecurityGroup) -> Iterator[_Rule]:
    """Replication, Sentinel and the cluster bus: from node to node only."""
    bus = {"bus": context.settings.port + _BUS_OFFSET} if isinstance(context.settings, RedisClusterSettings) else {}
    for purpose, port in {**_client_ports(context), **bus}.items():
        yield _Rule(
            f"nodes-{purpose}", port, ("referenced_security_group_id", group.id), f"From node to node: {purpose}"
        )


def _to_services(context: Context, network: Network) -> Iterator[_Rule]:
    """HTTPS to AWS's services, by the network's endpoints where it has them; to package mirrors where there is a way.

    (The network's own DNS, time and instance metadata services need no rule.)
    """
    if network.endpoints_group is not None:
        yield _Rule("endpoints", _HTTPS, ("referenced_security_group_id", network.endpoints_group), "AWS services")
    if network.s3_prefix_list is not None:
        yield _Rule("s3", _HTTPS, ("prefix_list_id", network.s3_prefix_list), "S3")
    if context.settings.aws.nat or context.settings.aws.vpc_id is not None:
        yield _Rule("https", _HTTPS, ("cidr_ipv4", "0.0.0.0/0"), "AWS services and package mirrors, by HTTPS")
