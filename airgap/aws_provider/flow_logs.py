"""The resource type aws:ec2/flowLog:FlowLog."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from airgap.aws_provider.connection import Aws
from airgap.aws_provider.ec2 import Ec2Resource, tagged_as
from airgap.aws_provider.resource import REGION, TAGS, answer, only, request
from airgap.aws_provider.tags import tag_map
from airgap.provider_protocol.errors import CheckError, ProviderError
from airgap.provider_protocol.properties import Property, number, text

_SUBJECTS = {"vpcId": "VPC", "subnetId": "Subnet", "eniId": "NetworkInterface"}


class FlowLog(Ec2Resource):
    """A record of the connections of a VPC, subnet or network interface. All but its tags replaces it."""

    type_name = "aws:ec2/flowLog:FlowLog"
    kind = "vpc-flow-log"
    properties: ClassVar[Mapping[str, Property]] = {
        **{name: text(replaces=True) for name in _SUBJECTS},
        "iamRoleArn": text(replaces=True),
        "logDestination": text(required=True, replaces=True),
        "logDestinationType": text(
            replaces=True, default="cloud-watch-logs", choices=frozenset({"cloud-watch-logs", "s3"})
        ),
        "logFormat": text(replaces=True, computed=True),
        "maxAggregationInterval": number(replaces=True, default=600),
        "region": REGION,
        "tags": TAGS,
        "trafficType": text(replaces=True, choices=frozenset({"ACCEPT", "ALL", "REJECT"})),
    }
    output_only: ClassVar[Mapping[str, Any]] = dict.fromkeys(("arn", "tagsAll"))

    def refusals(self, inputs: Mapping[str, Any]) -> Iterator[CheckError]:
        """It has one subject, and a role where CloudWatch is written to."""
        if sum(inputs.get(name) is not None for name in _SUBJECTS) != 1:
            yield CheckError("vpcId", f"{self.type_name}: exactly one of {', '.join(_SUBJECTS)} must be given")
        if inputs["logDestinationType"] == "cloud-watch-logs" and inputs.get("iamRoleArn") is None:
            yield CheckError("iamRoleArn", f"{self.type_name}: writing to CloudWatch needs iamRoleArn")
        if inputs["maxAggregationInterval"] not in (60, 600):
            yield CheckError("maxAggregationInterval", f"{self.type_name}: 'maxAggregationInterval' must be 60 or 600")

    def make(self, aws: Aws, inputs: Mapping[str, Any], cancelled: threading.Event) -> str:
        """Make the log."""
        subject = next(name for name in _SUBJECTS if inputs.get(name) is not None)
        made = self.client(aws, inputs).create_flow_logs(
            ResourceIds=[inputs[subject]],
            ResourceType=_SUBJECTS[subject],
            **request(inputs, "logDestination", "logDestinationType", "logFormat", "maxAggregationInterval"),
            **request(inputs, "trafficType", iamRoleArn="DeliverLogsPermissionArn"),
            **tagged_as("vpc-flow-log", inputs),
        )
        if not made["FlowLogIds"]:
            why = (only(made.get("Unsuccessful", [])) or {}).get("Error", {}).get("Message", "AWS does not say why")
            raise ProviderError(f"{self.type_name}: it was not made: {why}")
        return str(made["FlowLogIds"][0])

    def facts(self, aws: Aws, identifier: str, recorded: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """The log."""
        found = only(self.client(aws, recorded).describe_flow_logs(FlowLogIds=[identifier])["FlowLogs"])
        if found is None:
            return None
        subject = str(found["ResourceId"])
        prefixes = {"vpcId": "vpc-", "subnetId": "subnet-", "eniId": "eni-"}
        return {
            **{name: subject if subject.startswith(prefix) else None for name, prefix in prefixes.items()},
            **answer(found, "logDestinationType", "logFormat", "maxAggregationInterval", "trafficType"),
            "arn": self.arn(aws, identifier, recorded),
            "iamRoleArn": found.get("DeliverLogsPermissionArn"),
            "logDestination": found.get("LogDestination") or recorded.get("logDestination"),
            "tags": tag_map(found.get("Tags")),
        }

    def remove(self, aws: Aws, identifier: str, outputs: Mapping[str, Any], cancelled: threading.Event) -> None:
        """End the log; what it wrote stays."""
        self.client(aws, outputs).delete_flow_logs(FlowLogIds=[identifier])
