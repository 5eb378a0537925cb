"""The deployment's key, the role of its instances, and the secrets that they read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from .. import aws_names
from .context import Context
from .policies import assumed_by, key_policy, node_policy

_LONGEST_WAIT_FOR_KEY_DELETION_DAYS = 30
_LOG_DAYS = 30


@dataclass(frozen=True)
class Access:
    """What nodes need to get at their files and to say how they are.

    Attributes:
        key_arn: of the key that encrypts everything of the deployment.
        profile: name of the instance profile.
        policy: without it the role may do nothing.
        log_group: where nodes log to.
    """

    key_arn: pulumi.Output[str]
    profile: pulumi.Output[str]
    policy: pulumi.Resource
    log_group: pulumi.Resource


def create_key(context: Context) -> aws.kms.Key:
    """Make the key. It outlives ``destroy`` where data do: without it they could not be read any more."""
    name, deployment = context.name, context.deployment
    key = aws.kms.Key(
        f"{name}-key",
        description=f"Data and secrets of {deployment}",
        enable_key_rotation=True,
        deletion_window_in_days=_LONGEST_WAIT_FOR_KEY_DELETION_DAYS,
        policy=json.dumps(key_policy(context.site, deployment)),
        tags=context.tags("key"),
        opts=context.options(pulumi.ResourceOptions(retain_on_delete=context.settings.retain_data)),
    )
    aws.kms.Alias(f"{name}-key", name=f"alias/{deployment}", target_key_id=key.id, opts=context.opts)
    return key


def create_access(context: Context, key: aws.kms.Key, bucket: str) -> Access:
    """Make the role of the instances, which may do what :func:`policies.node_policy` says, and the nodes' log."""
    name, deployment, site, backup = context.name, context.deployment, context.site, context.settings.backup
    role_name = aws_names.role_name(deployment, "node", site.region)
    role = aws.iam.Role(
        f"{name}-node",
        name=role_name,
        description=f"Instances of {deployment}",
        assume_role_policy=json.dumps(assumed_by("ec2.amazonaws.com")),
        tags=context.tags("node"),
        opts=context.opts,
    )
    policy = aws.iam.RolePolicy(
        f"{name}-node",
        role=role.name,
        policy=key.arn.apply(lambda arn: json.dumps(node_policy(site, deployment, bucket, arn, backup))),
        opts=context.opts,
    )
    profile = aws.iam.InstanceProfile(
        f"{name}-node", name=role_name, role=role.name, tags=context.tags("node"), opts=context.opts
    )
    log_group = aws.cloudwatch.LogGroup(
        f"{name}-nodes-log",
        name=aws_names.log_group_name(deployment, "nodes"),
        retention_in_days=_LOG_DAYS,
        kms_key_id=key.arn,
        tags=context.tags("nodes-log"),
        opts=context.opts,
    )
    return Access(key.arn, profile.name, policy, log_group)


def create_secret(
    context: Context,
    resource: str,
    name: str,
    key_arn: pulumi.Input[str],
    content: Mapping[str, pulumi.Input[object]],
    opts: pulumi.ResourceOptions,
    node: str | None = None,
) -> aws.secretsmanager.SecretVersion:
    """Make a secret that holds ``content`` as JSON. Pulumi's state has it all, so that nothing waits to be restored."""
    options = pulumi.ResourceOptions(parent=opts.parent)
    secret = aws.secretsmanager.Secret(
        resource,
        name=name,
        kms_key_id=key_arn,
        recovery_window_in_days=0,
        tags=context.tags(resource.removeprefix(f"{context.name}-"), node),
        opts=options,
    )
    return aws.secretsmanager.SecretVersion(
        resource,
        secret_id=secret.id,
        secret_string=_secret(pulumi.Output.json_dumps(dict(content), sort_keys=True)),
        opts=options,
    )


def _secret(text: pulumi.Output[str]) -> pulumi.Output[str]:
    secret: pulumi.Output[str] = pulumi.Output.secret(text)
    return secret
