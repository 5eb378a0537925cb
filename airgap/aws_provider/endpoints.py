"""The resource type aws:ec2/vpcEndpoint:VpcEndpoint."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from airgap.aws_provider.connection import Aws, wait_until
from airgap.aws_provider.ec2 import Ec2Resource, tagged_as
from airgap.aws_provider.failures import is_gone
from airgap.aws_provider.limits import json_meaning, policy_refusal
from airgap.aws_provider.resource import REGION, TAGS, answer, only, request
from airgap.aws_provider.tags import tag_map
from airgap.provider_protocol.errors import CheckError
from airgap.provider_protocol.properties import Kind, Property, flag, text

_LISTS = {"routeTableIds": "RouteTableIds", "securityGroupIds": "SecurityGroupIds", "subnetIds": "SubnetIds"}


class VpcEndpoint(Ec2Resource):
    """A way to a service of AWS that does not leave AWS's network."""

    type_name = "aws:ec2/vpcEndpoint:VpcEndpoint"
    kind = "vpc-endpoint"
    properties: ClassVar[Mapping[str, Property]] = {
        "policy": text(computed=True, meaning=json_meaning, refusal=policy_refusal),
        "privateDnsEnabled": flag(computed=True),
        "region": REGION,
        "routeTableIds": Property(Kind.SET, computed=True),
        "securityGroupIds": Property(Kind.SET, computed=True),
        "serviceName": text(required=True, replaces=True),
        "subnetIds": Property(Kind.SET, computed=True),
        "tags": TAGS,
        "vpcEndpointType": text(replaces=True, default="Gateway", choices=frozenset({"Gateway", "Interface"})),
        "vpcId": text(required=True, replaces=True),
    }
    output_only: ClassVar[Mapping[str, Any]] = dict.fromkeys(
        (
            "arn",
            "cidrBlocks",
            "dnsEntries",
            "networkInterfaceIds",
            "ownerId",
            "prefixListId",
            "requesterManaged",
            "state",
            "tagsAll",
        )
    )

    def refusals(self, inputs: Mapping[str, Any]) -> Iterator[CheckError]:
        """A gateway lies in route tables, an interface in subnets."""
        gateway = inputs["vpcEndpointType"] == "Gateway"
        for name in ("securityGroupIds", "subnetIds", "privateDnsEnabled") if gateway else ("routeTableIds",):
            if inputs.get(name):
                yield CheckError(name, f"{self.type_name}: a {inputs['vpcEndpointType']} endpoint has no {name}")

    def make(self, aws: Aws, inputs: Mapping[str, Any], cancelled: threading.Event) -> str:
        """Make the endpoint."""
        made = self.client(aws, inputs).create_vpc_endpoint(
            **request(inputs, "vpcId", "serviceName", "vpcEndpointType", "privateDnsEnabled", policy="PolicyDocument"),
            **request(inputs, **_LISTS),
            **tagged_as("vpc-endpoint", inputs),
        )
        return str(made["VpcEndpoint"]["VpcEndpointId"])

    def set_up(self, aws: Aws, identifier: str, inputs: Mapping[str, Any], cancelled: threading.Event) -> None:
        """Wait until it works."""
        client = self.client(aws, inputs)
        wait_until(
            lambda: str(self._found(client, identifier)["State"]).lower() == "available",
            f"{identifier} is available",
            cancelled,
        )

    @staticmethod
    def _found(client: Any, identifier: str) -> Any:
        return only(client.describe_vpc_endpoints(VpcEndpointIds=[identifier])["VpcEndpoints"])

    def change(
        self,
        aws: Aws,
        identifier: str,
        outputs: Mapping[str, Any],
        inputs: Mapping[str, Any],
        changed: frozenset[str],
        cancelled: threading.Event,
    ) -> None:
        """Change where the endpoint lies and what it lets through."""
        arguments = request({name: inputs.get(name) for name in changed}, "privateDnsEnabled", policy="PolicyDocument")
        for name, ending in _LISTS.items():
            old, new = set(outputs.get(name) or []), set(inputs.get(name) or [])
            if name in changed and new - old:
                arguments[f"Add{ending}"] = sorted(new - old)
            if name in changed and old - new:
                arguments[f"Remove{ending}"] = sorted(old - new)
        if arguments:
            self.client(aws, inputs).modify_vpc_endpoint(VpcEndpointId=identifier, **arguments)

    def facts(self, aws: Aws, identifier: str, recorded: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """The endpoint."""
        client = self.client(aws, recorded)
        found = self._found(client, identifier)
        if found is None or str(found["State"]).lower() in ("deleting", "deleted"):
            return None
        prefixes = _prefix_list(client, found["ServiceName"]) if found["VpcEndpointType"] == "Gateway" else {}
        return {
            **answer(found, "serviceName", "vpcEndpointType", "vpcId", "ownerId", "requesterManaged", "state"),
            "arn": self.arn(aws, identifier, recorded, found.get("OwnerId", "")),
            "cidrBlocks": prefixes.get("Cidrs", []),
            "dnsEntries": [answer(entry, "dnsName", "hostedZoneId") for entry in found.get("DnsEntries", [])],
            "networkInterfaceIds": sorted(found.get("NetworkInterfaceIds", [])),
            "policy": found.get("PolicyDocument"),
            "prefixListId": prefixes.get("PrefixListId"),
            "privateDnsEnabled": found.get("PrivateDnsEnabled", False),
            "routeTableIds": sorted(found.get("RouteTableIds", [])),
            "securityGroupIds": sorted(group["GroupId"] for group in found.get("Groups", [])),
            "subnetIds": sorted(found.get("SubnetIds", [])),
            "tags": tag_map(found.get("Tags")),
        }

    def remove(self, aws: Aws, identifier: str, outputs: Mapping[str, Any], cancelled: threading.Event) -> None:
        """Remove the endpoint and wait until its network interfaces are gone."""
        client = self.client(aws, outputs)
        client.delete_vpc_endpoints(VpcEndpointIds=[identifier])
        wait_until(lambda: self._is_gone(client, identifier), f"{identifier} is deleted", cancelled)

    def _is_gone(self, client: Any, identifier: str) -> bool:
        try:
            found = self._found(client, identifier)
        except Exception as failure:
            if is_gone(failure):
                return True
            raise
        return found is None or str(found["State"]).lower() == "deleted"


def _prefix_list(client: Any, service: str) -> Mapping[str, Any]:
    """The list of a service's addresses, by which rules can name it."""
    pages = client.get_paginator("describe_prefix_lists").paginate()
    lists = [one for page in pages for one in page["PrefixLists"] if one["PrefixListName"] == service]
    return only(lists) or {}
