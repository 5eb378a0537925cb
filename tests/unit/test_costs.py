"""Costs each month: of the committed stacks, of everything that they make, and as the documentation says."""

from __future__ import annotations

import csv
import dataclasses
import functools
import re
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import pulumi
import pytest

from components import RedisCluster, ReplicatedRedis
from components.aws_settings import AwsSettings
from components.settings import ReplicatedRedisSettings
from ops.costs import HOURS, elasticache, monthly, prices, settings_of_stack, table
from ops.deployment import DeploymentError
from tests.unit.aws_graph import SUBNETS, VPC, Aws
from tests.unit.resource_graph import Graph, run_program

PROJECT = Path(__file__).parents[2]
STACKS = ("aws-dev", "aws-prod")
METRIC = re.compile(r'^ +"\w+Percent":', re.MULTILINE)
METRIC_OF_DEPLOYMENT = re.compile(r'"\w+AgeSeconds"')
BY_NUMBER_SIZE_OR_TIME = set("Instance Volume NatGateway Eip VpcEndpoint Key Secret MetricAlarm Zone".split())
BY_USE = set("Bucket BucketObject LogGroup FlowLog Topic".split())
FREE = set(
    """
    Vpc Subnet RouteTable RouteTableAssociation Route InternetGateway DefaultSecurityGroup SecurityGroup
    SecurityGroupIngressRule SecurityGroupEgressRule NetworkInterface VolumeAttachment Record Alias SecretVersion Role
    RolePolicy InstanceProfile TopicPolicy BucketOwnershipControls BucketPublicAccessBlock
    BucketServerSideEncryptionConfiguration BucketVersioning BucketPolicy BucketLifecycleConfiguration
    """.split()
)


@functools.cache
def made(stack: str) -> Graph:
    """What the stack's file makes on AWS."""
    settings = settings_of_stack(stack)

    def program() -> dict[str, pulumi.Output[Any]]:
        if isinstance(settings, ReplicatedRedisSettings):
            ReplicatedRedis("cache", settings)
        else:
            RedisCluster("cache", settings)  # type: ignore[arg-type]
        return {}

    return run_program(program, stack, answers=Aws())


def charged(graph: Graph) -> Counter[str]:
    """How many there are of everything that is charged for by number, size or time."""
    instances = graph.of_type(":Instance").values()
    counts = Counter(str(instance.inputs["instanceType"]) for instance in instances)
    for instance in instances:
        counts["gp3 volumes"] += int(instance.inputs["rootBlockDevice"]["volumeSize"])
        counts["custom metric"] += len(METRIC.findall((PROJECT / "components/host/aws/watch.py").read_text()))
    counts["custom metric"] += len(METRIC_OF_DEPLOYMENT.findall((PROJECT / "components/host/aws/watch.py").read_text()))
    for volume in graph.of_type(":Volume").values():
        counts["gp3 volumes"] += int(volume.inputs["size"])
    for endpoint in graph.of_type(":VpcEndpoint").values():
        if endpoint.inputs["vpcEndpointType"] == "Interface":
            counts["interface endpoint in a zone"] += len(endpoint.inputs["subnetIds"])
    for item, kind in {
        "NAT gateway": ":NatGateway",
        "public IPv4 address": ":Eip",
        "KMS key": ":Key",
        "secret": ":Secret",
        "alarm": ":MetricAlarm",
        "private zone": ":Zone",
    }.items():
        counts[item] += len(graph.of_type(kind))
    return counts


@pytest.mark.parametrize("stack", STACKS)
def test_every_resource_that_costs_something_has_its_line(stack: str) -> None:
    graph = made(stack)
    types = {each.type.rsplit(":", 1)[-1] for each in graph.resources if each.type.startswith("aws:")}

    assert types <= BY_NUMBER_SIZE_OR_TIME | BY_USE | FREE
    assert Counter({line.item: line.count for line in monthly(settings_of_stack(stack))}) == charged(graph)


def test_what_is_charged_by_the_hour_is_for_730_hours() -> None:
    lines = {line.item: line for line in monthly(settings_of_stack("aws-dev"))}

    assert HOURS == 730
    assert lines["t4g.small"].dollars == 3 * 730 * prices()["t4g.small"].dollars
    assert lines["secret"].dollars == 8 * prices()["secret"].dollars


def test_the_documentation_has_the_costs_of_the_committed_stacks() -> None:
    documentation = (PROJECT / "docs" / "aws.md").read_text()

    assert f"\n{table(STACKS)}\n" in documentation


def test_the_documentation_has_the_costs_of_a_further_shard() -> None:
    three = settings_of_stack("aws-prod")
    four = dataclasses.replace(three, shards=4)  # type: ignore[call-arg]
    here = sum(line.dollars for line in monthly(four)) - sum(line.dollars for line in monthly(three))
    there = elasticache(four).dollars - elasticache(three).dollars

    documentation = (PROJECT / "docs" / "aws.md").read_text()
    assert f"A further shard adds {here:.0f} dollars here and {there:.0f} there." in documentation


def test_elasticache_holds_as_much_data_in_as_many_copies() -> None:
    for stack, nodes in {"aws-dev": 3, "aws-prod": 6}.items():
        line = elasticache(settings_of_stack(stack))
        assert (line.item, line.count) == (f"cache.{settings_of_stack(stack).aws.instance_type}", nodes)


def test_an_existing_network_is_not_charged_for() -> None:
    settings = ReplicatedRedisSettings(platform="aws", aws=AwsSettings(vpc_id=VPC, subnet_ids=tuple(SUBNETS)[:3]))
    network = {"NAT gateway", "public IPv4 address", "interface endpoint in a zone"}

    assert network & {line.item for line in monthly(settings)} == set()


def test_faster_volumes_are_charged_for() -> None:
    aws = AwsSettings(vpc_cidr="10.0.0.0/16", nat=True, data_volume_iops=4000, data_volume_throughput=225)
    lines = {line.item: line.count for line in monthly(ReplicatedRedisSettings(platform="aws", aws=aws))}

    assert lines["gp3 operations a second over 3000"] == 3 * 1000
    assert lines["gp3 throughput over 125 MiB/s"] == 3 * 100


def test_every_price_has_a_region_a_source_and_its_version() -> None:
    rows = list(csv.DictReader((PROJECT / "docs" / "prices.csv").read_text().splitlines()))

    assert len({row["item"] for row in rows}) == len(rows)
    assert {row["region"] for row in rows} == {"us-east-1"}
    for row in rows:
        assert Decimal(row["dollars"]) > 0
        assert row["source"].startswith(("https://", "PyPI: "))
        assert row["version"]


def test_a_price_that_is_not_known_is_named() -> None:
    settings = ReplicatedRedisSettings(platform="aws", aws=AwsSettings(vpc_cidr="10.0.0.0/16", nat=True))

    with pytest.raises(DeploymentError, match=r"^docs/prices.csv has no price of m7g.large; add it"):
        sum(line.dollars for line in monthly(settings))


@pytest.mark.parametrize(
    ("stack", "problem"),
    [("local", "stack local is not on AWS"), ("nowhere", "there is no stacks/Pulumi.nowhere.yaml")],
)
def test_a_stack_that_has_no_costs_is_refused(stack: str, problem: str) -> None:
    with pytest.raises(DeploymentError, match=problem):
        table([stack])
