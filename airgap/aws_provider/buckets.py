"""S3: the bucket itself."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any, ClassVar

from airgap.aws_provider.connection import Aws
from airgap.aws_provider.failures import error_code
from airgap.aws_provider.limits import bucket_name_refusal
from airgap.aws_provider.resource import REGION, TAGS, AwsResource
from airgap.aws_provider.tags import tag_list, tag_map
from airgap.provider_protocol.properties import Property, flag, text

_FIRST_REGION = "us-east-1"
"""The one region that S3 wants not to be named."""


class Bucket(AwsResource):
    """A bucket. What can be set of it are resources of their own."""

    type_name = "aws:s3/bucket:Bucket"
    service = "s3"
    name_property = "bucket"
    longest_name = 63
    properties: ClassVar[Mapping[str, Property]] = {
        "bucket": text(replaces=True, refusal=bucket_name_refusal),
        "forceDestroy": flag(default=False),
        "objectLockEnabled": flag(replaces=True, computed=True),
        "region": REGION,
        "tags": TAGS,
    }
    output_only: ClassVar[Mapping[str, Any]] = dict.fromkeys(
        ("arn", "bucketDomainName", "bucketRegion", "bucketRegionalDomainName", "tagsAll")
    )

    def fit_name(self, name: str) -> str:
        """Names of buckets have small letters only."""
        return name.lower().replace("_", "-")

    def make(self, aws: Aws, inputs: Mapping[str, Any], cancelled: threading.Event) -> str:
        """Make the bucket."""
        region = inputs["region"]
        where = {} if region == _FIRST_REGION else {"CreateBucketConfiguration": {"LocationConstraint": region}}
        lock = {"ObjectLockEnabledForBucket": True} if inputs.get("objectLockEnabled") else {}
        self.client(aws, inputs).create_bucket(Bucket=inputs["bucket"], **where, **lock)
        return str(inputs["bucket"])

    def set_up(self, aws: Aws, identifier: str, inputs: Mapping[str, Any], cancelled: threading.Event) -> None:
        """Put the tags on."""
        if inputs.get("tags"):
            self._put_tags(self.client(aws, inputs), identifier, inputs["tags"])

    def retag(
        self, aws: Aws, identifier: str, outputs: Mapping[str, Any], put: Mapping[str, str], remove: list[str]
    ) -> None:
        """Put tags on the bucket and take others off: S3 takes only all of them at once."""
        client = self.client(aws, outputs)
        kept = {key: value for key, value in self._tags(client, identifier).items() if key not in remove}
        self._put_tags(client, identifier, {**kept, **put})

    @staticmethod
    def _put_tags(client: Any, identifier: str, tags: Mapping[str, str]) -> None:
        if tags:
            client.put_bucket_tagging(Bucket=identifier, Tagging={"TagSet": tag_list(tags)})
        else:
            client.delete_bucket_tagging(Bucket=identifier)

    @staticmethod
    def _tags(client: Any, identifier: str) -> dict[str, str]:
        try:
            return tag_map(client.get_bucket_tagging(Bucket=identifier)["TagSet"])
        except Exception as failure:
            if error_code(failure) == "NoSuchTagSet":
                return {}
            raise

    def facts(self, aws: Aws, identifier: str, recorded: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """The bucket."""
        client = self.client(aws, recorded)
        region = client.get_bucket_location(Bucket=identifier).get("LocationConstraint") or _FIRST_REGION
        return {
            "arn": f"arn:{aws.partition(region)}:s3:::{identifier}",
            "bucket": identifier,
            "bucketDomainName": f"{identifier}.s3.amazonaws.com",
            "bucketRegion": region,
            "bucketRegionalDomainName": f"{identifier}.s3.{region}.amazonaws.com",
            "objectLockEnabled": self._has_lock(client, identifier),
            "region": region,
            "tags": self._tags(client, identifier),
        }

    @staticmethod
    def _has_lock(client: Any, identifier: str) -> bool:
        try:
            found = client.get_object_lock_configuration(Bucket=identifier)
        except Exception as failure:
            if error_code(failure) == "ObjectLockConfigurationNotFoundError":
                return False
            raise
        return bool(found["ObjectLockConfiguration"].get("ObjectLockEnabled") == "Enabled")

    def remove(self, aws: Aws, identifier: str, outputs: Mapping[str, Any], cancelled: threading.Event) -> None:
        """Remove the bucket; what is in it goes with it only with `forceDestroy`."""
        client = self.client(aws, outputs)
        if outputs.get("forceDestroy"):
            for page in client.get_paginator("list_object_versions").paginate(Bucket=identifier):
                found = [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
                objects = [{"Key": one["Key"], "VersionId": one["VersionId"]} for one in found]
                if objects:
                    client.delete_objects(Bucket=identifier, Delete={"Objects": objects, "Quiet": True})
        client.delete_bucket(Bucket=identifier)
