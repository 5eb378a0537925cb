"""What the components ask AWS for: nodes, where they are, and how they are replaced."""

from __future__ import annotations

import functools
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from components.aws_settings import AwsSettings
from components.instance_types import find_instance_type
from components.settings import MEBIBYTE
from tests.unit.aws_graph import (
    ACCOUNT,
    IMAGES,
    REGION,
    SUBNETS,
    VPC,
    cluster,
    replicated,
)
from tests.unit.resource_graph import FOLDER, Graph, Registered, Secret, plain, shown

PROJECT = Path(__file__).parents[2]
REDIS = ["cache-redis-0", "cache-redis-1", "cache-redis-2"]
SENTINELS = ["cache-sentinel-0", "cache-sentinel-1", "cache-sentinel-2"]
NODES = [*REDIS, *SENTINELS]


@functools.cache
def default_graph() -> Graph:
    return replicated()


@functools.cache
def default_cluster() -> Graph:
    return cluster()


def instance(name: str, made: Graph | None = None) -> Registered:
    return (made or default_graph()).of_type(":Instance")[name]


def cloud_config(name: str, made: Graph | None = None) -> dict[str, Any]:
    text: str = instance(name, made).inputs["userData"]
    first, _, rest = text.partition("\n")
    assert first == "#cloud-config"
    config: dict[str, Any] = json.loads(rest)
    return config


def host_files(name: str, made: Graph | None = None) -> dict[str, str]:
    return {file["path"]: file["content"] for file in cloud_config(name, made)["write_files"]}


def environment(name: str, made: Graph | None = None) -> dict[str, str]:
    lines = host_files(name, made)["/usr/local/lib/redis-production/host.env"].splitlines()
    return dict(line.split("=", 1) for line in lines)


def secret_files(name: str, made: Graph | None = None) -> dict[str, str]:
    version = (made or default_graph()).of_type(":SecretVersion")[f"{name}-files"]
    files: dict[str, str] = json.loads(plain(version.inputs["secretString"]))
    return files


def zones(made: Graph) -> dict[str, str]:
    """Node -> zone, by its volume; its interface must be in the subnet of the same zone."""
    by_volume = {
        name.removesuffix("-data"): volume.inputs["availabilityZone"]
        for name, volume in made.of_type(":Volume").items()
    }
    subnets = {
        f"id-of-{name}": subnet.inputs["availabilityZone"] for name, subnet in made.of_type(":Subnet").items()
    } | SUBNETS
    by_interface = {
        name.removesuffix("-interface"): subnets[interface.inputs["subnetId"]]
        for name, interface in made.of_type(":NetworkInterface").items()
    }
    assert by_volume == by_interface
    return by_volume


def depends_on(resource: Registered) -> set[str]:
    return {urn.rsplit("::", 1)[-1] for urn in resource.request.dependencies}


# Zones


def test_copies_and_sentinels_are_in_different_zones() -> None:
    found = zones(default_graph())

    assert sorted(found) == sorted(NODES)
    assert [found[node] for node in REDIS] == [f"{REGION}{zone}" for zone in "abc"]
    assert [found[node] for node in SENTINELS] == [f"{REGION}{zone}" for zone in "abc"]


@pytest.mark.parametrize("sentinels", [3, 5, 7, 15])
def test_no_zone_has_a_majority_of_the_sentinels(sentinels: int) -> None:
    found = zones(replicated(sentinels=sentinels))
    counts = [sum(zone == other for node, other in found.items() if "sentinel" in node) for zone in set(found.values())]

    assert sum(counts) == sentinels
    assert max(counts) * 2 < sentinels


def test_copies_of_a_shard_are_in_different_zones_and_first_copies_are_spread() -> None:
    found = zones(cluster(shards=5, replicas_per_shard=2))

    for shard in range(5):
        assert len({found[f"cache-redis-{shard}-{copy}"] for copy in range(3)}) == 3
    assert [found[f"cache-redis-{shard}-0"][-1] for shard in range(5)] == ["a", "b", "c", "a", "b"]


def test_a_fourth_subnet_allows_a_fourth_copy() -> None:
    aws = AwsSettings(vpc_id=VPC, subnet_ids=tuple(SUBNETS))

    found = zones(replicated(aws, replicas=3))
    assert len({found[f"cache-redis-{i}"] for i in range(4)}) == 4


# Names and ports


def test_nodes_of_a_kind_listen_on_the_same_port_under_names_of_the_private_zone() -> None:
    for name in REDIS:
        host = f"{name.removeprefix('cache-')}.cache-aws-dev.internal"
        files = secret_files(name)
        assert "tls-port 6379\n" in files[f"{FOLDER}redis.conf"]
        assert f"replica-announce-ip {host}\n" in files[f"{FOLDER}redis.conf"]
        assert f"NODE_HOST={host}\nNODE_PORT=6379\n" in files[f"{FOLDER}node.env"]
    for name in SENTINELS:
        assert "tls-port 26379\n" in secret_files(name)[f"{FOLDER}sentinel.conf"]
    assert default_graph().outputs["sentinels"] == [f"sentinel-{i}.cache-aws-dev.internal:26379" for i in range(3)]


def test_nodes_of_a_cluster_listen_on_the_same_port() -> None:
    assert default_cluster().outputs["nodes"] == [
        f"redis-{shard}-{copy}.cache-aws-dev.internal:7000" for shard in range(3) for copy in range(2)
    ]


def test_a_name_leads_to_the_address_that_the_node_keeps() -> None:
    (zone,) = default_graph().of_type(":Zone").values()
    assert zone.inputs["name"] == "cache-aws-dev.internal"
    assert zone.inputs["vpcs"] == [{"vpcId": "id-of-cache-vpc"}]
    for name in NODES:
        record = default_graph().of_type(":Record")[f"{name}-name"]
        assert record.inputs["name"] == f"{name.removeprefix('cache-')}.cache-aws-dev.internal"
        assert record.inputs["records"] == ["10.20.0.9"]
        assert instance(name).inputs["primaryNetworkInterface"] == {"networkInterfaceId": f"id-of-{name}-interface"}


def test_every_name_is_known_before_the_first_instance_looks_for_it() -> None:
    for name in NODES:
        assert depends_on(instance(name)) >= {f"{node}-name" for node in NODES}


def test_a_certificate_is_for_the_name() -> None:
    for name, certificate in default_graph().of_type(":NodeCertificate").items():
        host = f"{name.removeprefix('cache-').removesuffix('-certificate')}.cache-aws-dev.internal"
        assert certificate.inputs["names"] == [host, "localhost", "127.0.0.1"]


# Instances


@pytest.mark.parametrize("name", NODES)
def test_an_instance_is_hardened(name: str) -> None:
    inputs = instance(name).inputs

    assert inputs["metadataOptions"] == {
        "httpEndpoint": "enabled",
        "httpTokens": "required",
        "httpPutResponseHopLimit": 1,
    }
    root = inputs["rootBlockDevice"]
    assert (root["encrypted"], root["volumeType"], root["volumeSize"]) == (True, "gp3", 10)
    assert root["kmsKeyId"].endswith("cache-key")
    assert "keyName" not in inputs
    assert not inputs.get("associatePublicIpAddress")
    assert inputs["instanceInitiatedShutdownBehavior"] == "stop"


def test_types_and_images() -> None:
    made = replicated(AwsSettings(vpc_cidr="10.0.0.0/16", nat=True, instance_type="m7i.large"))

    assert {instance(name, made).inputs["instanceType"] for name in REDIS} == {"m7i.large"}
    assert {instance(name, made).inputs["instanceType"] for name in SENTINELS} == {"t4g.micro"}
    assert {instance(name, made).inputs["ami"] for name in REDIS} == {IMAGES["x86_64"]}
    assert {instance(name, made).inputs["ami"] for name in SENTINELS} == {IMAGES["arm64"]}


def test_a_new_image_never_replaces_a_node_unasked() -> None:
    for name in NODES:
        assert list(instance(name).request.ignoreChanges) == ["ami"]


def test_a_pinned_image_replaces_nodes_when_it_changes() -> None:
    made = replicated(AwsSettings(vpc_cidr="10.0.0.0/16", ami_id=IMAGES["arm64"]))

    for name in NODES:
        assert instance(name, made).inputs["ami"] == IMAGES["arm64"]
        assert not instance(name, made).request.ignoreChanges


def test_protection() -> None:
    unprotected = replicated(AwsSettings(vpc_cidr="10.0.0.0/16", nat=True, protection=False))
    for name in NODES:
        assert instance(name).inputs["disableApiTermination"] is True
        assert instance(name).inputs["forceDestroy"] is True
        assert instance(name, unprotected).inputs["disableApiTermination"] is False
    for name, volume in default_graph().of_type(":Volume").items():
        assert volume.request.protect is ("redis" in name)
    assert not any(volume.request.protect for volume in unprotected.of_type(":Volume").values())


@pytest.mark.parametrize("name", NODES)
def test_a_changed_type_or_file_goes_through_the_gate(name: str) -> None:
    """EC2 would stop and start an instance whose type or user data change, several at once."""
    request = instance(name).request

    assert set(request.replaceOnChanges) == {"instanceType", "ebsOptimized"}
    assert instance(name).inputs["userDataReplaceOnChange"] is True
    assert request.deleteBeforeReplace


@pytest.mark.parametrize("name", NODES)
def test_the_gate_is_asked_before_the_instance_goes_and_told_when_its_data_are_there(name: str) -> None:
    before = instance(name).request.hooks
    attachment = default_graph().of_type(":VolumeAttachment")[f"{name}-attachment"]
    after = attachment.request.hooks

    assert (list(before.before_delete), list(before.after_create)) == (["cache-before-stop"], [])
    assert (list(after.before_delete), list(after.after_create)) == ([], ["cache-after-start"])
    assert list(before.on_error) == list(after.on_error) == ["cache-on-error"]
    assert attachment.inputs["skipDestroy"] is True
    assert attachment.inputs["instanceId"] == f"id-of-{name}"


def test_nothing_of_one_node_depends_on_the_instance_of_another() -> None:
    for resource in default_graph().resources:
        if resource.name != "cache-formation":
            owner = next((name for name in NODES if resource.name.startswith(name)), None)
            others = depends_on(resource) & set(NODES) - {owner}
            assert others == set(), resource.name


def test_nothing_is_made_before_the_wanted_topology_is_known_to_be_possible() -> None:
    for kind in (":Instance", ":NetworkInterface"):
        for resource in default_graph().of_type(kind).values():
            assert "cache-topology" in depends_on(resource)


@pytest.mark.parametrize("name", NODES)
def test_an_instance_finds_what_it_needs(name: str) -> None:
    needed = {f"{name}-files", "cache-node", "cache-nodes-log", "cache-to-https", "cache-private-internet"}

    assert depends_on(instance(name)) >= needed


def test_formation_waits_for_everything() -> None:
    (formation,) = default_graph().of_type(":Formation").values()
    needed = {f"{name}-{part}" for name in NODES for part in ("attachment", "name")}

    assert depends_on(formation) >= {*NODES, *needed, "cache-node", "cache-formation-access", "cache-bucket"}
    assert formation.inputs["generations"] == {name: f"id-of-{name}" for name in NODES}
    assert formation.inputs["files_generations"] == {name: f"version-of-{name}-files" for name in REDIS}


# Data


def test_data_volumes_are_encrypted_and_never_replaced() -> None:
    for name, volume in default_graph().of_type(":Volume").items():
        assert volume.inputs["encrypted"] is True
        assert volume.inputs["kmsKeyId"].endswith("cache-key")
        assert volume.inputs["type"] == "gp3"
        assert volume.inputs["size"] == (40 if "redis" in name else 1)
        assert set(volume.request.ignoreChanges) == {"availabilityZone", "encrypted", "kmsKeyId", "snapshotId"}
        assert volume.request.retainOnDelete is ("redis" in name)
        assert not volume.request.deleteBeforeReplace


def test_what_is_kept_can_be_decrypted_later() -> None:
    (key,) = default_graph().of_type(":Key").values()
    (temporary,) = replicated(retain_data=False).of_type(":Key").values()

    assert key.request.retainOnDelete
    assert not temporary.request.retainOnDelete
    assert key.inputs["enableKeyRotation"] is True


def test_maxmemory_comes_from_the_instance() -> None:
    live = secret_files("cache-redis-0")[f"{FOLDER}live.conf"]
    memory = find_instance_type("m7g.large").node_memory

    assert f"maxmemory {(memory - 32 * MEBIBYTE) * 60 // 100 // MEBIBYTE * MEBIBYTE}\n" in live
    assert (
        f"MemoryMax={memory}\n"
        in host_files("cache-redis-0")["/etc/systemd/system/redis-production.service.d/node.conf"]
    )


# User data


def canaries() -> set[str]:
    """Every password, and a line of every private key."""
    found = set()
    for name in NODES:
        text = json.dumps(secret_files(name))
        found |= set(re.findall(r"password-of-[a-z]+", text))
        found |= set(re.findall(r"BEGIN PRIVATE KEY-----\\n[^\\]+\\n([^\\]+)", text))
    return found


@pytest.mark.parametrize("name", NODES)
def test_user_data_holds_no_secret(name: str) -> None:
    text = instance(name).inputs["userData"]

    assert isinstance(text, str)  # and the engine is not told to hide it
    assert len(canaries()) > len(NODES)
    assert [canary for canary in canaries() if canary in text] == []


def test_no_secret_is_shown_anywhere() -> None:
    for made in (default_graph(), default_cluster()):
        for resource in made.resources:
            if not resource.type.startswith("pulumi-python:"):
                for text in shown(resource.inputs):
                    assert "password-of" not in text, resource.name
                    assert "PRIVATE KEY" not in text, resource.name


def test_a_secret_of_a_file_is_secret() -> None:
    for version in default_graph().of_type(":SecretVersion").values():
        assert isinstance(version.inputs["secretString"], Secret)


def test_user_data_fits_with_the_longest_names() -> None:
    made = cluster(component="a" * 32, stack="b" * 18)
    sizes = [len(each.inputs["userData"].encode()) for each in made.of_type(":Instance").values()]
    assert sizes
    assert max(sizes) <= 16384
    limits = {":Bucket": ("bucket", 63), ":Role": ("name", 64), ":Alias": ("name", 256), ":Topic": ("name", 256)}
    limits |= {":SecurityGroup": ("name", 255), ":Secret": ("name", 512), ":MetricAlarm": ("name", 255)}
    for kind, (field, longest) in limits.items():
        names = [each.inputs[field] for each in made.of_type(kind).values()]
        assert names
        assert max(map(len, names)) <= longest, kind
        assert len(set(names)) == len(names), kind
    for record in made.of_type(":Record").values():
        assert max(map(len, record.inputs["name"].split("."))) <= 63


def test_user_data_runs_the_bootstrap_with_what_the_node_is() -> None:
    volumes = {environment(name)["VOLUME"] for name in NODES}

    assert len(volumes) == len(NODES)
    assert all(volume.startswith("vol-") for volume in volumes)
    assert environment("cache-redis-0") | {"VOLUME": "", "RESTART_FILES": ""} == {
        "KIND": "redis",
        "NODE": "cache-redis-0",
        "REGION": REGION,
        "DNS_SUFFIX": "amazonaws.com",
        "SECRET": "cache-aws-dev/nodes/cache-redis-0",
        "NAMESPACE": "redis-production/cache-aws-dev",
        "LOG_GROUP": "/redis-production/cache-aws-dev/nodes",
        "SSM_AGENT": "yes",
        "VOLUME": "",
        "RESTART_FILES": "",
    }
    assert cloud_config("cache-redis-0")["runcmd"] == [["/bin/sh", "/usr/local/lib/redis-production/bootstrap.sh"]]


def test_only_files_that_need_a_restart_are_in_the_fingerprint() -> None:
    live = replicated(slowlog_max_len=999)
    restart = replicated(redis_directives={"databases": "3"})

    for name in REDIS:
        before = instance(name).inputs["userData"]
        assert instance(name, live).inputs["userData"] == before
        assert instance(name, restart).inputs["userData"] != before


def test_a_secret_is_small_enough_and_goes_at_once() -> None:
    for made in (default_graph(), default_cluster()):
        for version in made.of_type(":SecretVersion").values():
            assert len(plain(version.inputs["secretString"]).encode()) <= 65536
        for secret in made.of_type(":Secret").values():
            assert secret.inputs["recoveryWindowInDays"] == 0
            assert secret.inputs["kmsKeyId"].endswith("cache-key")


# The record


def test_the_record_says_how_formation_gets_to_the_nodes() -> None:
    (topology,) = default_graph().of_type(":Topology").values()
    (formation,) = default_graph().of_type(":Formation").values()
    target = topology.inputs["target"]

    assert target == formation.inputs["target"]
    assert target["runner"] == {"kind": "ssm", "deployment": "cache-aws-dev", "region": REGION}
    assert target["aws"]["zones"] == [f"{REGION}{zone}" for zone in "abc"]


def test_formation_directly_needs_no_secret_and_no_agent() -> None:
    made = replicated(AwsSettings(vpc_cidr="10.0.0.0/16", nat=True, formation_runner="direct"))
    (topology,) = made.of_type(":Topology").values()

    assert "runner" not in topology.inputs["target"]
    assert "cache-formation-access" not in made.of_type(":Secret")
    assert environment("cache-redis-0", made)["SSM_AGENT"] == "no"


def test_what_formation_logs_in_with_is_in_its_secret() -> None:
    version = default_graph().of_type(":SecretVersion")["cache-formation-access"]
    access = json.loads(plain(version.inputs["secretString"]))

    assert default_graph().of_type(":Secret")["cache-formation-access"].inputs["name"] == "cache-aws-dev/formation"
    assert set(access) == {"passwords", "acl", "ca_certificate"}
    assert access["passwords"]["admin"] == "password-of-admin"
    assert set(access["acl"]) == {"default", *access["passwords"]}


def test_formation_knows_which_copies_a_zone_takes_along() -> None:
    (topology,) = default_cluster().of_type(":Topology").values()
    hosts = [[member["host"][-1] for member in shard["members"]] for shard in topology.inputs["target"]["shards"]]

    assert hosts == [["a", "b"], ["b", "c"], ["c", "a"]]


def test_clients_use_announced_names() -> None:
    for made in (default_graph(), default_cluster()):
        assert "force_master_ip" not in made.outputs["python_example"]
        assert "address_remap=" not in made.outputs["python_example"]
        assert "python_example" in made.secret_outputs


@pytest.mark.parametrize("platform", ["docker", "aws"])
def test_a_program_loads_its_own_platform_only(platform: str) -> None:
    program = f"""
import sys
from tests.unit import aws_graph
from components import ReplicatedRedis, ReplicatedRedisSettings
from tests.unit.resource_graph import run_program

if {platform == "aws"}:
    aws_graph.replicated()
else:
    run_program(lambda: ReplicatedRedis("cache", ReplicatedRedisSettings()) and {{}})
print([name for name in ("pulumi_aws", "pulumi_docker", "boto3", "docker") if name in sys.modules])
"""
    found = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, cwd=PROJECT)
    assert found.stdout.strip() == str({"docker": ["pulumi_docker"], "aws": ["pulumi_aws"]}[platform])


# Tags


def test_everything_that_can_carries_the_deployments_tag() -> None:
    without = {
        "Alias", "BucketLifecycleConfiguration", "BucketOwnershipControls", "BucketPolicy", "BucketPublicAccessBlock",
        "BucketServerSideEncryptionConfiguration", "BucketVersioning", "Record", "RolePolicy", "Route",
        "RouteTableAssociation", "SecretVersion", "TopicPolicy", "VolumeAttachment",
    }  # fmt: skip
    for resource in default_graph().resources:
        kind = resource.type.rsplit(":", 1)[-1]
        if resource.type.startswith("aws:") and kind not in without:
            assert resource.inputs["tags"]["redis-production:deployment"] == "cache-aws-dev", resource.name
            assert resource.inputs["tags"]["Name"].startswith("cache-aws-dev-"), resource.name
    for name in NODES:
        volume = default_graph().of_type(":Volume")[f"{name}-data"]
        for tags in (instance(name).inputs["tags"], volume.inputs["tags"]):
            assert tags["redis-production:node"] == name


def test_an_account_that_nobody_named_is_the_one_of_the_provider() -> None:
    (bucket,) = default_graph().of_type(":Bucket").values()
    assert bucket.inputs["bucket"] == f"cache-aws-dev-{ACCOUNT}-{REGION}"
