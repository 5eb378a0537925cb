"""S3: the bucket itself, and an object in it."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlencode

from airgap.aws_provider.connection import Aws
from airgap.aws_provider.failures import error_code
from airgap.aws_provider.limits import bucket_name_refusal
from airgap.aws_provider.resource import REGION, TAGS, AwsResource
from airgap.aws_provider.tags import tag_list, tag_map
from airgap.provider_protocol.errors import ProviderError
from airgap.provider_protocol.properties import Kind, Property, flag, text

_KIND_OF_VALUE = "4dabf18193072939515e22adb298388d"
"""The engine's name of the field that says what a marked object is: an asset, here."""
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


class BucketObject(AwsResource):
    """An object, made of a file or of a text. What is in it is known by the hash that the engine takes of that."""

    type_name = "aws:s3/bucketObject:BucketObject"
    service = "s3"
    properties: ClassVar[Mapping[str, Property]] = {
        "bucket": text(required=True, replaces=True),
        "forceDestroy": flag(default=False),
        "key": text(required=True, replaces=True),
        "kmsKeyId": text(computed=True),
        "region": REGION,
        "source": Property(
            Kind.OBJECT,
            required=True,
            # The engine wants every field to be a text.
            fields={_KIND_OF_VALUE: text(), **{name: text(absent="") for name in ("hash", "path", "text")}},
        ),
        "tags": TAGS,
    }
    output_only: ClassVar[Mapping[str, Any]] = dict.fromkeys(("arn", "etag", "tagsAll", "versionId"))

    def make(self, aws: Aws, inputs: Mapping[str, Any], cancelled: threading.Event) -> str:
        """Put the object."""
        self._put(aws, inputs)
        return f"{inputs['bucket']}/{inputs['key']}"

    def change(
        self,
        aws: Aws,
        identifier: str,
        outputs: Mapping[str, Any],
        inputs: Mapping[str, Any],
        changed: frozenset[str],
        cancelled: threading.Event,
    ) -> None:
        """Put it anew, with its tags."""
        if changed - {"forceDestroy"}:
            self._put(aws, inputs)

    def retag(
        self, aws: Aws, identifier: str, outputs: Mapping[str, Any], put: Mapping[str, str], remove: list[str]
    ) -> None:
        """Put tags on the object and take others off: S3 takes only all of them at once."""
        client, (bucket, key) = self.client(aws, outputs), identifier.split("/", 1)
        found = client.get_object_tagging(Bucket=bucket, Key=key)["TagSet"]
        kept = {name: value for name, value in tag_map(found).items() if name not in remove}
        client.put_object_tagging(Bucket=bucket, Key=key, Tagging={"TagSet": tag_list({**kept, **put})})

    def facts(self, aws: Aws, identifier: str, recorded: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """The object. Which file it was made of only the program knows."""
        client, (bucket, key) = self.client(aws, recorded), identifier.split("/", 1)
        found = client.head_object(Bucket=bucket, Key=key)
        return {
            "arn": f"arn:{aws.partition(str(recorded['region']))}:s3:::{identifier}",
            "bucket": bucket,
            "etag": found["ETag"].strip('"'),
            "key": key,
            "kmsKeyId": found.get("SSEKMSKeyId"),
            "tags": tag_map(client.get_object_tagging(Bucket=bucket, Key=key)["TagSet"]),
            "versionId": found.get("VersionId"),
        }

    def remove(self, aws: Aws, identifier: str, outputs: Mapping[str, Any], cancelled: threading.Event) -> None:
        """Remove the object, with all its versions."""
        client, (bucket, key) = self.client(aws, outputs), identifier.split("/", 1)
        for page in client.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=key):
            for each in [*page.get("Versions", []), *page.get("DeleteMarkers", [])]:
                if each["Key"] == key:
                    client.delete_object(Bucket=bucket, Key=key, VersionId=each["VersionId"])

    def _put(self, aws: Aws, inputs: Mapping[str, Any]) -> None:
        source = inputs["source"]
        try:
            content = Path(source["path"]).read_bytes() if source.get("path") else str(source["text"]).encode()
        except OSError as error:
            raise ProviderError(f"{self.type_name}: {error.filename}: {error.strerror}") from error
        key = inputs.get("kmsKeyId")
        encryption = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": key} if key else {}
        self.client(aws, inputs).put_object(
            Bucket=inputs["bucket"],
            Key=inputs["key"],
            Body=content,
            Tagging=urlencode(inputs.get("tags") or {}),
            **encryption,
        )
