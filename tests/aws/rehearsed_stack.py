"""Drives the real Pulumi CLI on a stack of AWS, deployed to the look-alike of AWS on this machine."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from airgap import rehearsal
from components.platforms.aws_names import DEPLOYMENT_TAG, NODE_TAG, metrics_namespace
from ops.costs import committed_configuration
from tests.airgap.aws_cloud.look_alike import Commands, client, until
from tests.docker.stack import PulumiStack


class RehearsedStack(PulumiStack):
    """A stack with the settings of a committed one, in a network of its own: another may exist."""

    def __init__(self, folder: Path, like: str, **changes: Any) -> None:
        super().__init__(folder)
        self._environment |= rehearsal.variables()
        self.config = {**committed_configuration(like), **changes}
        self.ec2, self.commands = client("ec2"), Commands()

    def client(self) -> Any:
        """As an application has it. Names of nodes must be known: see `names`."""
        return self.cluster().client() if self.is_cluster else self.live().client()

    def instances(self) -> dict[str, str]:
        """Node -> its instance."""
        return {node: each["InstanceId"] for node, each in self._described().items()}

    def zones(self) -> dict[str, str]:
        """Node -> the availability zone of its instance."""
        return {node: each["Placement"]["AvailabilityZone"] for node, each in self._described().items()}

    def bucket(self) -> str:
        """The deployment's bucket."""
        (name,) = [
            each["Name"] for each in client("s3").list_buckets()["Buckets"] if self.deployment_name in each["Name"]
        ]
        return str(name)

    def metrics(self) -> set[str]:
        """What hosts say of themselves and of the deployment."""
        namespace = metrics_namespace(self.deployment_name)
        return {each["MetricName"] for each in client("cloudwatch").list_metrics(Namespace=namespace)["Metrics"]}

    def on(self, node: str, script: str) -> str:
        """What a script that succeeds writes on a node's instance."""
        return self.commands.on(self.instances()[node], script)

    def reboot(self, node: str) -> None:
        """Reboot an instance; returns when it takes commands again."""
        self.ec2.reboot_instances(InstanceIds=[self.instances()[node]])
        self.on(node, "true")

    def terminate(self, node: str) -> None:
        """Terminate an instance, as AWS does when its host dies for good."""
        instance = self.instances()[node]
        self.ec2.modify_instance_attribute(InstanceId=instance, DisableApiTermination={"Value": False})
        self.ec2.terminate_instances(InstanceIds=[instance])
        until(lambda: node not in self.instances(), "the instance is gone")

    def until_healthy(self) -> None:
        """Until `ops status`, which asks through one of the hosts, says so."""
        until(lambda: self.ops("status").code == 0, "healthy")

    def _described(self) -> dict[str, Any]:
        """Node -> what EC2 says of its instance."""
        found = self.ec2.describe_instances(
            Filters=[
                *self.tagged,
                {"Name": "instance-state-name", "Values": ["pending", "running", "stopping", "stopped"]},
            ]
        )
        return {
            tag["Value"]: instance
            for reservation in found["Reservations"]
            for instance in reservation["Instances"]
            for tag in instance["Tags"]
            if tag["Key"] == NODE_TAG
        }

    @property
    def tagged(self) -> list[dict[str, Any]]:
        """The filter by which EC2 finds what is of this deployment."""
        return [{"Name": f"tag:{DEPLOYMENT_TAG}", "Values": [self.deployment_name]}]


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
