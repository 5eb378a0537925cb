"""Secrets Manager: secrets and their versions."""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar

from airgap.aws_provider.connection import Aws
from airgap.aws_provider.limits import SECRET_BYTES, json_meaning, recovery_window_refusal, resource_policy_refusal
from airgap.aws_provider.resource import REGION, TAGS, AwsResource, answer, request
from airgap.aws_provider.tags import tag_list, tag_map
from airgap.provider_protocol.errors import CheckError
from airgap.provider_protocol.properties import Kind, Property, flag, number, text
from airgap.provider_protocol.wire import Path

_CURRENT = "AWSCURRENT"


def _size_refusal(value: str) -> str:
    return "is longer than the 65536 bytes that a secret may have" if len(value.encode()) > SECRET_BYTES else ""


class Secret(AwsResource):
    """The name, key and policy of a secret; what it holds are its versions."""

    type_name = "aws:secretsmanager/secret:Secret"
    service = "secretsmanager"
    name_property = "name"
    longest_name = 512
    properties: ClassVar[Mapping[str, Property]] = {
        "description": text(),
        "forceOverwriteReplicaSecret": flag(default=False),
        "kmsKeyId": text(),
        "name": text(replaces=True, pattern=r"[\w/+=.@-]{1,512}"),
        "policy": text(computed=True, meaning=json_meaning, refusal=resource_policy_refusal),
        "recoveryWindowInDays": number(default=30, refusal=recovery_window_refusal),
        "region": REGION,
        "tags": TAGS,
    }
    output_only: ClassVar[Mapping[str, Any]] = dict.fromkeys(("arn", "tagsAll"))

    def make(self, aws: Aws, inputs: Mapping[str, Any], cancelled: threading.Event) -> str:
        """Make the secret."""
        made = self.client(aws, inputs).create_secret(
            **request(inputs, "description", "kmsKeyId", "name"),
            **({"Tags": tag_list(inputs["tags"])} if inputs.get("tags") else {}),
        )
        return str(made["ARN"])

    def set_up(self, aws: Aws, identifier: str, inputs: Mapping[str, Any], cancelled: threading.Event) -> None:
        """Say who may use it."""
        if inputs.get("policy"):
            self.client(aws, inputs).put_resource_policy(SecretId=identifier, ResourcePolicy=inputs["policy"])

    def retag(
        self, aws: Aws, identifier: str, outputs: Mapping[str, Any], put: Mapping[str, str], remove: list[str]
    ) -> None:
        """Put tags on the secret and take others off."""
        client = self.client(aws, outputs)
        if remove:
            client.untag_resource(SecretId=identifier, TagKeys=remove)
        if put:
            client.tag_resource(SecretId=identifier, Tags=tag_list(put))

    def change(
        self,
        aws: Aws,
        identifier: str,
        outputs: Mapping[str, Any],
        inputs: Mapping[str, Any],
        changed: frozenset[str],
        cancelled: threading.Event,
    ) -> None:
        """Change the description, the key, or who may use it."""
        client = self.client(aws, inputs)
        if {"description", "kmsKeyId"} & changed:
            client.update_secret(
                SecretId=identifier, Description=inputs.get("description") or "", **request(inputs, "kmsKeyId")
            )
        if "policy" in changed:
            client.put_resource_policy(SecretId=identifier, ResourcePolicy=inputs["policy"])

    def facts(self, aws: Aws, identifier: str, recorded: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """The secret; one that waits for its deletion is gone."""
        client = self.client(aws, recorded)
        found = client.describe_secret(SecretId=identifier)
        if found.get("DeletedDate"):
            return None
        return {
            **answer(found, "kmsKeyId", "name", arn="ARN"),
            "description": found.get("Description", ""),
            "policy": client.get_resource_policy(SecretId=identifier).get("ResourcePolicy", ""),
            "tags": tag_map(found.get("Tags")),
        }

    def remove(self, aws: Aws, identifier: str, outputs: Mapping[str, Any], cancelled: threading.Event) -> None:
        """Delete the secret after its window of days, or at once if that is 0."""
        days = outputs.get("recoveryWindowInDays")
        when = {"RecoveryWindowInDays": days} if days else {"ForceDeleteWithoutRecovery": True}
        self.client(aws, outputs).delete_secret(SecretId=identifier, **when)


class SecretVersion(AwsResource):
    """What a secret holds. As with the vendor, other content is a new resource, made before the old one is given up."""

    type_name = "aws:secretsmanager/secretVersion:SecretVersion"
    service = "secretsmanager"
    properties: ClassVar[Mapping[str, Property]] = {
        "region": REGION,
        "secretBinary": text(replaces=True),
        "secretId": text(required=True, replaces=True),
        "secretString": text(replaces=True, refusal=_size_refusal),
        "versionStages": Property(Kind.SET, computed=True),
    }
    output_only: ClassVar[Mapping[str, Any]] = dict.fromkeys(("arn", "secretArn", "versionId"))

    def refusals(self, inputs: Mapping[str, Any]) -> Iterator[CheckError]:
        """It holds one thing."""
        if (inputs.get("secretString") is None) == (inputs.get("secretBinary") is None):
            yield CheckError("secretString", f"{self.type_name}: give secretString or secretBinary, one of them")

    def secret_outputs(self, paths: Iterable[Path]) -> frozenset[Path]:
        """What it holds is secret, whether or not the program said so."""
        return super().secret_outputs(paths) | {("secretBinary",), ("secretString",)}

    def make(self, aws: Aws, inputs: Mapping[str, Any], cancelled: threading.Event) -> str:
        """Make the version."""
        content: dict[str, Any] = (
            {"SecretString": inputs["secretString"]}
            if inputs.get("secretString") is not None
            else {"SecretBinary": base64.b64decode(inputs["secretBinary"])}
        )
        made = self.client(aws, inputs).put_secret_value(
            SecretId=inputs["secretId"], **content, **request(inputs, "versionStages")
        )
        return f"{inputs['secretId']}|{made['VersionId']}"

    def change(
        self,
        aws: Aws,
        identifier: str,
        outputs: Mapping[str, Any],
        inputs: Mapping[str, Any],
        changed: frozenset[str],
        cancelled: threading.Event,
    ) -> None:
        """Change the labels of the version."""
        client = self.client(aws, inputs)
        version = outputs["versionId"]
        old, new = set(outputs.get("versionStages") or []), set(inputs.get("versionStages") or [])
        for stage in sorted(new - old):
            previous = self._holder(client, inputs["secretId"], stage)
            client.update_secret_version_stage(
                SecretId=inputs["secretId"],
                VersionStage=stage,
                MoveToVersionId=version,
                **({"RemoveFromVersionId": previous} if previous else {}),
            )
        self._take_off(client, outputs, old - new)

    @staticmethod
    def _holder(client: Any, secret: str, stage: str) -> str:
        versions = client.describe_secret(SecretId=secret).get("VersionIdsToStages", {})
        return next((version for version, stages in versions.items() if stage in stages), "")

    @staticmethod
    def _take_off(client: Any, outputs: Mapping[str, Any], stages: Iterable[str]) -> None:
        for stage in sorted(set(stages) - {_CURRENT}):  # AWS moves that one only with another version
            client.update_secret_version_stage(
                SecretId=outputs["secretId"], VersionStage=stage, RemoveFromVersionId=outputs["versionId"]
            )

    def facts(self, aws: Aws, identifier: str, recorded: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """The version with what it holds."""
        secret, _, version = identifier.partition("|")
        client = self.client(aws, recorded)
        if client.describe_secret(SecretId=secret).get("DeletedDate"):
            return None
        found = client.get_secret_value(SecretId=secret, VersionId=version)
        binary = found.get("SecretBinary")
        return {
            "arn": found["ARN"],
            "secretArn": found["ARN"],
            "secretBinary": base64.b64encode(binary).decode() if binary else "",
            "secretId": secret,
            "secretString": found.get("SecretString", ""),
            "versionId": version,
            "versionStages": sorted(found.get("VersionStages", [])),
        }

    def remove(self, aws: Aws, identifier: str, outputs: Mapping[str, Any], cancelled: threading.Event) -> None:
        """Take the version's labels off, so that it is forgotten; the current one goes only with its secret."""
        client = self.client(aws, outputs)
        found = client.get_secret_value(SecretId=outputs["secretId"], VersionId=outputs["versionId"])
        self._take_off(client, outputs, set(found.get("VersionStages", [])) & set(outputs.get("versionStages") or []))
