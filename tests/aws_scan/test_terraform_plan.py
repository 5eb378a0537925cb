"""Resources of a Pulumi program, said in Terraform's words."""

from __future__ import annotations

import functools
from typing import Any

import pytest

from tests.aws_scan.stacks import plan_of_stack
from tests.aws_scan.terraform_plan import terraform_type


@functools.cache
def plan() -> dict[str, Any]:
    return plan_of_stack("aws-dev")


def values(address: str) -> dict[str, Any]:
    return _of(plan()["planned_values"], address)["values"]  # type: ignore[no-any-return]


def expressions(address: str) -> dict[str, Any]:
    return _of(plan()["configuration"], address)["expressions"]  # type: ignore[no-any-return]


def _of(part: dict[str, Any], address: str) -> dict[str, Any]:
    (found,) = [each for each in part["root_module"]["resources"] if each["address"] == address]
    return dict(found)


@pytest.mark.parametrize(
    ("token", "expected"),
    [
        ("aws:ec2/instance:Instance", "aws_instance"),
        ("aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule", "aws_vpc_security_group_ingress_rule"),
        ("aws:ebs/volume:Volume", "aws_ebs_volume"),
        ("aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock", "aws_s3_bucket_public_access_block"),
        ("aws:route53/zone:Zone", "aws_route53_zone"),
    ],
)
def test_the_type_of_a_resource(token: str, expected: str) -> None:
    assert terraform_type(token) == expected


def test_an_object_is_a_block_and_a_map_is_none() -> None:
    instance = values("aws_instance.cache-redis-0")

    assert instance["metadata_options"] == [
        {"http_endpoint": "enabled", "http_tokens": "required", "http_put_response_hop_limit": 1}
    ]
    assert instance["tags"]["redis-production:node"] == "cache-redis-0"
    assert values("aws_default_security_group.cache-default-closed")["ingress"] == []


def test_blocks_that_there_can_be_many_of_are_called_in_the_singular() -> None:
    rules = values("aws_s3_bucket_lifecycle_configuration.cache-bucket")["rule"]

    assert [rule.get("expiration") for rule in rules] == [
        [{"days": 7}],
        [{"days": 7}],
        [{"expired_object_delete_marker": True}],
        [{"expired_object_delete_marker": True}],
        None,
    ]


def test_what_another_resource_decides_is_a_reference() -> None:
    assert "bucket" not in values("aws_s3_bucket_versioning.cache-bucket")
    assert expressions("aws_s3_bucket_versioning.cache-bucket")["bucket"] == {
        "references": ["aws_s3_bucket.cache-bucket.id", "aws_s3_bucket.cache-bucket"]
    }
    assert values("aws_network_interface.cache-redis-0-interface")["security_groups"] == [None]
    (root,) = expressions("aws_instance.cache-redis-0")["root_block_device"]
    assert root["kms_key_id"]["references"][0] == "aws_kms_key.cache-key.arn"
    alarm = expressions("aws_cloudwatch_metric_alarm.cache-redis-0-host-down")
    assert alarm["alarm_actions"]["references"][0] == "aws_sns_topic.cache-alarms.arn"


def test_a_policy_is_known_though_it_names_what_is_made() -> None:
    assert "kms:Decrypt" in values("aws_iam_role_policy.cache-node")["policy"]


def test_secrets_stay_out() -> None:
    assert values("aws_secretsmanager_secret_version.cache-redis-0-files")["secret_string"] == "secret"


def test_resources_of_other_providers_stay_out() -> None:
    assert {resource["type"].partition("_")[0] for resource in plan()["resource_changes"]} == {"aws"}
