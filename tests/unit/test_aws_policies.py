"""Who may do what on AWS: parsed, and looked at by a public linter of IAM policies where that is installed."""

from __future__ import annotations

import fnmatch
import json
from typing import Any

import pytest

from components.backup_settings import BackupSettings
from components.platforms.aws.policies import (
    key_policy,
    node_policy,
    topic_policy,
)
from components.platforms.aws.survey import Site
from components.platforms.aws_names import bucket_name

SITE = Site("123456789012", "eu-central-1", "aws", "amazonaws.com", ("a", "b", "c"), {})
KEY = "arn:aws:kms:eu-central-1:123456789012:key/0123"
BUCKET = bucket_name("cache-prod", SITE.account, SITE.region)
NODE = node_policy(SITE, "cache-prod", BUCKET, KEY, BackupSettings())
LOGS = "arn:aws:logs:eu-central-1:123456789012:log-group:/redis-production/"
INSTANCES = "arn:aws:ec2:eu-central-1:123456789012:instance/"
SECRETS = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:"


def allowed(action: str, resource: str) -> bool:
    """Whether a node may do it, whatever the conditions."""
    return any(
        action in statement["Action"] and any(fnmatch.fnmatchcase(resource, each) for each in statement["Resource"])
        for statement in NODE["Statement"]
    )


def statement(sid: str, document: dict[str, Any] = NODE) -> dict[str, Any]:
    (found,) = [each for each in document["Statement"] if each["Sid"] == sid]
    return dict(found)


@pytest.mark.parametrize(
    ("action", "resource", "expected"),
    [
        ("secretsmanager:GetSecretValue", f"{SECRETS}cache-prod/nodes/cache-redis-0-aB3dEf", True),
        ("secretsmanager:GetSecretValue", f"{SECRETS}cache-prod/formation-aB3dEf", True),
        ("secretsmanager:GetSecretValue", f"{SECRETS}cache-prod-2/nodes/cache-redis-0-aB3dEf", False),
        ("secretsmanager:GetSecretValue", f"{SECRETS}cache-prod/formation-of-another-aB3dEf", False),
        ("secretsmanager:PutSecretValue", f"{SECRETS}cache-prod/nodes/cache-redis-0-aB3dEf", False),
        ("kms:Decrypt", KEY, True),
        ("kms:Decrypt", KEY + "4", False),
        ("s3:GetObject", f"arn:aws:s3:::{BUCKET}/formation/code.zip", True),
        ("s3:PutObject", f"arn:aws:s3:::{BUCKET}/formation/code.zip", False),
        ("s3:PutObject", f"arn:aws:s3:::{BUCKET}/cache-prod/formation/1/result", True),
        ("s3:PutObject", f"arn:aws:s3:::{BUCKET}/elsewhere", False),
        ("s3:PutObject", f"arn:aws:s3:::{BUCKET}2/cache-prod/x", False),
        ("s3:DeleteObject", f"arn:aws:s3:::{BUCKET}/cache-prod/x", False),
        ("s3:DeleteObject", f"arn:aws:s3:::{BUCKET}/cache-prod/backups/cache-prod/status.json", True),
        ("s3:DeleteObject", f"arn:aws:s3:::{BUCKET}/cache-prod-2/backups/cache-prod-2/status.json", False),
        ("s3:GetObject", f"arn:aws:s3:::{BUCKET}/deployed/0123", True),
        ("s3:PutObject", f"arn:aws:s3:::{BUCKET}/deployed/0123", False),
        ("secretsmanager:GetSecretValue", f"{SECRETS}cache-prod/backup-aB3dEf", True),
        ("secretsmanager:GetSecretValue", f"{SECRETS}cache-prod/backup-of-another-aB3dEf", False),
        ("ssm:UpdateInstanceInformation", f"{INSTANCES}i-0123456789abcdef0", True),
        ("ssm:UpdateInstanceInformation", "arn:aws:ssm:eu-central-1:123456789012:managed-instance/mi-0123", False),
        ("ssmmessages:OpenControlChannel", "*", True),
        ("ssm:GetParameter", "arn:aws:ssm:eu-central-1:123456789012:parameter/x", False),
        ("ssm:SendCommand", "*", False),
        ("ec2:DescribeInstances", "*", False),
        ("logs:PutLogEvents", f"{LOGS}cache-prod/nodes:x", True),
        ("logs:PutLogEvents", f"{LOGS}cache-prod/flow:x", False),
    ],
)  # fmt: skip
def test_a_node_may_do_what_it_needs_and_nothing_else(action: str, resource: str, expected: bool) -> None:
    assert allowed(action, resource) is expected


def test_no_action_has_a_wildcard_and_what_is_for_every_resource_is_known() -> None:
    for each in NODE["Statement"]:
        assert each["Effect"] == "Allow"
        assert not [action for action in each["Action"] if "*" in action]
    assert {each["Sid"] for each in NODE["Statement"] if each["Resource"] == ["*"]} == {"TakeCommands", "PutMetrics"}


def test_conditions_of_a_node() -> None:
    via = {"secretsmanager.eu-central-1.amazonaws.com", "s3.eu-central-1.amazonaws.com"}

    assert set(statement("UseKeyByServices")["Condition"]["StringEquals"]["kms:ViaService"]) == via
    assert statement("PutMetrics")["Condition"] == {
        "StringEquals": {"cloudwatch:namespace": "redis-production/cache-prod"}
    }
    # Asked for an object that is not there, S3 knows of no prefix, and must say so all the same.
    assert statement("ListOwnPrefix")["Condition"] == {"StringLikeIfExists": {"s3:prefix": ["cache-prod/*"]}}


def sids(**backup: Any) -> set[str]:
    return {each["Sid"] for each in node_policy(SITE, "cache-prod", BUCKET, KEY, BackupSettings(**backup))["Statement"]}


def test_a_node_may_write_elsewhere_only_where_its_backups_go_there_by_its_own_right() -> None:
    elsewhere = {"UseBackupTarget", "ListBackupTarget"}
    target: dict[str, Any] = {"backup_target": "s3://archive/redis"}

    assert not elsewhere & sids()
    assert elsewhere <= sids(**target)
    assert not elsewhere & sids(**target, backups=False)
    assert not elsewhere & sids(**target, backup_access_key_id="x", backup_secret_access_key="y")
    document = node_policy(SITE, "cache-prod", BUCKET, KEY, BackupSettings(**target, backup_object_lock_days=3))
    assert statement("UseBackupTarget", document)["Resource"] == ["arn:aws:s3:::archive/redis/cache-prod/*"]
    assert "s3:PutObjectRetention" in statement("UseBackupTarget", document)["Action"]
    assert statement("ListBackupTarget", document)["Condition"] == {
        "StringLikeIfExists": {"s3:prefix": ["redis/cache-prod/*"]}
    }


def test_services_are_let_in_for_this_account_only() -> None:
    of_account = {"StringEquals": {"aws:SourceAccount": "123456789012"}}

    assert statement("EncryptAlarms", key_policy(SITE, "cache-prod"))["Condition"] == of_account
    assert statement("AlarmsPublish", topic_policy(SITE, "arn:aws:sns:::x"))["Condition"] == of_account
    logs = statement("EncryptLogs", key_policy(SITE, "cache-prod"))["Condition"]["ArnLike"]
    assert list(logs.values()) == ["arn:aws:logs:eu-central-1:123456789012:log-group:/redis-production/cache-prod/*"]


def test_a_policy_fits() -> None:
    elsewhere = BackupSettings(backup_target=f"s3://{'c' * 63}/{'d' * 100}", backup_object_lock_days=1)
    longest = node_policy(SITE, "a" * 51, "b" * 63, KEY, elsewhere)

    assert len(json.dumps(longest)) <= 10240
