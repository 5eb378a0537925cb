"""What the hosts of Redis nodes take backups with: the code in the deployment's bucket, and a secret with the rest.

When, and by which of them, a backup is taken is theirs: a timer of each host looks every few minutes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import pulumi
import pulumi_aws as aws

from ...backup_files import CONFIGURATION
from ...config_files import CONFIG_FOLDER
from ...nodes import BackupService
from ...remote.archive import BACKUPS, plain_archive
from ...remote_deployment import BACKUP_PROGRAM
from .. import aws_names, project_folder
from .access import create_secret
from .bucket import DEPLOYED_PREFIX
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

    The secret says what is in the objects, by their checksums: nobody who can write to the bucket makes hosts run
    anything else.
    """
    opts = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(depends_on=list(after)))
    configuration: pulumi.Output[str] = pulumi.Output.from_input(service.files[CONFIGURATION])
    program = plain_archive(BACKUPS)
    project_folder.put(_PROGRAM, program)
    sources: dict[str, tuple[str, pulumi.Input[str], pulumi.Input[pulumi.Asset]]] = {
        BACKUP_PROGRAM: ("program", _checksum(program), pulumi.FileAsset(_PROGRAM.as_posix())),
        # It has every node, more than a secret holds where there are many.
        CONFIGURATION: (
            "configuration",
            configuration.apply(lambda text: _checksum(text.encode())),
            configuration.apply(pulumi.StringAsset),
        ),
    }
    objects = {
        path: aws.s3.BucketObject(
            f"{service.name}-{name}",
            bucket=bucket,
            key=pulumi.Output.concat(DEPLOYED_PREFIX, checksum),
            source=source,
            kms_key_id=key_arn,
            tags=context.tags(f"{service.name.removeprefix(f'{context.name}-')}-{name}"),
            opts=opts,
        )
        for path, (name, checksum, source) in sources.items()
    }
    keys = {path: each.key for path, each in objects.items()}
    return create_secret(
        context,
        service.name,
        aws_names.backup_secret_name(context.deployment),
        key_arn,
        {
            **{path: content for path, content in service.files.items() if path != CONFIGURATION},
            f"{CONFIG_FOLDER}/backup.objects": pulumi.Output.json_dumps({"bucket": bucket, "keys": keys}),
        },
        opts,
    )


def _checksum(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
