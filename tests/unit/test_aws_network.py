"""The network, who may connect to what, the bucket, the alarms."""

from __future__ import annotations

import functools
import json
import re
from typing import Any

import pytest

from components import SettingsError
from components.aws_settings import AwsSettings
from tests.unit.aws_graph import (
    CLIENTS,
    IMAGES,
    MONITORING,
    NEW_NETWORK,
    REGION,
    SUBNETS,
    VPC,
    Aws,
    cluster,
    replicated,
)
from tests.unit.resource_graph import Graph, Registered

GROUP = "id-of-cache-nodes"
EXISTING_NETWORK = AwsSettings(vpc_id=VPC, subnet_ids=tuple(SUBNETS)[:3], client_security_groups=(CLIENTS,))


@functools.cache
def new_network() -> Graph:
    return replicated()


@functools.cache
def existing_network() -> Graph:
    return replicated(EXISTING_NETWORK)


@functools.cache
def a_cluster() -> Graph:
    return cluster(AwsSettings(vpc_cidr="10.20.0.0/16", ami_id=IMAGES["arm64"], monitoring_security_group=MONITORING))


def rules(made: Graph, direction: str, group: str = GROUP) -> set[tuple[int, str]]:
    """(port, peer) of a group's rules."""
    found = made.of_type(f":SecurityGroup{direction}Rule").values()
    return {
        (int(rule.inputs["fromPort"]), _peer(rule))
        for rule in found
        if rule.inputs["securityGroupId"] == group and rule.inputs["ipProtocol"] == "tcp"
    }


def _peer(rule: Registered) -> str:
    assert rule.inputs["fromPort"] == rule.inputs["toPort"]
    (peer,) = {"cidrIpv4", "referencedSecurityGroupId", "prefixListId", "cidrIpv6"} & rule.inputs.keys()
    return str(rule.inputs[peer])


# Who may connect


def test_clients_reach_redis_and_sentinel_and_nodes_reach_each_other() -> None:
    expected = {(port, peer) for port in (6379, 26379) for peer in (CLIENTS, "10.9.0.0/16", GROUP)}

    assert rules(new_network(), "Ingress") == expected


def test_the_bus_is_for_nodes_only_and_metrics_for_monitoring_only() -> None:
    assert rules(a_cluster(), "Ingress") == {(7000, GROUP), (17000, GROUP), (9121, MONITORING)}


@pytest.mark.parametrize("made", [new_network, existing_network, a_cluster])
def test_nothing_is_open_to_everybody_and_nobody_logs_in(made: Any) -> None:
    every = made().of_type(":SecurityGroupIngressRule").values()

    assert every
    for rule in every:
        assert _peer(rule) not in ("0.0.0.0/0", "::/0")
        assert rule.inputs["ipProtocol"] == "tcp"
        assert rule.inputs["fromPort"] != 22
    for group in made().of_type(":SecurityGroup").values():
        assert "ingress" not in group.inputs
        assert "egress" not in group.inputs


def test_nodes_reach_each_other_and_services_by_https_only() -> None:
    among = {(6379, GROUP), (26379, GROUP)}

    assert rules(existing_network(), "Egress") == among | {(443, "0.0.0.0/0")}
    assert rules(new_network(), "Egress") == among | {
        (443, "0.0.0.0/0"), (443, "pl-12345678"), (443, "id-of-cache-endpoints"),
    }  # fmt: skip


def test_without_a_way_to_the_internet_nodes_reach_endpoints_only() -> None:
    assert rules(a_cluster(), "Egress") == {
        (7000, GROUP), (17000, GROUP), (443, "pl-12345678"), (443, "id-of-cache-endpoints"),
    }  # fmt: skip
    assert not a_cluster().of_type(":NatGateway")
    assert not a_cluster().of_type(":InternetGateway")


@pytest.mark.parametrize("made", [new_network, existing_network, a_cluster])
def test_descriptions_have_only_what_ec2_takes(made: Any) -> None:
    for kind in ("SecurityGroup", "SecurityGroupIngressRule", "SecurityGroupEgressRule"):
        for each in made().of_type(f":{kind}").values():
            assert re.fullmatch(r"[A-Za-z0-9. _:/()#,@\[\]+=&;{}!$*-]{1,255}", each.inputs["description"])


def test_endpoints_are_for_nodes() -> None:
    assert rules(new_network(), "Ingress", "id-of-cache-endpoints") == {(443, GROUP)}


# The network


def test_a_new_network_has_a_private_subnet_in_each_zone() -> None:
    subnets = {name: each.inputs for name, each in new_network().of_type(":Subnet").items()}

    assert {name: (each["availabilityZone"], each["cidrBlock"]) for name, each in subnets.items()} == {
        "cache-private-0": (f"{REGION}a", "10.20.0.0/18"),
        "cache-private-1": (f"{REGION}b", "10.20.64.0/18"),
        "cache-private-2": (f"{REGION}c", "10.20.128.0/18"),
        "cache-public": (f"{REGION}a", "10.20.192.0/28"),
    }
    assert not any(each["mapPublicIpOnLaunch"] for each in subnets.values())


def test_a_new_network_has_endpoints_with_private_names() -> None:
    endpoints = {name: each.inputs for name, each in new_network().of_type(":VpcEndpoint").items()}
    services = {each["serviceName"].removeprefix(f"com.amazonaws.{REGION}.") for each in endpoints.values()}

    assert services == {"s3", "ssm", "ssmmessages", "ec2messages", "secretsmanager", "kms", "logs", "monitoring"}
    for name, each in endpoints.items():
        if name == "cache-s3-endpoint":
            assert (each["vpcEndpointType"], each["routeTableIds"]) == ("Gateway", ["id-of-cache-private"])
        else:
            assert (each["vpcEndpointType"], each["privateDnsEnabled"]) == ("Interface", True)
            assert each["subnetIds"] == [f"id-of-cache-private-{i}" for i in range(3)]
            assert each["securityGroupIds"] == ["id-of-cache-endpoints"]


def test_a_new_network_notes_its_flows_and_its_default_group_is_closed() -> None:
    (flow_log,) = new_network().of_type(":FlowLog").values()
    (default,) = new_network().of_type(":DefaultSecurityGroup").values()

    assert (flow_log.inputs["vpcId"], flow_log.inputs["trafficType"]) == ("id-of-cache-vpc", "ALL")
    assert default.inputs["vpcId"] == "id-of-cache-vpc"
    assert not default.inputs.get("ingress")
    assert not default.inputs.get("egress")
    for group in new_network().of_type(":LogGroup").values():
        assert group.inputs["retentionInDays"] == 30
        assert group.inputs["kmsKeyId"].endswith("cache-key")


def test_an_existing_network_is_left_as_it_is() -> None:
    made = existing_network()

    for kind in ("Vpc", "Subnet", "RouteTable", "NatGateway", "VpcEndpoint", "FlowLog", "DefaultSecurityGroup"):
        assert not made.of_type(f":{kind}")
    assert {each.inputs["vpcId"] for each in made.of_type(":SecurityGroup").values()} == {VPC}
    (zone,) = made.of_type(":Zone").values()
    assert zone.inputs["vpcs"] == [{"vpcId": VPC}]


def test_zones_can_be_named() -> None:
    zones = tuple(f"{REGION}{zone}" for zone in "dcb")
    made = replicated(AwsSettings(vpc_cidr="10.20.0.0/16", nat=True, availability_zones=zones))

    assert made.of_type(":Volume")["cache-redis-0-data"].inputs["availabilityZone"] == f"{REGION}d"


# What AWS alone knows


REFUSED: list[tuple[AwsSettings, dict[str, dict[str, Any]], str]] = [
    (
        EXISTING_NETWORK,
        {"getSubnet": {"error": "InvalidSubnetID.NotFound", "id": list(SUBNETS)[1]}},
        f"subnet-ids: there is no {list(SUBNETS)[1]} (",
    ),
    (
        EXISTING_NETWORK,
        {"getSubnet": {"availabilityZone": f"{REGION}a"}},
        f"subnet-ids: {list(SUBNETS)[1]} and {next(iter(SUBNETS))} are both in zone {REGION}a; give subnets in",
    ),
    (
        EXISTING_NETWORK,
        {"getSubnet": {"vpcId": "vpc-00000000"}},
        f"subnet-ids: {next(iter(SUBNETS))} is in vpc-00000000",
    ),
    (
        EXISTING_NETWORK,
        {"getSubnet": {"mapPublicIpOnLaunch": True}},
        f"subnet-ids: {next(iter(SUBNETS))} gives instances public addresses; use a private subnet",
    ),
    (EXISTING_NETWORK, {"getVpc": {"error": "InvalidVpcID.NotFound"}}, f"vpc-id: there is no {VPC} ("),
    (EXISTING_NETWORK, {"getVpc": {"enableDnsHostnames": False}}, f"vpc-id: {VPC} has enableDnsHostnames turned off"),
    (
        EXISTING_NETWORK,
        {"getSecurityGroup": {"error": "InvalidGroup.NotFound"}},
        f"client-security-groups: there is no {CLIENTS} (",
    ),
    (NEW_NETWORK, {"getCallerIdentity": {"error": "no credentials"}}, "platform: AWS does not answer ("),
    (
        NEW_NETWORK,
        {"getAvailabilityZones": {"names": ["x", "y"]}},
        "vpc-cidr: the region has 2 zones, but 3 are needed",
    ),
    (
        AwsSettings(vpc_cidr="10.0.0.0/16", nat=True, availability_zones=("us-east-1a", "us-east-1b", "us-east-1c")),
        {},
        "availability-zones: the region has no us-east-1a, us-east-1b, us-east-1c; use eu-central-1a",
    ),
    (NEW_NETWORK, {"getAmi": {"error": "nothing found"}}, "ami-id: no image debian-13-arm64-* of Debian can be found"),
    (
        AwsSettings(vpc_cidr="10.0.0.0/16", ami_id=IMAGES["x86_64"]),
        {},
        f"ami-id: {IMAGES['x86_64']} is for x86_64, but m7g.large is arm64",
    ),
]


@pytest.mark.parametrize(("aws", "answers", "line"), REFUSED, ids=[line[:50] for _, _, line in REFUSED])
def test_what_cannot_be_is_refused_before_anything_is_made(
    aws: AwsSettings, answers: dict[str, dict[str, Any]], line: str
) -> None:
    registered: list[Registered] = []
    with pytest.raises(SettingsError) as caught:
        replicated(aws, answers=Aws(answers), registered=registered)

    assert caught.value.problems[0].startswith(line)
    assert "\n" not in caught.value.problems[0]
    assert [each.name for each in registered if each.name != "cache"] == []


# Bucket and alarms


def test_the_bucket_is_private_encrypted_and_versioned() -> None:
    made = new_network()
    (bucket,) = made.of_type(":Bucket").values()
    (block,) = made.of_type(":BucketPublicAccessBlock").values()
    (encryption,) = made.of_type(":BucketServerSideEncryptionConfiguration").values()
    (versioning,) = made.of_type(":BucketVersioning").values()
    (ownership,) = made.of_type(":BucketOwnershipControls").values()
    (policy,) = made.of_type(":BucketPolicy").values()

    assert bucket.request.retainOnDelete
    assert bucket.inputs["forceDestroy"] is False
    assert all(block.inputs[f"{what}"] for what in ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls"))
    assert block.inputs["restrictPublicBuckets"] is True
    (rule,) = encryption.inputs["rules"]
    assert rule["applyServerSideEncryptionByDefault"]["sseAlgorithm"] == "aws:kms"
    assert rule["applyServerSideEncryptionByDefault"]["kmsMasterKeyId"].endswith("cache-key")
    assert versioning.inputs["versioningConfiguration"] == {"status": "Enabled"}
    assert ownership.inputs["rule"] == {"objectOwnership": "BucketOwnerEnforced"}
    (statement,) = json.loads(policy.inputs["policy"])["Statement"]
    assert (statement["Effect"], statement["Principal"]) == ("Deny", "*")
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


def test_the_bucket_forgets_what_is_old() -> None:
    (lifecycle,) = new_network().of_type(":BucketLifecycleConfiguration").values()
    *expiring, unfinished = lifecycle.inputs["rules"]

    found = {each["filter"]["prefix"]: each["expiration"].get("days") for each in expiring}
    assert found == {"formation/": 7, "cache-aws-dev/formation/": 7, "cache-aws-dev/": None, "deployed/": None}
    assert [each["noncurrentVersionExpiration"] for each in expiring] == [{"noncurrentDays": 7}] * 4
    assert unfinished["filter"] == {"prefix": ""}
    assert unfinished["abortIncompleteMultipartUpload"] == {"daysAfterInitiation": 7}


def test_the_bucket_goes_with_destroy_where_the_settings_say_so() -> None:
    (bucket,) = replicated(retain_data=False).of_type(":Bucket").values()

    assert not bucket.request.retainOnDelete
    assert bucket.inputs["forceDestroy"] is True


def test_every_node_has_its_alarms() -> None:
    every = new_network().of_type(":MetricAlarm")
    alarms = {name: alarm for name, alarm in every.items() if not name.startswith("cache-backup-")}
    redis = {f"cache-redis-{i}-{what}" for i in range(3) for what in ("host-down", "disk", "memory")}

    assert set(alarms) == redis | {f"cache-sentinel-{i}-host-down" for i in range(3)}
    for name, alarm in alarms.items():
        node = alarm.inputs["tags"]["redis-production:node"]
        own = alarm.inputs["namespace"] == "redis-production/cache-aws-dev"
        assert alarm.inputs["dimensions"] == ({"Node": node} if own else {"InstanceId": f"id-of-{node}"})
        assert own is not name.endswith("host-down")
        assert (
            alarm.inputs["alarmActions"]
            == alarm.inputs["okActions"]
            == [f"arn:aws:Topic:{REGION}:123456789012:cache-aws-dev-alarms"]
        )


def test_alarms_go_to_an_encrypted_topic_and_by_mail_if_wanted() -> None:
    aws = AwsSettings(vpc_cidr="10.0.0.0/16", nat=True, alarm_email="ops@example.com")
    made = replicated(aws)
    (topic,) = made.of_type(":Topic").values()
    (subscription,) = made.of_type(":TopicSubscription").values()

    assert topic.inputs["kmsMasterKeyId"].endswith("cache-key")
    assert (subscription.inputs["protocol"], subscription.inputs["endpoint"]) == ("email", "ops@example.com")
    assert not new_network().of_type(":TopicSubscription")


def test_alarms_go_to_an_existing_topic() -> None:
    topic = f"arn:aws:sns:{REGION}:123456789012:alarms"
    made = replicated(AwsSettings(vpc_cidr="10.0.0.0/16", nat=True, alarm_topic=topic))

    assert not made.of_type(":Topic")
    assert made.of_type(":MetricAlarm")["cache-redis-0-disk"].inputs["alarmActions"] == [topic]
