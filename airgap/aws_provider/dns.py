"""Route 53: hosted zones and their records."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from airgap.aws_provider.connection import Aws
from airgap.aws_provider.limits import address_refusal
from airgap.aws_provider.resource import TAGS, AwsResource, answer
from airgap.aws_provider.tags import tag_list, tag_map
from airgap.provider_protocol.errors import CheckError, ProviderError
from airgap.provider_protocol.properties import Kind, Property, flag, number, text
from airgap.provider_protocol.resource import in_recorded_order
from airgap.provider_protocol.wire import UNKNOWN

_OF_THE_ZONE = frozenset({"NS", "SOA"})
_TYPES = frozenset({"A", "AAAA", "CAA", "CNAME", "MX", "NS", "PTR", "SRV", "TXT"})


def _without_dot(name: str) -> str:
    return name.rstrip(".").lower()


class Zone(AwsResource):
    """A hosted zone; with VPCs it is a private one."""

    type_name = "aws:route53/zone:Zone"
    service = "route53"
    properties: ClassVar[Mapping[str, Property]] = {
        "comment": text(default="Managed by Pulumi"),
        "forceDestroy": flag(default=False),
        "name": text(required=True, replaces=True, meaning=_without_dot, pattern=r"[A-Za-z0-9_.-]{1,255}"),
        "tags": TAGS,
        "vpcs": Property(
            Kind.OBJECTS,
            identity=("vpcId",),
            fields={"vpcId": text(required=True), "vpcRegion": text(computed=True)},
        ),
    }
    output_only: ClassVar[Mapping[str, Any]] = dict.fromkeys(
        ("arn", "nameServers", "primaryNameServer", "tagsAll", "zoneId")
    )

    def make(self, aws: Aws, inputs: Mapping[str, Any], cancelled: threading.Event) -> str:
        """Make the zone, with its first VPC if it is private."""
        vpcs = inputs.get("vpcs") or []
        made = self.client(aws, inputs).create_hosted_zone(
            Name=inputs["name"],
            # A reference must differ for each zone that is made: two of the same name can exist side by side.
            CallerReference=f"pulumi-{uuid.uuid4()}",
            HostedZoneConfig={"Comment": inputs["comment"], "PrivateZone": bool(vpcs)},
            **({"VPC": _vpc(aws, vpcs[0])} if vpcs else {}),
        )
        return str(made["HostedZone"]["Id"]).rpartition("/")[2]

    def set_up(self, aws: Aws, identifier: str, inputs: Mapping[str, Any], cancelled: threading.Event) -> None:
        """Add the other VPCs and the tags."""
        client = self.client(aws, inputs)
        for vpc in (inputs.get("vpcs") or [])[1:]:
            client.associate_vpc_with_hosted_zone(HostedZoneId=identifier, VPC=_vpc(aws, vpc))
        self.retag(aws, identifier, inputs, inputs.get("tags") or {}, [])

    def retag(
        self, aws: Aws, identifier: str, outputs: Mapping[str, Any], put: Mapping[str, str], remove: list[str]
    ) -> None:
        """Put tags on the zone and take others off."""
        changes = {"AddTags": tag_list(put), "RemoveTagKeys": remove}
        if put or remove:
            self.client(aws, outputs).change_tags_for_resource(
                ResourceType="hostedzone",
                ResourceId=identifier,
                **{name: value for name, value in changes.items() if value},
            )

    def change(
        self,
        aws: Aws,
        identifier: str,
        outputs: Mapping[str, Any],
        inputs: Mapping[str, Any],
        changed: frozenset[str],
        cancelled: threading.Event,
    ) -> None:
        """Change the comment, or which VPCs see the zone."""
        client = self.client(aws, inputs)
        if "comment" in changed:
            client.update_hosted_zone_comment(Id=identifier, Comment=inputs["comment"])
        if "vpcs" in changed:
            old = {vpc["vpcId"]: vpc for vpc in outputs.get("vpcs") or []}
            new = {vpc["vpcId"]: vpc for vpc in inputs.get("vpcs") or []}
            for name in sorted(new.keys() - old.keys()):  # first: a private zone must never be without a VPC
                client.associate_vpc_with_hosted_zone(HostedZoneId=identifier, VPC=_vpc(aws, new[name]))
            for name in sorted(old.keys() - new.keys()):
                client.disassociate_vpc_from_hosted_zone(HostedZoneId=identifier, VPC=_vpc(aws, old[name]))

    def facts(self, aws: Aws, identifier: str, recorded: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """The zone with its name servers."""
        client = self.client(aws, recorded)
        found = client.get_hosted_zone(Id=identifier)
        zone = found["HostedZone"]
        tags = client.list_tags_for_resource(ResourceType="hostedzone", ResourceId=identifier)
        vpcs = [{"vpcId": vpc["VPCId"], "vpcRegion": vpc["VPCRegion"]} for vpc in found.get("VPCs") or []]
        servers = found.get("DelegationSet", {}).get("NameServers") or self._own_servers(client, identifier)
        return {
            "arn": f"arn:{aws.partition()}:route53:::hostedzone/{identifier}",
            "comment": zone.get("Config", {}).get("Comment", ""),
            "name": _without_dot(zone["Name"]),
            "nameServers": sorted(server.rstrip(".") for server in servers),
            "primaryNameServer": servers[0].rstrip(".") if servers else "",
            "tags": tag_map(tags["ResourceTagSet"].get("Tags")),
            "vpcs": in_recorded_order(vpcs, recorded.get("vpcs"), ("vpcId",)),
            "zoneId": identifier,
        }

    @staticmethod
    def _own_servers(client: Any, identifier: str) -> list[str]:
        """A private zone has no delegation set: its servers are in its NS record."""
        for entry in _records(client, identifier):
            if entry["Type"] == "NS":
                return [one["Value"] for one in entry.get("ResourceRecords", [])]
        return []

    def remove(self, aws: Aws, identifier: str, outputs: Mapping[str, Any], cancelled: threading.Event) -> None:
        """Remove the zone; records that others made go with it only with `forceDestroy`."""
        client = self.client(aws, outputs)
        left = [entry for entry in _records(client, identifier) if entry["Type"] not in _OF_THE_ZONE]
        if left and not outputs.get("forceDestroy"):
            raise ProviderError(
                f"{self.type_name}: the zone {outputs['name']} still has {len(left)} records ({left[0]['Name']} ...): "
                "remove them or set forceDestroy"
            )
        if left:
            client.change_resource_record_sets(
                HostedZoneId=identifier,
                ChangeBatch={"Changes": [{"Action": "DELETE", "ResourceRecordSet": entry} for entry in left]},
            )
        client.delete_hosted_zone(Id=identifier)


class Record(AwsResource):
    """All records of one name and type. Routing policies are not covered."""

    type_name = "aws:route53/record:Record"
    service = "route53"
    deletes_before_replacing = True
    properties: ClassVar[Mapping[str, Property]] = {
        "aliases": Property(
            Kind.OBJECTS,
            identity=("name", "zoneId"),
            fields={
                "evaluateTargetHealth": flag(required=True),
                "name": text(required=True, meaning=_without_dot),
                "zoneId": text(required=True),
            },
        ),
        "allowOverwrite": flag(computed=True),
        "name": text(required=True, replaces=True, meaning=_without_dot),
        "records": Property(Kind.SET),
        "ttl": number(minimum=0, maximum=2147483647),
        "type": text(required=True, replaces=True, choices=_TYPES),
        "zoneId": text(required=True, replaces=True),
    }
    output_only: ClassVar[Mapping[str, Any]] = {"fqdn": None}

    def refusals(self, inputs: Mapping[str, Any]) -> Iterator[CheckError]:
        """Either records with a time to live, or an alias; and addresses that are some."""
        plain, alias = inputs.get("records") is not None, bool(inputs.get("aliases"))
        if plain == alias:
            yield CheckError("records", f"{self.type_name}: give records or aliases, one of them")
        if plain and inputs.get("ttl") is None:
            yield CheckError("ttl", f"{self.type_name}: the property 'ttl' is missing: set it")
        records = inputs.get("records")
        if inputs["type"] == "A" and isinstance(records, list):
            for index, address in enumerate(records):
                if address is not UNKNOWN and (reason := address_refusal(address)):
                    yield CheckError(f"records[{index}]", f"{self.type_name}: 'records[{index}]' {reason}")

    def make(self, aws: Aws, inputs: Mapping[str, Any], cancelled: threading.Event) -> str:
        """Make the records. Those that are there already are overwritten only with `allowOverwrite`."""
        client = self.client(aws, inputs)
        zone = client.get_hosted_zone(Id=inputs["zoneId"])["HostedZone"]["Name"]
        action = "UPSERT" if inputs.get("allowOverwrite") else "CREATE"
        self._apply(client, action, inputs, _full_name(inputs["name"], zone))
        return f"{inputs['zoneId']}_{_without_dot(inputs['name'])}_{inputs['type']}"

    def change(
        self,
        aws: Aws,
        identifier: str,
        outputs: Mapping[str, Any],
        inputs: Mapping[str, Any],
        changed: frozenset[str],
        cancelled: threading.Event,
    ) -> None:
        """Give the name other records."""
        self._apply(self.client(aws, inputs), "UPSERT", inputs, outputs["fqdn"])

    @staticmethod
    def _apply(client: Any, action: str, values: Mapping[str, Any], full_name: str) -> None:
        entry: dict[str, Any] = {"Name": full_name, "Type": values["type"]}
        if values.get("aliases"):
            alias = values["aliases"][0]
            entry["AliasTarget"] = {
                "DNSName": alias["name"],
                "EvaluateTargetHealth": alias["evaluateTargetHealth"],
                "HostedZoneId": alias["zoneId"],
            }
        else:
            entry["TTL"] = values["ttl"]
            entry["ResourceRecords"] = [{"Value": _quoted(record, values["type"])} for record in values["records"]]
        client.change_resource_record_sets(
            HostedZoneId=values["zoneId"], ChangeBatch={"Changes": [{"Action": action, "ResourceRecordSet": entry}]}
        )

    def facts(self, aws: Aws, identifier: str, recorded: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """The records of the name."""
        client = self.client(aws, recorded)
        zone_id, _, rest = identifier.partition("_")
        name, _, kind = rest.rpartition("_")
        full_name = _full_name(name, client.get_hosted_zone(Id=zone_id)["HostedZone"]["Name"])
        for entry in _records(client, zone_id):
            if entry["Type"] == kind and _without_dot(entry["Name"]) == full_name:
                alias = entry.get("AliasTarget")
                return {
                    "aliases": [answer(alias, "evaluateTargetHealth", name="DNSName", zoneId="HostedZoneId")]
                    if alias
                    else [],
                    "fqdn": full_name,
                    "name": recorded.get("name") or name,
                    "records": sorted(_unquoted(one["Value"], kind) for one in entry.get("ResourceRecords", [])),
                    "ttl": entry.get("TTL"),
                    "type": kind,
                    "zoneId": zone_id,
                }
        return None

    def remove(self, aws: Aws, identifier: str, outputs: Mapping[str, Any], cancelled: threading.Event) -> None:
        """Remove the records."""
        client = self.client(aws, outputs)
        for entry in _records(client, outputs["zoneId"]):
            if entry["Type"] == outputs["type"] and _without_dot(entry["Name"]) == outputs["fqdn"]:
                client.change_resource_record_sets(
                    HostedZoneId=outputs["zoneId"],
                    ChangeBatch={"Changes": [{"Action": "DELETE", "ResourceRecordSet": entry}]},
                )


def _vpc(aws: Aws, vpc: Mapping[str, Any]) -> dict[str, str]:
    return {"VPCId": vpc["vpcId"], "VPCRegion": vpc.get("vpcRegion") or aws.region}


def _records(client: Any, zone: str) -> list[Any]:
    pages = client.get_paginator("list_resource_record_sets").paginate(HostedZoneId=zone)
    return [entry for page in pages for entry in page["ResourceRecordSets"]]


def _full_name(name: str, zone: str) -> str:
    """The name with its zone's, whether or not the program wrote it out."""
    short, domain = _without_dot(name), _without_dot(zone)
    return short if short == domain or short.endswith(f".{domain}") else f"{short}.{domain}"


def _quoted(record: str, kind: str) -> str:
    return f'"{record}"' if kind == "TXT" and not record.startswith('"') else record


def _unquoted(record: str, kind: str) -> str:
    return record.strip('"') if kind == "TXT" else record
