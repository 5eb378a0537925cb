"""Mocks of AWS: a region with four zones, one network with subnets, and images."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pulumi
from pulumi.runtime import mocks

from components import RedisCluster, RedisClusterSettings, ReplicatedRedis, ReplicatedRedisSettings
from components.aws_settings import AwsSettings
from tests.unit.resource_graph import Graph, NoLookUps, Registered, run_program

ACCOUNT = "123456789012"
REGION = "eu-central-1"
VPC = "vpc-0123456789abcdef0"
SUBNETS = {f"subnet-0123456789abcdef{i}": f"{REGION}{zone}" for i, zone in enumerate("abcd")}
CLIENTS = "sg-0123456789abcdef0"
MONITORING = "sg-0123456789abcdef1"
IMAGES = {"arm64": "ami-0123456789abcdef0", "x86_64": "ami-0123456789abcdef1"}
NEW_NETWORK = AwsSettings(
    vpc_cidr="10.20.0.0/16", nat=True, client_security_groups=(CLIENTS,), client_cidrs=("10.9.0.0/16",)
)


class Aws(NoLookUps):
    """Answers like AWS. ``changes`` replaces what an invoke answers, by its token's last part."""

    def __init__(self, changes: Mapping[str, Mapping[str, Any]] | None = None) -> None:
        self.changes = changes or {}
        self.asked: list[str] = []

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        identifier, outputs = super().new_resource(args)
        kind = args.typ.rsplit(":", 1)[-1]
        if args.typ.startswith("aws:"):
            name = outputs.get("name") or args.name
            outputs |= {"arn": f"arn:aws:{kind}:{REGION}:{ACCOUNT}:{name}", "name": name}
        extra: dict[str, dict[str, Any]] = {
            "NetworkInterface": {"privateIp": "10.20.0.9"},
            "Zone": {"zoneId": f"zone-of-{args.name}"},
            "VpcEndpoint": {"prefixListId": "pl-12345678"},
            "SecretVersion": {"versionId": f"version-of-{args.name}"},
        }
        if kind == "Volume":
            return f"vol-0{abs(hash(args.name)) % 10**15:016d}", outputs
        return identifier, {**outputs, **extra.get(kind, {})}

    def call(self, args: mocks.MockCallArgs) -> tuple[dict[str, Any], list[tuple[str, str]] | None]:
        token = args.token.rsplit(":", 1)[-1].rsplit("/", 1)[-1]
        self.asked.append(token)
        given = dict(args.args)
        answers: dict[str, Callable[[], dict[str, Any]]] = {
            "getCallerIdentity": lambda: {"accountId": ACCOUNT},
            "getRegion": lambda: {"region": REGION},
            "getPartition": lambda: {"partition": "aws", "dnsSuffix": "amazonaws.com"},
            "getAvailabilityZones": lambda: {"names": [f"{REGION}{zone}" for zone in "bacd"]},
            "getVpc": lambda: {"id": given["id"], "enableDnsSupport": True, "enableDnsHostnames": True},
            "getSubnet": lambda: self._subnet(given["id"]),
            "getSecurityGroup": lambda: {"id": given["id"]},
            "getAmi": lambda: self._image(given),
        }
        answer = answers[token]()
        changed = self.changes.get(token, {})
        if "error" in changed and changed.get("id", given.get("id")) == given.get("id"):
            return {}, [("id", str(changed["error"]))]
        return {**answer, **changed}, []

    def _subnet(self, identifier: str) -> dict[str, Any]:
        zone = SUBNETS[identifier]
        return {"id": identifier, "vpcId": VPC, "availabilityZone": zone, "mapPublicIpOnLaunch": False}

    def _image(self, given: Mapping[str, Any]) -> dict[str, Any]:
        (wanted,) = given["filters"]
        value = wanted["values"][0]
        if wanted["name"] == "image-id":
            return {"id": value, "architecture": "arm64" if value == IMAGES["arm64"] else "x86_64"}
        architecture = "arm64" if "arm64" in value else "x86_64"
        return {"id": IMAGES[architecture], "architecture": architecture}


def replicated(
    aws: AwsSettings = NEW_NETWORK,
    *,
    stack: str = "aws-dev",
    answers: Aws | None = None,
    registered: list[Registered] | None = None,
    **settings: Any,
) -> Graph:
    """A primary, its replicas and Sentinels on AWS."""

    def program() -> dict[str, pulumi.Output[Any]]:
        redis = ReplicatedRedis("cache", ReplicatedRedisSettings(platform="aws", aws=aws, **settings))
        return {output: getattr(redis, output) for output in ReplicatedRedis.OUTPUTS}

    return run_program(program, stack, registered, answers or Aws())


def cluster(
    aws: AwsSettings = NEW_NETWORK, *, component: str = "cache", stack: str = "aws-dev", **settings: Any
) -> Graph:
    """A cluster on AWS."""

    def program() -> dict[str, pulumi.Output[Any]]:
        redis = RedisCluster(component, RedisClusterSettings(platform="aws", aws=aws, **settings))
        return {output: getattr(redis, output) for output in RedisCluster.OUTPUTS}

    return run_program(program, stack, None, Aws())
