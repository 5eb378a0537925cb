"""What wakes somebody up: a host that is down, a disk or a memory that is nearly full, a backup that is missing."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pulumi
import pulumi_aws as aws

from ...backup_settings import longest_gap
from ...nodes import NodeSpec
from .. import aws_names
from .context import Context
from .policies import topic_policy

_DISK_PERCENT = 75
_MEMORY_PERCENT = 92
_BACKUP_HOURS = 3
"""Beyond the schedule's longest gap: for a backup that takes longer, and for another attempt at one that failed."""


def create_topic(context: Context, key: aws.kms.Key) -> pulumi.Input[str]:
    """Make the topic that alarms are sent to, with who gets mail, unless the settings name one. Returns its ARN."""
    settings = context.settings.aws
    if settings.alarm_topic is not None:
        return settings.alarm_topic
    name = context.name
    topic = aws.sns.Topic(
        f"{name}-alarms",
        name=f"{context.deployment}-alarms",
        kms_master_key_id=key.arn,
        tags=context.tags("alarms"),
        opts=context.opts,
    )
    aws.sns.TopicPolicy(
        f"{name}-alarms",
        arn=topic.arn,
        policy=topic.arn.apply(lambda arn: json.dumps(topic_policy(context.site, arn))),
        opts=context.opts,
    )
    if settings.alarm_email is not None:
        aws.sns.TopicSubscription(
            f"{name}-alarms-email", topic=topic.arn, protocol="email", endpoint=settings.alarm_email, opts=context.opts
        )
    arn: pulumi.Output[str] = topic.arn
    return arn


def create_alarms(
    context: Context, spec: NodeSpec, instance: aws.ec2.Instance, topic: pulumi.Input[str], opts: pulumi.ResourceOptions
) -> None:
    """Make a node's alarms."""
    options = pulumi.ResourceOptions(parent=opts.parent)
    _alarm(
        context,
        spec,
        "host-down",
        "EC2 says that the host, or what it runs on, does not work",
        topic,
        options,
        namespace="AWS/EC2",
        metric_name="StatusCheckFailed",
        statistic="Maximum",
        dimensions={"InstanceId": instance.id},
        threshold=1,
        evaluation_periods=3,
        treat_missing_data="breaching",  # a host that is stopped, or gone, says nothing
    )
    usage = {"disk": ("DiskUsedPercent", _DISK_PERCENT), "memory": ("MemoryUsedPercent", _MEMORY_PERCENT)}
    for what, (metric, percent) in usage.items() if spec.kind == "redis" else ():
        _alarm(
            context,
            spec,
            what,
            f"More than {percent} % of the {what} is used",
            topic,
            options,
            namespace=aws_names.metrics_namespace(context.deployment),
            metric_name=metric,
            statistic="Average",
            dimensions={"Node": spec.name},
            threshold=percent,
            evaluation_periods=5,
            treat_missing_data="missing",  # host-down tells of a host that says nothing
        )


def create_backup_alarms(context: Context, topic: pulumi.Input[str], opts: pulumi.ResourceOptions) -> None:
    """Make the deployment's alarms of backups.

    Every host says how old the newest ones are, as far as it knows, also while there never was one: the worst of what
    they say counts, so that one that cannot look at them is heard of, too.
    """
    backup = context.settings.backup
    gap = longest_gap(backup.backup_schedule)
    hours = gap / timedelta(hours=1) + _BACKUP_HOURS
    metrics = {"missed": ("BackupAgeSeconds", "good"), "unproven": ("ProvenBackupAgeSeconds", "proven")}
    for what, (metric, kind) in metrics.items():
        if what == "missed" or backup.backup_proof:
            _create_alarm(
                context,
                f"backup-{what}",
                f"The newest {kind} backup is older than {hours:g} hours",
                topic,
                opts,
                namespace=aws_names.metrics_namespace(context.deployment),
                metric_name=metric,
                statistic="Maximum",
                threshold=hours * 3600,
                evaluation_periods=5,
                treat_missing_data="missing",  # host-down tells of hosts that say nothing
            )


def _alarm(
    context: Context,
    spec: NodeSpec,
    what: str,
    description: str,
    topic: pulumi.Input[str],
    opts: pulumi.ResourceOptions,
    **metric: Any,
) -> None:
    suffix = f"{spec.name.removeprefix(f'{context.name}-')}-{what}"
    _create_alarm(context, suffix, f"{spec.name}: {description}", topic, opts, node=spec.name, **metric)


def _create_alarm(
    context: Context,
    suffix: str,
    description: str,
    topic: pulumi.Input[str],
    opts: pulumi.ResourceOptions,
    node: str | None = None,
    **metric: Any,
) -> None:
    aws.cloudwatch.MetricAlarm(
        f"{context.name}-{suffix}",
        name=f"{context.deployment}-{suffix}",
        alarm_description=description,
        comparison_operator="GreaterThanOrEqualToThreshold",
        period=60,
        alarm_actions=[topic],
        ok_actions=[topic],
        tags=context.tags(suffix, node),
        opts=opts,
        **metric,
    )
