"""The deployment's bucket: what formation ships to nodes, and what nodes keep outside of themselves."""

from __future__ import annotations

import json

import pulumi
import pulumi_aws as aws

from .. import aws_names
from .context import Context
from .policies import bucket_policy

FORMATION_PREFIX = "formation/"
"""Written by whoever deploys, read by nodes."""
DEPLOYED_PREFIX = "deployed/"
"""The same; keys end in the content's checksum, and it stays as long as nodes need it."""
_FORMATION_DAYS = 7
_DELETED_DAYS = 7
"""For how long what a node deleted can be had back."""
_UNFINISHED_UPLOAD_DAYS = 7


def create_bucket(context: Context, key_arn: pulumi.Input[str]) -> list[pulumi.Resource]:
    """Make the bucket; it outlives ``destroy`` where the settings say so. Returns everything that makes it safe."""
    name, site, deployment = context.name, context.site, context.deployment
    retained = context.settings.retain_data
    bucket_name = aws_names.bucket_name(deployment, site.account, site.region)
    bucket = aws.s3.Bucket(
        f"{name}-bucket",
        bucket=bucket_name,
        force_destroy=not retained,
        tags=context.tags("bucket"),
        opts=context.options(pulumi.ResourceOptions(retain_on_delete=retained)),
    )
    kept_with_it = context.options(pulumi.ResourceOptions(retain_on_delete=retained))
    return [
        bucket,
        aws.s3.BucketOwnershipControls(
            f"{name}-bucket",
            bucket=bucket.id,
            rule=aws.s3.BucketOwnershipControlsRuleArgs(object_ownership="BucketOwnerEnforced"),
            opts=kept_with_it,
        ),
        aws.s3.BucketPublicAccessBlock(
            f"{name}-bucket",
            bucket=bucket.id,
            block_public_acls=True,
            block_public_policy=True,
            ignore_public_acls=True,
            restrict_public_buckets=True,
            opts=kept_with_it,
        ),
        aws.s3.BucketServerSideEncryptionConfiguration(
            f"{name}-bucket",
            bucket=bucket.id,
            rules=[
                aws.s3.BucketServerSideEncryptionConfigurationRuleArgs(
                    apply_server_side_encryption_by_default=aws.s3.BucketServerSideEncryptionConfigurationRuleApplyServerSideEncryptionByDefaultArgs(
                        sse_algorithm="aws:kms", kms_master_key_id=key_arn
                    ),
                    bucket_key_enabled=True,
                )
            ],
            opts=kept_with_it,
        ),
        aws.s3.BucketVersioning(
            f"{name}-bucket",
            bucket=bucket.id,
            versioning_configuration=aws.s3.BucketVersioningVersioningConfigurationArgs(status="Enabled"),
            opts=kept_with_it,
        ),
        aws.s3.BucketPolicy(
            f"{name}-bucket",
            bucket=bucket.id,
            policy=json.dumps(bucket_policy(site, bucket_name)),
            opts=kept_with_it,
        ),
        aws.s3.BucketLifecycleConfiguration(
            f"{name}-bucket",
            bucket=bucket.id,
            rules=[
                _expiring("formation", FORMATION_PREFIX, _FORMATION_DAYS),
                _expiring("answers", f"{deployment}/formation/", _FORMATION_DAYS),
                _without_deleted("nodes", f"{deployment}/"),
                _without_deleted("deployed", DEPLOYED_PREFIX),
                _without_unfinished_uploads(),
            ],
            opts=kept_with_it,
        ),
    ]


def _expiring(rule: str, prefix: str, days: int) -> aws.s3.BucketLifecycleConfigurationRuleArgs:
    return aws.s3.BucketLifecycleConfigurationRuleArgs(
        id=rule,
        status="Enabled",
        filter=aws.s3.BucketLifecycleConfigurationRuleFilterArgs(prefix=prefix),
        expiration=aws.s3.BucketLifecycleConfigurationRuleExpirationArgs(days=days),
        noncurrent_version_expiration=aws.s3.BucketLifecycleConfigurationRuleNoncurrentVersionExpirationArgs(
            noncurrent_days=days
        ),
    )


def _without_deleted(rule: str, prefix: str) -> aws.s3.BucketLifecycleConfigurationRuleArgs:
    """Nothing expires by its age: only who takes backups knows which have to stay (weekly, monthly, the last one)."""
    return aws.s3.BucketLifecycleConfigurationRuleArgs(
        id=rule,
        status="Enabled",
        filter=aws.s3.BucketLifecycleConfigurationRuleFilterArgs(prefix=prefix),
        expiration=aws.s3.BucketLifecycleConfigurationRuleExpirationArgs(expired_object_delete_marker=True),
        noncurrent_version_expiration=aws.s3.BucketLifecycleConfigurationRuleNoncurrentVersionExpirationArgs(
            noncurrent_days=_DELETED_DAYS
        ),
    )


def _without_unfinished_uploads() -> aws.s3.BucketLifecycleConfigurationRuleArgs:
    return aws.s3.BucketLifecycleConfigurationRuleArgs(
        id="unfinished-uploads",
        status="Enabled",
        filter=aws.s3.BucketLifecycleConfigurationRuleFilterArgs(prefix=""),
        abort_incomplete_multipart_upload=aws.s3.BucketLifecycleConfigurationRuleAbortIncompleteMultipartUploadArgs(
            days_after_initiation=_UNFINISHED_UPLOAD_DAYS
        ),
    )
