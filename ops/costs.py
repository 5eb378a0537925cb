"""What a stack on AWS costs each month by the list prices of docs/prices.csv, beside ElastiCache.

Only what is charged for by number, size or time: traffic, requests, logs and stored objects depend on use.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from components.aws_settings import INTERFACE_ENDPOINTS, SENTINEL_DATA_VOLUME
from components.settings import GIBIBYTE, NodeSettings, ReplicatedRedisSettings, SettingsError
from components.stack import deployment_settings
from components.topologies import REPLICATED

from .deployment import DeploymentError

HOURS = 730
"""In a month, as AWS reckons."""
_PROJECT = Path(__file__).parents[1]
_NAMESPACE = "redis-production:"
_METRICS_OF_A_NODE = 2
_ALARMS = {"redis": 3, "sentinel": 1}
_FREE_IOPS, _FREE_THROUGHPUT = 3000, 125
_CACHE_DATA_SHARE = Decimal("0.75")
"""ElastiCache's default parameters keep 25 % of a node's memory from data."""


@dataclass(frozen=True)
class Price:
    """A row of docs/prices.csv; ``gibibytes``: memory of an ElastiCache node as AWS states it."""

    dollars: Decimal
    unit: str
    gibibytes: Decimal


@dataclass(frozen=True)
class Line:
    """So many of one thing."""

    item: str
    count: int

    @property
    def price(self) -> Price:
        """Of one. Raises DeploymentError when it is not in the table."""
        try:
            return prices()[self.item]
        except KeyError:
            raise DeploymentError(f"docs/prices.csv has no price of {self.item}; add it, with its source") from None

    @property
    def dollars(self) -> Decimal:
        """Each month."""
        hours = HOURS if self.price.unit == "hour" else 1
        return self.count * hours * self.price.dollars


@cache
def prices() -> Mapping[str, Price]:
    """The committed list prices, by item."""
    with (_PROJECT / "docs" / "prices.csv").open(newline="") as file:
        return {
            row["item"]: Price(Decimal(row["dollars"]), row["unit"], Decimal(row["gibibytes"] or 0))
            for row in csv.DictReader(file)
        }


def committed_configuration(stack: str) -> dict[str, Any]:
    """What ``stack``'s file gives the program, by setting name. Raises DeploymentError when there is no such file."""
    path = _PROJECT / "stacks" / f"Pulumi.{stack}.yaml"
    if not path.is_file():
        raise DeploymentError(f"there is no stacks/{path.name}")
    config: dict[str, Any] = yaml.safe_load(path.read_text()).get("config", {})
    return {key.removeprefix(_NAMESPACE): value for key, value in config.items() if key.startswith(_NAMESPACE)}


def settings_of_stack(stack: str) -> NodeSettings:
    """What ``stack``'s file says. Raises DeploymentError when there is none, it is wrong, or it is not for AWS."""
    given = committed_configuration(stack)
    topology = given.pop("topology", REPLICATED)
    given.pop("name", None)
    try:
        settings = deployment_settings(topology, given)
    except SettingsError as error:
        raise DeploymentError("; ".join(error.problems)) from None
    if not settings.on_aws:
        raise DeploymentError(f"stack {stack} is not on AWS: it costs nothing but the machine it runs on")
    return settings


def monthly(settings: NodeSettings) -> list[Line]:
    """Everything that is charged for, used or not."""
    aws, nodes = settings.aws, settings.node_count
    sentinels = _sentinels(settings)
    redis = nodes - sentinels
    new_network = aws.vpc_cidr is not None
    nat = int(new_network and aws.nat)
    instances = {aws.instance_type: redis}
    if isinstance(settings, ReplicatedRedisSettings):
        instances[settings.sentinel_instance_type] = instances.get(settings.sentinel_instance_type, 0) + sentinels
    data = redis * aws.data_volume_size + sentinels * SENTINEL_DATA_VOLUME
    # How old the newest backup is, and the newest proven one: a metric and an alarm each.
    ages = settings.backup.backups * (1 + settings.backup.backup_proof)
    counts = {
        **instances,
        "gp3 volumes": nodes * aws.root_volume_size + data,
        "gp3 operations a second over 3000": redis * (aws.data_volume_iops - _FREE_IOPS),
        "gp3 throughput over 125 MiB/s": redis * (aws.data_volume_throughput - _FREE_THROUGHPUT),
        "NAT gateway": nat,
        "public IPv4 address": nat,
        "interface endpoint in a zone": int(new_network and aws.interface_endpoints)
        * len(INTERFACE_ENDPOINTS)
        * aws.zones,
        "KMS key": 1,
        "secret": nodes + (aws.formation_runner == "ssm") + settings.backup.backups,
        "custom metric": nodes * _METRICS_OF_A_NODE + ages,
        "alarm": redis * _ALARMS["redis"] + sentinels * _ALARMS["sentinel"] + ages,
        "private zone": 1,
    }
    return [Line(item, count) for item, count in counts.items() if count]


def _sentinels(settings: NodeSettings) -> int:
    return settings.sentinels if isinstance(settings, ReplicatedRedisSettings) else 0


def elasticache(settings: NodeSettings) -> Line:
    """Nodes of ElastiCache of the same type, as many as hold the same data in the same number of copies."""
    item = f"cache.{settings.aws.instance_type}"
    copies = settings.replicas_of_a_primary + 1
    data = (settings.node_count - _sentinels(settings)) // copies * settings.effective_maxmemory
    in_a_node = int(Line(item, 1).price.gibibytes * _CACHE_DATA_SHARE * GIBIBYTE)
    return Line(item, -(-data // in_a_node) * copies)


def table(stacks: Sequence[str]) -> str:
    """A Markdown table: dollars each month, and in brackets how many."""
    settings = {stack: settings_of_stack(stack) for stack in stacks}
    lines = {stack: {line.item: line for line in monthly(each)} for stack, each in settings.items()}
    cache_nodes = {stack: elasticache(each) for stack, each in settings.items()}
    priced = {line.item: line.price for each in lines.values() for line in each.values()}
    rows = [["", "list price", *stacks], ["---", *["---:"] * (len(stacks) + 1)]]
    for item, price in sorted(priced.items(), key=lambda each: list(prices()).index(each[0])):
        cells = [_cell(lines[stack].get(item)) for stack in stacks]
        rows.append([item, f"{price.dollars} / {price.unit}", *cells])
    totals = [sum((line.dollars for line in each.values()), Decimal()) for each in lines.values()]
    rows.append(["**this deployment**", "", *(f"**{total:.2f}**" for total in totals)])
    for item in sorted({line.item for line in cache_nodes.values()}, key=list(prices()).index):
        cells = [_cell(line if line.item == item else None) for line in cache_nodes.values()]
        rows.append([item, f"{prices()[item].dollars} / hour", *cells])
    rows.append(["**ElastiCache**", "", *(f"**{line.dollars:.2f}**" for line in cache_nodes.values())])
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _cell(line: Line | None) -> str:
    return f"{line.dollars:.2f} ({line.count})" if line else ""
