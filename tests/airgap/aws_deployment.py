"""A deployment in which every resource type of the AWS stand-in occurs, as a program would describe it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from tests.airgap.aws_look_alike import ACCOUNT, REGION, LookAlike
from tests.airgap.plugin import Made

World = Mapping[str, Made]
TAGS = {"redis-production:deployment": "cache-test"}
BUCKET = f"cache-test-{ACCOUNT}-{REGION}"


def policy(**statement: Any) -> str:
    """A policy document of one statement."""
    return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **statement}]})


def id_of(world: World, name: str) -> str:
    return world[name].identifier


def asset(**what: str) -> dict[str, str]:
    """A file or a text as the engine sends it: with ``path`` or ``text``, and ``hash``."""
    return {"4dabf18193072939515e22adb298388d": "c44067f5952c0a294b673a41bacd8c17", **what}


def deployment(aws: LookAlike) -> dict[str, tuple[str, Callable[[World], dict[str, Any]]]]:
    """Each resource: its type, and its inputs from those made before it."""
    image = aws.client("ec2").describe_images(Owners=["amazon"])["Images"][0]["ImageId"]
    # moto knows none of the policies that AWS manages.
    shared = aws.client("iam").create_policy(PolicyName="shared", PolicyDocument=policy(Action="ssm:*", Resource="*"))
    return {
        "vpc": (
            "aws:ec2/vpc:Vpc",
            lambda _: {"cidrBlock": "10.7.0.0/16", "enableDnsHostnames": True, "tags": TAGS},
        ),
        "default-group": (
            "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup",
            lambda w: {"vpcId": id_of(w, "vpc"), "tags": TAGS},
        ),
        "subnet": (
            "aws:ec2/subnet:Subnet",
            lambda w: {
                "vpcId": id_of(w, "vpc"),
                "cidrBlock": "10.7.1.0/24",
                "availabilityZone": f"{REGION}a",
                "tags": TAGS,
            },
        ),
        "gateway": (
            "aws:ec2/internetGateway:InternetGateway",
            lambda w: {"vpcId": id_of(w, "vpc"), "tags": TAGS},
        ),
        "address": ("aws:ec2/eip:Eip", lambda _: {"domain": "vpc", "tags": TAGS}),
        "nat": (
            "aws:ec2/natGateway:NatGateway",
            lambda w: {"allocationId": id_of(w, "address"), "subnetId": id_of(w, "subnet"), "tags": TAGS},
        ),
        "table": ("aws:ec2/routeTable:RouteTable", lambda w: {"vpcId": id_of(w, "vpc"), "tags": TAGS}),
        "route": (
            "aws:ec2/route:Route",
            lambda w: {
                "routeTableId": id_of(w, "table"),
                "destinationCidrBlock": "0.0.0.0/0",
                "natGatewayId": id_of(w, "nat"),
            },
        ),
        "association": (
            "aws:ec2/routeTableAssociation:RouteTableAssociation",
            lambda w: {"routeTableId": id_of(w, "table"), "subnetId": id_of(w, "subnet")},
        ),
        "group": (
            "aws:ec2/securityGroup:SecurityGroup",
            lambda w: {"vpcId": id_of(w, "vpc"), "description": "Redis nodes", "tags": TAGS},
        ),
        "inline-group": (
            "aws:ec2/securityGroup:SecurityGroup",
            lambda w: {
                "vpcId": id_of(w, "vpc"),
                "name": "inline",
                "ingress": [
                    {"protocol": "tcp", "fromPort": 6379, "toPort": 6379, "cidrBlocks": ["10.8.0.0/16", "10.7.0.0/16"]},
                    {"protocol": "tcp", "fromPort": 16379, "toPort": 16379, "self": True, "description": "bus"},
                ],
                "tags": TAGS,
            },
        ),
        "rule-in": (
            "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule",
            lambda w: {
                "securityGroupId": id_of(w, "group"),
                "ipProtocol": "tcp",
                "fromPort": 6379,
                "toPort": 6379,
                "cidrIpv4": "10.7.0.0/16",
                "description": "clients",
                "tags": TAGS,
            },
        ),
        "rule-among": (
            "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule",
            lambda w: {
                "securityGroupId": id_of(w, "group"),
                "ipProtocol": "tcp",
                "fromPort": 26379,
                "toPort": 26379,
                "referencedSecurityGroupId": id_of(w, "group"),
            },
        ),
        "rule-out": (
            "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule",
            lambda w: {
                "securityGroupId": id_of(w, "group"),
                "ipProtocol": "-1",
                "cidrIpv4": "0.0.0.0/0",
                "tags": TAGS,
            },
        ),
        "endpoint": (
            "aws:ec2/vpcEndpoint:VpcEndpoint",
            lambda w: {
                "vpcId": id_of(w, "vpc"),
                "serviceName": f"com.amazonaws.{REGION}.secretsmanager",
                "vpcEndpointType": "Interface",
                "subnetIds": [id_of(w, "subnet")],
                "securityGroupIds": [id_of(w, "group")],
                "privateDnsEnabled": True,
                "tags": TAGS,
            },
        ),
        "gateway-endpoint": (
            "aws:ec2/vpcEndpoint:VpcEndpoint",
            lambda w: {
                "vpcId": id_of(w, "vpc"),
                "serviceName": f"com.amazonaws.{REGION}.s3",
                "routeTableIds": [id_of(w, "table")],
                "tags": TAGS,
            },
        ),
        "rule-to-s3": (
            "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule",
            lambda w: {
                "securityGroupId": id_of(w, "group"),
                "ipProtocol": "tcp",
                "fromPort": 443,
                "toPort": 443,
                "prefixListId": w["gateway-endpoint"].outputs["prefixListId"],
                "description": "backups",
            },
        ),
        "interface": (
            "aws:ec2/networkInterface:NetworkInterface",
            lambda w: {
                "subnetId": id_of(w, "subnet"),
                "privateIps": ["10.7.1.20"],
                "securityGroups": [id_of(w, "group")],
                "description": "cache-redis-0",
                "tags": TAGS,
            },
        ),
        "role": (
            "aws:iam/role:Role",
            lambda _: {
                "assumeRolePolicy": policy(Action="sts:AssumeRole", Principal={"Service": "ec2.amazonaws.com"}),
                "description": "Redis nodes",
                "tags": TAGS,
            },
        ),
        "role-policy": (
            "aws:iam/rolePolicy:RolePolicy",
            lambda w: {"role": id_of(w, "role"), "policy": policy(Action=["s3:GetObject"], Resource="*")},
        ),
        "role-attachment": (
            "aws:iam/rolePolicyAttachment:RolePolicyAttachment",
            lambda w: {"role": id_of(w, "role"), "policyArn": shared["Policy"]["Arn"]},
        ),
        "profile": ("aws:iam/instanceProfile:InstanceProfile", lambda w: {"role": id_of(w, "role"), "tags": TAGS}),
        "key": (
            "aws:kms/key:Key",
            lambda _: {
                "description": "cache-test",
                "enableKeyRotation": True,
                "deletionWindowInDays": 7,
                "policy": policy(Action="kms:*", Resource="*", Principal={"AWS": f"arn:aws:iam::{ACCOUNT}:root"}),
                "tags": TAGS,
            },
        ),
        "alias": (
            "aws:kms/alias:Alias",
            lambda w: {"name": "alias/cache-test", "targetKeyId": w["key"].outputs["keyId"]},
        ),
        "secret": (
            "aws:secretsmanager/secret:Secret",
            lambda w: {
                "name": "cache-test/formation",
                "description": "passwords",
                "kmsKeyId": w["key"].outputs["arn"],
                "recoveryWindowInDays": 0,
                "tags": TAGS,
            },
        ),
        "secret-version": (
            "aws:secretsmanager/secretVersion:SecretVersion",
            lambda w: {"secretId": id_of(w, "secret"), "secretString": '{"passwords": {"app": "hidden"}}'},
        ),
        "bucket": (
            "aws:s3/bucket:Bucket",
            lambda _: {"bucket": BUCKET, "forceDestroy": True, "tags": TAGS},
        ),
        "object": (
            "aws:s3/bucketObject:BucketObject",
            lambda w: {
                "bucket": id_of(w, "bucket"),
                "key": "deployed/0123",
                "kmsKeyId": w["key"].outputs["arn"],
                "source": asset(text="content", hash="0123"),
                "tags": TAGS,
            },
        ),
        "versioning": (
            "aws:s3/bucketVersioning:BucketVersioning",
            lambda w: {"bucket": id_of(w, "bucket"), "versioningConfiguration": {"status": "Enabled"}},
        ),
        "encryption": (
            "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration",
            lambda w: {
                "bucket": id_of(w, "bucket"),
                "rules": [
                    {
                        "applyServerSideEncryptionByDefault": {
                            "sseAlgorithm": "aws:kms",
                            "kmsMasterKeyId": w["key"].outputs["arn"],
                        },
                        "bucketKeyEnabled": True,
                    }
                ],
            },
        ),
        "access-block": (
            "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock",
            lambda w: {
                "bucket": id_of(w, "bucket"),
                "blockPublicAcls": True,
                "blockPublicPolicy": True,
                "ignorePublicAcls": True,
                "restrictPublicBuckets": True,
            },
        ),
        "ownership": (
            "aws:s3/bucketOwnershipControls:BucketOwnershipControls",
            lambda w: {"bucket": id_of(w, "bucket"), "rule": {"objectOwnership": "BucketOwnerEnforced"}},
        ),
        "bucket-policy": (
            "aws:s3/bucketPolicy:BucketPolicy",
            lambda w: {
                "bucket": id_of(w, "bucket"),
                "policy": policy(
                    Action="s3:*",
                    Resource=[f"arn:aws:s3:::{BUCKET}/*"],
                    Principal={"AWS": f"arn:aws:iam::{ACCOUNT}:root"},
                ),
            },
        ),
        "lifecycle": (
            "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration",
            lambda w: {
                "bucket": id_of(w, "bucket"),
                "rules": [
                    {
                        "id": "backups",
                        "status": "Enabled",
                        "filter": {"prefix": "cache-test/"},
                        "expiration": {"days": 90},
                        "noncurrentVersionExpiration": {"noncurrentDays": 30},
                        "transitions": [{"days": 30, "storageClass": "STANDARD_IA"}],
                    },
                    {
                        "id": "uploads",
                        "status": "Enabled",
                        "filter": {},
                        "abortIncompleteMultipartUpload": {"daysAfterInitiation": 7},
                    },
                ],
            },
        ),
        "topic": (
            "aws:sns/topic:Topic",
            lambda w: {"displayName": "Redis", "kmsMasterKeyId": w["key"].outputs["keyId"], "tags": TAGS},
        ),
        "topic-policy": (
            "aws:sns/topicPolicy:TopicPolicy",
            lambda w: {
                "arn": w["topic"].outputs["arn"],
                "policy": policy(
                    Action="sns:Publish",
                    Resource=w["topic"].outputs["arn"],
                    Principal={"Service": "cloudwatch.amazonaws.com"},
                ),
            },
        ),
        "subscription": (
            "aws:sns/topicSubscription:TopicSubscription",
            lambda w: {"topic": w["topic"].outputs["arn"], "protocol": "email", "endpoint": "ops@example.org"},
        ),
        "log-group": (
            "aws:cloudwatch/logGroup:LogGroup",
            lambda w: {"name": "/cache-test/nodes", "retentionInDays": 30, "tags": TAGS},
        ),
        "flow-log": (
            "aws:ec2/flowLog:FlowLog",
            lambda w: {
                "vpcId": id_of(w, "vpc"),
                "trafficType": "REJECT",
                "iamRoleArn": w["role"].outputs["arn"],
                "logDestination": w["log-group"].outputs["arn"],
                "tags": TAGS,
            },
        ),
        "volume": (
            "aws:ebs/volume:Volume",
            lambda w: {
                "availabilityZone": f"{REGION}a",
                "size": 8,
                "type": "gp3",
                "encrypted": True,
                "kmsKeyId": w["key"].outputs["arn"],
                "tags": TAGS,
            },
        ),
        "instance": (
            "aws:ec2/instance:Instance",
            lambda w: {
                "ami": image,
                "instanceType": "t3.micro",
                "primaryNetworkInterface": {"networkInterfaceId": id_of(w, "interface")},
                "iamInstanceProfile": w["profile"].outputs["name"],
                "metadataOptions": {
                    "httpEndpoint": "enabled",
                    "httpTokens": "required",
                    "httpPutResponseHopLimit": 1,
                },
                "rootBlockDevice": {"encrypted": True, "volumeType": "gp3", "volumeSize": 10},
                "userData": "#cloud-config\n",
                "userDataReplaceOnChange": True,
                "disableApiTermination": True,
                "forceDestroy": True,
                "monitoring": True,
                "tags": {**TAGS, "Name": "cache-redis-0"},
            },
        ),
        "attachment": (
            "aws:ec2/volumeAttachment:VolumeAttachment",
            lambda w: {
                "deviceName": "/dev/sdf",
                "instanceId": id_of(w, "instance"),
                "volumeId": id_of(w, "volume"),
                "skipDestroy": True,
            },
        ),
        "zone": (
            "aws:route53/zone:Zone",
            lambda w: {"name": "cache-test.internal", "vpcs": [{"vpcId": id_of(w, "vpc")}], "tags": TAGS},
        ),
        "record": (
            "aws:route53/record:Record",
            lambda w: {
                "zoneId": w["zone"].outputs["zoneId"],
                "name": "redis-0.cache-test.internal",
                "type": "A",
                "ttl": 60,
                "records": [w["interface"].outputs["privateIp"]],
            },
        ),
        "alarm": (
            "aws:cloudwatch/metricAlarm:MetricAlarm",
            lambda w: {
                "comparisonOperator": "GreaterThanThreshold",
                "evaluationPeriods": 2,
                "metricName": "StatusCheckFailed",
                "namespace": "AWS/EC2",
                "period": 60,
                "statistic": "Maximum",
                "threshold": 0.5,
                "dimensions": {"InstanceId": id_of(w, "instance")},
                "alarmActions": [w["topic"].outputs["arn"]],
                "alarmDescription": "cache-redis-0 is down",
                "treatMissingData": "breaching",
                "tags": TAGS,
            },
        ),
    }
