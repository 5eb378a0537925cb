"""The AWS stacks under a public scanner's rules: every exception is in docs/aws.md, and none of them is for nothing."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path
from typing import Any

import pulumi_aws as aws
import pytest

from tests.aws_scan.checkov import Report, install, scan
from tests.aws_scan.exceptions import documented_exceptions
from tests.aws_scan.stacks import STACKS, plan_of, plan_of_stack
from tests.unit.aws_graph import CLIENTS, MONITORING, SUBNETS, VPC

pytestmark = pytest.mark.long

VARIANTS: dict[str, dict[str, str | None]] = {
    "aws-dev with every extra": {
        "client-security-groups": f'["{CLIENTS}"]',
        "client-cidrs": '["10.9.0.0/16"]',
        "monitoring-security-group": MONITORING,
        "alarm-email": "ops@example.com",
        "interface-endpoints": "true",
    },
    "aws-prod in an existing network": {
        "vpc-cidr": None,
        "nat": None,
        "vpc-id": VPC,
        "subnet-ids": "[{}]".format(",".join(f'"{subnet}"' for subnet in list(SUBNETS)[:3])),
        "client-security-groups": f'["{CLIENTS}"]',
    },
}
ALL = [*STACKS, *VARIANTS]
WITHOUT_RULES = set(
    """
    aws_default_security_group aws_flow_log aws_iam_instance_profile aws_internet_gateway aws_kms_alias aws_nat_gateway
    aws_network_interface aws_route_table_association aws_s3_bucket_server_side_encryption_configuration
    aws_s3_bucket_versioning aws_secretsmanager_secret_version aws_sns_topic_subscription aws_volume_attachment
    aws_vpc_endpoint
    """.split()
)
"""Some of these are looked at with what they belong to, such as a bucket."""


@functools.cache
def plan(which: str) -> dict[str, Any]:
    return plan_of_stack(which.partition(" ")[0], VARIANTS.get(which, {}))


@functools.cache
def report(which: str) -> Report:
    with tempfile.TemporaryDirectory() as folder:
        return scan(install(), plan(which), Path(folder))


@pytest.mark.parametrize("which", ALL)
def test_every_failed_check_is_a_documented_exception(which: str) -> None:
    allowed, failed = documented_exceptions(), report(which).failed

    assert [str(each) for each in sorted(failed) if not any(one.covers(each) for one in allowed)] == []


def test_every_documented_exception_is_needed_for_all_that_it_covers() -> None:
    failed = {finding for which in ALL for finding in report(which).failed}
    passed = {finding for which in ALL for finding in report(which).passed}

    for exception in documented_exceptions():
        assert any(map(exception.covers, failed)), f"{exception} excuses nothing"
        assert not any(map(exception.covers, passed)), f"{exception} is wider than it must be"


@pytest.mark.parametrize("which", ALL)
def test_the_scanner_looks_at_every_resource_it_has_rules_for(which: str) -> None:
    addresses = {resource["address"] for resource in plan(which)["resource_changes"]}
    looked_at = {finding.resource for finding in report(which).passed | report(which).failed}

    assert report(which).passed
    assert looked_at <= addresses
    assert {address.partition(".")[0] for address in addresses - looked_at} <= WITHOUT_RULES


def test_what_resources_say_of_each_other_is_seen() -> None:
    passed = report("aws-dev").passed
    bucket, vpc = "aws_s3_bucket.cache-bucket", "aws_vpc.cache-vpc"
    of_others = {
        "CKV2_AWS_6": bucket,
        "CKV_AWS_21": bucket,
        "CKV_AWS_145": bucket,
        "CKV2_AWS_11": vpc,
        "CKV2_AWS_12": vpc,
    }

    assert of_others.items() <= {(finding.check, finding.resource) for finding in passed}


def test_weaknesses_are_found(tmp_path: Path) -> None:
    def program() -> None:
        aws.ebs.Volume("plain", availability_zone="eu-central-1a", size=8, encrypted=False)
        group = aws.ec2.SecurityGroup("open", description="Everybody's")
        aws.vpc.SecurityGroupIngressRule(
            "ssh",
            security_group_id=group.id,
            ip_protocol="tcp",
            from_port=22,
            to_port=22,
            cidr_ipv4="0.0.0.0/0",
            description="Everybody logs in",
        )
        aws.ec2.Instance("old", ami="ami-0123456789abcdef0", instance_type="t4g.small")
        aws.s3.Bucket("exposed", bucket="exposed")
        aws.ec2.Vpc("unlogged", cidr_block="10.0.0.0/16")

    failed = scan(install(), plan_of(program), tmp_path).failed

    assert {
        ("CKV_AWS_3", "aws_ebs_volume.plain"),
        ("CKV_AWS_24", "aws_vpc_security_group_ingress_rule.ssh"),
        ("CKV_AWS_79", "aws_instance.old"),
        ("CKV2_AWS_6", "aws_s3_bucket.exposed"),
        ("CKV2_AWS_11", "aws_vpc.unlogged"),
    } <= {(finding.check, finding.resource) for finding in failed}
