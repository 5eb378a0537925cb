"""The resource type aws:ec2/networkInterface:NetworkInterface."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from airgap.aws_provider.connection import Aws, wait_until
from airgap.aws_provider.ec2 import Ec2Resource, tagged_as
from airgap.aws_provider.limits import address_refusal
from airgap.aws_provider.resource import REGION, TAGS, answer, only, request
from airgap.aws_provider.tags import tag_map
from airgap.provider_protocol.errors import CheckError
from airgap.provider_protocol.properties import Kind, Property, flag, text

_DETACHMENT_SECONDS = 300.0


class NetworkInterface(Ec2Resource):
    """A network interface of its own: its address stays when the instance is replaced."""

    type_name = "aws:ec2/networkInterface:NetworkInterface"
    kind = "network-interface"
    deletes_before_replacing = True
    properties: ClassVar[Mapping[str, Property]] = {
        "description": text(),
        "privateIp": text(replaces=True, computed=True, refusal=address_refusal),
        "privateIps": Property(Kind.SET, replaces=True, computed=True, refusal=address_refusal),
        "region": REGION,
        "securityGroups": Property(Kind.SET, computed=True),
        "sourceDestCheck": flag(default=True),
        "subnetId": text(required=True, replaces=True),
        "tags": TAGS,
    }
    output_only: ClassVar[Mapping[str, Any]] = dict.fromkeys(
        ("arn", "macAddress", "ownerId", "privateDnsName", "tagsAll")
    )

    def refusals(self, inputs: Mapping[str, Any]) -> Iterator[CheckError]:
        """Addresses are given in one way."""
        if inputs.get("privateIp") is not None and inputs.get("privateIps") is not None:
            yield CheckError("privateIps", f"{self.type_name}: give privateIp or privateIps, not both")
        if isinstance(inputs.get("privateIps"), list) and len(inputs["privateIps"]) > 1:
            yield CheckError("privateIps", f"{self.type_name}: more than one address is not covered by this stand-in")

    def make(self, aws: Aws, inputs: Mapping[str, Any], cancelled: threading.Event) -> str:
        """Make the interface."""
        address = inputs.get("privateIp") or only(inputs.get("privateIps") or [])
        made = self.client(aws, inputs).create_network_interface(
            **request(inputs, "description", "subnetId", securityGroups="Groups"),
            **({"PrivateIpAddress": address} if address else {}),
            **tagged_as("network-interface", inputs),
        )
        return str(made["NetworkInterface"]["NetworkInterfaceId"])

    def set_up(self, aws: Aws, identifier: str, inputs: Mapping[str, Any], cancelled: threading.Event) -> None:
        """Wait for it and set what can be set only afterwards."""
        client = self.client(aws, inputs)
        wait_until(
            lambda: find_interface(client, identifier)["Status"] in ("available", "pending"),
            f"{identifier} is available",
            cancelled,
        )
        if not inputs["sourceDestCheck"]:
            client.modify_network_interface_attribute(NetworkInterfaceId=identifier, SourceDestCheck={"Value": False})

    def change(
        self,
        aws: Aws,
        identifier: str,
        outputs: Mapping[str, Any],
        inputs: Mapping[str, Any],
        changed: frozenset[str],
        cancelled: threading.Event,
    ) -> None:
        """Change its groups, its description, or whether it may route."""
        client = self.client(aws, inputs)
        if "securityGroups" in changed:
            client.modify_network_interface_attribute(NetworkInterfaceId=identifier, Groups=inputs["securityGroups"])
        if "description" in changed:
            described = {"Value": inputs.get("description", "")}
            client.modify_network_interface_attribute(NetworkInterfaceId=identifier, Description=described)
        if "sourceDestCheck" in changed:
            checked = {"Value": inputs["sourceDestCheck"]}
            client.modify_network_interface_attribute(NetworkInterfaceId=identifier, SourceDestCheck=checked)

    def facts(self, aws: Aws, identifier: str, recorded: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """The interface. To which instance it is attached is the instance's to say."""
        found = find_interface(self.client(aws, recorded), identifier)
        if found is None:
            return None
        addresses = [address["PrivateIpAddress"] for address in found.get("PrivateIpAddresses", [])]
        return {
            **answer(found, "description", "macAddress", "ownerId", "privateDnsName", "sourceDestCheck", "subnetId"),
            "arn": self.arn(aws, identifier, recorded, str(found.get("OwnerId") or "")),
            "privateIp": found.get("PrivateIpAddress"),
            "privateIps": addresses or [found.get("PrivateIpAddress")],
            "securityGroups": sorted(group["GroupId"] for group in found.get("Groups", [])),
            "tags": tag_map(found.get("TagSet")),
        }

    def remove(self, aws: Aws, identifier: str, outputs: Mapping[str, Any], cancelled: threading.Event) -> None:
        """Wait until no instance has the interface any more, and remove it."""
        client = self.client(aws, outputs)
        await_release(client, identifier, cancelled)
        client.delete_network_interface(NetworkInterfaceId=identifier)


def find_interface(client: Any, identifier: str) -> Any:
    """A network interface as EC2 describes it."""
    return only(client.describe_network_interfaces(NetworkInterfaceIds=[identifier])["NetworkInterfaces"])


def holder_state(client: Any, interface: str) -> str:
    """The state of the instance that has the interface; empty when none has it, `terminated` when it had it last."""
    attachment = (find_interface(client, interface) or {}).get("Attachment")
    if not attachment:
        return ""
    found = client.describe_instances(Filters=[{"Name": "instance-id", "Values": [attachment["InstanceId"]]}])
    reservation = only(found["Reservations"])
    return str(reservation["Instances"][0]["State"]["Name"]) if reservation else "terminated"


def await_release(client: Any, interface: str, cancelled: threading.Event) -> None:
    """Wait until no instance has the interface any more: an instance that ends releases its interfaces."""
    wait_until(
        lambda: holder_state(client, interface) in ("", "terminated"),
        f"{interface} is detached from its instance",
        cancelled,
        _DETACHMENT_SECONDS,
    )
