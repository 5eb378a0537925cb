"""The functions that programs call to find what is there already (getVpc and the like)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from airgap.aws_provider.connection import Aws
from airgap.aws_provider.resource import answer, only, request
from airgap.aws_provider.tags import tag_map
from airgap.provider_protocol.errors import CheckError, ProviderError
from airgap.provider_protocol.properties import Kind, Property, flag, text


@dataclass(frozen=True)
class Function:
    """One function: the arguments it takes, and what it answers. Its arguments are part of the answer, too."""

    arguments: Mapping[str, Property]
    answer: Callable[[Aws, Mapping[str, Any]], Mapping[str, Any]]


_FILTERS = Property(
    Kind.OBJECTS,
    identity=("name",),
    fields={"name": text(required=True), "values": Property(Kind.SET, required=True)},
)
_TAGS = Property(Kind.MAP)
_REGION = text()


def _ec2(aws: Aws, arguments: Mapping[str, Any]) -> Any:
    return aws.client("ec2", str(arguments.get("region") or ""))


def _filters(arguments: Mapping[str, Any], **names: str) -> dict[str, Any]:
    """The filters of a call: the program's own, its tags, and arguments that are one (property = filter)."""
    found = [{"Name": one["name"], "Values": one["values"]} for one in arguments.get("filters") or []]
    found += [{"Name": f"tag:{key}", "Values": [value]} for key, value in (arguments.get("tags") or {}).items()]
    for name, filter_name in names.items():
        if arguments.get(name) is not None:
            value = arguments[name]
            found.append({"Name": filter_name, "Values": [str(value).lower() if isinstance(value, bool) else value]})
    return {"Filters": found} if found else {}


def _the_one(found: list[Any], what: str) -> Any:
    if len(found) != 1:
        count = "no" if not found else f"{len(found)}"
        raise ProviderError(f"{count} {what} matches the arguments, it must be exactly one: make them more precise")
    return found[0]


def _caller_identity(aws: Aws, _arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    found = aws.client("sts").get_caller_identity()
    return {"accountId": found["Account"], "arn": found["Arn"], "id": found["Account"], "userId": found["UserId"]}


def _region(aws: Aws, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    region = arguments.get("name") or arguments.get("region") or aws.region
    # "name" is the older spelling, which programs may still read.
    return {"description": region, "endpoint": f"ec2.{region}.amazonaws.com", "id": region, "name": region}


def _partition(aws: Aws, _arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    partition = aws.partition()
    suffix = {"aws-cn": "amazonaws.com.cn"}.get(partition, "amazonaws.com")
    reversed_suffix = ".".join(reversed(suffix.split(".")))
    return {"dnsSuffix": suffix, "id": partition, "partition": partition, "reverseDnsPrefix": reversed_suffix}


def _availability_zones(aws: Aws, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    found = _ec2(aws, arguments).describe_availability_zones(**_filters(arguments, state="state"))["AvailabilityZones"]
    zones = [
        zone
        for zone in found
        if zone["ZoneName"] not in (arguments.get("excludeNames") or [])
        and zone["ZoneId"] not in (arguments.get("excludeZoneIds") or [])
    ]
    zones.sort(key=lambda zone: str(zone["ZoneName"]))
    return {
        "groupNames": sorted({zone.get("GroupName") or zone["RegionName"] for zone in zones}),
        "id": arguments.get("region") or aws.region,
        "names": [zone["ZoneName"] for zone in zones],
        "zoneIds": [zone["ZoneId"] for zone in zones],
    }


def _vpc(aws: Aws, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    client = _ec2(aws, arguments)
    ids = {"VpcIds": [arguments["id"]]} if arguments.get("id") else {}
    filters = _filters(arguments, cidrBlock="cidr", default="isDefault", dhcpOptionsId="dhcp-options-id", state="state")
    found = _the_one(client.describe_vpcs(**ids, **filters)["Vpcs"], "VPC")
    identifier = found["VpcId"]
    tables = client.describe_route_tables(
        Filters=[{"Name": "vpc-id", "Values": [identifier]}, {"Name": "association.main", "Values": ["true"]}]
    )
    attributes = {
        name: client.describe_vpc_attribute(VpcId=identifier, Attribute=name)[f"{name[0].upper()}{name[1:]}"]["Value"]
        for name in ("enableDnsHostnames", "enableDnsSupport")
    }
    associations = [
        answer(one, "associationId", "cidrBlock") | {"state": one["CidrBlockState"]["State"]}
        for one in found.get("CidrBlockAssociationSet", [])
    ]
    return {
        **answer(found, "cidrBlock", "dhcpOptionsId", "instanceTenancy", "ownerId", "state", default="IsDefault"),
        **attributes,
        "arn": aws.arn("ec2", f"vpc/{identifier}", str(arguments.get("region") or ""), found.get("OwnerId", "")),
        "cidrBlockAssociations": associations,
        "enableNetworkAddressUsageMetrics": False,
        "id": identifier,
        "ipv6CidrBlockAssociations": [],
        "mainRouteTableId": (only(tables["RouteTables"]) or {}).get("RouteTableId"),
        "tags": tag_map(found.get("Tags")),
    }


_SUBNET_FILTERS = {
    "availabilityZone": "availability-zone",
    "availabilityZoneId": "availability-zone-id",
    "cidrBlock": "cidr-block",
    "defaultForAz": "default-for-az",
    "state": "state",
    "vpcId": "vpc-id",
}


def _subnet(aws: Aws, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    ids = {"SubnetIds": [arguments["id"]]} if arguments.get("id") else {}
    subnets = _ec2(aws, arguments).describe_subnets(**ids, **_filters(arguments, **_SUBNET_FILTERS))["Subnets"]
    found = _the_one(subnets, "subnet")
    return {
        **answer(found, "assignIpv6AddressOnCreation", "availabilityZone", "availabilityZoneId", "cidrBlock"),
        **answer(found, "defaultForAz", "mapPublicIpOnLaunch", "ownerId", "state", "vpcId", id="SubnetId"),
        "arn": aws.arn("ec2", f"subnet/{found['SubnetId']}", str(arguments.get("region") or ""), found["OwnerId"]),
        "availableIpAddressCount": found.get("AvailableIpAddressCount"),
        "tags": tag_map(found.get("Tags")),
    }


def _subnets(aws: Aws, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    pages = _ec2(aws, arguments).get_paginator("describe_subnets").paginate(**_filters(arguments))
    found = [subnet for page in pages for subnet in page["Subnets"]]
    return {
        "id": arguments.get("region") or aws.region,
        "ids": sorted(subnet["SubnetId"] for subnet in found),
        "tags": arguments.get("tags") or {},
    }


def _image(aws: Aws, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    found = _ec2(aws, arguments).describe_images(**_filters(arguments), **request(arguments, "owners"))["Images"]
    pattern = re.compile(arguments.get("nameRegex") or "")
    images = sorted(
        (image for image in found if pattern.search(image.get("Name", ""))),
        key=lambda image: str(image.get("CreationDate", "")),
    )
    image = images[-1] if images and arguments.get("mostRecent") else _the_one(images, "image")
    return {
        **answer(image, "architecture", "creationDate", "description", "enaSupport", "hypervisor", "imageId"),
        **answer(image, "imageLocation", "imageOwnerAlias", "imageType", "name", "ownerId", "platform", "public"),
        **answer(image, "rootDeviceName", "rootDeviceType", "state", "virtualizationType", id="ImageId"),
        "arn": aws.arn("ec2", f"image/{image['ImageId']}", str(arguments.get("region") or "")),
        "tags": tag_map(image.get("Tags")),
    }


def _instance_type(aws: Aws, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    wanted = arguments["instanceType"]
    found = only(_ec2(aws, arguments).describe_instance_types(InstanceTypes=[wanted])["InstanceTypes"])
    if found is None:
        raise CheckError("instanceType", f"the argument 'instanceType' names no instance type ({wanted})")
    cores = found.get("VCpuInfo", {})
    network = found.get("NetworkInfo", {})
    ebs = found.get("EbsInfo", {})
    return {
        **answer(found, "currentGeneration", "freeTierEligible", "hypervisor", "instanceStorageSupported"),
        **answer(found, "bareMetal", "burstablePerformanceSupported"),
        **answer(cores, "defaultCores", "defaultThreadsPerCore", defaultVcpus="DefaultVCpus"),
        **answer(network, "networkPerformance", "enaSupport", "ipv6Supported", "maximumNetworkInterfaces"),
        "ebsEncryptionSupport": ebs.get("EncryptionSupport"),
        "ebsNvmeSupport": ebs.get("NvmeSupport"),
        "ebsOptimizedSupport": ebs.get("EbsOptimizedSupport"),
        "id": wanted,
        "memorySize": found.get("MemoryInfo", {}).get("SizeInMiB"),
        "supportedArchitectures": found.get("ProcessorInfo", {}).get("SupportedArchitectures", []),
        "supportedRootDeviceTypes": found.get("SupportedRootDeviceTypes", []),
        "supportedUsagesClasses": found.get("SupportedUsageClasses", []),
        "supportedVirtualizationTypes": found.get("SupportedVirtualizationTypes", []),
    }


def _security_group(aws: Aws, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    ids = {"GroupIds": [arguments["id"]]} if arguments.get("id") else {}
    filters = _filters(arguments, name="group-name", vpcId="vpc-id")
    groups = _ec2(aws, arguments).describe_security_groups(**ids, **filters)["SecurityGroups"]
    found = _the_one(groups, "security group")
    region, identifier = str(arguments.get("region") or ""), found["GroupId"]
    return {
        **answer(found, "description", "vpcId", id="GroupId", name="GroupName"),
        "arn": aws.arn("ec2", f"security-group/{identifier}", region, found.get("OwnerId", "")),
        "tags": tag_map(found.get("Tags")),
    }


def _parameter(aws: Aws, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    client = aws.client("ssm", str(arguments.get("region") or ""))
    decrypted = arguments.get("withDecryption", True)
    found = client.get_parameter(Name=arguments["name"], WithDecryption=decrypted)["Parameter"]
    return {
        **answer(found, "type", "value", "version", "name", arn="ARN", id="Name"),
        "insecureValue": found["Value"] if found["Type"] != "SecureString" else "",
    }


FUNCTIONS: Mapping[str, Function] = {
    "aws:ec2/getAmi:getAmi": Function(
        {
            "filters": _FILTERS,
            "mostRecent": flag(),
            "nameRegex": text(),
            "owners": Property(Kind.SET),
            "region": _REGION,
            "tags": _TAGS,
        },
        _image,
    ),
    "aws:ec2/getInstanceType:getInstanceType": Function(
        {"instanceType": text(required=True), "region": _REGION}, _instance_type
    ),
    "aws:ec2/getSecurityGroup:getSecurityGroup": Function(
        {"filters": _FILTERS, "id": text(), "name": text(), "region": _REGION, "tags": _TAGS, "vpcId": text()},
        _security_group,
    ),
    "aws:ec2/getSubnet:getSubnet": Function(
        {
            **{name: text() for name in _SUBNET_FILTERS},
            "defaultForAz": flag(),
            "filters": _FILTERS,
            "id": text(),
            "region": _REGION,
            "tags": _TAGS,
        },
        _subnet,
    ),
    "aws:ec2/getSubnets:getSubnets": Function({"filters": _FILTERS, "region": _REGION, "tags": _TAGS}, _subnets),
    "aws:ec2/getVpc:getVpc": Function(
        {
            "cidrBlock": text(),
            "default": flag(),
            "dhcpOptionsId": text(),
            "filters": _FILTERS,
            "id": text(),
            "region": _REGION,
            "state": text(),
            "tags": _TAGS,
        },
        _vpc,
    ),
    "aws:index/getAvailabilityZones:getAvailabilityZones": Function(
        {
            "excludeNames": Property(Kind.SET),
            "excludeZoneIds": Property(Kind.SET),
            "filters": _FILTERS,
            "region": _REGION,
            "state": text(),
        },
        _availability_zones,
    ),
    "aws:index/getCallerIdentity:getCallerIdentity": Function({"id": text()}, _caller_identity),
    "aws:index/getPartition:getPartition": Function({"id": text()}, _partition),
    "aws:index/getRegion:getRegion": Function(
        {"endpoint": text(), "id": text(), "name": text(), "region": _REGION}, _region
    ),
    "aws:ssm/getParameter:getParameter": Function(
        {"name": text(required=True), "region": _REGION, "withDecryption": flag()}, _parameter
    ),
}
