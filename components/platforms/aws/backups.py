"""What the hosts of Redis nodes take backups with: the code in the deployment's bucket, and a secret with the rest.

When, and by which of them, a backup is taken is theirs: a timer of each host looks every few minutes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import pulumi
import pulumi_aws as aws

from ...config_files import CONFIG_FOLDER
from ...nodes import BackupService
from ...remote.archive import BACKUPS, plain_archive
from .. import aws_names, project_folder
from .access import create_secret
from .bucket import PROGRAMS_PREFIX
from .context import Context

_SCRATCH_FOLDER = "/data/backup"
"""On the data volume: it is encrypted, and has room for the data twice and more."""
_PROGRAM = project_folder.FOLDER / "backup.pyz"


def place(context: Context, bucket: str) -> dict[str, Any]:
    """See :meth:`nodes.Platform.backup_place`. The bucket encrypts everything with the deployment's key by itself."""
    store = {
        "kind": "s3",
        "bucket": bucket,
        "prefix": aws_names.backups_prefix(context.deployment),
        "endpoint": None,
        "region": context.site.region,
    }
    return {"scratch": _SCRATCH_FOLDER, **({"store": store} if context.settings.backup.s3 is None else {})}


def create_backup_files(
    context: Context,
    service: BackupService,
    bucket: str,
    key_arn: pulumi.Input[str],
    after: Sequence[pulumi.Resource],
    opts: pulumi.ResourceOptions,
) -> aws.secretsmanager.SecretVersion:
    """Put code, configuration and secrets where hosts fetch them. ``after``: what makes the bucket safe.

    The object is known by what is in it, and so is what hosts take for it: nobody who can write to the bucket makes
    them run anything else.
    """
    program = plain_archive(BACKUPS)
    checksum = hashlib.sha256(program).hexdigest()
    project_folder.put(_PROGRAM, program)
    code = aws.s3.BucketObject(
        f"{service.name}-program",
        bucket=bucket,
        key=f"{PROGRAMS_PREFIX}backup-{checksum}.pyz",
        source=pulumi.FileAsset(_PROGRAM.as_posix()),
        kms_key_id=key_arn,
        tags=context.tags(f"{service.name.removeprefix(f'{context.name}-')}-program"),
        opts=pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(depends_on=list(after))),
    )
    origin = json.dumps({"bucket": bucket, "key": f"{PROGRAMS_PREFIX}backup-{checksum}.pyz", "checksum": checksum})
    return create_secret(
        context,
        service.name,
        aws_names.backup_secret_name(context.deployment),
        key_arn,
        {**service.files, f"{CONFIG_FOLDER}/backup.code": origin},
        pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(depends_on=[code])),
    )
