"""A client of the look-alike of AWS for its tests, and one small account in it: a network, a role, two instances."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from airgap.aws_cloud import addresses, folder

REGION = "eu-central-1"
ZONES = (f"{REGION}a", f"{REGION}b")
DEADLINE_SECONDS = 120.0
UNDER_WAY = ("Pending", "InProgress", "Cancelling")
USER_DATA = """#cloud-config
write_files:
  - path: /root/written
    content: from user data
runcmd:
  - [sh, -c, "echo once >>/root/ran"]
"""


def client(service: str) -> Any:
    key = folder.credentials()
    return boto3.client(
        service,
        region_name=REGION,
        endpoint_url=addresses.ENDPOINT,
        aws_access_key_id=key.access_key,
        aws_secret_access_key=key.secret_key,
        config=Config(retries={"total_max_attempts": 1}, read_timeout=120),
    )


def until(condition: Callable[[], Any], what: str) -> Any:
    """Wait for something to be true; what it said then."""
    ends = time.monotonic() + DEADLINE_SECONDS
    while not (answer := condition()):
        assert time.monotonic() < ends, f"{what}: not within {DEADLINE_SECONDS} s"
        time.sleep(0.2)
    return answer


def refusal(call: Callable[..., Any], **arguments: Any) -> str:
    """The code of the error that a call must end with."""
    try:
        call(**arguments)
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    raise AssertionError("the call was not refused")


class Commands:
    """Sends commands to instances by SSM, and waits for their end."""

    def __init__(self) -> None:
        self.ssm = client("ssm")

    def send(self, script: str, seconds: int = 60, **targets: Any) -> str:
        """Send a command, as soon as its instances take one; the command's id."""

        def sent() -> Any:
            try:
                return self.ssm.send_command(
                    DocumentName="AWS-RunShellScript",
                    Parameters={"commands": script.splitlines(), "executionTimeout": [str(seconds)]},
                    **targets,
                )["Command"]["CommandId"]
            except ClientError as error:
                assert error.response["Error"]["Code"] == "InvalidInstanceId", error
                return None

        return str(until(sent, "the instance takes a command"))

    def ended(self, command: str, instance: str) -> Any:
        def found() -> Any:
            answer = self.ssm.get_command_invocation(CommandId=command, InstanceId=instance)
            return answer if answer["Status"] not in UNDER_WAY else None

        return until(found, "the command ends")

    def on(self, instance: str, script: str) -> str:
        """What a script that succeeds writes on an instance."""
        answer = self.ended(self.send(script, InstanceIds=[instance]), instance)
        assert answer["Status"] == "Success", answer
        return str(answer["StandardOutputContent"])


class Account:
    """What the tests use, made once and removed at the end."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.ec2, self.commands, self.iam = client("ec2"), Commands(), client("iam")
        self.secrets, self.s3, self.dns, self.kms = (
            client("secretsmanager"), client("s3"), client("route53"), client("kms"),
        )  # fmt: skip
        self.instances: list[str] = []
        self.vpc = self.ec2.create_vpc(CidrBlock="10.213.0.0/16")["Vpc"]["VpcId"]
        self.subnets = [
            self.ec2.create_subnet(VpcId=self.vpc, CidrBlock=f"10.213.{number}.0/24", AvailabilityZone=zone)["Subnet"][
                "SubnetId"
            ]
            for number, zone in enumerate(ZONES)
        ]
        self.group = self.ec2.create_security_group(VpcId=self.vpc, GroupName=name, Description=name)["GroupId"]
        self.key = self.kms.create_key()["KeyMetadata"]["Arn"]
        self.secret = self.secrets.create_secret(Name=f"{name}/own", SecretString="canary", KmsKeyId=self.key)["ARN"]
        self.secrets.create_secret(Name=f"{name}/other", SecretString="canary")
        self.s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
        self.s3.put_bucket_policy(Bucket=name, Policy=self._only_by_tls())
        self._make_role()
        self.zone = self.dns.create_hosted_zone(
            Name=f"{name}.internal",
            CallerReference=name,
            VPC={"VPCRegion": REGION, "VPCId": self.vpc},
            HostedZoneConfig={"PrivateZone": True},
        )["HostedZone"]["Id"]
        self.interfaces = [
            self.ec2.create_network_interface(SubnetId=subnet, Groups=[self.group])["NetworkInterface"]
            for subnet in self.subnets
        ]
        for number, interface in enumerate(self.interfaces):
            record = {
                "Name": f"node-{number}.{name}.internal",
                "Type": "A",
                "TTL": 10,
                "ResourceRecords": [{"Value": interface["PrivateIpAddress"]}],
            }
            self.dns.change_resource_record_sets(
                HostedZoneId=self.zone,
                ChangeBatch={"Changes": [{"Action": "CREATE", "ResourceRecordSet": record}]},
            )
        with ThreadPoolExecutor() as pool:
            self.instances = list(pool.map(self.run_instance, range(2)))

    @cached_property
    def image(self) -> str:
        name = "/aws/service/debian/release/13/latest/arm64"
        return str(self.commands.ssm.get_parameter(Name=name)["Parameter"]["Value"])

    def run_instance(self, number: int, **changes: Any) -> str:
        """Boot the instance of an interface; its id."""
        answer = self.ec2.run_instances(
            **{
                "ImageId": self.image,
                "InstanceType": "t4g.small",
                "MinCount": 1,
                "MaxCount": 1,
                "UserData": USER_DATA,
                "NetworkInterfaces": [
                    {"DeviceIndex": 0, "NetworkInterfaceId": self.interfaces[number]["NetworkInterfaceId"]}
                ],
                "IamInstanceProfile": {"Name": self.name},
                "MetadataOptions": {"HttpTokens": "required", "HttpPutResponseHopLimit": 1},
                "TagSpecifications": [
                    {"ResourceType": "instance", "Tags": [{"Key": "node", "Value": f"{self.name}-{number}"}]}
                ],
                **changes,
            }
        )
        return str(answer["Instances"][0]["InstanceId"])

    def on(self, number: int, script: str) -> str:
        """What a script that succeeds writes on one of the instances."""
        return self.commands.on(self.instances[number], script)

    def state(self, instance: str) -> str:
        found = self.ec2.describe_instances(InstanceIds=[instance])["Reservations"][0]["Instances"][0]
        return str(found["State"]["Name"])

    def remove(self) -> None:
        self.ec2.terminate_instances(InstanceIds=self.instances)
        for interface in self.interfaces:
            self.ec2.delete_network_interface(NetworkInterfaceId=interface["NetworkInterfaceId"])
        self.ec2.delete_security_group(GroupId=self.group)
        for subnet in self.subnets:
            self.ec2.delete_subnet(SubnetId=subnet)
        self.ec2.delete_vpc(VpcId=self.vpc)

    def _make_role(self) -> None:
        trusted = {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}
        self.iam.create_role(RoleName=self.name, AssumeRolePolicyDocument=_document(trusted))
        self.iam.put_role_policy(
            RoleName=self.name,
            PolicyName="own",
            PolicyDocument=_document(
                _allow("secretsmanager:GetSecretValue", self.secret),
                _allow("kms:Decrypt", self.key),
                _allow(["s3:GetObject", "s3:PutObject"], f"arn:aws:s3:::{self.name}/own/*"),
                {
                    **_allow("s3:ListBucket", f"arn:aws:s3:::{self.name}"),
                    "Condition": {"StringLike": {"s3:prefix": "own/*"}},
                },
                {
                    **_allow("cloudwatch:PutMetricData", "*"),
                    "Condition": {"StringEquals": {"cloudwatch:namespace": "own"}},
                },
            ),
        )
        self.iam.create_instance_profile(InstanceProfileName=self.name)
        self.iam.add_role_to_instance_profile(InstanceProfileName=self.name, RoleName=self.name)

    def _only_by_tls(self) -> str:
        bucket = f"arn:aws:s3:::{self.name}"
        return _document(
            {
                "Effect": "Deny",
                "Principal": "*",
                "Action": "s3:*",
                "Resource": [bucket, f"{bucket}/*"],
                "Condition": {"Bool": {"aws:SecureTransport": "false"}},
            }
        )


def _allow(action: str | list[str], resource: str) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": action, "Resource": resource}


def _document(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})
