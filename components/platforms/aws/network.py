"""The network that nodes are in: one that exists, or a new one with a private subnet in each zone."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from ...aws_settings import INTERFACE_ENDPOINTS, private_subnets, public_subnet
from .. import aws_names
from .context import Context
from .policies import assumed_by, flow_log_policy

_FLOW_LOG_DAYS = 30


@dataclass(frozen=True)
class Network:
    """Where nodes are.

    Attributes:
        subnet_ids: one for each zone, in the order of the zones.
        endpoints_group: the security group of the interface endpoints, if there are any.
        s3_prefix_list: the addresses of S3, where the network has an endpoint of its own for it.
        ways_out: what nodes need that lets them out of their subnet.
    """

    vpc_id: pulumi.Input[str]
    subnet_ids: list[pulumi.Input[str]]
    endpoints_group: pulumi.Input[str] | None = None
    s3_prefix_list: pulumi.Input[str] | None = None
    ways_out: tuple[pulumi.Resource, ...] = ()


def network_of(context: Context, key_arn: pulumi.Input[str]) -> Network:
    """The existing network of the settings, or a new one."""
    settings = context.settings.aws
    if settings.vpc_id is not None:
        return Network(settings.vpc_id, list(settings.subnet_ids))
    return _new_network(context, key_arn)


def _new_network(context: Context, key_arn: pulumi.Input[str]) -> Network:
    name, settings, opts = context.name, context.settings.aws, context.opts
    vpc_cidr = settings.vpc_cidr
    assert vpc_cidr is not None
    vpc = aws.ec2.Vpc(
        f"{name}-vpc",
        cidr_block=vpc_cidr,
        enable_dns_support=True,
        enable_dns_hostnames=True,
        tags=context.tags("vpc"),
        opts=opts,
    )
    # Whoever forgets to name a group gets this one: it lets nothing in and nothing out.
    aws.ec2.DefaultSecurityGroup(
        f"{name}-default-closed", vpc_id=vpc.id, ingress=[], egress=[], tags=context.tags("default-closed"), opts=opts
    )
    _log_flows(context, vpc, key_arn)
    routes = aws.ec2.RouteTable(f"{name}-private", vpc_id=vpc.id, tags=context.tags("private"), opts=opts)
    subnets = []
    ways_out: list[pulumi.Resource] = []
    for i, (zone, cidr) in enumerate(zip(context.site.zones, private_subnets(vpc_cidr, settings.zones), strict=True)):
        subnet = aws.ec2.Subnet(
            f"{name}-private-{i}",
            vpc_id=vpc.id,
            availability_zone=zone,
            cidr_block=str(cidr),
            map_public_ip_on_launch=False,
            tags=context.tags(f"private-{i}"),
            opts=opts,
        )
        ways_out.append(
            aws.ec2.RouteTableAssociation(
                f"{name}-private-{i}-routes", subnet_id=subnet.id, route_table_id=routes.id, opts=opts
            )
        )
        subnets.append(subnet)
    if settings.nat:
        ways_out.append(_nat_route(context, vpc, routes, vpc_cidr))
    s3 = aws.ec2.VpcEndpoint(
        f"{name}-s3-endpoint",
        vpc_id=vpc.id,
        service_name=_service(context, "s3"),
        vpc_endpoint_type="Gateway",
        route_table_ids=[routes.id],
        tags=context.tags("s3-endpoint"),
        opts=opts,
    )
    ways_out.append(s3)
    endpoints_group = None
    if settings.interface_endpoints:
        group, endpoints = _interface_endpoints(context, vpc, subnets)
        endpoints_group = group.id
        ways_out += endpoints
    return Network(vpc.id, [subnet.id for subnet in subnets], endpoints_group, s3.prefix_list_id, tuple(ways_out))


def _nat_route(context: Context, vpc: aws.ec2.Vpc, private_routes: aws.ec2.RouteTable, vpc_cidr: str) -> aws.ec2.Route:
    """Let nodes out to the internet, for package mirrors: one gateway, as no running node depends on it."""
    name, opts = context.name, context.opts
    gateway = aws.ec2.InternetGateway(f"{name}-internet", vpc_id=vpc.id, tags=context.tags("internet"), opts=opts)
    subnet = aws.ec2.Subnet(
        f"{name}-public",
        vpc_id=vpc.id,
        availability_zone=context.site.zones[0],
        cidr_block=str(public_subnet(vpc_cidr, context.settings.aws.zones)),
        map_public_ip_on_launch=False,
        tags=context.tags("public"),
        opts=opts,
    )
    routes = aws.ec2.RouteTable(f"{name}-public", vpc_id=vpc.id, tags=context.tags("public"), opts=opts)
    out = aws.ec2.Route(
        f"{name}-public-internet",
        route_table_id=routes.id,
        destination_cidr_block="0.0.0.0/0",
        gateway_id=gateway.id,
        opts=opts,
    )
    association = aws.ec2.RouteTableAssociation(
        f"{name}-public-routes", subnet_id=subnet.id, route_table_id=routes.id, opts=opts
    )
    address = aws.ec2.Eip(f"{name}-nat", domain="vpc", tags=context.tags("nat"), opts=opts)
    nat = aws.ec2.NatGateway(
        f"{name}-nat",
        subnet_id=subnet.id,
        allocation_id=address.id,
        tags=context.tags("nat"),
        opts=context.options(pulumi.ResourceOptions(depends_on=[out, association])),
    )
    return aws.ec2.Route(
        f"{name}-private-internet",
        route_table_id=private_routes.id,
        destination_cidr_block="0.0.0.0/0",
        nat_gateway_id=nat.id,
        opts=opts,
    )


def _interface_endpoints(
    context: Context, vpc: aws.ec2.Vpc, subnets: list[aws.ec2.Subnet]
) -> tuple[aws.ec2.SecurityGroup, list[aws.ec2.VpcEndpoint]]:
    """Endpoints of AWS's services in every subnet; who may use them is said where the nodes' group is made."""
    group = aws.ec2.SecurityGroup(
        f"{context.name}-endpoints",
        name=f"{context.deployment}-endpoints",
        description=f"Endpoints of AWS services for {context.deployment}",
        vpc_id=vpc.id,
        tags=context.tags("endpoints"),
        opts=context.opts,
    )
    endpoints = [
        aws.ec2.VpcEndpoint(
            f"{context.name}-{service}-endpoint",
            vpc_id=vpc.id,
            service_name=_service(context, service),
            vpc_endpoint_type="Interface",
            private_dns_enabled=True,
            subnet_ids=[subnet.id for subnet in subnets],
            security_group_ids=[group.id],
            tags=context.tags(f"{service}-endpoint"),
            opts=context.opts,
        )
        for service in INTERFACE_ENDPOINTS
    ]
    return group, endpoints


def _log_flows(context: Context, vpc: aws.ec2.Vpc, key_arn: pulumi.Input[str]) -> None:
    """Note every connection that is refused or made, for 30 days."""
    name, site, deployment = context.name, context.site, context.deployment
    group = aws.cloudwatch.LogGroup(
        f"{name}-flow-log",
        name=aws_names.log_group_name(deployment, "flow"),
        retention_in_days=_FLOW_LOG_DAYS,
        kms_key_id=key_arn,
        tags=context.tags("flow-log"),
        opts=context.opts,
    )
    role = aws.iam.Role(
        f"{name}-flow-log",
        name=aws_names.role_name(deployment, "flow-log", site.region),
        assume_role_policy=json.dumps(
            assumed_by("vpc-flow-logs.amazonaws.com", {"StringEquals": {"aws:SourceAccount": site.account}})
        ),
        tags=context.tags("flow-log"),
        opts=context.opts,
    )
    policy = aws.iam.RolePolicy(
        f"{name}-flow-log",
        role=role.name,
        policy=group.arn.apply(lambda arn: json.dumps(flow_log_policy(arn))),
        opts=context.opts,
    )
    aws.ec2.FlowLog(
        f"{name}-flow-log",
        vpc_id=vpc.id,
        traffic_type="ALL",
        log_destination=group.arn,
        iam_role_arn=role.arn,
        tags=context.tags("flow-log"),
        opts=context.options(pulumi.ResourceOptions(depends_on=[policy])),
    )


def _service(context: Context, service: str) -> str:
    prefix = ".".join(reversed(context.site.dns_suffix.split(".")))
    return f"{prefix}.{context.site.region}.{service}"
