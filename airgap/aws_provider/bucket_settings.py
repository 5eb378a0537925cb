"""S3: what can be set of a bucket. Each kind of setting is a resource whose id is the bucket's name."""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from airgap.aws_provider.connection import Aws
from airgap.aws_provider.failures import error_code
from airgap.aws_provider.limits import json_meaning, resource_policy_refusal
from airgap.aws_provider.resource import REGION, AwsResource, answer, request
from airgap.provider_protocol.errors import CheckError
from airgap.provider_protocol.properties import Kind, Property, flag, number, text

_NOT_SET = frozenset(
    {
        "NoSuchBucketPolicy",
        "NoSuchLifecycleConfiguration",
        "NoSuchPublicAccessBlockConfiguration",
        "OwnershipControlsNotFoundError",
        "ServerSideEncryptionConfigurationNotFoundError",
    }
)
_BUCKET = text(required=True, replaces=True)
_STATUS = frozenset({"Disabled", "Enabled"})


class _BucketSetting(AwsResource):
    """Making and changing are the same: the whole setting is put."""

    service = "s3"
    deletes_before_replacing = True

    @abstractmethod
    def put(self, client: Any, bucket: str, inputs: Mapping[str, Any]) -> None:
        """Put the setting."""

    @abstractmethod
    def get(self, client: Any, bucket: str, recorded: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """The setting's outputs; None if it is not set."""

    @abstractmethod
    def unset(self, client: Any, bucket: str, outputs: Mapping[str, Any]) -> None:
        """Take the setting back."""

    def make(self, aws: Aws, inputs: Mapping[str, Any], cancelled: threading.Event) -> str:
        """Put the setting."""
        self.put(self.client(aws, inputs), inputs["bucket"], inputs)
        return str(inputs["bucket"])

    def change(
        self,
        aws: Aws,
        identifier: str,
        outputs: Mapping[str, Any],
        inputs: Mapping[str, Any],
        changed: frozenset[str],
        cancelled: threading.Event,
    ) -> None:
        """Put the setting anew."""
        self.put(self.client(aws, inputs), identifier, inputs)

    def facts(self, aws: Aws, identifier: str, recorded: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """The setting as it is."""
        try:
            found = self.get(self.client(aws, recorded), identifier, recorded)
        except Exception as failure:
            if error_code(failure) in _NOT_SET:
                return None
            raise
        return None if found is None else {"bucket": identifier, **found}

    def remove(self, aws: Aws, identifier: str, outputs: Mapping[str, Any], cancelled: threading.Event) -> None:
        """Take the setting back."""
        self.unset(self.client(aws, outputs), identifier, outputs)


class BucketVersioning(_BucketSetting):
    """Whether old versions of objects are kept."""

    type_name = "aws:s3/bucketVersioning:BucketVersioning"
    properties: ClassVar[Mapping[str, Property]] = {
        "bucket": _BUCKET,
        "region": REGION,
        "versioningConfiguration": Property(
            Kind.OBJECT,
            required=True,
            fields={"status": text(required=True, choices=frozenset({"Disabled", "Enabled", "Suspended"}))},
        ),
    }

    def put(self, client: Any, bucket: str, inputs: Mapping[str, Any]) -> None:
        """Put the setting. "Disabled" is what a bucket is until versioning is put for the first time."""
        status = inputs["versioningConfiguration"]["status"]
        if status != "Disabled":
            client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": status})

    def get(self, client: Any, bucket: str, recorded: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """The setting as it is."""
        status = client.get_bucket_versioning(Bucket=bucket).get("Status", "Disabled")
        return {"versioningConfiguration": {"status": status}}

    def unset(self, client: Any, bucket: str, outputs: Mapping[str, Any]) -> None:
        """Keep no more versions."""
        if outputs["versioningConfiguration"]["status"] != "Disabled":
            client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Suspended"})


class BucketServerSideEncryptionConfiguration(_BucketSetting):
    """By which key objects are encrypted."""

    type_name = "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration"
    properties: ClassVar[Mapping[str, Property]] = {
        "bucket": _BUCKET,
        "region": REGION,
        "rules": Property(
            Kind.OBJECTS,
            required=True,
            identity=("bucketKeyEnabled",),
            fields={
                "applyServerSideEncryptionByDefault": Property(
                    Kind.OBJECT,
                    fields={
                        "kmsMasterKeyId": text(),
                        "sseAlgorithm": text(required=True, choices=frozenset({"AES256", "aws:kms", "aws:kms:dsse"})),
                    },
                ),
                "bucketKeyEnabled": flag(),
            },
        ),
    }

    def put(self, client: Any, bucket: str, inputs: Mapping[str, Any]) -> None:
        """Put the setting."""
        rules = [
            {
                "ApplyServerSideEncryptionByDefault": request(
                    rule.get("applyServerSideEncryptionByDefault") or {}, kmsMasterKeyId="KMSMasterKeyID",
                    sseAlgorithm="SSEAlgorithm",
                ),
                **request(rule, "bucketKeyEnabled"),
            }
            for rule in inputs["rules"]
        ]  # fmt: skip
        client.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": rules})

    def get(self, client: Any, bucket: str, recorded: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """The setting as it is."""
        found = client.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]
        return {
            "rules": [
                {
                    "applyServerSideEncryptionByDefault": answer(
                        rule.get("ApplyServerSideEncryptionByDefault", {}),
                        kmsMasterKeyId="KMSMasterKeyID",
                        sseAlgorithm="SSEAlgorithm",
                    ),
                    "bucketKeyEnabled": rule.get("BucketKeyEnabled", False),
                }
                for rule in found
            ]
        }

    def unset(self, client: Any, bucket: str, outputs: Mapping[str, Any]) -> None:
        """Encrypt as S3 does by itself."""
        client.delete_bucket_encryption(Bucket=bucket)


_BLOCKS = ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets")


class BucketPublicAccessBlock(_BucketSetting):
    """Keeps everybody out to whom the bucket does not belong."""

    type_name = "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock"
    properties: ClassVar[Mapping[str, Property]] = {
        **{name: flag() for name in _BLOCKS},
        "bucket": _BUCKET,
        "region": REGION,
        "skipDestroy": flag(),
    }

    def put(self, client: Any, bucket: str, inputs: Mapping[str, Any]) -> None:
        """Put the setting."""
        blocks = {name: inputs.get(name, False) for name in _BLOCKS}
        client.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=request(blocks, *_BLOCKS))

    def get(self, client: Any, bucket: str, recorded: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """The setting as it is."""
        return answer(client.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"], *_BLOCKS)

    def unset(self, client: Any, bucket: str, outputs: Mapping[str, Any]) -> None:
        """Take the block away, unless `skipDestroy` says that it stays."""
        if not outputs.get("skipDestroy"):
            client.delete_public_access_block(Bucket=bucket)


class BucketPolicy(_BucketSetting):
    """Who may do what with the bucket."""

    type_name = "aws:s3/bucketPolicy:BucketPolicy"
    properties: ClassVar[Mapping[str, Property]] = {
        "bucket": _BUCKET,
        "policy": text(required=True, meaning=json_meaning, refusal=resource_policy_refusal),
        "region": REGION,
    }

    def put(self, client: Any, bucket: str, inputs: Mapping[str, Any]) -> None:
        """Put the policy."""
        client.put_bucket_policy(Bucket=bucket, Policy=inputs["policy"])

    def get(self, client: Any, bucket: str, recorded: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """The policy as it is."""
        return {"policy": client.get_bucket_policy(Bucket=bucket)["Policy"]}

    def unset(self, client: Any, bucket: str, outputs: Mapping[str, Any]) -> None:
        """Take the policy away."""
        client.delete_bucket_policy(Bucket=bucket)


class BucketOwnershipControls(_BucketSetting):
    """To whom objects belong that others put into the bucket."""

    type_name = "aws:s3/bucketOwnershipControls:BucketOwnershipControls"
    properties: ClassVar[Mapping[str, Property]] = {
        "bucket": _BUCKET,
        "region": REGION,
        "rule": Property(
            Kind.OBJECT,
            required=True,
            fields={
                "objectOwnership": text(
                    required=True,
                    choices=frozenset({"BucketOwnerEnforced", "BucketOwnerPreferred", "ObjectWriter"}),
                )
            },
        ),
    }

    def put(self, client: Any, bucket: str, inputs: Mapping[str, Any]) -> None:
        """Put the setting."""
        rules = [request(inputs["rule"], "objectOwnership")]
        client.put_bucket_ownership_controls(Bucket=bucket, OwnershipControls={"Rules": rules})

    def get(self, client: Any, bucket: str, recorded: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """The setting as it is."""
        found = client.get_bucket_ownership_controls(Bucket=bucket)["OwnershipControls"]["Rules"]
        return {"rule": answer(found[0], "objectOwnership")}

    def unset(self, client: Any, bucket: str, outputs: Mapping[str, Any]) -> None:
        """Take the setting away."""
        client.delete_bucket_ownership_controls(Bucket=bucket)


_STORAGE_CLASSES = frozenset(
    {"DEEP_ARCHIVE", "GLACIER", "GLACIER_IR", "INTELLIGENT_TIERING", "ONEZONE_IA", "STANDARD_IA"}
)
_AND_FIELDS = {
    "objectSizeGreaterThan": number(),
    "objectSizeLessThan": number(),
    "prefix": text(),
    "tags": Property(Kind.MAP),
}
_FILTER = Property(
    Kind.OBJECT,
    fields={
        "and": Property(Kind.OBJECT, fields=_AND_FIELDS),
        "objectSizeGreaterThan": number(),
        "objectSizeLessThan": number(),
        "prefix": text(),
        "tag": Property(Kind.OBJECT, fields={"key": text(required=True), "value": text(required=True)}),
    },
)
_EXPIRATION = {"days": number(minimum=1), "expiredObjectDeleteMarker": flag()}
_OLD_EXPIRATION = {"newerNoncurrentVersions": number(minimum=1), "noncurrentDays": number(required=True, minimum=1)}
_STORAGE_CLASS = text(required=True, choices=_STORAGE_CLASSES)


class BucketLifecycleConfiguration(_BucketSetting):
    """When objects go to cheaper storage, and when they go for good."""

    type_name = "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration"
    properties: ClassVar[Mapping[str, Property]] = {
        "bucket": _BUCKET,
        "region": REGION,
        "rules": Property(
            Kind.OBJECTS,
            required=True,
            identity=("id",),
            fields={
                "abortIncompleteMultipartUpload": Property(
                    Kind.OBJECT, fields={"daysAfterInitiation": number(required=True, minimum=1)}
                ),
                "expiration": Property(Kind.OBJECT, fields=_EXPIRATION),
                "filter": _FILTER,
                "id": text(required=True),
                "noncurrentVersionExpiration": Property(Kind.OBJECT, fields=_OLD_EXPIRATION),
                "noncurrentVersionTransitions": Property(
                    Kind.OBJECTS,
                    identity=("storageClass",),
                    fields={"noncurrentDays": number(required=True, minimum=0), "storageClass": _STORAGE_CLASS},
                ),
                "status": text(required=True, choices=_STATUS),
                "transitions": Property(
                    Kind.OBJECTS,
                    identity=("storageClass",),
                    fields={"days": number(required=True, minimum=0), "storageClass": _STORAGE_CLASS},
                ),
            },
        ),
    }

    def refusals(self, inputs: Mapping[str, Any]) -> Iterator[CheckError]:
        """Names of rules are unique, and each rule does something."""
        rules = [rule for rule in inputs["rules"] if isinstance(rule, dict)] if _is_list(inputs["rules"]) else []
        names = [rule["id"] for rule in rules]
        for index, rule in enumerate(rules):
            path = f"rules[{index}]"
            if names.index(rule["id"]) != index:
                yield CheckError(f"{path}.id", f"{self.type_name}: '{path}.id' is that of another rule, too")
            if not any(rule.get(name) for name in _ACTIONS):
                yield CheckError(path, f"{self.type_name}: '{path}' does nothing: give one of {', '.join(_ACTIONS)}")

    def put(self, client: Any, bucket: str, inputs: Mapping[str, Any]) -> None:
        """Put all rules."""
        rules = [_rule_request(rule) for rule in inputs["rules"]]
        client.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": rules})

    def get(self, client: Any, bucket: str, recorded: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """The rules as they are."""
        found = client.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
        return {"rules": [_rule_answer(rule) for rule in found]}

    def unset(self, client: Any, bucket: str, outputs: Mapping[str, Any]) -> None:
        """Take all rules away."""
        client.delete_bucket_lifecycle(Bucket=bucket)


_ACTIONS = (
    "abortIncompleteMultipartUpload",
    "expiration",
    "noncurrentVersionExpiration",
    "noncurrentVersionTransitions",
    "transitions",
)


def _is_list(value: Any) -> bool:
    return isinstance(value, list)


def _rule_request(rule: Mapping[str, Any]) -> dict[str, Any]:
    """A rule as S3 takes it."""
    made: dict[str, Any] = {"ID": rule["id"], "Status": rule["status"], "Filter": _filter_request(rule.get("filter"))}
    if given := rule.get("abortIncompleteMultipartUpload"):
        made["AbortIncompleteMultipartUpload"] = request(given, "daysAfterInitiation")
    if given := rule.get("expiration"):
        made["Expiration"] = request(given, *_EXPIRATION)
    if given := rule.get("noncurrentVersionExpiration"):
        made["NoncurrentVersionExpiration"] = request(given, *_OLD_EXPIRATION)
    if given := rule.get("noncurrentVersionTransitions"):
        made["NoncurrentVersionTransitions"] = [request(one, "noncurrentDays", "storageClass") for one in given]
    if given := rule.get("transitions"):
        made["Transitions"] = [request(one, "days", "storageClass") for one in given]
    return made


def _filter_request(given: Mapping[str, Any] | None) -> dict[str, Any]:
    given = given or {}
    sizes = ("objectSizeGreaterThan", "objectSizeLessThan")
    made = request(given, "prefix", *sizes)
    if given.get("tag"):
        made["Tag"] = request(given["tag"], "key", "value")
    if given.get("and"):
        tags = [{"Key": key, "Value": value} for key, value in sorted((given["and"].get("tags") or {}).items())]
        made["And"] = {**request(given["and"], "prefix", *sizes), **({"Tags": tags} if tags else {})}
    return made or {"Prefix": ""}


def _rule_answer(found: Mapping[str, Any]) -> dict[str, Any]:
    """A rule as its properties show it."""
    rule: dict[str, Any] = {"id": found["ID"], "status": found["Status"], "filter": _filter_answer(found)}
    if given := found.get("AbortIncompleteMultipartUpload"):
        rule["abortIncompleteMultipartUpload"] = answer(given, "daysAfterInitiation")
    if given := found.get("Expiration"):
        rule["expiration"] = answer(given, *_EXPIRATION)
    if given := found.get("NoncurrentVersionExpiration"):
        rule["noncurrentVersionExpiration"] = answer(given, *_OLD_EXPIRATION)
    if given := found.get("NoncurrentVersionTransitions"):
        rule["noncurrentVersionTransitions"] = [answer(one, "noncurrentDays", "storageClass") for one in given]
    if given := found.get("Transitions"):
        rule["transitions"] = [answer(one, "days", "storageClass") for one in given]
    return rule


def _filter_answer(rule: Mapping[str, Any]) -> dict[str, Any]:
    found = rule.get("Filter") or {}
    sizes = ("objectSizeGreaterThan", "objectSizeLessThan")
    made = answer(found, "prefix", *sizes)
    if found.get("Tag"):
        made["tag"] = answer(found["Tag"], "key", "value")
    if found.get("And"):
        tags = {tag["Key"]: tag["Value"] for tag in found["And"].get("Tags", [])}
        made["and"] = {**answer(found["And"], "prefix", *sizes), "tags": tags}
    return made
