"""The look-alike of AWS: its instances, from outside and from inside."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator

import pytest
import requests

pytest.importorskip("boto3", reason="requirements-rehearsal.txt is not installed")

from airgap.aws_cloud import addresses, volumes
from tests.airgap.aws_cloud.look_alike import REGION, ZONES, Account, refusal

pytestmark = [pytest.mark.docker, pytest.mark.long]

PERMISSIONS = """cat >/root/permissions.py <<'END'
import boto3
from botocore.exceptions import ClientError
name = "{name}"
def may(service, call, **arguments):
    try:
        getattr(boto3.client(service, "{region}"), call)(**arguments)
    except ClientError as error:
        return error.response["Error"]["Code"]
    return "ok"
print(boto3.client("sts", "{region}").get_caller_identity()["Arn"])
print(may("secretsmanager", "get_secret_value", SecretId=name + "/own"))
print(may("secretsmanager", "get_secret_value", SecretId=name + "/other"))
print(may("s3", "put_object", Bucket=name, Key="own/file", Body=b"1"))
print(may("s3", "put_object", Bucket=name, Key="file", Body=b"1"))
print(may("s3", "list_objects_v2", Bucket=name, Prefix="own/"))
print(may("s3", "list_objects_v2", Bucket=name))
print(may("cloudwatch", "put_metric_data", Namespace="own", MetricData=[dict(MetricName="a", Value=1)]))
print(may("cloudwatch", "put_metric_data", Namespace="other", MetricData=[dict(MetricName="a", Value=1)]))
print(may("ec2", "describe_instances"))
END
python3 /root/permissions.py
"""
GET_SECRET = """cat >/root/secret.py <<'END'
import boto3
boto3.client("secretsmanager", "{region}").get_secret_value(SecretId="{name}/own")
END
python3 /root/secret.py 2>/dev/null && echo ok || echo refused
"""
TOKEN = (
    "token=$(curl -sf -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' http://169.254.169.254/latest/api/token)\n"
    'ask() { curl -s -w "%{http_code}\\n" -H "X-aws-ec2-metadata-token: $token" "http://169.254.169.254/latest/$1"; }\n'
)
SERVER = (
    "systemd-run -q --unit=greeter --collect python3 -m http.server 8000\n"
    "until nc -z 127.0.0.1 8000; do sleep 0.1; done"
)
CONNECT = "timeout 2 sh -c 'nc -z -w1 node-1.{name}.internal 8000' && echo open || echo closed"


@pytest.fixture(scope="module")
def account(is_ours: bool) -> Iterator[Account]:
    made = Account(f"aws-test-{uuid.uuid4().hex[:8]}")
    yield made
    made.remove()


def test_user_data_are_run_once_and_the_boot_is_clean(account: Account) -> None:
    said = account.on(0, "cloud-init status --wait >/dev/null; cat /root/written /root/ran; systemctl --failed --quiet")
    assert said == "from user dataonce\n"
    account.ec2.reboot_instances(InstanceIds=[account.instances[0]])
    assert account.on(0, "cloud-init status --wait >/dev/null; cat /root/ran") == "once\n"


def test_metadata_need_a_token_and_are_the_instances_own(account: Account) -> None:
    asked = ("meta-data/instance-id", "meta-data/placement/availability-zone", "meta-data/tags/instance/node")
    said = account.on(
        1,
        TOKEN
        + "".join(f"ask {path}\n" for path in asked)
        + "token=wrong; ask meta-data/instance-id\n"
        + 'curl -s -o /dev/null -w "%{http_code}" http://169.254.169.254/latest/',
    )
    assert said.splitlines() == [f"{account.instances[1]}200", f"{ZONES[1]}200", "404", "401", "401"]


def test_an_instance_may_do_what_its_role_may(account: Account) -> None:
    said = account.on(0, PERMISSIONS.format(name=account.name, region=REGION)).splitlines()
    assert said[0] == f"arn:aws:sts::123456789012:assumed-role/{account.name}/{account.instances[0]}"
    assert said[1:] == [
        "ok", "AccessDeniedException", "ok", "AccessDenied", "ok", "AccessDenied", "ok", "AccessDenied", "AccessDenied",
    ]  # fmt: skip


def test_a_secret_needs_its_keys_permission_too(account: Account) -> None:
    arguments = {"RoleName": account.name, "PolicyName": "own"}
    policy = account.iam.get_role_policy(**arguments)["PolicyDocument"]
    without = {**policy, "Statement": [each for each in policy["Statement"] if each["Action"] != "kms:Decrypt"]}
    ask = GET_SECRET.format(name=account.name, region=REGION)
    try:
        account.iam.put_role_policy(**arguments, PolicyDocument=json.dumps(without))
        assert account.on(0, ask) == "refused\n"
    finally:
        account.iam.put_role_policy(**arguments, PolicyDocument=json.dumps(policy))
    assert account.on(0, ask) == "ok\n"


def test_versions_and_delete_markers_can_be_removed(account: Account) -> None:
    bucket, s3 = f"{account.name}-versions", account.s3
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
    for status in ("Enabled", "Suspended"):
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": status})
        if status == "Enabled":
            s3.put_object(Bucket=bucket, Key="a", Body=b"1")
            s3.delete_object(Bucket=bucket, Key="a")
    listed = s3.list_object_versions(Bucket=bucket)
    found = [
        {"Key": each["Key"], "VersionId": each["VersionId"]} for each in listed["Versions"] + listed["DeleteMarkers"]
    ]
    s3.delete_objects(Bucket=bucket, Delete={"Objects": found})
    s3.delete_bucket(Bucket=bucket)


def test_gateways_and_endpoints_have_addresses_of_their_subnets(account: Account) -> None:
    ec2, subnet = account.ec2, account.subnets[0]
    gateway = ec2.create_nat_gateway(SubnetId=subnet, ConnectivityType="private")["NatGateway"]["NatGatewayId"]
    endpoint = ec2.create_vpc_endpoint(
        VpcId=account.vpc, ServiceName=f"com.amazonaws.{REGION}.ssm", VpcEndpointType="Interface", SubnetIds=[subnet]
    )["VpcEndpoint"]["VpcEndpointId"]
    of_subnet = [{"Name": "subnet-id", "Values": [subnet]}]
    found = ec2.describe_network_interfaces(Filters=of_subnet)["NetworkInterfaces"]
    assert len({each["PrivateIpAddress"] for each in found if each["PrivateIpAddress"].startswith("10.213.0.")}) == 3
    ec2.delete_nat_gateway(NatGatewayId=gateway)
    ec2.delete_vpc_endpoints(VpcEndpointIds=[endpoint])
    assert len(ec2.describe_network_interfaces(Filters=of_subnet)["NetworkInterfaces"]) == 1


def test_a_request_without_a_body_is_signed_and_one_without_a_signature_refused(account: Account) -> None:
    assert account.dns.get_hosted_zone(Id=account.zone)["HostedZone"]["Config"]["PrivateZone"]
    for path in (f"{account.name}/own/file", "2013-04-01/hostedzone"):
        assert requests.get(f"{addresses.ENDPOINT}/{path}", timeout=30).status_code == 403


def test_names_of_the_vpcs_private_zone(account: Account) -> None:
    said = account.on(0, f"getent hosts node-1.{account.name}.internal; getent hosts example.com || echo unknown")
    address = account.interfaces[1]["PrivateIpAddress"]
    assert said.split() == [address, f"node-1.{account.name}.internal", "unknown"]


def test_how_commands_end(account: Account) -> None:
    one = account.instances[0]
    sent = {
        "Success": account.commands.send("echo out; echo err >&2", InstanceIds=[one]),
        "Failed": account.commands.send("exit 7", InstanceIds=[one]),
        "TimedOut": account.commands.send("sleep 60", seconds=1, InstanceIds=[one]),
        "Cancelled": account.commands.send("echo begun >/run/begun; sleep 60", InstanceIds=[one]),
    }
    account.on(0, "until [ -e /run/begun ]; do sleep 0.1; done")
    account.commands.ssm.cancel_command(CommandId=sent["Cancelled"], InstanceIds=[one])
    ended = {status: account.commands.ended(command, one) for status, command in sent.items()}
    assert {status: each["Status"] for status, each in ended.items()} == {status: status for status in sent}
    assert ended["Success"]["StandardOutputContent"] == "out\n"
    assert ended["Success"]["StandardErrorContent"] == "err\n"
    assert ended["Failed"]["ResponseCode"] == 7
    listed = account.commands.ssm.list_command_invocations(CommandId=sent["Failed"], Details=True)["CommandInvocations"]
    assert [each["CommandPlugins"][0]["ResponseCode"] for each in listed] == [7]


def test_a_long_output_is_cut(account: Account) -> None:
    assert len(account.on(0, "head -c 30000 /dev/zero | tr '\\0' x")) == 24_000


def test_commands_by_tag_reach_the_instances_with_it(account: Account) -> None:
    target = {"Key": "tag:node", "Values": [f"{account.name}-1"]}
    command = account.commands.send("hostname", Targets=[target])
    assert account.commands.ended(command, account.instances[1])["Status"] == "Success"
    assert (
        refusal(account.commands.ssm.get_command_invocation, CommandId=command, InstanceId=account.instances[0])
        == "InvocationDoesNotExist"
    )


def test_a_volume_outlives_reboot_and_instance(account: Account) -> None:
    made = account.ec2.create_volume(Size=1, AvailabilityZone=ZONES[0], VolumeType="gp3", Encrypted=True)
    volume = made["VolumeId"]
    device = f"/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_{volume.replace('-', '')}"
    mount = f"mkdir -p /data && mount {device} /data"
    attach = {"VolumeId": volume, "Device": "/dev/sdf"}
    account.ec2.attach_volume(InstanceId=account.instances[0], **attach)
    assert refusal(account.ec2.attach_volume, InstanceId=account.instances[0], **attach) == "VolumeInUse"
    account.on(0, f"mkfs.ext4 -q {device} && {mount} && echo kept >/data/file && readlink -f {device}")
    account.ec2.reboot_instances(InstanceIds=[account.instances[0]])
    assert account.on(0, f"{mount} && cat /data/file") == "kept\n"

    # A replacement at the same interface, as when the image changes.
    account.ec2.terminate_instances(InstanceIds=[account.instances[0]])
    account.instances[0] = account.run_instance(0, UserData="#!/bin/sh\necho another >/root/written\n")
    account.ec2.attach_volume(InstanceId=account.instances[0], **attach)
    assert account.on(0, f"{mount} && cat /data/file && hostname -I") == (
        f"kept\n{account.interfaces[0]['PrivateIpAddress']} \n"
    )
    account.on(0, "umount /data")
    account.ec2.detach_volume(VolumeId=volume)
    assert account.on(0, f"[ -e {device} ] && echo there || echo gone") == "gone\n"
    account.ec2.delete_volume(VolumeId=volume)
    assert not volumes.exists(volume)


def test_security_groups_decide_who_reaches_whom(account: Account) -> None:
    connect = CONNECT.format(name=account.name)
    account.on(1, SERVER)
    assert account.on(0, connect) == "closed\n"
    rule = {
        "IpProtocol": "tcp", "FromPort": 8000, "ToPort": 8000, "UserIdGroupPairs": [{"GroupId": account.group}],
    }  # fmt: skip
    account.ec2.authorize_security_group_ingress(GroupId=account.group, IpPermissions=[rule])
    assert account.on(0, connect) == "open\n"
    account.ec2.revoke_security_group_ingress(GroupId=account.group, IpPermissions=[rule])
    assert account.on(0, connect) == "closed\n"


def test_an_instances_type_is_changed_while_it_is_stopped(account: Account) -> None:
    one, memory = account.instances[1], "grep MemTotal /proc/meminfo"
    change = {"InstanceId": one, "InstanceType": {"Value": "t4g.large"}}
    assert refusal(account.ec2.modify_instance_attribute, **change) == "IncorrectInstanceState"
    before = account.on(1, memory)
    account.ec2.stop_instances(InstanceIds=[one])
    assert account.state(one) == "stopped"
    assert refusal(
        account.commands.ssm.send_command,
        DocumentName="AWS-RunShellScript", Parameters={"commands": ["true"]}, InstanceIds=[one],
    ) == "InvalidInstanceId"  # fmt: skip
    account.ec2.modify_instance_attribute(**change)
    account.ec2.start_instances(InstanceIds=[one])
    assert int(account.on(1, memory).split()[1]) == 4 * int(before.split()[1])


def test_what_aws_refuses_is_refused(account: Account) -> None:
    run, ec2 = account.run_instance, account.ec2
    subnet, taken = account.subnets[0], account.interfaces[0]["PrivateIpAddress"]
    assert refusal(run, number=0) == "InvalidNetworkInterface.InUse"
    assert refusal(run, number=0, ImageId="ami-12345678") == "InvalidAMIID.NotFound"
    assert refusal(run, number=0, InstanceType="t4g.enormous") == "InvalidInstanceType"
    assert refusal(run, number=0, UserData="#" * 16385) == "InvalidParameterValue"
    create = ec2.create_network_interface
    assert refusal(create, SubnetId=subnet, PrivateIpAddress=taken) == "InvalidIPAddress.InUse"
    assert refusal(create, SubnetId=subnet, PrivateIpAddress="10.99.0.4") == "InvalidParameterValue"
    assert refusal(ec2.delete_subnet, SubnetId=subnet) == "DependencyViolation"
    assert refusal(ec2.delete_security_group, GroupId=account.group) == "DependencyViolation"
    assert refusal(ec2.create_volume, Size=0, AvailabilityZone=ZONES[0]) == "InvalidParameterValue"
