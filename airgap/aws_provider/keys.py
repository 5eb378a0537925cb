"""KMS: keys and their aliases."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any, ClassVar

from airgap.aws_provider.connection import Aws
from airgap.aws_provider.limits import json_meaning, resource_policy_refusal
from airgap.aws_provider.resource import REGION, TAGS, AwsResource, answer, request
from airgap.aws_provider.tags import tag_list, tag_map
from airgap.provider_protocol.properties import Property, flag, number, text

_LONGEST_WINDOW_DAYS = 30


class Key(AwsResource):
    """A key. It is not deleted at once, but after some days."""

    type_name = "aws:kms/key:Key"
    service = "kms"
    properties: ClassVar[Mapping[str, Property]] = {
        "customerMasterKeySpec": text(
            replaces=True, default="SYMMETRIC_DEFAULT", choices=frozenset({"SYMMETRIC_DEFAULT"})
        ),
        "deletionWindowInDays": number(minimum=7, maximum=_LONGEST_WINDOW_DAYS),
        "description": text(computed=True),
        "enableKeyRotation": flag(default=False),
        "isEnabled": flag(default=True),
        "keyUsage": text(replaces=True, default="ENCRYPT_DECRYPT", choices=frozenset({"ENCRYPT_DECRYPT"})),
        "policy": text(computed=True, meaning=json_meaning, refusal=resource_policy_refusal),
        "region": REGION,
        "tags": TAGS,
    }
    output_only: ClassVar[Mapping[str, Any]] = dict.fromkeys(("arn", "keyId", "tagsAll"))

    def make(self, aws: Aws, inputs: Mapping[str, Any], cancelled: threading.Event) -> str:
        """Make the key."""
        made = self.client(aws, inputs).create_key(
            **request(inputs, "description", "keyUsage", "policy", customerMasterKeySpec="KeySpec"),
            Tags=tag_list(inputs.get("tags"), "TagKey", "TagValue"),
        )
        return str(made["KeyMetadata"]["KeyId"])

    def set_up(self, aws: Aws, identifier: str, inputs: Mapping[str, Any], cancelled: threading.Event) -> None:
        """Set what can be set only afterwards."""
        client = self.client(aws, inputs)
        if inputs["enableKeyRotation"]:
            client.enable_key_rotation(KeyId=identifier)
        if not inputs["isEnabled"]:
            client.disable_key(KeyId=identifier)

    def retag(
        self, aws: Aws, identifier: str, outputs: Mapping[str, Any], put: Mapping[str, str], remove: list[str]
    ) -> None:
        """Put tags on the key and take others off."""
        client = self.client(aws, outputs)
        if remove:
            client.untag_resource(KeyId=identifier, TagKeys=remove)
        if put:
            client.tag_resource(KeyId=identifier, Tags=tag_list(put, "TagKey", "TagValue"))

    def change(
        self,
        aws: Aws,
        identifier: str,
        outputs: Mapping[str, Any],
        inputs: Mapping[str, Any],
        changed: frozenset[str],
        cancelled: threading.Event,
    ) -> None:
        """Change who may use the key, whether it can be used, and its rotation."""
        client = self.client(aws, inputs)
        if "isEnabled" in changed and inputs["isEnabled"]:
            client.enable_key(KeyId=identifier)
        if "description" in changed:
            client.update_key_description(KeyId=identifier, Description=inputs.get("description") or "")
        if "policy" in changed:
            client.put_key_policy(KeyId=identifier, PolicyName="default", Policy=inputs["policy"])
        if "enableKeyRotation" in changed:
            switch = client.enable_key_rotation if inputs["enableKeyRotation"] else client.disable_key_rotation
            switch(KeyId=identifier)
        if "isEnabled" in changed and not inputs["isEnabled"]:
            client.disable_key(KeyId=identifier)

    def facts(self, aws: Aws, identifier: str, recorded: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """The key; one that waits for its deletion is gone."""
        client = self.client(aws, recorded)
        found = client.describe_key(KeyId=identifier)["KeyMetadata"]
        if found["KeyState"] == "PendingDeletion":
            return None
        tags = client.list_resource_tags(KeyId=identifier).get("Tags")
        return {
            **answer(found, "arn", "keyId", "description", "keyUsage", customerMasterKeySpec="KeySpec"),
            "enableKeyRotation": client.get_key_rotation_status(KeyId=identifier)["KeyRotationEnabled"],
            "isEnabled": found["Enabled"],
            "policy": client.get_key_policy(KeyId=identifier, PolicyName="default")["Policy"],
            "tags": tag_map(tags, "TagKey", "TagValue"),
        }

    def remove(self, aws: Aws, identifier: str, outputs: Mapping[str, Any], cancelled: threading.Event) -> None:
        """Have the key deleted after its window of days."""
        self.client(aws, outputs).schedule_key_deletion(
            KeyId=identifier, PendingWindowInDays=outputs.get("deletionWindowInDays") or _LONGEST_WINDOW_DAYS
        )


def _key_id(name: str) -> str:
    """A key's id, however it is named: by its id or its ARN."""
    return name.rpartition("/")[2]


class Alias(AwsResource):
    """A name of a key."""

    type_name = "aws:kms/alias:Alias"
    service = "kms"
    name_property = "name"
    longest_name = 250
    properties: ClassVar[Mapping[str, Property]] = {
        "name": text(replaces=True, pattern=r"alias/(?!aws/)[\w/-]{1,250}"),
        "region": REGION,
        "targetKeyId": text(required=True, meaning=_key_id),
    }
    output_only: ClassVar[Mapping[str, Any]] = dict.fromkeys(("arn", "targetKeyArn"))

    def fit_name(self, name: str) -> str:
        """Names of keys begin so."""
        return f"alias/{name}"

    def make(self, aws: Aws, inputs: Mapping[str, Any], cancelled: threading.Event) -> str:
        """Make the alias."""
        self.client(aws, inputs).create_alias(AliasName=inputs["name"], TargetKeyId=inputs["targetKeyId"])
        return str(inputs["name"])

    def change(
        self,
        aws: Aws,
        identifier: str,
        outputs: Mapping[str, Any],
        inputs: Mapping[str, Any],
        changed: frozenset[str],
        cancelled: threading.Event,
    ) -> None:
        """Let the alias mean another key."""
        if "targetKeyId" in changed:
            self.client(aws, inputs).update_alias(AliasName=identifier, TargetKeyId=inputs["targetKeyId"])

    def facts(self, aws: Aws, identifier: str, recorded: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """The alias."""
        client = self.client(aws, recorded)
        pages = client.get_paginator("list_aliases").paginate()
        for alias in (one for page in pages for one in page["Aliases"]):
            if alias["AliasName"] == identifier:
                return {
                    "arn": alias["AliasArn"],
                    "name": identifier,
                    "targetKeyArn": client.describe_key(KeyId=alias["TargetKeyId"])["KeyMetadata"]["Arn"],
                    "targetKeyId": alias["TargetKeyId"],
                }
        return None

    def remove(self, aws: Aws, identifier: str, outputs: Mapping[str, Any], cancelled: threading.Event) -> None:
        """Remove the alias; the key stays."""
        self.client(aws, outputs).delete_alias(AliasName=identifier)
