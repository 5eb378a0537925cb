"""Policy documents: who may do what. Pure: nothing here knows of Pulumi."""

from __future__ import annotations

from typing import Any

from ...backup_settings import BackupSettings
from .. import aws_names
from .survey import Site

_VERSION = "2012-10-17"
Statement = dict[str, Any]
Document = dict[str, Any]

# What the SSM agent needs to say that it is there, to take commands and to answer. (The managed policy
# AmazonSSMManagedInstanceCore also lets an instance read every parameter of the account.)
_OF_INSTANCES = [
    "ssm:UpdateInstanceInformation",
    "ssm:ListInstanceAssociations",
]
_OF_NO_RESOURCE = [
    "ssm:ListAssociations",
    "ssmmessages:CreateControlChannel",
    "ssmmessages:CreateDataChannel",
    "ssmmessages:OpenControlChannel",
    "ssmmessages:OpenDataChannel",
    "ec2messages:AcknowledgeMessage",
    "ec2messages:DeleteMessage",
    "ec2messages:FailMessage",
    "ec2messages:GetEndpoint",
    "ec2messages:GetMessages",
    "ec2messages:SendReply",
]


def assumed_by(service: str, conditions: Statement | None = None) -> Document:
    """The trust policy of a role that a service takes on."""
    statement = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
    return _document(statement | ({"Condition": conditions} if conditions else {}))


def node_policy(site: Site, deployment: str, bucket: str, key_arn: str, backup: BackupSettings) -> Document:
    """What a node may do: read its deployment's secrets, use its own prefix of the bucket, be told what to do by SSM,
    and say how it is. Where backups go elsewhere and the settings have no keys for that, it may write them there.
    """
    secrets = f"arn:{site.partition}:secretsmanager:{site.region}:{site.account}:secret:"
    of_bucket = f"arn:{site.partition}:s3:::{bucket}"
    logs = f"arn:{site.partition}:logs:{site.region}:{site.account}:log-group:"
    return _document(
        _allow(
            "ReadSecrets",
            ["secretsmanager:GetSecretValue"],
            [
                f"{secrets}{aws_names.node_secret_name(deployment, '*')}",
                # Secrets Manager ends every secret's ARN in a hyphen and six characters.
                f"{secrets}{aws_names.formation_secret_name(deployment)}-??????",
                f"{secrets}{aws_names.backup_secret_name(deployment)}-??????",
            ],
        ),
        _allow(
            "UseKeyByServices",
            ["kms:Decrypt", "kms:GenerateDataKey"],
            [key_arn],
            {
                "StringEquals": {
                    "kms:ViaService": [
                        f"{service}.{site.region}.{site.dns_suffix}" for service in ("secretsmanager", "s3")
                    ]
                }
            },
        ),
        _allow("ReadDeployed", ["s3:GetObject"], [f"{of_bucket}/formation/*", f"{of_bucket}/deployed/*"]),
        _allow(
            "UseOwnPrefix",
            ["s3:GetObject", "s3:PutObject", "s3:AbortMultipartUpload"],
            [f"{of_bucket}/{deployment}/*"],
        ),
        _allow("DeleteBackups", ["s3:DeleteObject"], [f"{of_bucket}/{aws_names.backups_prefix(deployment)}/*"]),
        _list_bucket("ListOwnPrefix", of_bucket, deployment),
        *_for_backups_elsewhere(site, deployment, backup),
        _allow("BeManaged", _OF_INSTANCES, [f"arn:{site.partition}:ec2:{site.region}:{site.account}:instance/*"]),
        _allow("TakeCommands", _OF_NO_RESOURCE, ["*"]),
        _allow(
            "PutMetrics",
            ["cloudwatch:PutMetricData"],
            ["*"],
            {"StringEquals": {"cloudwatch:namespace": aws_names.metrics_namespace(deployment)}},
        ),
        _allow(
            "Log",
            ["logs:CreateLogStream", "logs:PutLogEvents"],
            [f"{logs}{aws_names.log_group_name(deployment, 'nodes')}:*"],
        ),
    )


def _for_backups_elsewhere(site: Site, deployment: str, backup: BackupSettings) -> list[Statement]:
    place = backup.s3
    if not backup.backups or place is None or backup.backup_access_key_id is not None:
        return []
    of_bucket = f"arn:{site.partition}:s3:::{place.bucket}"
    prefix = f"{place.prefix}/{deployment}".removeprefix("/")
    actions = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"]
    lock = ["s3:PutObjectRetention"] if backup.backup_object_lock_days else []
    return [
        _allow("UseBackupTarget", [*actions, *lock], [f"{of_bucket}/{prefix}/*"]),
        _list_bucket("ListBackupTarget", of_bucket, prefix),
    ]


def _list_bucket(sid: str, of_bucket: str, prefix: str) -> Statement:
    """S3 tells that an object is not there only to whom may list; asked for one, it knows of no prefix."""
    return _allow(sid, ["s3:ListBucket"], [of_bucket], {"StringLikeIfExists": {"s3:prefix": [f"{prefix}/*"]}})


def flow_log_policy(log_group_arn: str) -> Document:
    """What the service of flow logs may do."""
    return _document(
        _allow(
            "Log",
            ["logs:CreateLogStream", "logs:PutLogEvents", "logs:DescribeLogStreams"],
            [f"{log_group_arn}:*"],
        )
    )


def key_policy(site: Site, deployment: str) -> Document:
    """Who may use the key: whom the account's own policies let, and the services that encrypt logs and alarms."""
    return _document(
        {
            "Sid": "AccountDecides",
            "Effect": "Allow",
            "Principal": {"AWS": f"arn:{site.partition}:iam::{site.account}:root"},
            "Action": "kms:*",
            "Resource": "*",
        },
        {
            "Sid": "EncryptLogs",
            "Effect": "Allow",
            "Principal": {"Service": f"logs.{site.region}.{site.dns_suffix}"},
            "Action": ["kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*"],
            "Resource": "*",
            "Condition": {
                "ArnLike": {
                    "kms:EncryptionContext:aws:logs:arn": (
                        f"arn:{site.partition}:logs:{site.region}:{site.account}:log-group:"
                        f"{aws_names.log_group_name(deployment, '*')}"
                    )
                }
            },
        },
        {
            "Sid": "EncryptAlarms",
            "Effect": "Allow",
            "Principal": {"Service": "cloudwatch.amazonaws.com"},
            "Action": ["kms:Decrypt", "kms:GenerateDataKey*"],
            "Resource": "*",
            "Condition": _from_account(site),
        },
    )


def bucket_policy(site: Site, bucket: str) -> Document:
    """Nothing without TLS."""
    arn = f"arn:{site.partition}:s3:::{bucket}"
    return _document(_only_by_tls("s3:*", [arn, f"{arn}/*"]))


def topic_policy(site: Site, topic_arn: str) -> Document:
    """The account's alarms may publish; nothing without TLS."""
    return _document(
        {
            "Sid": "AlarmsPublish",
            "Effect": "Allow",
            "Principal": {"Service": "cloudwatch.amazonaws.com"},
            "Action": "sns:Publish",
            "Resource": topic_arn,
            "Condition": _from_account(site),
        },
        _only_by_tls("sns:Publish", topic_arn),
    )


def _document(*statements: Statement) -> Document:
    return {"Version": _VERSION, "Statement": list(statements)}


def _allow(sid: str, actions: list[str], resources: list[str], condition: Statement | None = None) -> Statement:
    statement: Statement = {"Sid": sid, "Effect": "Allow", "Action": actions, "Resource": resources}
    return statement | ({"Condition": condition} if condition else {})


def _only_by_tls(action: str, resources: list[str] | str) -> Statement:
    return {
        "Sid": "OnlyByTls",
        "Effect": "Deny",
        "Principal": "*",
        "Action": action,
        "Resource": resources,
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }


def _from_account(site: Site) -> Statement:
    return {"StringEquals": {"aws:SourceAccount": site.account}}
