"""What the instance metadata service of the look-alike says."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

from airgap.aws_cloud import addresses, host_image, metadata

SOON = timedelta(minutes=5)


def an_instance(**changes: Any) -> Any:
    vpc = SimpleNamespace(cidr_block="10.0.0.0/16")
    subnet = SimpleNamespace(
        id="subnet-1", cidr_block="10.0.1.0/24", vpc_id="vpc-1", availability_zone="eu-central-1a",
        availability_zone_id="euc1-az2", ec2_backend=SimpleNamespace(get_vpc=lambda _: vpc),
    )  # fmt: skip
    interface = SimpleNamespace(
        id="eni-1", mac_address="02:00:00:00:00:01", private_ip_address="10.0.1.4", owner_id="123456789012",
        subnet=subnet, group_set=[SimpleNamespace(id="sg-1", name="nodes")],
    )  # fmt: skip
    return SimpleNamespace(
        **{
            "id": "i-1", "image_id": "ami-1", "ami_launch_index": 0, "instance_type": "t4g.small",
            "private_dns_name": "ip-10-0-1-4.eu-central-1.compute.internal", "private_ip_address": "10.0.1.4",
            "region_name": "eu-central-1", "architecture": "arm64", "owner_id": "123456789012",
            "launch_time": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), "nics": {0: interface}, "user_data": None,
            "metadata_options": SimpleNamespace(instance_metadata_tags="disabled"),
            "get_tags": lambda: [{"key": "Name", "value": "a"}], **changes,
        }
    )  # fmt: skip


def service(role: Any = None, lifetime: timedelta = timedelta(hours=6)) -> tuple[metadata.Metadata, list[str]]:
    minted: list[str] = []

    def mint(role: Any, session: str, seconds: int) -> Any:
        minted.append(session)
        return SimpleNamespace(
            access_key_id=f"ASIA{len(minted)}", secret_access_key="s", session_token="t",
            expiration=datetime.now(UTC) + lifetime,
        )  # fmt: skip

    return metadata.Metadata(lambda _: role, mint), minted


def text(path: str, instance: Any, role: Any = None) -> str | None:
    found = metadata._content(service(role)[0], instance, path)
    return None if found is None else found.decode()


def test_values_and_folders() -> None:
    instance = an_instance()
    assert text("/latest/meta-data/instance-id", instance) == "i-1"
    assert text("/2021-03-23/meta-data/placement/region", instance) == "eu-central-1"
    assert text("/latest/meta-data/placement/", instance) == "availability-zone\navailability-zone-id\nregion"
    assert text("/latest/meta-data/network/interfaces/macs", instance) == "02:00:00:00:00:01/"
    assert text("/latest/dynamic", instance) == "instance-identity/"
    assert "latest" in str(text("/", instance)).splitlines()


def test_what_is_not_there() -> None:
    for path in (
        "/latest/meta-data/nothing",
        "/latest/meta-data/instance-id/more",
        "/1999/meta-data",
        "/latest/user-data",
    ):
        assert text(path, an_instance()) is None


def test_the_identity_document() -> None:
    document = json.loads(str(text("/latest/dynamic/instance-identity/document", an_instance())))
    assert document["region"] == "eu-central-1"
    assert document["pendingTime"] == "2026-01-02T03:04:05Z"


def test_user_data_arrive_as_they_were_given() -> None:
    given = b"\x1f\x8b\x00binary"
    instance = an_instance(user_data=base64.b64encode(given).decode())
    assert metadata._content(service()[0], instance, "/latest/user-data") == given


def test_tags_are_shown_only_where_that_is_enabled() -> None:
    assert text("/latest/meta-data/tags/instance/Name", an_instance()) is None
    shown = an_instance(metadata_options=SimpleNamespace(instance_metadata_tags="enabled"))
    assert text("/latest/meta-data/tags/instance/Name", shown) == "a"


def test_credentials_are_those_of_the_instances_role_only() -> None:
    role = SimpleNamespace(name="node", arn="arn:aws:iam::123456789012:role/node")
    path = "/latest/meta-data/iam/security-credentials/"
    assert text(path, an_instance(), role) == "node"
    assert json.loads(str(text(f"{path}node", an_instance(), role)))["AccessKeyId"] == "ASIA1"
    assert text(f"{path}other", an_instance(), role) is None
    assert text(path, an_instance()) is None


def test_credentials_are_kept_until_they_are_about_to_expire() -> None:
    role = SimpleNamespace(name="node", arn="arn:aws:iam::123456789012:role/node")
    for lifetime, mints in ((timedelta(hours=6), 1), (SOON, 2)):
        described, minted = service(role, lifetime)
        described.credentials(an_instance(), "node")
        described.credentials(an_instance(), "node")
        assert minted == ["i-1"] * mints


def test_services_of_an_instance_find_the_api() -> None:
    settings = (host_image._FILES / "etc/systemd/system.conf.d/10-look-alike.conf").read_text()
    assert f"DefaultEnvironment=AWS_ENDPOINT_URL={addresses.ENDPOINT}\n" in settings
