"""Settings of platform aws: one clear line for each mistake, before AWS is asked anything."""

from __future__ import annotations

from typing import Any

import pytest

from components import RedisClusterSettings, ReplicatedRedisSettings, SettingsError, settings_from_mapping
from components.aws_settings import AwsSettings, private_network, private_subnets
from components.instance_types import find_instance_type, instance_memory, sizes_of
from components.settings import GIBIBYTE, MEBIBYTE, setting_name
from components.stack import settings_of
from components.topologies import CLUSTER, REPLICATED

NEW = {"platform": "aws", "vpc-cidr": "10.0.0.0/16", "nat": True}
SUBNETS = [f"subnet-0123456789abcdef{i}" for i in range(4)]
EXISTING = {"platform": "aws", "vpc-id": "vpc-0123456789abcdef0", "subnet-ids": SUBNETS[:3]}

REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"platform": "aws"}, "vpc-cidr: a network is needed; give vpc-cidr for a new one, or vpc-id and subnet-ids"),
    (NEW | {"vpc-id": "vpc-0123456789abcdef0"}, "vpc-cidr: is for a new network, but vpc-id names an existing one"),
    (NEW | {"subnet-ids": SUBNETS[:3]}, "subnet-ids: belong to an existing network; give vpc-id too"),
    (EXISTING | {"subnet-ids": SUBNETS[:2]}, "subnet-ids: 2 subnet(s) cannot hold a deployment that outlives a zone"),
    (EXISTING | {"subnet-ids": [*SUBNETS[:3], SUBNETS[0]]}, f"subnet-ids: {SUBNETS[0]} is given twice"),
    (EXISTING | {"subnet-ids": ["a", *SUBNETS[:3]]}, "subnet-ids: 'a' is not a subnet such as subnet-0123456789"),
    (EXISTING | {"vpc-id": "vpc"}, "vpc-id: 'vpc' is not a VPC such as vpc-0123456789abcdef0"),
    (EXISTING | {"nat": True}, "nat: is for a new network"),
    (EXISTING | {"availability-zones": ["eu-central-1a"]}, "availability-zones: is for a new network"),
    (NEW | {"availability-zones": ["eu-central-1a", "eu-central-1b"]}, "availability-zones: 2 zone(s) are too few"),
    (NEW | {"availability-zones": ["1a", "eu-central-1a", "eu-central-1b"]}, "availability-zones: '1a' is not a zone"),
    (NEW | {"nat": False}, "nat: without it nodes cannot install Redis; set nat to true, or give an image that has it"),
    (
        NEW | {"nat": False, "interface-endpoints": False, "ami-id": "ami-0123456789abcdef0"},
        "interface-endpoints: without them and without nat nodes cannot reach AWS's services",
    ),
    (NEW | {"vpc-cidr": "8.0.0.0/16"}, "vpc-cidr: 8.0.0.0/16 is not private; use ranges within 10.0.0.0/8, "),
    (NEW | {"vpc-cidr": "10.0.0.1/16"}, "vpc-cidr: '10.0.0.1/16' is not an IPv4 address range such as 10.0.0.0/16"),
    (NEW | {"vpc-cidr": "10.0.0.0/25"}, "vpc-cidr: 10.0.0.0/25 must be /16 to /24"),
    (NEW | {"vpc-cidr": "10.0.0.0/8"}, "vpc-cidr: 10.0.0.0/8 must be /16 to /24"),
    (NEW | {"client-cidrs": ["0.0.0.0/0"]}, "client-cidrs: 0.0.0.0/0 is everybody; name the address ranges"),
    (NEW | {"client-cidrs": ["::/0"]}, "client-cidrs: ::/0 is everybody; name the address ranges"),
    (NEW | {"client-cidrs": ["0.0.0.0/1"]}, "client-cidrs: 0.0.0.0/1 is not private"),
    (NEW | {"client-cidrs": ["203.0.113.0/24"]}, "client-cidrs: 203.0.113.0/24 is not private"),
    (NEW | {"client-cidrs": ["10.0.0.0/7"]}, "client-cidrs: 10.0.0.0/7 is not private"),
    (NEW | {"client-cidrs": ["fd00::/8"]}, "client-cidrs: 'fd00::/8' is not an IPv4 address range"),
    (NEW | {"client-cidrs": ["10.1.0.0/16", "10.1.2.0/24"]}, "client-cidrs: 10.1.0.0/16 and 10.1.2.0/24 overlap"),
    (NEW | {"client-cidrs": "10.1.0.0/16"}, "client-cidrs: '10.1.0.0/16' is not a list"),
    (NEW | {"client-security-groups": ["default"]}, "client-security-groups: 'default' is not a security group"),
    (NEW | {"monitoring-security-group": "x"}, "monitoring-security-group: 'x' is not a security group"),
    (NEW | {"instance-type": "m9z.large"}, "instance-type: 'm9z.large' is not a known instance type; its family"),
    (NEW | {"instance-type": "m7g.huge"}, "instance-type: 'm7g.huge' is not a known instance type; m7g comes"),
    (NEW | {"instance-type": "m7g"}, "instance-type: 'm7g' is not a known instance type; m7g comes as"),
    (NEW | {"sentinel-instance-type": "t4g.nano"}, "sentinel-instance-type: 't4g.nano' is not a known instance type"),
    (NEW | {"ami-id": "debian"}, "ami-id: 'debian' is not an image such as ami-0123456789abcdef0"),
    (
        NEW | {"ami-id": "ami-0123456789abcdef0", "instance-type": "m7i.large"},
        "sentinel-instance-type: t4g.micro is arm64 and m7i.large is not, but both start from ami-0123456789abcdef0",
    ),
    (NEW | {"data-volume-size": 8}, "data-volume-size: 8 GiB cannot hold"),
    (NEW | {"data-volume-size": 3}, "data-volume-size: 3 is out of range; use 4 to 16384"),
    (NEW | {"data-volume-iops": 100}, "data-volume-iops: 100 is out of range; use 3000 to 16000"),
    (NEW | {"data-volume-throughput": 1000}, "data-volume-throughput: 1000 MiB/s needs data-volume-iops"),
    (NEW | {"root-volume-size": 1}, "root-volume-size: 1 is out of range; use 8 to 1024"),
    (NEW | {"backup-memory": "1gb"}, "backup-memory: is a setting of platform docker; leave it out, or choose that"),
    (NEW | {"backup-target": "volume"}, "backup-target: a volume is for platform docker; leave it out for the deploym"),
    (NEW | {"formation-runner": "lambda"}, "formation-runner: 'lambda' is not one of ssm, direct"),
    (NEW | {"alarm-email": "nobody"}, "alarm-email: 'nobody' is not an address such as ops@example.com"),
    (NEW | {"alarm-topic": "alarms"}, "alarm-topic: 'alarms' is not the ARN of an SNS topic"),
    (
        NEW | {"alarm-email": "a@example.com", "alarm-topic": "arn:aws:sns:eu-central-1:123456789012:x"},
        "alarm-email: is for a topic that is made, but alarm-topic names one; leave one of them out",
    ),
    (NEW | {"replicas": 3}, "replicas: 4 copies of the same data need 4 zones, but nodes are in 3; use at most 2"),
    (NEW | {"sentinels": 1, "quorum": 1}, "sentinels: 1 would have their majority in one zone; use 3 or more"),
    (NEW | {"quorum": 4}, "quorum: 4 cannot be reached by 3 Sentinel(s)"),
    (NEW | {"maxmemory": "8gb"}, "maxmemory: 8589934592 bytes leaves no head-room in memory"),
    (NEW | {"protection": "maybe"}, "protection: 'maybe' is not true or false"),
]  # fmt: skip


@pytest.mark.parametrize(("values", "line"), REFUSED, ids=[line[:70] for _, line in REFUSED])
def test_a_mistake_is_refused_with_one_line(values: dict[str, Any], line: str) -> None:
    with pytest.raises(SettingsError) as caught:
        settings_from_mapping(ReplicatedRedisSettings, settings_of(REPLICATED, values))

    assert [problem[: len(line)] for problem in caught.value.problems] == [line]


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"replicas-per-shard": 3}, "replicas-per-shard: 4 copies of the same data need 4 zones, but nodes are in 3"),
        ({"port": 55536}, "port: 55536 to 55536 are needed, but the cluster bus takes each port + 10000"),
        (
            {"vpc-cidr": "10.0.0.0/24", "shards": 100, "replicas-per-shard": 1},
            "vpc-cidr: 10.0.0.0/24 leaves 52 addresses in each zone, too few for 200 nodes; use a larger range",
        ),
        ({"sentinel-instance-type": "t4g.small"}, "sentinel-instance-type: is a setting of topology replicated"),
    ],
)
def test_a_mistake_in_a_cluster_is_refused_with_one_line(values: dict[str, Any], line: str) -> None:
    with pytest.raises(SettingsError) as caught:
        settings_from_mapping(RedisClusterSettings, settings_of(CLUSTER, NEW | values))

    assert [problem[: len(line)] for problem in caught.value.problems] == [line]


@pytest.mark.parametrize(
    "values",
    [
        NEW,
        EXISTING,
        EXISTING | {"subnet-ids": SUBNETS, "replicas": 3},
        NEW | {"port": 26379, "sentinel-port": 26379},
        NEW | {"client-cidrs": ["10.0.0.0/8", "172.16.0.0/12", "192.168.1.0/24", "100.64.0.0/10"]},
        NEW | {"nat": False, "ami-id": "ami-0123456789abcdef0"},
        NEW | {"sentinels": 15, "quorum": 8},
        NEW | {"persistence": "none", "data-volume-size": 4},
        NEW | {"maxmemory": "2gb", "data-volume-size": "5"},
    ],
)
def test_what_can_be_is_accepted(values: dict[str, Any]) -> None:
    settings_from_mapping(ReplicatedRedisSettings, settings_of(REPLICATED, values))


@pytest.mark.parametrize(
    ("values", "line"),
    [
        (NEW | {"memory": "1gb"}, "memory: is a setting of platform docker; leave it out, or choose that platform"),
        (NEW | {"image": "redis:7"}, "image: is a setting of platform docker; leave it out, or choose that platform"),
        ({"nat": "true"}, "nat: is a setting of platform aws; leave it out, or choose that platform"),
        ({"vpc-id": "vpc-1"}, "vpc-id: is a setting of platform aws; leave it out, or choose that platform"),
        ({"sentinel-instance-type": "t4g.small"}, "sentinel-instance-type: is a setting of platform aws; leave it out"),
    ],
)
def test_a_setting_of_another_platform_is_refused(values: dict[str, Any], line: str) -> None:
    with pytest.raises(SettingsError) as caught:
        settings_of(REPLICATED, values)

    assert [problem[: len(line)] for problem in caught.value.problems] == [line]


def test_a_default_of_another_platform_says_nothing() -> None:
    assert settings_of(REPLICATED, NEW | {"memory": "512mb", "image": "redis:8.0.2"}) == NEW
    assert settings_of(REPLICATED, {"nat": "false", "instance-type": "m7g.large", "client-cidrs": []}) == {}


def test_settings_of_aws_arrive() -> None:
    settings = settings_from_mapping(
        ReplicatedRedisSettings,
        NEW | {"client-cidrs": ["10.9.0.0/16"], "data-volume-size": "50", "protection": "false"},
    )

    assert settings.aws == AwsSettings(
        vpc_cidr="10.0.0.0/16", nat=True, client_cidrs=("10.9.0.0/16",), data_volume_size=50, protection=False
    )


def test_every_setting_is_documented() -> None:
    documented = AwsSettings.__doc__ or ""
    fields = list(AwsSettings.__annotations__)

    assert [name for name in fields if f"    {name}: " not in documented] == []
    assert {setting_name(name) for name in fields}.isdisjoint(
        setting_name(name) for name in ReplicatedRedisSettings.__annotations__
    )


# Instance types


@pytest.mark.parametrize(
    ("name", "gibibytes", "architecture"),
    [
        ("t4g.micro", 1, "arm64"), ("t4g.small", 2, "arm64"), ("t3.2xlarge", 32, "x86_64"), ("m6g.medium", 4, "arm64"),
        ("m7g.large", 8, "arm64"), ("m8g.48xlarge", 768, "arm64"), ("r7g.large", 16, "arm64"),
        ("r6g.16xlarge", 512, "arm64"), ("r8g.24xlarge", 768, "arm64"), ("c6g.large", 4, "arm64"),
        ("m6i.32xlarge", 512, "x86_64"), ("m7i.48xlarge", 768, "x86_64"), ("r6i.24xlarge", 768, "x86_64"),
        ("r7i.large", 16, "x86_64"), ("c6i.xlarge", 8, "x86_64"), ("c7i.12xlarge", 96, "x86_64"),
    ],
)  # fmt: skip
def test_memory_and_architecture(name: str, gibibytes: int, architecture: str) -> None:
    assert instance_memory(name) == gibibytes * GIBIBYTE
    assert find_instance_type(name).architecture == architecture


def test_what_redis_may_have() -> None:
    assert find_instance_type("t4g.micro").node_memory == 1024 * MEBIBYTE - 384 * MEBIBYTE - GIBIBYTE * 3 // 100
    for family in ("t4g", "m7g", "r8g", "m7i"):
        for size in sizes_of(family):
            found = find_instance_type(f"{family}.{size}")
            assert found.memory // 2 < found.node_memory < found.memory


def test_subnets_of_a_new_network_do_not_overlap() -> None:
    subnets = private_subnets("10.0.0.0/24", 5)

    assert len(subnets) == 5
    assert all(subnet.subnet_of(private_network("10.0.0.0/24")) for subnet in subnets)
    assert not any(one.overlaps(other) for one in subnets for other in subnets if one is not other)
