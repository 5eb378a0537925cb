"""Route tables, their routes, and the subnets that follow them."""

from __future__ import annotations

import threading
import zlib
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from airgap.aws_provider.connection import Aws
from airgap.aws_provider.ec2 import Ec2Resource, remove_when_free, tagged_as
from airgap.aws_provider.limits import cidr_refusal
from airgap.aws_provider.resource import REGION, TAGS, AwsResource, answer, only, request
from airgap.aws_provider.tags import tag_map
from airgap.provider_protocol.errors import CheckError
from airgap.provider_protocol.properties import Property, text

_TARGETS = ("gatewayId", "natGatewayId", "networkInterfaceId", "vpcPeeringConnectionId", "transitGatewayId")


class RouteTable(Ec2Resource):
    """Where the packets of subnets go. Its routes are resources of their own."""

    type_name = "aws:ec2/routeTable:RouteTable"
    kind = "route-table"
    properties: ClassVar[Mapping[str, Property]] = {
        "region": REGION,
        "tags": TAGS,
        "vpcId": text(required=True, replaces=True),
    }
    output_only: ClassVar[Mapping[str, Any]] = dict.fromkeys(("arn", "ownerId", "tagsAll"))

    def make(self, aws: Aws, inputs: Mapping[str, Any], cancelled: threading.Event) -> str:
        """Make the table."""
        made = self.client(aws, inputs).create_route_table(VpcId=inputs["vpcId"], **tagged_as("route-table", inputs))
        return str(made["RouteTable"]["RouteTableId"])

    def facts(self, aws: Aws, identifier: str, recorded: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """The table."""
        found = only(self.client(aws, recorded).describe_route_tables(RouteTableIds=[identifier])["RouteTables"])
        if found is None:
            return None
        return {
            **answer(found, "ownerId", "vpcId"),
            "arn": self.arn(aws, identifier, recorded, found.get("OwnerId", "")),
            "tags": tag_map(found.get("Tags")),
        }

    def remove(self, aws: Aws, identifier: str, outputs: Mapping[str, Any], cancelled: threading.Event) -> None:
        """Remove the table once no subnet follows it."""
        client = self.client(aws, outputs)
        remove_when_free(lambda: client.delete_route_table(RouteTableId=identifier), identifier, cancelled)


class Route(AwsResource):
    """One route of a table. Its id is made up as the vendor does."""

    type_name = "aws:ec2/route:Route"
    service = "ec2"
    deletes_before_replacing = True
    properties: ClassVar[Mapping[str, Property]] = {
        "destinationCidrBlock": text(required=True, replaces=True, refusal=cidr_refusal),
        **{target: text() for target in _TARGETS},
        "region": REGION,
        "routeTableId": text(required=True, replaces=True),
    }
    output_only: ClassVar[Mapping[str, Any]] = dict.fromkeys(("origin", "state"))

    def refusals(self, inputs: Mapping[str, Any]) -> Iterator[CheckError]:
        """A route has one target."""
        if sum(inputs.get(target) is not None for target in _TARGETS) != 1:
            yield CheckError("gatewayId", f"{self.type_name}: exactly one of {', '.join(_TARGETS)} must be given")

    def make(self, aws: Aws, inputs: Mapping[str, Any], cancelled: threading.Event) -> str:
        """Make the route."""
        self.client(aws, inputs).create_route(**self._request(inputs))
        table, destination = inputs["routeTableId"], inputs["destinationCidrBlock"]
        return f"r-{table}{zlib.crc32(destination.encode())}"

    def change(
        self,
        aws: Aws,
        identifier: str,
        outputs: Mapping[str, Any],
        inputs: Mapping[str, Any],
        changed: frozenset[str],
        cancelled: threading.Event,
    ) -> None:
        """Give the route another target."""
        self.client(aws, inputs).replace_route(**self._request(inputs))

    @staticmethod
    def _request(inputs: Mapping[str, Any]) -> dict[str, Any]:
        return request(inputs, "routeTableId", "destinationCidrBlock", *_TARGETS)

    def facts(self, aws: Aws, identifier: str, recorded: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """The route, found in its table by its destination."""
        if not recorded.get("routeTableId"):
            return None  # an import: the id says which table, but not which destination
        tables = self.client(aws, recorded).describe_route_tables(RouteTableIds=[recorded["routeTableId"]])
        for route in (only(tables["RouteTables"]) or {"Routes": []})["Routes"]:
            if route.get("DestinationCidrBlock") == recorded["destinationCidrBlock"]:
                return answer(route, "origin", "state", *_TARGETS)
        return None

    def remove(self, aws: Aws, identifier: str, outputs: Mapping[str, Any], cancelled: threading.Event) -> None:
        """Remove the route."""
        self.client(aws, outputs).delete_route(**request(outputs, "routeTableId", "destinationCidrBlock"))


class RouteTableAssociation(AwsResource):
    """Makes a subnet follow a route table."""

    type_name = "aws:ec2/routeTableAssociation:RouteTableAssociation"
    service = "ec2"
    deletes_before_replacing = True
    properties: ClassVar[Mapping[str, Property]] = {
        "region": REGION,
        # AWS gives a changed association another id, which Pulumi can take only from a new resource.
        "routeTableId": text(required=True, replaces=True),
        "subnetId": text(required=True, replaces=True),
    }

    def make(self, aws: Aws, inputs: Mapping[str, Any], cancelled: threading.Event) -> str:
        """Make the association."""
        made = self.client(aws, inputs).associate_route_table(**request(inputs, "routeTableId", "subnetId"))
        return str(made["AssociationId"])

    def facts(self, aws: Aws, identifier: str, recorded: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """The association, found in the table that has it."""
        by_association = [{"Name": "association.route-table-association-id", "Values": [identifier]}]
        for table in self.client(aws, recorded).describe_route_tables(Filters=by_association)["RouteTables"]:
            for association in table["Associations"]:
                if association["RouteTableAssociationId"] == identifier:
                    return answer(association, "routeTableId", "subnetId")
        return None

    def remove(self, aws: Aws, identifier: str, outputs: Mapping[str, Any], cancelled: threading.Event) -> None:
        """Remove the association: the subnet follows the VPC's main table again."""
        self.client(aws, outputs).disassociate_route_table(AssociationId=identifier)
