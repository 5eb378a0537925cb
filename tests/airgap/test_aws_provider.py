"""The AWS stand-in over gRPC on moto: a deployment in which every resource type occurs, and what happens to it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from moto.core.types import Base64EncodedString

from airgap.aws_provider.resource_types import RESOURCE_TYPES
from airgap.provider_protocol.wire import UNKNOWN
from tests.airgap.aws_deployment import BUCKET, asset, deployment, policy
from tests.airgap.aws_look_alike import ACCOUNT, REGION, LookAlike, running_look_alike
from tests.airgap.plugin import NO_DIFFERENCE, Made, Plugin, Refused, running_plugin

pytestmark = pytest.mark.long

_STAYS = {
    "attachment": "skipDestroy leaves it to the instance's end",
    "default-group": "it goes with its VPC",
    "secret-version": "the current one goes with its secret",
    "topic-policy": "a topic is never without a policy",
    "versioning": "it can only be suspended",
}


@pytest.fixture(scope="module")
def aws() -> Iterator[LookAlike]:
    with running_look_alike() as started:
        yield started


@pytest.fixture(scope="module")
def plugin(aws: LookAlike) -> Iterator[Plugin]:
    with running_plugin("aws", aws.environment) as started:
        started.configure()
        yield started


@pytest.fixture(scope="module")
def world(aws: LookAlike, plugin: Plugin) -> Iterator[dict[str, Made]]:
    """The whole deployment; taken down afterwards, which must leave nothing."""
    before = _inventory(aws)
    made: dict[str, Made] = {}
    for name, (type_name, inputs) in deployment(aws).items():
        made[name] = plugin.create(type_name, inputs(made))
    aws.client("s3").put_object(Bucket=BUCKET, Key="formation/request", Body=b"left over")
    yield made
    for name, one in reversed(made.items()):
        plugin.delete(one)
        assert (plugin.read(one) is not None) == (name in _STAYS), name
    assert _inventory(aws) == before


def _inventory(aws: LookAlike) -> dict[str, list[str]]:
    ec2 = aws.client("ec2")
    return {
        "addresses": [one["AllocationId"] for one in ec2.describe_addresses()["Addresses"]],
        "alarms": [one["AlarmName"] for one in aws.client("cloudwatch").describe_alarms()["MetricAlarms"]],
        "aliases": [
            one["AliasName"]
            for one in aws.client("kms").list_aliases()["Aliases"]
            if not one["AliasName"].startswith("alias/aws/")
        ],
        "buckets": [one["Name"] for one in aws.client("s3").list_buckets()["Buckets"]],
        "endpoints": [
            one["VpcEndpointId"] for one in ec2.describe_vpc_endpoints()["VpcEndpoints"] if one["State"] != "deleted"
        ],
        "gateways": [one["InternetGatewayId"] for one in ec2.describe_internet_gateways()["InternetGateways"]],
        "groups": [one["GroupId"] for one in ec2.describe_security_groups()["SecurityGroups"]],
        "instances": [
            one["InstanceId"]
            for reservation in ec2.describe_instances()["Reservations"]
            for one in reservation["Instances"]
            if one["State"]["Name"] != "terminated"
        ],
        "interfaces": [
            one["NetworkInterfaceId"]
            for one in ec2.describe_network_interfaces()["NetworkInterfaces"]
            if one["TagSet"]  # moto forgets those of an endpoint
        ],
        "log groups": [one["logGroupName"] for one in aws.client("logs").describe_log_groups()["logGroups"]],
        "profiles": [
            one["InstanceProfileName"] for one in aws.client("iam").list_instance_profiles()["InstanceProfiles"]
        ],
        "roles": [one["RoleName"] for one in aws.client("iam").list_roles()["Roles"]],
        "secrets": [one["Name"] for one in aws.client("secretsmanager").list_secrets()["SecretList"]],
        "subnets": [one["SubnetId"] for one in ec2.describe_subnets()["Subnets"]],
        "topics": [one["TopicArn"] for one in aws.client("sns").list_topics()["Topics"]],
        "volumes": [one["VolumeId"] for one in ec2.describe_volumes()["Volumes"]],
        "vpcs": [one["VpcId"] for one in ec2.describe_vpcs()["Vpcs"]],
        "zones": [one["Id"] for one in aws.client("route53").list_hosted_zones()["HostedZones"]],
    }


def program(made: Made, **changes: Any) -> dict[str, Any]:
    """The inputs that a program would give for a resource, with some changes; None takes a property out."""
    left_out = {"__defaults", *made.inputs["__defaults"]}
    given = {name: value for name, value in made.inputs.items() if name not in left_out}
    return {name: value for name, value in {**given, **changes}.items() if value is not None}


# --- all types alike


def test_every_resource_type_occurs(world: dict[str, Made]) -> None:
    assert {made.type_name for made in world.values()} == {kind.type_name for kind in RESOURCE_TYPES}


def test_what_was_made_is_no_difference(plugin: Plugin, world: dict[str, Made]) -> None:
    assert {name: plugin.diff(made, program(made)) for name, made in world.items()} == dict.fromkeys(
        world, NO_DIFFERENCE
    )


def test_a_refresh_finds_no_drift(plugin: Plugin, world: dict[str, Made]) -> None:
    found = {name: plugin.read(made) for name, made in world.items()}
    assert {name: made and (made.inputs, made.outputs) for name, made in found.items()} == {
        name: (made.inputs, made.outputs) for name, made in world.items()
    }


def test_tags_change_in_place(plugin: Plugin, world: dict[str, Made]) -> None:
    tagged = {name: made for name, made in world.items() if "tagsAll" in made.outputs}
    assert len(tagged) > 20
    for name, made in tagged.items():
        tags = {**made.outputs["tags"], "owner": "storage"}
        assert plugin.diff(made, program(made, tags=tags)).updates == ("tags",), name
        assert plugin.diff(made, program(made, tags=tags)).replaces == (), name
        updated = plugin.update(made, program(made, tags=tags))
        assert (updated.outputs["tags"], updated.outputs["tagsAll"]) == (tags, tags), name
        # Taking a tag off, and what it was before.
        assert plugin.update(updated, program(made)).outputs == made.outputs, name


def test_what_others_changed_is_drift_and_is_put_right(aws: LookAlike, plugin: Plugin, world: dict[str, Made]) -> None:
    made = world["log-group"]
    aws.client("logs").put_retention_policy(logGroupName=made.identifier, retentionInDays=365)

    drifted = plugin.read(made)

    assert drifted is not None
    assert drifted.inputs["retentionInDays"] == 365
    assert plugin.diff(drifted, program(made)).updates == ("retentionInDays",)
    assert plugin.update(drifted, program(made)).outputs == made.outputs


def test_what_others_removed_is_gone(aws: LookAlike, plugin: Plugin) -> None:
    made = plugin.create("aws:cloudwatch/logGroup:LogGroup", {"name": "/others"})
    aws.client("logs").delete_log_group(logGroupName="/others")
    assert plugin.read(made) is None
    plugin.delete(made)


def test_imports_know_the_inputs(plugin: Plugin, world: dict[str, Made]) -> None:
    for name in ("vpc", "subnet", "bucket", "role", "secret", "zone", "volume", "log-group", "key"):
        made = world[name]
        imported = plugin.read(Made(made.type_name, made.identifier, {}, {}))
        assert imported is not None, name
        for property_name in ("cidrBlock", "name", "bucket", "size"):
            assert imported.inputs.get(property_name) == made.inputs.get(property_name), name
        assert imported.outputs["tags"] == made.outputs["tags"], name


# --- single types


def test_a_new_security_group_lets_nothing_out(aws: LookAlike, plugin: Plugin, world: dict[str, Made]) -> None:
    made = plugin.create("aws:ec2/securityGroup:SecurityGroup", {"name": "new", "vpcId": world["vpc"].identifier})
    found = aws.client("ec2").describe_security_groups(GroupIds=[made.identifier])["SecurityGroups"][0]
    assert (found["IpPermissions"], found["IpPermissionsEgress"]) == ([], [])
    plugin.delete(made)


def test_rules_change_in_place(plugin: Plugin, world: dict[str, Made]) -> None:
    made = world["rule-in"]
    changed = program(made, fromPort=6380, toPort=6380, cidrIpv4="10.9.0.0/16")
    assert plugin.diff(made, changed).replaces == ()
    updated = plugin.update(made, changed)
    assert updated.outputs["fromPort"] == 6380
    assert updated.outputs["cidrIpv4"] == "10.9.0.0/16"
    assert plugin.update(updated, program(made)).outputs == made.outputs


def test_an_endpoint_lets_other_groups_in(plugin: Plugin, world: dict[str, Made]) -> None:
    made = world["endpoint"]
    both = sorted(world[name].identifier for name in ("group", "inline-group"))
    assert plugin.diff(made, program(made, securityGroupIds=both)).updates == ("securityGroupIds",)
    updated = plugin.update(made, program(made, securityGroupIds=both))
    assert updated.outputs["securityGroupIds"] == both
    assert plugin.update(updated, program(made)).outputs == made.outputs


def test_inline_rules_are_the_whole(plugin: Plugin, world: dict[str, Made]) -> None:
    made = world["inline-group"]
    fewer = program(made, ingress=made.inputs["ingress"][:1])
    assert plugin.diff(made, fewer).detail == {"ingress[1]": "DELETE"}
    updated = plugin.update(made, fewer)
    assert len(updated.outputs["ingress"]) == 1
    restored = plugin.update(updated, program(made))
    assert plugin.diff(restored, program(made)) == NO_DIFFERENCE


def test_the_instance_type_changes_by_a_stop(aws: LookAlike, plugin: Plugin, world: dict[str, Made]) -> None:
    made = world["instance"]
    larger = program(made, instanceType="t3.small")
    assert plugin.diff(made, larger).updates == ("instanceType",)
    assert plugin.diff(made, larger).replaces == ()
    updated = plugin.update(made, larger)
    assert updated.outputs["instanceType"] == "t3.small"
    assert updated.outputs["instanceState"] == "running"
    assert plugin.update(updated, program(made)).outputs["instanceType"] == "t3.micro"


def test_user_data_replace_only_if_they_should(
    plugin: Plugin, world: dict[str, Made], monkeypatch: pytest.MonkeyPatch
) -> None:
    # moto wants them encoded twice where they are changed.
    monkeypatch.setattr("moto.ec2.responses.instances.parse_user_data", Base64EncodedString.from_raw_bytes)
    made = world["instance"]
    other = "#cloud-config\nruncmd: []\n"
    assert plugin.diff(made, program(made, userData=other)).replaces == ("userData",)
    in_place = program(made, userData=other, userDataReplaceOnChange=None)
    assert plugin.diff(made, in_place).replaces == ()
    updated = plugin.update(made, in_place)
    assert updated.outputs["userData"] == other
    assert plugin.update(updated, program(made)).outputs == made.outputs


def test_other_changes_of_the_instance(plugin: Plugin, world: dict[str, Made]) -> None:
    made = world["instance"]
    changes = {
        "disableApiTermination": False,
        "metadataOptions": {"httpEndpoint": "enabled", "httpTokens": "required", "httpPutResponseHopLimit": 2},
        "rootBlockDevice": {"encrypted": True, "volumeType": "gp3", "volumeSize": 12},
    }
    assert plugin.diff(made, program(made, **changes)).replaces == ()
    updated = plugin.update(made, program(made, **changes))
    assert updated.outputs["disableApiTermination"] is False
    assert updated.outputs["metadataOptions"]["httpPutResponseHopLimit"] == 2
    assert updated.outputs["rootBlockDevice"]["volumeSize"] == 12
    assert plugin.update(updated, program(updated, disableApiTermination=True)).outputs["disableApiTermination"]
    with pytest.raises(Refused, match=r"rootBlockDevice\.volumeSize.* cannot become smaller"):
        plugin.update(updated, program(updated, rootBlockDevice=made.inputs["rootBlockDevice"]))
    for replaced, value in {"ami": "ami-other", "primaryNetworkInterface": {"networkInterfaceId": "eni-other"}}.items():
        assert plugin.diff(made, program(made, **{replaced: value})).replaces == (replaced,)


def test_protection_holds_without_force(aws: LookAlike, plugin: Plugin, world: dict[str, Made]) -> None:
    made = world["instance"]
    protected = Made(made.type_name, made.identifier, made.inputs, {**made.outputs, "forceDestroy": False})
    with pytest.raises(Refused, match="may not be terminated"):
        plugin.delete(protected)


def test_a_replaced_instance_finds_its_interface_and_its_volume(
    aws: LookAlike, plugin: Plugin, world: dict[str, Made]
) -> None:
    ec2 = aws.client("ec2")
    old, attachment = world["instance"], world["attachment"]
    plugin.delete(attachment)
    volume = ec2.describe_volumes(VolumeIds=[world["volume"].identifier])["Volumes"][0]
    assert volume["State"] == "in-use", "skipDestroy leaves it to the instance's end"
    plugin.delete(old)
    assert plugin.read(old) is None

    new = plugin.create(old.type_name, program(old))
    again = plugin.create(attachment.type_name, program(attachment, instanceId=new.identifier))

    assert new.outputs["privateIp"] == old.outputs["privateIp"] == "10.7.1.20"
    assert again.identifier != attachment.identifier
    volume = ec2.describe_volumes(VolumeIds=[world["volume"].identifier])["Volumes"][0]
    assert [one["InstanceId"] for one in volume["Attachments"]] == [new.identifier]
    world["instance"], world["attachment"] = new, again
    # The alarm's dimension names the instance.
    world["alarm"] = plugin.update(world["alarm"], program(world["alarm"], dimensions={"InstanceId": new.identifier}))


def test_an_instance_that_someone_killed_is_gone_and_made_anew(
    aws: LookAlike, plugin: Plugin, world: dict[str, Made]
) -> None:
    ec2 = aws.client("ec2")
    old, attachment = world["instance"], world["attachment"]
    ec2.modify_instance_attribute(InstanceId=old.identifier, DisableApiTermination={"Value": False})
    ec2.terminate_instances(InstanceIds=[old.identifier])
    assert plugin.read(old) is None
    assert plugin.read(attachment) is None

    new = plugin.create(old.type_name, program(old))
    world["instance"] = new
    world["attachment"] = plugin.create(attachment.type_name, program(attachment, instanceId=new.identifier))
    assert new.outputs["privateIp"] == old.outputs["privateIp"]


def test_volumes_grow_and_do_not_shrink(plugin: Plugin, world: dict[str, Made]) -> None:
    made = world["volume"]
    grown = plugin.update(made, program(made, size=16, type="gp2"))
    assert (grown.outputs["size"], grown.outputs["type"]) == (16, "gp2")
    with pytest.raises(Refused, match="'size' cannot become smaller"):
        plugin.update(grown, program(made, type="gp2"))
    world["volume"] = grown


def test_a_volume_of_another_zone_is_not_attached(plugin: Plugin, world: dict[str, Made]) -> None:
    far = plugin.create("aws:ebs/volume:Volume", {"availabilityZone": f"{REGION}b", "size": 1, "type": "gp3"})
    with pytest.raises(Refused, match=rf"is in {REGION}b and i-\w+ in {REGION}a: both must be in one zone"):
        plugin.create(
            "aws:ec2/volumeAttachment:VolumeAttachment",
            {"deviceName": "/dev/sdg", "instanceId": world["instance"].identifier, "volumeId": far.identifier},
        )
    plugin.delete(far)


def test_volumes_are_detached_unless_they_should_stay(plugin: Plugin, world: dict[str, Made]) -> None:
    volume = plugin.create("aws:ebs/volume:Volume", {"availabilityZone": f"{REGION}a", "size": 1, "type": "gp3"})
    attached = plugin.create(
        "aws:ec2/volumeAttachment:VolumeAttachment",
        {"deviceName": "/dev/sdg", "instanceId": world["instance"].identifier, "volumeId": volume.identifier},
    )
    plugin.delete(attached)
    assert plugin.read(attached) is None
    plugin.delete(volume)


def test_another_secret_is_another_version(aws: LookAlike, plugin: Plugin, world: dict[str, Made]) -> None:
    made = world["secret-version"]
    assert plugin.diff(made, program(made, secretString="new")).replaces == ("secretString",)
    assert ("secretString",) in made.secrets, "secret even if the program did not say so"
    new = plugin.create(made.type_name, program(made, secretString="new"))
    plugin.delete(made)
    found = aws.client("secretsmanager").get_secret_value(SecretId=world["secret"].identifier)
    assert found["SecretString"] == "new"
    world["secret-version"] = new


def test_a_deleted_secret_and_key_wait_their_days(aws: LookAlike, plugin: Plugin) -> None:
    secret = plugin.create("aws:secretsmanager/secret:Secret", {"name": "kept", "recoveryWindowInDays": 7})
    key = plugin.create("aws:kms/key:Key", {"deletionWindowInDays": 7})
    for made in (secret, key):
        plugin.delete(made)
        assert plugin.read(made) is None
    assert aws.client("secretsmanager").describe_secret(SecretId="kept")["DeletedDate"]
    assert aws.client("kms").describe_key(KeyId=key.identifier)["KeyMetadata"]["KeyState"] == "PendingDeletion"
    aws.client("secretsmanager").delete_secret(SecretId="kept", ForceDeleteWithoutRecovery=True)


def test_an_object_is_what_the_file_holds(
    aws: LookAlike, plugin: Plugin, world: dict[str, Made], tmp_path: Path
) -> None:
    (tmp_path / "program").write_bytes(b"program")
    where = {"bucket": world["bucket"].identifier, "key": "deployed/program"}
    made = plugin.create(
        "aws:s3/bucketObject:BucketObject", {**where, "source": asset(path=str(tmp_path / "program"), hash="1")}
    )
    s3 = aws.client("s3")

    assert s3.get_object(Bucket=where["bucket"], Key=where["key"])["Body"].read() == b"program"
    plugin.delete(made)
    versions = s3.list_object_versions(Bucket=where["bucket"], Prefix=where["key"])
    assert not versions.get("Versions")
    assert not versions.get("DeleteMarkers")
    with pytest.raises(Refused, match="No such file"):
        plugin.create("aws:s3/bucketObject:BucketObject", {**where, "source": asset(path="nowhere", hash="1")})


def test_a_bucket_that_holds_something_stays_without_force(aws: LookAlike, plugin: Plugin) -> None:
    made = plugin.create("aws:s3/bucket:Bucket", {"bucket": "full-bucket"})
    aws.client("s3").put_object(Bucket="full-bucket", Key="a", Body=b"")
    with pytest.raises(Refused, match="BucketNotEmpty"):
        plugin.delete(made)
    plugin.delete(plugin.update(made, program(made, forceDestroy=True)))


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("versioning", {"versioningConfiguration": {"status": "Suspended"}}),
        ("encryption", {"rules": [{"applyServerSideEncryptionByDefault": {"sseAlgorithm": "AES256"}}]}),
        ("object", {"source": asset(text="other", hash="4567")}),
        ("access-block", {"ignorePublicAcls": False}),
        ("ownership", {"rule": {"objectOwnership": "ObjectWriter"}}),
        ("lifecycle", {"rules": [{"id": "backups", "status": "Disabled", "expiration": {"days": 3}}]}),
        ("topic", {"displayName": "Other"}),
        ("alarm", {"threshold": 2, "okActions": ["arn:aws:sns:eu-central-1:123456789012:other"]}),
        ("log-group", {"retentionInDays": None}),
        ("record", {"ttl": 5, "records": ["10.7.1.21", "10.7.1.22"]}),
        ("zone", {"comment": "other"}),
        ("subnet", {"mapPublicIpOnLaunch": True}),
        ("vpc", {"enableDnsHostnames": False}),
        ("interface", {"description": "other", "sourceDestCheck": False}),
        ("key", {"description": "other", "enableKeyRotation": False}),
        ("role", {"description": "other", "maxSessionDuration": 7200}),
        ("role-policy", {"policy": policy(Action="s3:PutObject", Resource="*")}),
        ("secret", {"description": "other"}),
        ("subscription", {"rawMessageDelivery": True}),
        ("default-group", {"egress": [{"protocol": "-1", "fromPort": 0, "toPort": 0, "cidrBlocks": ["10.7.0.0/16"]}]}),
    ],
)
def test_changes_in_place(plugin: Plugin, world: dict[str, Made], name: str, changes: dict[str, Any]) -> None:
    made = world[name]
    difference = plugin.diff(made, program(made, **changes))
    assert (set(difference.updates), difference.replaces) == (set(changes), ())
    updated = plugin.update(made, program(made, **changes))
    assert plugin.diff(updated, program(made, **changes)) == NO_DIFFERENCE
    world[name] = plugin.update(updated, program(made))
    assert plugin.diff(world[name], program(made)) == NO_DIFFERENCE


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("vpc", {"cidrBlock": "10.6.0.0/16"}),
        ("subnet", {"availabilityZone": f"{REGION}b"}),
        ("group", {"description": "other"}),
        ("rule-in", {"securityGroupId": "sg-other"}),
        ("interface", {"privateIps": ["10.7.1.30"]}),
        ("volume", {"availabilityZone": f"{REGION}b"}),
        ("attachment", {"deviceName": "/dev/sdh"}),
        ("bucket", {"bucket": "other-bucket"}),
        ("versioning", {"bucket": "other-bucket"}),
        ("object", {"key": "deployed/4567"}),
        ("log-group", {"name": "/other"}),
        ("zone", {"name": "other.internal"}),
        ("record", {"name": "other.cache-test.internal"}),
        ("secret", {"name": "other"}),
        ("flow-log", {"trafficType": "ALL"}),
        ("nat", {"subnetId": "subnet-other"}),
    ],
)
def test_changes_that_replace(plugin: Plugin, world: dict[str, Made], name: str, changes: dict[str, Any]) -> None:
    assert plugin.diff(world[name], program(world[name], **changes)).replaces == tuple(changes)


def test_policies_that_mean_the_same_are_no_difference(plugin: Plugin, world: dict[str, Made]) -> None:
    made = world["role-policy"]
    spaced = json.dumps(json.loads(made.inputs["policy"]), indent=4).replace(
        '[\n                "s3:GetObject"', '["s3:GetObject"'
    )
    assert spaced != made.inputs["policy"]
    assert plugin.diff(made, program(made, policy=spaced)) == NO_DIFFERENCE


def test_a_zone_that_holds_records_stays_without_force(plugin: Plugin, world: dict[str, Made]) -> None:
    with pytest.raises(Refused, match="still has 1 records"):
        plugin.delete(world["zone"])


def test_a_preview_knows_what_it_can(plugin: Plugin) -> None:
    planned = plugin.create("aws:ec2/subnet:Subnet", {"vpcId": UNKNOWN, "cidrBlock": "10.7.1.0/24"}, preview=True)
    assert planned.outputs["vpcId"] is UNKNOWN
    assert planned.outputs["arn"] is UNKNOWN
    assert planned.outputs["cidrBlock"] == "10.7.1.0/24"
    assert planned.outputs["region"] == REGION


# --- functions


def test_functions(aws: LookAlike, plugin: Plugin, world: dict[str, Made]) -> None:
    vpc, subnet = world["vpc"].identifier, world["subnet"].identifier
    image = world["instance"].outputs["ami"]
    aws.client("ssm").put_parameter(Name="/image", Value=image, Type="String")
    assert plugin.call("aws:index/getCallerIdentity:getCallerIdentity", {})["accountId"] == ACCOUNT
    assert plugin.call("aws:index/getRegion:getRegion", {})["region"] == REGION
    assert plugin.call("aws:index/getPartition:getPartition", {})["dnsSuffix"] == "amazonaws.com"
    zones = plugin.call("aws:index/getAvailabilityZones:getAvailabilityZones", {"state": "available"})
    assert zones["names"] == [f"{REGION}a", f"{REGION}b", f"{REGION}c"]
    assert plugin.call("aws:ec2/getVpc:getVpc", {"id": vpc})["cidrBlock"] == "10.7.0.0/16"
    assert plugin.call("aws:ec2/getSubnet:getSubnet", {"id": subnet})["availabilityZone"] == f"{REGION}a"
    filters = [{"name": "vpc-id", "values": [vpc]}]
    assert plugin.call("aws:ec2/getSubnets:getSubnets", {"filters": filters})["ids"] == [subnet]
    found = plugin.call("aws:ec2/getSecurityGroup:getSecurityGroup", {"name": "inline", "vpcId": vpc})
    assert found["id"] == world["inline-group"].identifier
    by_id = [{"name": "image-id", "values": [image]}]
    assert plugin.call("aws:ec2/getAmi:getAmi", {"filters": by_id, "owners": ["amazon"]})["id"] == image
    small = plugin.call("aws:ec2/getInstanceType:getInstanceType", {"instanceType": "t4g.small"})
    assert (small["memorySize"], small["supportedArchitectures"]) == (2048, ["arm64"])
    assert plugin.call("aws:ssm/getParameter:getParameter", {"name": "/image"})["value"] == image


def test_functions_say_what_they_do_not_find(plugin: Plugin) -> None:
    with pytest.raises(Refused, match="no security group matches"):
        plugin.call("aws:ec2/getSecurityGroup:getSecurityGroup", {"name": "none"})
    with pytest.raises(Refused, match="3 subnet matches"):
        plugin.call("aws:ec2/getSubnet:getSubnet", {"defaultForAz": True})
    with pytest.raises(Refused, match=r"aws:rds/getInstance:getInstance is not covered by this stand-in"):
        plugin.call("aws:rds/getInstance:getInstance", {})
    with pytest.raises(Refused, match="'uefiData' is not covered"):
        plugin.call("aws:ec2/getAmi:getAmi", {"uefiData": "x"})
