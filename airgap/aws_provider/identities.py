"""IAM: roles, their policies, and the profiles by which instances get them."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from typing import Any, ClassVar
from urllib.parse import unquote

from airgap.aws_provider.connection import Aws
from airgap.aws_provider.limits import identity_policy_refusal, json_meaning, trust_policy_refusal
from airgap.aws_provider.resource import TAGS, AwsResource, answer, request
from airgap.aws_provider.tags import tag_list, tag_map
from airgap.provider_protocol.properties import Property, flag, number, text

_NAME = r"[\w+=,.@-]{1,128}"
_PATH = r"/|/[!-~]+/"


def _document(policy: Any) -> str:
    """A policy as text: boto3 decodes some, some services answer them quoted."""
    return (
        json.dumps(policy) if isinstance(policy, dict) else unquote(str(policy)) if str(policy)[:1] == "%" else policy
    )


def _tag_arguments(inputs: Mapping[str, Any]) -> dict[str, Any]:
    return {"Tags": tag_list(inputs["tags"])} if inputs.get("tags") else {}


class Role(AwsResource):
    """What a service or a person may become. Its policies are resources of their own."""

    type_name = "aws:iam/role:Role"
    service = "iam"
    name_property = "name"
    longest_name = 64
    properties: ClassVar[Mapping[str, Property]] = {
        "assumeRolePolicy": text(required=True, meaning=json_meaning, refusal=trust_policy_refusal),
        "description": text(),
        "forceDetachPolicies": flag(default=False),
        "maxSessionDuration": number(default=3600, minimum=3600, maximum=43200),
        "name": text(replaces=True, pattern=r"[\w+=,.@-]{1,64}"),
        "path": text(replaces=True, default="/", pattern=_PATH),
        "permissionsBoundary": text(),
        "tags": TAGS,
    }
    output_only: ClassVar[Mapping[str, Any]] = dict.fromkeys(("arn", "createDate", "tagsAll", "uniqueId"))

    def make(self, aws: Aws, inputs: Mapping[str, Any], cancelled: threading.Event) -> str:
        """Make the role."""
        made = self.client(aws, inputs).create_role(
            **request(inputs, "description", "maxSessionDuration", "path", "permissionsBoundary", name="RoleName"),
            AssumeRolePolicyDocument=inputs["assumeRolePolicy"],
            **_tag_arguments(inputs),
        )
        return str(made["Role"]["RoleName"])

    def retag(
        self, aws: Aws, identifier: str, outputs: Mapping[str, Any], put: Mapping[str, str], remove: list[str]
    ) -> None:
        """Put tags on the role and take others off."""
        client = self.client(aws, outputs)
        if remove:
            client.untag_role(RoleName=identifier, TagKeys=remove)
        if put:
            client.tag_role(RoleName=identifier, Tags=tag_list(put))

    def change(
        self,
        aws: Aws,
        identifier: str,
        outputs: Mapping[str, Any],
        inputs: Mapping[str, Any],
        changed: frozenset[str],
        cancelled: threading.Event,
    ) -> None:
        """Change who may assume the role, and its limits."""
        client = self.client(aws, inputs)
        if "assumeRolePolicy" in changed:
            client.update_assume_role_policy(RoleName=identifier, PolicyDocument=inputs["assumeRolePolicy"])
        if {"description", "maxSessionDuration"} & changed:
            client.update_role(
                RoleName=identifier,
                Description=inputs.get("description") or "",
                MaxSessionDuration=inputs["maxSessionDuration"],
            )
        if "permissionsBoundary" in changed and inputs.get("permissionsBoundary"):
            client.put_role_permissions_boundary(RoleName=identifier, PermissionsBoundary=inputs["permissionsBoundary"])
        elif "permissionsBoundary" in changed:
            client.delete_role_permissions_boundary(RoleName=identifier)

    def facts(self, aws: Aws, identifier: str, recorded: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """The role."""
        found = self.client(aws, recorded).get_role(RoleName=identifier)["Role"]
        return {
            **answer(found, "arn", "path", name="RoleName", uniqueId="RoleId"),
            "assumeRolePolicy": _document(found["AssumeRolePolicyDocument"]),
            "createDate": found["CreateDate"].isoformat(),
            "description": found.get("Description", ""),
            "maxSessionDuration": found.get("MaxSessionDuration", 3600),
            "permissionsBoundary": found.get("PermissionsBoundary", {}).get("PermissionsBoundaryArn", ""),
            "tags": tag_map(found.get("Tags")),
        }

    def remove(self, aws: Aws, identifier: str, outputs: Mapping[str, Any], cancelled: threading.Event) -> None:
        """Remove the role; policies that others gave it are taken off only with `forceDetachPolicies`."""
        client = self.client(aws, outputs)
        if outputs.get("forceDetachPolicies"):
            for attached in client.list_attached_role_policies(RoleName=identifier)["AttachedPolicies"]:
                client.detach_role_policy(RoleName=identifier, PolicyArn=attached["PolicyArn"])
            for name in client.list_role_policies(RoleName=identifier)["PolicyNames"]:
                client.delete_role_policy(RoleName=identifier, PolicyName=name)
        client.delete_role(RoleName=identifier)


class RolePolicy(AwsResource):
    """A policy that belongs to one role."""

    type_name = "aws:iam/rolePolicy:RolePolicy"
    service = "iam"
    name_property = "name"
    longest_name = 128
    properties: ClassVar[Mapping[str, Property]] = {
        "name": text(replaces=True, pattern=_NAME),
        "policy": text(required=True, meaning=json_meaning, refusal=identity_policy_refusal),
        "role": text(required=True, replaces=True),
    }

    def make(self, aws: Aws, inputs: Mapping[str, Any], cancelled: threading.Event) -> str:
        """Give the role the policy."""
        self._put(aws, inputs)
        return f"{inputs['role']}:{inputs['name']}"

    def change(
        self,
        aws: Aws,
        identifier: str,
        outputs: Mapping[str, Any],
        inputs: Mapping[str, Any],
        changed: frozenset[str],
        cancelled: threading.Event,
    ) -> None:
        """Change the policy."""
        self._put(aws, inputs)

    def _put(self, aws: Aws, inputs: Mapping[str, Any]) -> None:
        self.client(aws, inputs).put_role_policy(
            RoleName=inputs["role"], PolicyName=inputs["name"], PolicyDocument=inputs["policy"]
        )

    def facts(self, aws: Aws, identifier: str, recorded: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """The policy."""
        role, _, name = identifier.partition(":")
        found = self.client(aws, recorded).get_role_policy(RoleName=role, PolicyName=name)
        return {"name": name, "policy": _document(found["PolicyDocument"]), "role": role}

    def remove(self, aws: Aws, identifier: str, outputs: Mapping[str, Any], cancelled: threading.Event) -> None:
        """Take the policy away."""
        role, _, name = identifier.partition(":")
        self.client(aws, outputs).delete_role_policy(RoleName=role, PolicyName=name)


class RolePolicyAttachment(AwsResource):
    """Gives a role a policy that exists on its own."""

    type_name = "aws:iam/rolePolicyAttachment:RolePolicyAttachment"
    service = "iam"
    deletes_before_replacing = True
    properties: ClassVar[Mapping[str, Property]] = {
        "policyArn": text(required=True, replaces=True, pattern=r"arn:[\w-]+:iam::(aws|\d{12}):policy/.+"),
        "role": text(required=True, replaces=True),
    }

    def make(self, aws: Aws, inputs: Mapping[str, Any], cancelled: threading.Event) -> str:
        """Attach the policy."""
        self.client(aws, inputs).attach_role_policy(RoleName=inputs["role"], PolicyArn=inputs["policyArn"])
        return f"{inputs['role']}/{inputs['policyArn']}"

    def facts(self, aws: Aws, identifier: str, recorded: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """The attachment."""
        role, _, policy = identifier.partition("/")
        pages = self.client(aws, recorded).get_paginator("list_attached_role_policies").paginate(RoleName=role)
        attached = {one["PolicyArn"] for page in pages for one in page["AttachedPolicies"]}
        return {"policyArn": policy, "role": role} if policy in attached else None

    def remove(self, aws: Aws, identifier: str, outputs: Mapping[str, Any], cancelled: threading.Event) -> None:
        """Detach the policy."""
        role, _, policy = identifier.partition("/")
        self.client(aws, outputs).detach_role_policy(RoleName=role, PolicyArn=policy)


class InstanceProfile(AwsResource):
    """Hands a role to instances."""

    type_name = "aws:iam/instanceProfile:InstanceProfile"
    service = "iam"
    name_property = "name"
    longest_name = 128
    properties: ClassVar[Mapping[str, Property]] = {
        "name": text(replaces=True, pattern=_NAME),
        "path": text(replaces=True, default="/", pattern=_PATH),
        "role": text(),
        "tags": TAGS,
    }
    output_only: ClassVar[Mapping[str, Any]] = dict.fromkeys(("arn", "createDate", "tagsAll", "uniqueId"))

    def make(self, aws: Aws, inputs: Mapping[str, Any], cancelled: threading.Event) -> str:
        """Make the profile."""
        made = self.client(aws, inputs).create_instance_profile(
            InstanceProfileName=inputs["name"], Path=inputs["path"], **_tag_arguments(inputs)
        )
        return str(made["InstanceProfile"]["InstanceProfileName"])

    def set_up(self, aws: Aws, identifier: str, inputs: Mapping[str, Any], cancelled: threading.Event) -> None:
        """Put the role in."""
        if inputs.get("role"):
            self.client(aws, inputs).add_role_to_instance_profile(
                InstanceProfileName=identifier, RoleName=inputs["role"]
            )

    def retag(
        self, aws: Aws, identifier: str, outputs: Mapping[str, Any], put: Mapping[str, str], remove: list[str]
    ) -> None:
        """Put tags on the profile and take others off."""
        client = self.client(aws, outputs)
        if remove:
            client.untag_instance_profile(InstanceProfileName=identifier, TagKeys=remove)
        if put:
            client.tag_instance_profile(InstanceProfileName=identifier, Tags=tag_list(put))

    def change(
        self,
        aws: Aws,
        identifier: str,
        outputs: Mapping[str, Any],
        inputs: Mapping[str, Any],
        changed: frozenset[str],
        cancelled: threading.Event,
    ) -> None:
        """Put another role in."""
        if "role" in changed:
            self._empty(self.client(aws, outputs), identifier)
            self.set_up(aws, identifier, inputs, cancelled)

    @staticmethod
    def _empty(client: Any, identifier: str) -> None:
        for role in client.get_instance_profile(InstanceProfileName=identifier)["InstanceProfile"]["Roles"]:
            client.remove_role_from_instance_profile(InstanceProfileName=identifier, RoleName=role["RoleName"])

    def facts(self, aws: Aws, identifier: str, recorded: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """The profile."""
        found = self.client(aws, recorded).get_instance_profile(InstanceProfileName=identifier)["InstanceProfile"]
        roles = found.get("Roles", [])
        return {
            **answer(found, "arn", "path", name="InstanceProfileName", uniqueId="InstanceProfileId"),
            "createDate": found["CreateDate"].isoformat(),
            "role": roles[0]["RoleName"] if roles else "",
            "tags": tag_map(found.get("Tags")),
        }

    def remove(self, aws: Aws, identifier: str, outputs: Mapping[str, Any], cancelled: threading.Event) -> None:
        """Take the role out and remove the profile."""
        client = self.client(aws, outputs)
        self._empty(client, identifier)
        client.delete_instance_profile(InstanceProfileName=identifier)
