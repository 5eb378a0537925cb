"""What the AWS stand-in says of inputs, without any service; and that its tables are those of the vendor's SDK."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pulumi
import pulumi_aws
import pytest
from pulumi import _types

from airgap.aws_provider.functions import FUNCTIONS
from airgap.aws_provider.limits import instance_types
from airgap.aws_provider.resource import AwsResource
from airgap.aws_provider.resource_types import RESOURCE_TYPES
from airgap.provider_protocol.properties import Property
from airgap.provider_protocol.wire import UNKNOWN
from tests.airgap.aws_deployment import policy
from tests.airgap.plugin import Plugin, Refused, running_plugin

INSTANCE = "aws:ec2/instance:Instance"
RULE = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"
VOLUME = "aws:ebs/volume:Volume"
ALARM = "aws:cloudwatch/metricAlarm:MetricAlarm"
SDK = Path(pulumi_aws.__file__).parent


@pytest.fixture(scope="module")
def plugin() -> Iterator[Plugin]:
    with running_plugin("aws", {"AWS_REGION": "eu-central-1"}) as started:
        yield started


# --- the vendor's SDK


def _snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)


def _sdk_class(type_name: str) -> Any:
    path, _, name = type_name.removeprefix("aws:").rpartition(":")
    package, _, file = _snake(path).partition("/")
    # Pulumi's packages load when something of them is used. A file that is imported before that gets loaded in between,
    # and its package never has what the file defines.
    module = getattr(getattr(pulumi_aws, package), file)
    # Where the SDK has an object of that name, too, the arguments bear another.
    return getattr(module, name), getattr(module, f"{name}InitArgs", None) or getattr(module, f"{name}Args")


@pytest.mark.parametrize("kind", RESOURCE_TYPES, ids=lambda kind: kind.type_name)
def test_tables_are_those_of_the_sdk(kind: AwsResource) -> None:
    resource, arguments = _sdk_class(kind.type_name)
    known = _types.input_type_types(arguments)
    assert kind.properties.keys() - known.keys() == set()
    assert kind.output_only.keys() - _types.resource_types(resource).keys() == set()
    for name, rule in kind.properties.items():
        _assert_fields_known(rule, known[name], f"{kind.type_name}.{name}")


def _assert_fields_known(rule: Property, annotation: Any, where: str) -> None:
    if not rule.fields:
        return
    if pulumi.Asset in _classes_in(annotation):
        return  # what its fields are called is the engine's to say
    arguments = next(one for one in _classes_in(annotation) if _types.is_input_type(one))
    known = _types.input_type_types(arguments)
    assert rule.fields.keys() - known.keys() == set(), where
    for name, inner in rule.fields.items():
        _assert_fields_known(inner, known[name], f"{where}.{name}")


def _classes_in(annotation: Any) -> Iterator[Any]:
    if isinstance(annotation, type):
        yield annotation
    for inner in getattr(annotation, "__args__", ()):
        yield from _classes_in(inner)


@pytest.mark.parametrize("token", FUNCTIONS)
def test_functions_are_those_of_the_sdk(token: str) -> None:
    name = token.rpartition(":")[2]
    folder = token.removeprefix("aws:").partition("/")[0].replace("index", "")
    source = (SDK / folder / f"{_snake(name)}.py").read_text()
    assert f"'{token}'" in source
    known = set(re.findall(r"__args__\['(\w+)'\]", source))
    assert FUNCTIONS[token].arguments.keys() - known <= {"id", "endpoint", "name"}


# --- what is refused, by the property's name


TRUST = policy(Action="sts:AssumeRole", Principal={"Service": "ec2.amazonaws.com"})
OPEN_RULE = {"securityGroupId": "sg-1", "ipProtocol": "tcp", "fromPort": 1, "toPort": 2, "cidrIpv4": "10.0.0.0/8"}
METRIC = {
    "comparisonOperator": "GreaterThanThreshold",
    "evaluationPeriods": 1,
    "metricName": "x",
    "namespace": "y",
    "period": 60,
    "statistic": "Average",
    "threshold": 1,
}
DISK = {"availabilityZone": "eu-central-1a", "type": "gp3"}
HOST = {"ami": "ami-1", "instanceType": "t4g.small"}


@pytest.mark.parametrize(
    ("type_name", "inputs", "name", "reason"),
    [
        (
            INSTANCE,
            {**HOST, "instanceType": "t4g.tiny"},
            "instanceType",
            r"names no instance type \(t4g.tiny\); of t4g",
        ),
        (INSTANCE, {**HOST, "userData": "x" * 16385}, "userData", "longer than the 16384 bytes"),
        (INSTANCE, {**HOST, "userDataBase64": "A" * 21852}, "userDataBase64", "longer than the 16384 bytes"),
        (INSTANCE, {**HOST, "userDataBase64": "%"}, "userDataBase64", "must be Base64"),
        (INSTANCE, {**HOST, "userData": "a", "userDataBase64": "YQ=="}, "userDataBase64", "not both"),
        (INSTANCE, {**HOST, "hibernation": True}, "hibernation", "'hibernation' is not covered by this stand-in"),
        (INSTANCE, {**HOST, "metadataOptions": {"httpTokens": "maybe"}}, "metadataOptions.httpTokens", "one of"),
        (
            INSTANCE,
            {**HOST, "subnetId": "subnet-1", "primaryNetworkInterface": {"networkInterfaceId": "eni-1"}},
            "subnetId",
            "belongs to the network interface",
        ),
        (
            INSTANCE,
            {**HOST, "rootBlockDevice": {"volumeType": "gp3", "volumeSize": 0}},
            "rootBlockDevice.volumeSize",
            "must be 1 to 65536 GiB for gp3",
        ),
        (RULE, {**OPEN_RULE, "toPort": 70000}, "fromPort", "between 0 and 65535"),
        (RULE, {**OPEN_RULE, "fromPort": 3}, "fromPort", "must not be above toPort"),
        (RULE, {**OPEN_RULE, "ipProtocol": "sctp"}, "fromPort", "ipProtocol must be tcp"),
        (RULE, {**OPEN_RULE, "ipProtocol": "-1"}, "fromPort", "means all ports"),
        (RULE, {**OPEN_RULE, "cidrIpv4": "10.0.0.1/8"}, "cidrIpv4", "must be an IPv4 network"),
        (RULE, {**OPEN_RULE, "referencedSecurityGroupId": "sg-2"}, "cidrIpv4", "exactly one of"),
        ("aws:ec2/securityGroup:SecurityGroup", {"name": "sg-redis"}, "name", "must not begin with sg-"),
        ("aws:ec2/vpc:Vpc", {"cidrBlock": "10.0.0.0/8"}, "cidrBlock", "between /16 and /28"),
        ("aws:ec2/vpc:Vpc", {"cidrBlock": "ten"}, "cidrBlock", "must be an IPv4 network"),
        ("aws:ec2/vpc:Vpc", {}, "cidrBlock", "'cidrBlock' is missing: set it"),
        (VOLUME, {**DISK, "size": 0}, "size", "must be at least 1"),
        (VOLUME, DISK, "size", "size or snapshotId must be given"),
        (VOLUME, {**DISK, "size": 8, "availabilityZone": "eu-west-1a"}, "availabilityZone", "no zone of the region"),
        (VOLUME, {**DISK, "size": 8, "type": "gp2", "throughput": 200}, "throughput", "only for gp3"),
        (VOLUME, {**DISK, "size": 8, "kmsKeyId": "key"}, "encrypted", "must be true"),
        ("aws:s3/bucket:Bucket", {"bucket": "My_Bucket"}, "bucket", "small letters, digits"),
        ("aws:s3/bucket:Bucket", {"bucket": "10.0.0.1"}, "bucket", "must not look like an address"),
        ("aws:cloudwatch/logGroup:LogGroup", {"retentionInDays": 31}, "retentionInDays", "must be one of: 0, 1, 3"),
        ("aws:iam/role:Role", {"assumeRolePolicy": "{}"}, "assumeRolePolicy", "must be a policy"),
        ("aws:iam/role:Role", {"assumeRolePolicy": policy(Action="a")}, "assumeRolePolicy", "without Principal"),
        ("aws:iam/role:Role", {"assumeRolePolicy": TRUST, "maxSessionDuration": 1}, "maxSessionDuration", "at least"),
        ("aws:iam/rolePolicy:RolePolicy", {"role": "r", "policy": TRUST}, "policy", "without Resource"),
        ("aws:kms/key:Key", {"deletionWindowInDays": 3}, "deletionWindowInDays", "at least 7"),
        ("aws:kms/alias:Alias", {"name": "redis", "targetKeyId": "k"}, "name", "does not match alias/"),
        ("aws:secretsmanager/secret:Secret", {"recoveryWindowInDays": 3}, "recoveryWindowInDays", "or 7 to 30"),
        (
            "aws:secretsmanager/secretVersion:SecretVersion",
            {"secretId": "s", "secretString": "x" * 65537},
            "secretString",
            "longer than the 65536 bytes",
        ),
        (
            "aws:route53/record:Record",
            {"zoneId": "Z", "name": "n", "type": "A", "ttl": 60, "records": ["host"]},
            "records[0]",
            "must be an IPv4 address",
        ),
        (ALARM, {**METRIC, "period": 45}, "period", "must be 10, 20, 30 or a multiple of 60"),
        (ALARM, {**METRIC, "extendedStatistic": "p99"}, "statistic", "one of them"),
        ("aws:ec2/natGateway:NatGateway", {"subnetId": "subnet-1"}, "allocationId", "needs allocationId"),
        ("aws:ec2/route:Route", {"routeTableId": "rtb-1", "destinationCidrBlock": "0.0.0.0/0"}, "gatewayId", "exactly"),
        ("aws:ec2/eip:Eip", {"tags": {"a": "x" * 257}}, "tags.a", "longer than the 256 characters"),
        (
            "aws:ec2/volumeAttachment:VolumeAttachment",
            {"deviceName": "sdf", "instanceId": "i-1", "volumeId": "vol-1"},
            "deviceName",
            "does not match /dev/",
        ),
        ("aws:rds/instance:Instance", {}, "", "aws:rds/instance:Instance is not covered by this stand-in"),
    ],
)
def test_refusals_name_the_property(
    plugin: Plugin, type_name: str, inputs: Mapping[str, Any], name: str, reason: str
) -> None:
    with pytest.raises(Refused, match=reason) as refused:
        plugin.check(type_name, inputs)
    assert name in refused.value.properties


def test_no_secret_is_quoted(plugin: Plugin) -> None:
    cases: dict[str, dict[str, Any]] = {
        INSTANCE: {**HOST, "userData": "hidden" * 3000},
        "aws:secretsmanager/secretVersion:SecretVersion": {"secretId": "s", "secretString": "hidden" * 12000},
        "aws:s3/bucketPolicy:BucketPolicy": {"bucket": "b", "policy": "hidden"},
    }
    for type_name, inputs in cases.items():
        with pytest.raises(Refused) as refused:
            plugin.check(type_name, inputs)
        assert "hidden" not in str(refused.value)


def test_what_a_preview_cannot_know_is_not_judged(plugin: Plugin) -> None:
    cases: dict[str, dict[str, Any]] = {
        INSTANCE: {"ami": UNKNOWN, "instanceType": UNKNOWN, "userData": UNKNOWN, "tags": UNKNOWN},
        RULE: {"securityGroupId": UNKNOWN, "ipProtocol": "tcp", "fromPort": UNKNOWN, "toPort": 1, "cidrIpv4": UNKNOWN},
        VOLUME: {"availabilityZone": UNKNOWN, "size": UNKNOWN, "type": UNKNOWN},
        "aws:s3/bucketPolicy:BucketPolicy": {"bucket": UNKNOWN, "policy": UNKNOWN},
        "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration": {"bucket": "b", "rules": UNKNOWN},
        "aws:ec2/networkInterface:NetworkInterface": {"subnetId": UNKNOWN, "privateIps": UNKNOWN},
        "aws:route53/record:Record": {"zoneId": UNKNOWN, "name": "n", "type": "A", "ttl": 1, "records": [UNKNOWN]},
    }
    for type_name, inputs in cases.items():
        checked, _ = plugin.check(type_name, inputs)
        assert {name: checked[name] for name in inputs} == dict(inputs)


def test_the_region_is_filled_in_only_where_none_is_given(plugin: Plugin) -> None:
    checked, _ = plugin.check("aws:ec2/eip:Eip", {})
    assert (checked["region"], checked["__defaults"]) == ("eu-central-1", ["region"])
    checked, _ = plugin.check("aws:ec2/eip:Eip", {"region": "eu-west-1"})
    assert (checked["region"], checked["__defaults"]) == ("eu-west-1", [])
    checked, _ = plugin.check("aws:iam/role:Role", {"assumeRolePolicy": TRUST})
    assert "region" not in checked


def test_made_up_names_fit_their_service_and_stay(plugin: Plugin) -> None:
    first, _ = plugin.check("aws:s3/bucket:Bucket", {}, seed=b"preview")
    assert re.fullmatch(r"logical-[0-9a-f]{7}", first["bucket"])
    assert plugin.check("aws:s3/bucket:Bucket", {}, old_inputs=first, seed=b"update")[0] == first
    assert plugin.check("aws:kms/alias:Alias", {"targetKeyId": "k"})[0]["name"].startswith("alias/logical-")


def test_settings_come_as_json_in_strings(plugin: Plugin) -> None:
    plugin.check_settings(
        {"region": "eu-west-1", "defaultTags": '{"tags": {"a": "b"}}', "skipRegionValidation": "true"}
    )
    with pytest.raises(Refused, match="the setting 'assumeRoles' is not covered"):
        plugin.check_settings({"assumeRoles": "[]"})
    with pytest.raises(Refused, match="'defaultTags' must be an object with 'tags'"):
        plugin.check_settings({"defaultTags": '{"a": "b"}'})


def test_default_tags_lie_below_the_resources_own() -> None:
    with running_plugin("aws", {"AWS_REGION": "eu-central-1"}) as plugin:
        plugin.configure({"defaultTags": '{"tags": {"owner": "storage", "Name": "none"}}', "version": "7.51.1"})
        assert plugin.check("aws:ec2/eip:Eip", {"tags": {"Name": "nat"}})[0]["tags"] == {
            "owner": "storage",
            "Name": "nat",
        }
        assert plugin.check("aws:ec2/eip:Eip", {})[0]["tags"] == {"owner": "storage", "Name": "none"}
        assert "tags" not in plugin.check("aws:kms/alias:Alias", {"targetKeyId": "k"})[0]


def test_secret_tags_are_secret_everywhere(plugin: Plugin) -> None:
    made = plugin.create("aws:ec2/eip:Eip", {"tags": {"a": "b"}}, secrets=frozenset({("tags", "a")}), preview=True)
    assert made.secrets == {("tags", "a"), ("tagsAll", "a")}


def test_without_a_region_it_says_what_to_set() -> None:
    with running_plugin("aws", {"HOME": "/nonexistent"}) as plugin, pytest.raises(Refused, match="set aws:region"):
        plugin.check("aws:ec2/eip:Eip", {})


def test_instance_types_are_the_real_ones() -> None:
    assert {"t3.micro", "t4g.small", "r7g.2xlarge", "m7i.large"} <= instance_types()
