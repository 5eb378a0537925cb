"""Drives the real Pulumi CLI on a stack of AWS, deployed to the look-alike of AWS on this machine."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import yaml
from botocore.exceptions import ClientError

from airgap import rehearsal
from ops.clients import cluster_client, sentinel_client
from ops.deployment import cluster, replicated
from tests.airgap.aws_cloud.look_alike import UNDER_WAY, client, until
from tests.docker.stack import ROOT, LiveCluster, PulumiStack


class RehearsedStack(PulumiStack):
    """A stack with the settings of a committed one, in a network of its own: another may exist."""

    def __init__(self, folder: Path, like: str, **changes: Any) -> None:
        super().__init__(folder)
        self._environment |= rehearsal.variables()
        committed = yaml.safe_load((ROOT / "stacks" / f"Pulumi.{like}.yaml").read_text())["config"]
        own = {name.partition(":")[2]: value for name, value in committed.items() if not name.startswith("aws:")}
        self.config = {**own, **changes}
        self.ec2, self.ssm = client("ec2"), client("ssm")

    @property
    def is_cluster(self) -> bool:
        return bool(self.config.get("topology") == "cluster")

    def client(self) -> Any:
        """As an application has it. Names of nodes must be known: see `names`."""
        if self.is_cluster:
            return cluster_client(cluster(self.deployment()))
        return sentinel_client(replicated(self.deployment()))

    def instances(self) -> dict[str, str]:
        """Node -> its instance."""
        found = self.ec2.describe_instances(
            Filters=[
                {"Name": "tag:redis-production:deployment", "Values": [self.deployment_name]},
                {"Name": "instance-state-name", "Values": ["pending", "running", "stopping", "stopped"]},
            ]
        )
        every = [instance for reservation in found["Reservations"] for instance in reservation["Instances"]]
        return {_tag(each, "redis-production:node"): each["InstanceId"] for each in every}

    def bucket(self) -> str:
        """The deployment's bucket."""
        (name,) = [
            each["Name"] for each in client("s3").list_buckets()["Buckets"] if self.deployment_name in each["Name"]
        ]
        return str(name)

    def zones(self) -> dict[str, str]:
        """Node -> the availability zone of its instance."""
        found = self.ec2.describe_instances(InstanceIds=list(self.instances().values()))
        every = [instance for reservation in found["Reservations"] for instance in reservation["Instances"]]
        return {_tag(each, "redis-production:node"): each["Placement"]["AvailabilityZone"] for each in every}

    def on(self, node: str, script: str) -> str:
        """What a script that succeeds writes on a node's instance."""
        instance = self.instances()[node]
        command = self.ssm.send_command(
            DocumentName="AWS-RunShellScript", Parameters={"commands": [script]}, InstanceIds=[instance]
        )["Command"]["CommandId"]

        def ended() -> Any:
            answer = self.ssm.get_command_invocation(CommandId=command, InstanceId=instance)
            return answer if answer["Status"] not in UNDER_WAY else None

        answer = until(ended, "the command ends")
        assert answer["Status"] == "Success", answer
        return str(answer["StandardOutputContent"])

    def reboot(self, node: str) -> None:
        """Reboot an instance; returns when it has booted anew."""
        booted = "systemctl show --property=KernelTimestampMonotonic --property=UserspaceTimestamp"
        before = self.on(node, booted)
        self.ec2.reboot_instances(InstanceIds=[self.instances()[node]])
        until(lambda: self._answer(node, booted) not in (None, before), f"{node} has booted anew")

    def _answer(self, node: str, script: str) -> str | None:
        """As `on`, or None while the instance takes no command or does not carry it out."""
        try:
            return self.on(node, script)
        except (ClientError, AssertionError):
            return None

    def terminate(self, node: str) -> None:
        """Terminate an instance, as AWS does when its host dies for good."""
        instance = self.instances()[node]
        self.ec2.modify_instance_attribute(InstanceId=instance, DisableApiTermination={"Value": False})
        self.ec2.terminate_instances(InstanceIds=[instance])
        until(lambda: node not in self.instances(), "the instance is gone")

    def until_healthy(self) -> None:
        """Until `ops status`, which asks through one of the hosts, says so."""
        until(lambda: self.ops("status").code == 0, "healthy")

    def nodes(self) -> dict[str, str]:
        """Redis node -> its role now, by the nodes' own account."""
        live = LiveCluster(self.deployment()) if self.is_cluster else self.live()
        return {node.name: node.role for node in live.observe().nodes}


@contextlib.contextmanager
def names() -> Iterator[None]:
    """This process finds the nodes by their names, as a client in the network does by its resolver."""
    dns = client("route53")
    genuine = socket.getaddrinfo

    def private(host: Any, *rest: Any, **options: Any) -> Any:
        if isinstance(host, str) and host.endswith(".internal"):
            host = addresses().get(host, host)
        return genuine(host, *rest, **options)

    def addresses() -> dict[str, str]:
        zones = dns.list_hosted_zones()["HostedZones"]
        records = [
            record
            for zone in zones
            for record in dns.list_resource_record_sets(HostedZoneId=zone["Id"])["ResourceRecordSets"]
        ]
        return {
            record["Name"].rstrip("."): record["ResourceRecords"][0]["Value"]
            for record in records
            if record["Type"] == "A"
        }

    with mock.patch("socket.getaddrinfo", private):
        yield


def _tag(described: Any, key: str) -> str:
    return next((tag["Value"] for tag in described["Tags"] if tag["Key"] == key), "")
