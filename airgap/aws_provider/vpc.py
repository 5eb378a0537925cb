"""VPCs, subnets, and the gateways by which a VPC reaches the internet."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from airgap.aws_provider.connection import Aws, wait_until
from airgap.aws_provider.ec2 import Ec2Resource, remove_when_free, tagged_as
from airgap.aws_provider.limits import network_size_refusal
from airgap.aws_provider.resource import REGION, TAGS, answer, only, request
from airgap.aws_provider.tags import tag_map
from airgap.provider_protocol.errors import CheckError
from airgap.provider_protocol.properties import Property, flag, text


class Vpc(Ec2Resource):
    """A network of one's own."""

    type_name = "aws:ec2/vpc:Vpc"
    kind = "vpc"
    properties: ClassVar[Mapping[str, Property]] = {
        "cidrBlock": text(required=True, replaces=True, refusal=network_size_refusal),
        "enableDnsHostnames": flag(computed=True),
        "enableDnsSupport": flag(default=True),
        "instanceTenancy": text(default="default", choices=frozenset({"default", "dedicated"})),
        "region": REGION,
        "tags": TAGS,
    }
    output_only: ClassVar[Mapping[str, Any]] = dict.fromkeys(
        (
            "arn",
            "defaultNetworkAclId",
            "defaultRouteTableId",
            "defaultSecurityGroupId",
            "dhcpOptionsId",
            "mainRouteTableId",
            "ownerId",
            "tagsAll",
        )
    )

    def make(self, aws: Aws, inputs: Mapping[str, Any], cancelled: threading.Event) -> str:
        """Make the VPC."""
        made = self.client(aws, inputs).create_vpc(
            **request(inputs, "cidrBlock", "instanceTenancy"), **tagged_as("vpc", inputs)
        )
        return str(made["Vpc"]["VpcId"])

    def set_up(self, aws: Aws, identifier: str, inputs: Mapping[str, Any], cancelled: threading.Event) -> None:
        """Wait for it and set what can be set only afterwards."""
        client = self.client(aws, inputs)
        wait_until(
            lambda: client.describe_vpcs(VpcIds=[identifier])["Vpcs"][0]["State"] == "available",
            f"{identifier} is available",
            cancelled,
        )
        self._set_dns(client, identifier, inputs)

    def change(
        self,
        aws: Aws,
        identifier: str,
        outputs: Mapping[str, Any],
        inputs: Mapping[str, Any],
        changed: frozenset[str],
        cancelled: threading.Event,
    ) -> None:
        """Change how names are resolved, and the tenancy."""
        client = self.client(aws, inputs)
        if "instanceTenancy" in changed:
            client.modify_vpc_tenancy(VpcId=identifier, InstanceTenancy=inputs["instanceTenancy"])
        self._set_dns(client, identifier, inputs)

    @staticmethod
    def _set_dns(client: Any, identifier: str, inputs: Mapping[str, Any]) -> None:
        # AWS takes one attribute in each call.
        client.modify_vpc_attribute(VpcId=identifier, EnableDnsSupport={"Value": inputs["enableDnsSupport"]})
        if inputs.get("enableDnsHostnames") is not None:
            client.modify_vpc_attribute(VpcId=identifier, EnableDnsHostnames={"Value": inputs["enableDnsHostnames"]})

    def facts(self, aws: Aws, identifier: str, recorded: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """The VPC with what AWS makes along with it."""
        client = self.client(aws, recorded)
        found = only(client.describe_vpcs(VpcIds=[identifier])["Vpcs"])
        if found is None:
            return None
        ours = [{"Name": "vpc-id", "Values": [identifier]}]
        acl = only(
            client.describe_network_acls(Filters=[*ours, {"Name": "default", "Values": ["true"]}])["NetworkAcls"]
        )
        tables = client.describe_route_tables(Filters=[*ours, {"Name": "association.main", "Values": ["true"]}])
        main_table = (only(tables["RouteTables"]) or {}).get("RouteTableId")
        groups = client.describe_security_groups(Filters=[*ours, {"Name": "group-name", "Values": ["default"]}])
        return {
            **answer(found, "cidrBlock", "instanceTenancy", "dhcpOptionsId", "ownerId"),
            "arn": self.arn(aws, identifier, recorded, found.get("OwnerId", "")),
            "defaultNetworkAclId": (acl or {}).get("NetworkAclId"),
            "defaultRouteTableId": main_table,
            "defaultSecurityGroupId": (only(groups["SecurityGroups"]) or {}).get("GroupId"),
            "enableDnsHostnames": self._attribute(client, identifier, "EnableDnsHostnames", "enableDnsHostnames"),
            "enableDnsSupport": self._attribute(client, identifier, "EnableDnsSupport", "enableDnsSupport"),
            "mainRouteTableId": main_table,
            "tags": tag_map(found.get("Tags")),
        }

    @staticmethod
    def _attribute(client: Any, identifier: str, key: str, attribute: str) -> bool:
        return bool(client.describe_vpc_attribute(VpcId=identifier, Attribute=attribute)[key]["Value"])

    def remove(self, aws: Aws, identifier: str, outputs: Mapping[str, Any], cancelled: threading.Event) -> None:
        """Remove the VPC once nothing is left in it."""
        client = self.client(aws, outputs)
        remove_when_free(lambda: client.delete_vpc(VpcId=identifier), identifier, cancelled)


class Subnet(Ec2Resource):
    """A part of a VPC in one zone."""

    type_name = "aws:ec2/subnet:Subnet"
    kind = "subnet"
    properties: ClassVar[Mapping[str, Property]] = {
        "availabilityZone": text(replaces=True, computed=True),
        "availabilityZoneId": text(replaces=True, computed=True),
        "cidrBlock": text(required=True, replaces=True, refusal=network_size_refusal),
        "mapPublicIpOnLaunch": flag(default=False),
        "region": REGION,
        "tags": TAGS,
        "vpcId": text(required=True, replaces=True),
    }
    output_only: ClassVar[Mapping[str, Any]] = dict.fromkeys(("arn", "ownerId", "tagsAll"))

    def refusals(self, inputs: Mapping[str, Any]) -> Iterator[CheckError]:
        """A zone is named in one way."""
        if inputs.get("availabilityZone") is not None and inputs.get("availabilityZoneId") is not None:
            reason = "give availabilityZone or availabilityZoneId, not both"
            yield CheckError("availabilityZoneId", f"{self.type_name}: {reason}")

    def make(self, aws: Aws, inputs: Mapping[str, Any], cancelled: threading.Event) -> str:
        """Make the subnet."""
        made = self.client(aws, inputs).create_subnet(
            **request(inputs, "vpcId", "cidrBlock", "availabilityZone", "availabilityZoneId"),
            **tagged_as("subnet", inputs),
        )
        return str(made["Subnet"]["SubnetId"])

    def set_up(self, aws: Aws, identifier: str, inputs: Mapping[str, Any], cancelled: threading.Event) -> None:
        """Wait for it and set what can be set only afterwards."""
        client = self.client(aws, inputs)
        wait_until(
            lambda: client.describe_subnets(SubnetIds=[identifier])["Subnets"][0]["State"] == "available",
            f"{identifier} is available",
            cancelled,
        )
        if inputs["mapPublicIpOnLaunch"]:
            self._set_public(client, identifier, inputs)

    def change(
        self,
        aws: Aws,
        identifier: str,
        outputs: Mapping[str, Any],
        inputs: Mapping[str, Any],
        changed: frozenset[str],
        cancelled: threading.Event,
    ) -> None:
        """Change whether instances get public addresses."""
        if "mapPublicIpOnLaunch" in changed:
            self._set_public(self.client(aws, inputs), identifier, inputs)

    @staticmethod
    def _set_public(client: Any, identifier: str, inputs: Mapping[str, Any]) -> None:
        client.modify_subnet_attribute(
            SubnetId=identifier, MapPublicIpOnLaunch={"Value": inputs["mapPublicIpOnLaunch"]}
        )

    def facts(self, aws: Aws, identifier: str, recorded: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """The subnet."""
        found = only(self.client(aws, recorded).describe_subnets(SubnetIds=[identifier])["Subnets"])
        if found is None:
            return None
        return {
            **answer(found, "availabilityZone", "availabilityZoneId", "cidrBlock", "mapPublicIpOnLaunch", "vpcId"),
            **answer(found, "ownerId"),
            "arn": self.arn(aws, identifier, recorded, found.get("OwnerId", "")),
            "tags": tag_map(found.get("Tags")),
        }

    def remove(self, aws: Aws, identifier: str, outputs: Mapping[str, Any], cancelled: threading.Event) -> None:
        """Remove the subnet once nothing is left in it."""
        client = self.client(aws, outputs)
        remove_when_free(lambda: client.delete_subnet(SubnetId=identifier), identifier, cancelled)


class InternetGateway(Ec2Resource):
    """The way between a VPC and the internet."""

    type_name = "aws:ec2/internetGateway:InternetGateway"
    kind = "internet-gateway"
    properties: ClassVar[Mapping[str, Property]] = {
        "region": REGION,
        "tags": TAGS,
        "vpcId": text(computed=True),
    }
    output_only: ClassVar[Mapping[str, Any]] = dict.fromkeys(("arn", "ownerId", "tagsAll"))

    def make(self, aws: Aws, inputs: Mapping[str, Any], cancelled: threading.Event) -> str:
        """Make the gateway."""
        made = self.client(aws, inputs).create_internet_gateway(**tagged_as("internet-gateway", inputs))
        return str(made["InternetGateway"]["InternetGatewayId"])

    def set_up(self, aws: Aws, identifier: str, inputs: Mapping[str, Any], cancelled: threading.Event) -> None:
        """Attach it to its VPC."""
        if inputs.get("vpcId"):
            self.client(aws, inputs).attach_internet_gateway(InternetGatewayId=identifier, VpcId=inputs["vpcId"])

    def change(
        self,
        aws: Aws,
        identifier: str,
        outputs: Mapping[str, Any],
        inputs: Mapping[str, Any],
        changed: frozenset[str],
        cancelled: threading.Event,
    ) -> None:
        """Attach it to another VPC."""
        if "vpcId" in changed:
            self._detach(self.client(aws, outputs), identifier, outputs, cancelled)
            self.set_up(aws, identifier, inputs, cancelled)

    @staticmethod
    def _detach(client: Any, identifier: str, outputs: Mapping[str, Any], cancelled: threading.Event) -> None:
        if outputs.get("vpcId"):
            remove_when_free(
                lambda: client.detach_internet_gateway(InternetGatewayId=identifier, VpcId=outputs["vpcId"]),
                f"{identifier} in {outputs['vpcId']}",
                cancelled,
            )

    def facts(self, aws: Aws, identifier: str, recorded: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """The gateway."""
        found = only(
            self.client(aws, recorded).describe_internet_gateways(InternetGatewayIds=[identifier])["InternetGateways"]
        )
        if found is None:
            return None
        return {
            "arn": self.arn(aws, identifier, recorded, found.get("OwnerId", "")),
            "ownerId": found.get("OwnerId"),
            "tags": tag_map(found.get("Tags")),
            "vpcId": (only(found.get("Attachments", [])) or {}).get("VpcId", ""),
        }

    def remove(self, aws: Aws, identifier: str, outputs: Mapping[str, Any], cancelled: threading.Event) -> None:
        """Detach the gateway and remove it."""
        client = self.client(aws, outputs)
        self._detach(client, identifier, outputs, cancelled)
        client.delete_internet_gateway(InternetGatewayId=identifier)


class Eip(Ec2Resource):
    """A public address that stays. Attaching it to an instance is not covered."""

    type_name = "aws:ec2/eip:Eip"
    kind = "elastic-ip"
    properties: ClassVar[Mapping[str, Property]] = {
        "domain": text(replaces=True, computed=True, choices=frozenset({"vpc"})),
        "region": REGION,
        "tags": TAGS,
    }
    output_only: ClassVar[Mapping[str, Any]] = dict.fromkeys(
        ("allocationId", "arn", "publicDns", "publicIp", "tagsAll")
    )

    def make(self, aws: Aws, inputs: Mapping[str, Any], cancelled: threading.Event) -> str:
        """Get an address."""
        made = self.client(aws, inputs).allocate_address(Domain="vpc", **tagged_as("elastic-ip", inputs))
        return str(made["AllocationId"])

    def facts(self, aws: Aws, identifier: str, recorded: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """The address."""
        client = self.client(aws, recorded)
        found = only(client.describe_addresses(AllocationIds=[identifier])["Addresses"])
        if found is None:
            return None
        public = str(found["PublicIp"])
        return {
            **answer(found, "allocationId", "domain", "publicIp"),
            "arn": self.arn(aws, identifier, recorded),
            "publicDns": f"ec2-{public.replace('.', '-')}.{recorded['region']}.compute.amazonaws.com",
            "tags": tag_map(found.get("Tags")),
        }

    def remove(self, aws: Aws, identifier: str, outputs: Mapping[str, Any], cancelled: threading.Event) -> None:
        """Give the address back once nothing uses it."""
        client = self.client(aws, outputs)
        remove_when_free(lambda: client.release_address(AllocationId=identifier), identifier, cancelled)


class NatGateway(Ec2Resource):
    """The way from private subnets to the internet."""

    type_name = "aws:ec2/natGateway:NatGateway"
    kind = "natgateway"
    properties: ClassVar[Mapping[str, Property]] = {
        "allocationId": text(replaces=True),
        "connectivityType": text(replaces=True, default="public", choices=frozenset({"private", "public"})),
        "privateIp": text(replaces=True, computed=True),
        "region": REGION,
        "subnetId": text(required=True, replaces=True),
        "tags": TAGS,
    }
    output_only: ClassVar[Mapping[str, Any]] = dict.fromkeys(
        ("associationId", "networkInterfaceId", "publicIp", "tagsAll")
    )

    def refusals(self, inputs: Mapping[str, Any]) -> Iterator[CheckError]:
        """A public gateway has a public address, a private one has none."""
        public = inputs["connectivityType"] == "public"
        if public == (inputs.get("allocationId") is None):
            reason = "a public gateway needs allocationId" if public else "a private gateway has no allocationId"
            yield CheckError("allocationId", f"{self.type_name}: {reason}")

    def make(self, aws: Aws, inputs: Mapping[str, Any], cancelled: threading.Event) -> str:
        """Make the gateway."""
        made = self.client(aws, inputs).create_nat_gateway(
            **request(inputs, "allocationId", "connectivityType", "subnetId", privateIp="PrivateIpAddress"),
            **tagged_as("natgateway", inputs),
        )
        return str(made["NatGateway"]["NatGatewayId"])

    def set_up(self, aws: Aws, identifier: str, inputs: Mapping[str, Any], cancelled: threading.Event) -> None:
        """Wait until it works."""
        client = self.client(aws, inputs)
        wait_until(
            lambda: self._found(client, identifier)["State"] == "available", f"{identifier} is available", cancelled
        )

    @staticmethod
    def _found(client: Any, identifier: str) -> Any:
        return only(client.describe_nat_gateways(NatGatewayIds=[identifier])["NatGateways"])

    def facts(self, aws: Aws, identifier: str, recorded: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """The gateway; one that is deleted stays listed for an hour."""
        found = self._found(self.client(aws, recorded), identifier)
        if found is None or found["State"] in ("deleting", "deleted"):
            return None
        address = only(found.get("NatGatewayAddresses", [])) or {}
        return {
            **answer(found, "connectivityType", "subnetId"),
            **answer(address, "allocationId", "networkInterfaceId", "publicIp", "privateIp", "associationId"),
            "tags": tag_map(found.get("Tags")),
        }

    def remove(self, aws: Aws, identifier: str, outputs: Mapping[str, Any], cancelled: threading.Event) -> None:
        """Remove the gateway and wait until it is gone, so that its address is free."""
        client = self.client(aws, outputs)
        client.delete_nat_gateway(NatGatewayId=identifier)
        wait_until(
            lambda: (self._found(client, identifier) or {"State": "deleted"})["State"] == "deleted",
            f"{identifier} is deleted",
            cancelled,
        )
