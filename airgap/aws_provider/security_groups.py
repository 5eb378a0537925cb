"""Security groups and their rules."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from airgap.aws_provider.connection import Aws
from airgap.aws_provider.ec2 import Ec2Resource, remove_when_free, tagged_as
from airgap.aws_provider.limits import cidr_refusal, cidr_v6_refusal, port_range_refusal
from airgap.aws_provider.resource import REGION, TAGS, answer, only, request
from airgap.aws_provider.tags import tag_map
from airgap.provider_protocol.errors import CheckError, ProviderError
from airgap.provider_protocol.properties import Kind, Property, flag, number, text
from airgap.provider_protocol.wire import has_unknown

_INLINE_RULE_FIELDS = {
    "cidrBlocks": Property(Kind.SET, refusal=cidr_refusal),
    "description": text(),
    "fromPort": number(required=True),
    "ipv6CidrBlocks": Property(Kind.SET, refusal=cidr_v6_refusal),
    "prefixListIds": Property(Kind.SET),
    "protocol": text(required=True),
    "securityGroups": Property(Kind.SET),
    "self": flag(),
    "toPort": number(required=True),
}
_DIRECTIONS = {"ingress": "IpPermissions", "egress": "IpPermissionsEgress"}
_SOURCES = ("cidrIpv4", "cidrIpv6", "prefixListId", "referencedSecurityGroupId")


def _group_name_refusal(value: str) -> str:
    if value.startswith("sg-"):
        return "must not begin with sg-, as ids of security groups do"
    return "" if re.fullmatch(r"[\w .:/()#,@\[\]+=&;{}!$*-]{1,255}", value) else "has characters that AWS refuses"


def _description_refusal(value: str) -> str:
    return "" if re.fullmatch(r"[\w .:/()#,@\[\]+=&;{}!$*-]{0,255}", value) else "has characters that AWS refuses"


class SecurityGroup(Ec2Resource):
    """Which connections instances may have. A new one allows nothing, neither in nor out, as with the vendor.

    Rules given inline are the whole of the group's rules; without any, rules are resources of their own.
    """

    type_name = "aws:ec2/securityGroup:SecurityGroup"
    kind = "security-group"
    name_property = "name"
    properties: ClassVar[Mapping[str, Property]] = {
        "description": text(replaces=True, default="Managed by Pulumi", refusal=_description_refusal),
        "egress": Property(Kind.OBJECTS, computed=True, fields=_INLINE_RULE_FIELDS),
        "ingress": Property(Kind.OBJECTS, computed=True, fields=_INLINE_RULE_FIELDS),
        "name": text(replaces=True, refusal=_group_name_refusal),
        "region": REGION,
        "revokeRulesOnDelete": flag(default=False),
        "tags": TAGS,
        "vpcId": text(replaces=True, computed=True),
    }
    output_only: ClassVar[Mapping[str, Any]] = dict.fromkeys(("arn", "ownerId", "tagsAll"))

    def refusals(self, inputs: Mapping[str, Any]) -> Iterator[CheckError]:
        """The ports of inline rules."""
        for direction in _DIRECTIONS:
            rules = inputs.get(direction)
            for index, rule in enumerate(rules if isinstance(rules, list) else []):
                if not has_unknown([rule["protocol"], rule["fromPort"], rule["toPort"]]):
                    reason = port_range_refusal(rule["protocol"], rule["fromPort"], rule["toPort"])
                    if reason:
                        yield CheckError(f"{direction}[{index}]", f"{self.type_name}: {direction}[{index}]: {reason}")

    def make(self, aws: Aws, inputs: Mapping[str, Any], cancelled: threading.Event) -> str:
        """Make the group."""
        made = self.client(aws, inputs).create_security_group(
            **request(inputs, "description", "vpcId", name="GroupName"), **tagged_as("security-group", inputs)
        )
        return str(made["GroupId"])

    def set_up(self, aws: Aws, identifier: str, inputs: Mapping[str, Any], cancelled: threading.Event) -> None:
        """Take away the rule by which AWS allows everything out, and put the inline rules in."""
        client = self.client(aws, inputs)
        for direction in _DIRECTIONS:
            set_rules(client, identifier, direction, inputs.get(direction) or [])

    def change(
        self,
        aws: Aws,
        identifier: str,
        outputs: Mapping[str, Any],
        inputs: Mapping[str, Any],
        changed: frozenset[str],
        cancelled: threading.Event,
    ) -> None:
        """Replace the inline rules that changed."""
        client = self.client(aws, inputs)
        for direction in changed & _DIRECTIONS.keys():
            set_rules(client, identifier, direction, inputs.get(direction) or [])

    def facts(self, aws: Aws, identifier: str, recorded: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """The group. Its rules are read only where the program gave some inline."""
        found = find_group(self.client(aws, recorded), identifier)
        if found is None:
            return None
        rules = {direction: read_rules(found, direction) for direction in _DIRECTIONS if recorded.get(direction)}
        return {
            **answer(found, "description", "ownerId", "vpcId", name="GroupName"),
            **rules,
            "arn": self.arn(aws, identifier, recorded, found.get("OwnerId", "")),
            "tags": tag_map(found.get("Tags")),
        }

    def remove(self, aws: Aws, identifier: str, outputs: Mapping[str, Any], cancelled: threading.Event) -> None:
        """Remove the group once nothing is in it and no rule of another group names it."""
        client = self.client(aws, outputs)
        if outputs.get("revokeRulesOnDelete"):
            for direction in _DIRECTIONS:
                set_rules(client, identifier, direction, [])
        remove_when_free(lambda: client.delete_security_group(GroupId=identifier), identifier, cancelled)


class DefaultSecurityGroup(Ec2Resource):
    """The group that AWS makes with each VPC, taken over: it has the given rules and no others."""

    type_name = "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup"
    kind = "security-group"
    properties: ClassVar[Mapping[str, Property]] = {
        "egress": Property(Kind.OBJECTS, fields=_INLINE_RULE_FIELDS),
        "ingress": Property(Kind.OBJECTS, fields=_INLINE_RULE_FIELDS),
        "region": REGION,
        "revokeRulesOnDelete": flag(default=False),
        "tags": TAGS,
        "vpcId": text(replaces=True, computed=True),
    }
    output_only: ClassVar[Mapping[str, Any]] = dict.fromkeys(("arn", "description", "name", "ownerId", "tagsAll"))

    def make(self, aws: Aws, inputs: Mapping[str, Any], cancelled: threading.Event) -> str:
        """Find the group and give it its tags."""
        filters = [{"Name": "group-name", "Values": ["default"]}]
        if inputs.get("vpcId"):
            filters.append({"Name": "vpc-id", "Values": [inputs["vpcId"]]})
        found = only(self.client(aws, inputs).describe_security_groups(Filters=filters)["SecurityGroups"])
        if found is None:
            raise ProviderError(f"{self.type_name}: the VPC {inputs.get('vpcId', '')} has no group named default")
        identifier = str(found["GroupId"])
        self.retag(aws, identifier, inputs, inputs.get("tags") or {}, [])
        return identifier

    def set_up(self, aws: Aws, identifier: str, inputs: Mapping[str, Any], cancelled: threading.Event) -> None:
        """Give it its rules."""
        client = self.client(aws, inputs)
        for direction in _DIRECTIONS:
            set_rules(client, identifier, direction, inputs.get(direction) or [])

    def change(
        self,
        aws: Aws,
        identifier: str,
        outputs: Mapping[str, Any],
        inputs: Mapping[str, Any],
        changed: frozenset[str],
        cancelled: threading.Event,
    ) -> None:
        """Give it other rules."""
        client = self.client(aws, inputs)
        for direction in changed & _DIRECTIONS.keys():
            set_rules(client, identifier, direction, inputs.get(direction) or [])

    def facts(self, aws: Aws, identifier: str, recorded: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """The group."""
        found = find_group(self.client(aws, recorded), identifier)
        if found is None:
            return None
        return {
            **answer(found, "description", "ownerId", "vpcId", name="GroupName"),
            **{direction: read_rules(found, direction) for direction in _DIRECTIONS},
            "arn": self.arn(aws, identifier, recorded, found.get("OwnerId", "")),
            "tags": tag_map(found.get("Tags")),
        }

    def remove(self, aws: Aws, identifier: str, outputs: Mapping[str, Any], cancelled: threading.Event) -> None:
        """Leave it: it goes with its VPC."""


def find_group(client: Any, identifier: str) -> Any:
    """A security group as EC2 describes it."""
    return only(client.describe_security_groups(GroupIds=[identifier])["SecurityGroups"])


def set_rules(client: Any, identifier: str, direction: str, rules: list[Mapping[str, Any]]) -> None:
    """Make a group's rules of one direction exactly these."""
    present = find_group(client, identifier)[_DIRECTIONS[direction]]
    if present:
        revoke = client.revoke_security_group_ingress if direction == "ingress" else client.revoke_security_group_egress
        revoke(GroupId=identifier, IpPermissions=present)
    if rules:
        authorize = (
            client.authorize_security_group_ingress
            if direction == "ingress"
            else client.authorize_security_group_egress
        )
        authorize(GroupId=identifier, IpPermissions=[_permission(rule, identifier) for rule in rules])


def _permission(rule: Mapping[str, Any], group: str) -> dict[str, Any]:
    """An inline rule as EC2 takes it."""
    named = {"Description": rule["description"]} if rule.get("description") else {}
    groups = [*(rule.get("securityGroups") or []), *([group] if rule.get("self") else [])]
    permission: dict[str, Any] = {
        "IpProtocol": rule["protocol"],
        "IpRanges": [{"CidrIp": cidr, **named} for cidr in rule.get("cidrBlocks") or []],
        "Ipv6Ranges": [{"CidrIpv6": cidr, **named} for cidr in rule.get("ipv6CidrBlocks") or []],
        "PrefixListIds": [{"PrefixListId": name, **named} for name in rule.get("prefixListIds") or []],
        "UserIdGroupPairs": [{"GroupId": name, **named} for name in groups],
    }
    if rule["protocol"] != "-1":
        permission |= {"FromPort": rule["fromPort"], "ToPort": rule["toPort"]}
    return {name: value for name, value in permission.items() if value != []}


def read_rules(group: Mapping[str, Any], direction: str) -> list[dict[str, Any]]:
    """A group's rules as inline rules: one for each protocol, range of ports and description."""
    rules: dict[tuple[Any, ...], dict[str, Any]] = {}
    for permission in group[_DIRECTIONS[direction]]:
        ports = (permission.get("FromPort", 0), permission.get("ToPort", 0))
        for key, entry_name, name in (
            ("IpRanges", "CidrIp", "cidrBlocks"),
            ("Ipv6Ranges", "CidrIpv6", "ipv6CidrBlocks"),
            ("PrefixListIds", "PrefixListId", "prefixListIds"),
            ("UserIdGroupPairs", "GroupId", "securityGroups"),
        ):
            for entry in permission.get(key, []):
                described = entry.get("Description", "")
                rule = rules.setdefault(
                    (permission["IpProtocol"], ports, described),
                    {
                        **{field: [] for field, inner in _INLINE_RULE_FIELDS.items() if inner.kind is Kind.SET},
                        "description": described,
                        "fromPort": ports[0],
                        "protocol": permission["IpProtocol"],
                        "self": False,
                        "toPort": ports[1],
                    },
                )
                if name == "securityGroups" and entry[entry_name] == group["GroupId"]:
                    rule["self"] = True
                else:
                    rule[name] = sorted([*rule[name], entry[entry_name]])
    return list(rules.values())


class _SecurityGroupRule(Ec2Resource):
    """One rule of a group. Everything but its group changes in place."""

    kind = "security-group-rule"
    is_egress: ClassVar[bool]
    properties: ClassVar[Mapping[str, Property]] = {
        "cidrIpv4": text(refusal=cidr_refusal),
        "cidrIpv6": text(refusal=cidr_v6_refusal),
        "description": text(refusal=_description_refusal),
        "fromPort": number(),
        "ipProtocol": text(required=True),
        "prefixListId": text(),
        "referencedSecurityGroupId": text(),
        "region": REGION,
        "securityGroupId": text(required=True, replaces=True),
        "tags": TAGS,
        "toPort": number(),
    }
    output_only: ClassVar[Mapping[str, Any]] = dict.fromkeys(("arn", "securityGroupRuleId", "tagsAll"))

    def refusals(self, inputs: Mapping[str, Any]) -> Iterator[CheckError]:
        """A rule has one source or destination, and ports that make sense."""
        if sum(inputs.get(source) is not None for source in _SOURCES) != 1:
            yield CheckError("cidrIpv4", f"{self.type_name}: exactly one of {', '.join(_SOURCES)} must be given")
        said = [inputs["ipProtocol"], inputs.get("fromPort"), inputs.get("toPort")]
        if not has_unknown(said) and (reason := port_range_refusal(*said)):
            yield CheckError("fromPort", f"{self.type_name}: {reason}")

    def make(self, aws: Aws, inputs: Mapping[str, Any], cancelled: threading.Event) -> str:
        """Make the rule."""
        client = self.client(aws, inputs)
        authorize = (
            client.authorize_security_group_egress if self.is_egress else client.authorize_security_group_ingress
        )
        made = authorize(
            GroupId=inputs["securityGroupId"],
            IpPermissions=[_single_permission(inputs)],
            **tagged_as("security-group-rule", inputs),
        )
        return str(made["SecurityGroupRules"][0]["SecurityGroupRuleId"])

    def change(
        self,
        aws: Aws,
        identifier: str,
        outputs: Mapping[str, Any],
        inputs: Mapping[str, Any],
        changed: frozenset[str],
        cancelled: threading.Event,
    ) -> None:
        """Change the rule."""
        if not changed:
            return
        rule = request(
            inputs, "ipProtocol", "fromPort", "toPort", "cidrIpv4", "cidrIpv6", "description", "prefixListId",
            referencedSecurityGroupId="ReferencedGroupId",
        )  # fmt: skip
        self.client(aws, inputs).modify_security_group_rules(
            GroupId=inputs["securityGroupId"],
            SecurityGroupRules=[{"SecurityGroupRuleId": identifier, "SecurityGroupRule": rule}],
        )

    def facts(self, aws: Aws, identifier: str, recorded: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """The rule."""
        found = self._found(self.client(aws, recorded), identifier)
        if found is None:
            return None
        all_ports = found["IpProtocol"] == "-1"
        return {
            **answer(found, "ipProtocol", "cidrIpv4", "cidrIpv6", "prefixListId"),
            **answer(found, securityGroupId="GroupId"),
            "arn": self.arn(aws, identifier, recorded),
            # moto forgets what a rule for a prefix list or a group is described as.
            "description": found.get("Description")
            or (None if _peer_is_a_range(found) else recorded.get("description")),
            "fromPort": recorded.get("fromPort") if all_ports else found.get("FromPort"),
            "referencedSecurityGroupId": found.get("ReferencedGroupInfo", {}).get("GroupId"),
            "securityGroupRuleId": identifier,
            "tags": tag_map(found.get("Tags")),
            "toPort": recorded.get("toPort") if all_ports else found.get("ToPort"),
        }

    @staticmethod
    def _found(client: Any, identifier: str) -> Any:
        return only(client.describe_security_group_rules(SecurityGroupRuleIds=[identifier])["SecurityGroupRules"])

    def remove(self, aws: Aws, identifier: str, outputs: Mapping[str, Any], cancelled: threading.Event) -> None:
        """Remove the rule."""
        client = self.client(aws, outputs)
        revoke = client.revoke_security_group_egress if self.is_egress else client.revoke_security_group_ingress
        revoke(GroupId=outputs["securityGroupId"], SecurityGroupRuleIds=[identifier])


def _single_permission(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """A rule of its own as EC2 takes it when it makes one."""
    permission = request(inputs, "ipProtocol", "fromPort", "toPort")
    for source, key, entry in (
        ("cidrIpv4", "IpRanges", "CidrIp"),
        ("cidrIpv6", "Ipv6Ranges", "CidrIpv6"),
        ("prefixListId", "PrefixListIds", "PrefixListId"),
        ("referencedSecurityGroupId", "UserIdGroupPairs", "GroupId"),
    ):
        if inputs.get(source) is not None:
            permission[key] = [{entry: inputs[source], **request(inputs, "description")}]
    return permission


class SecurityGroupIngressRule(_SecurityGroupRule):
    """A rule for connections to the members of a group."""

    type_name = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"
    is_egress = False


class SecurityGroupEgressRule(_SecurityGroupRule):
    """A rule for connections from the members of a group."""

    type_name = "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule"
    is_egress = True


def _peer_is_a_range(rule: Mapping[str, Any]) -> bool:
    return "CidrIpv4" in rule or "CidrIpv6" in rule
