"""The instances of a deployment, and which of them to run something on."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from ..platforms.aws_names import DEPLOYMENT_TAG, NODE_TAG
from .aws import Aws, one_clear_line


@dataclass(frozen=True, order=True)
class Instance:
    """An instance that runs or is about to, and the node that it is."""

    node: str
    identity: str


def instances_of(aws: Aws, deployment: str) -> list[Instance]:
    """Those that run or are about to, by their nodes' names."""
    filters = [
        {"Name": f"tag:{DEPLOYMENT_TAG}", "Values": [deployment]},
        {"Name": "instance-state-name", "Values": ["pending", "running"]},
    ]
    with one_clear_line():
        pages = list(aws.ec2.get_paginator("describe_instances").paginate(Filters=filters))
    found = [
        Instance(tags[NODE_TAG], each["InstanceId"])
        for page in pages
        for reservation in page["Reservations"]
        for each in reservation["Instances"]
        for tags in [{tag["Key"]: tag["Value"] for tag in each.get("Tags", [])}]
        if NODE_TAG in tags
    ]
    return sorted(found)


def in_order_of_choice(
    instances: Sequence[Instance], *, prefer: Collection[str], last: str | None, avoid: Collection[str]
) -> list[Instance]:
    """Which to try first.

    ``prefer``: nodes that have the time, as Sentinels do. ``last``: the instance that answered last. ``avoid``: nodes
    that are about to stop, and others that come last.
    """

    def rank(instance: Instance) -> tuple[bool, bool, bool]:
        return instance.node in avoid, instance.identity != last, instance.node not in prefer

    return sorted(instances, key=rank)
