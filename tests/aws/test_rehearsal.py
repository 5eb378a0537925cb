"""The committed stacks of AWS, deployed to the look-alike: formed through SSM, and what happens to them then."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from tests.airgap.aws_cloud.look_alike import client, until
from tests.aws.conftest import MakeStack
from tests.aws.rehearsed_stack import RehearsedStack
from tests.docker.cluster_load import ClusterLoad
from tests.docker.test_failures import assert_nothing_to_do
from tests.docker.writer import Writer

pytestmark = [pytest.mark.docker, pytest.mark.pulumi, pytest.mark.long]

PERMISSIONS = """cat >/root/may.py <<'END'
import boto3
from botocore.exceptions import ClientError

def may(service, call, **arguments):
    try:
        getattr(boto3.client(service, "eu-central-1"), call)(**arguments)
    except ClientError as error:
        return "no" if "AccessDenied" in error.response["Error"]["Code"] else error.response["Error"]["Code"]
    return "yes"

bucket, name = "{bucket}", "{name}"
print(may("s3", "put_object", Bucket=bucket, Key=name + "/probe", Body=b"1"))
print(may("s3", "put_object", Bucket=bucket, Key="probe", Body=b"1"))
print(may("s3", "put_object", Bucket=bucket, Key="formation/probe", Body=b"1"))
print(may("s3", "delete_object", Bucket=bucket, Key="formation/probe"))
print(may("secretsmanager", "list_secrets"))
print(may("ec2", "describe_instances"))
END
python3 /root/may.py; rm /root/may.py
"""


def deployed(stack: RehearsedStack) -> RehearsedStack:
    """The stack, once it is deployed and verified, and nothing is left to do."""
    stack.up()
    stack.until_healthy()
    assert stack.ops("verify").code == 0
    assert_nothing_to_do(stack)
    return stack


def primary_of(stack: RehearsedStack) -> str:
    (primary,) = [name for name, role in stack.roles().items() if role == "primary"]
    return primary


def assert_backed_up(stack: RehearsedStack) -> None:
    """Hosts of Redis nodes take backups by themselves; by hand another one is taken, and both are proven."""
    stack.client().set("before", "backups")
    for node in stack.instances():
        timer = stack.on(node, "systemctl is-active redis-production-backup.timer || true").strip()
        assert timer == ("active" if "redis" in node else "inactive"), node
    replica = next(node for node, role in stack.roles().items() if role == "replica")
    # What the timers of both would do within minutes.
    for unit in ("redis-production-files.service", "redis-production-backup.service"):
        stack.on(replica, f"systemctl start {unit}")

    taken = stack.ops("backup", "take")
    assert taken.code == 0, taken.text
    listed = stack.ops("backup", "list").text
    assert len(re.findall(r"T\d\d-\d\d-\d\dZ │ good +│ yes +│", listed)) == 2, listed
    assert "is proven" in stack.ops("backup", "prove").text
    stack.client().set("after", "backups")
    restored = stack.ops("restore", "latest", "--overwrite")
    assert restored.code == 0, restored.text
    assert stack.client().get("before") == "backups"
    assert stack.client().get("after") is None

    prefix = f"{stack.deployment_name}/backups/{stack.deployment_name}/"
    found = client("s3").list_objects_v2(Bucket=stack.bucket(), Prefix=prefix)["Contents"]
    names = Counter(each["Key"].rpartition("/")[2] for each in found)
    assert (names["manifest.json"], names["proof.json"], names["status.json"]) == (2, 2, 1)
    metrics = {"BackupAgeSeconds", "ProvenBackupAgeSeconds"}
    until(lambda: metrics <= stack.metrics(), "hosts say how old backups are")


def assert_gone(stack: RehearsedStack) -> None:
    """Nothing of the deployment is left in the account."""
    assert stack.instances() == {}
    for call, answer in (
        ("describe_volumes", "Volumes"),
        ("describe_network_interfaces", "NetworkInterfaces"),
        ("describe_security_groups", "SecurityGroups"),
        ("describe_vpcs", "Vpcs"),
    ):
        assert getattr(stack.ec2, call)(Filters=stack.tagged)[answer] == [], call


def test_a_primary_its_replicas_and_sentinels(make_stack: MakeStack) -> None:
    stack = deployed(make_stack("aws-dev", **{"vpc-cidr": "10.181.0.0/16"}))

    zones = stack.zones()
    assert len({zones[node] for node in zones if "sentinel" in node}) == 3
    assert len({zones[node] for node in zones if "redis" in node}) == 3
    user_data = stack.on(primary_of(stack), "cat /var/lib/cloud/instance/user-data.txt")
    assert "redis-production" in user_data
    assert not [user for user, password in stack.deployment().passwords.items() if password in user_data]

    node = primary_of(stack)
    asked = stack.on(node, PERMISSIONS.format(bucket=stack.bucket(), name=stack.deployment_name)).split()
    assert asked == ["yes", "no", "no", "no", "no", "no"]

    assert_backed_up(stack)

    # A reboot of the primary: another takes over, it comes back by itself, nothing that was acknowledged is lost.
    with Writer(stack.client()) as writer:
        writer.wait_for_writes(50)
        stack.reboot(node)
        writer.wait_for_writes(50)
        stack.until_healthy()
    assert writer.lost(stack.client()) == []
    assert_nothing_to_do(stack)

    # The host of the primary dies for good. `up` gives the node another one, with its volume and its address.
    stack.client().set("before", "termination")
    node = primary_of(stack)
    stack.terminate(node)
    assert stack.client().get("before") == "termination"
    stack.refresh()
    stack.up()
    stack.until_healthy()
    assert stack.client().get("before") == "termination"
    assert_nothing_to_do(stack)

    # Another type of instance: one node after the other.
    stack.config["instance-type"] = "t4g.medium"
    with Writer(stack.client()) as writer:
        writer.wait_for_writes(50)
        assert stack.up().changed["replace"] >= 3
    assert writer.lost(stack.client()) == []
    stack.until_healthy()

    stack.destroy()
    assert_gone(stack)


def test_a_cluster(make_stack: MakeStack) -> None:
    stack = deployed(make_stack("aws-prod", **{"vpc-cidr": "10.182.0.0/16"}))
    zones = stack.zones()
    assert set(Counter(zones.values()).values()) == {2}

    # Production is protected: neither a node nor the whole can be removed by accident.
    refused = stack.run("destroy", "--yes", check=False)
    assert refused.code != 0
    assert "protect" in refused.text
    stack.until_healthy()
    stack.config |= {"protection": False, "retain-data": False}
    stack.up()

    with ClusterLoad(stack.client) as load:
        for shards in (4, 3):
            load.wait_for_writes(100)
            stack.config["shards"] = shards
            stack.up()
            load.wait_for_writes(100)
            stack.until_healthy()
            assert len(stack.roles()) == 2 * shards
    assert load.lost(stack.client()) == []
    assert_nothing_to_do(stack)

    stack.reboot(next(node for node, role in stack.roles().items() if role == "primary"))
    stack.until_healthy()
    assert load.lost(stack.client()) == []
    assert_nothing_to_do(stack)

    stack.destroy()
    assert_gone(stack)
