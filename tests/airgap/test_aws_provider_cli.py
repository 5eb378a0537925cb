"""The AWS stand-in under the real Pulumi CLI and the vendor's SDK, on moto."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.airgap.aws_look_alike import ACCOUNT, LookAlike, running_look_alike
from tests.airgap.pulumi_project import PulumiProject, install_stand_in

pytestmark = [pytest.mark.pulumi, pytest.mark.long]

PROGRAM = """
import json

config = pulumi.Config()
owner = config.get("owner") or "storage"
tags = {"redis-production:deployment": "cache-dev", "owner": owner}
account = aws.get_caller_identity().account_id
zone = aws.get_availability_zones(state="available").names[0]
image = aws.ec2.get_ami(most_recent=True, owners=["amazon"], filters=[{"name": "architecture", "values": ["x86_64"]}])

vpc = aws.ec2.Vpc("vpc", cidr_block="10.7.0.0/16", enable_dns_hostnames=True, tags=tags)
subnet = aws.ec2.Subnet("subnet", vpc_id=vpc.id, cidr_block="10.7.1.0/24", availability_zone=zone, tags=tags)
group = aws.ec2.SecurityGroup("group", vpc_id=vpc.id, description="Redis nodes", tags=tags)
aws.vpc.SecurityGroupIngressRule(
    "rule", security_group_id=group.id, ip_protocol="tcp", from_port=6379, to_port=6379, cidr_ipv4=vpc.cidr_block
)
interface = aws.ec2.NetworkInterface(
    "interface", subnet_id=subnet.id, security_groups=[group.id], tags=tags,
    opts=pulumi.ResourceOptions(delete_before_replace=True),
)
role = aws.iam.Role("role", tags=tags, assume_role_policy=json.dumps({
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "ec2.amazonaws.com"}}],
}))
profile = aws.iam.InstanceProfile("profile", role=role.name, tags=tags)
instance = aws.ec2.Instance(
    "instance",
    ami=image.id,
    instance_type=config.get("type") or "t3.micro",
    primary_network_interface=aws.ec2.InstancePrimaryNetworkInterfaceArgs(network_interface_id=interface.id),
    iam_instance_profile=profile.name,
    user_data=vpc.id.apply(lambda identifier: "#cloud-config\\n# " + identifier + (config.get("more") or "")),
    user_data_replace_on_change=True,
    metadata_options=aws.ec2.InstanceMetadataOptionsArgs(http_tokens="required", http_put_response_hop_limit=1),
    root_block_device=aws.ec2.InstanceRootBlockDeviceArgs(encrypted=True, volume_type="gp3", volume_size=10),
    disable_api_termination=True,
    force_destroy=True,
    tags={**tags, "Name": "cache-redis-0"},
    opts=pulumi.ResourceOptions(delete_before_replace=True),
)
volume = aws.ebs.Volume("volume", availability_zone=zone, size=8, type="gp3", encrypted=True, tags=tags)
aws.ec2.VolumeAttachment(
    "attachment", device_name="/dev/sdf", instance_id=instance.id, volume_id=volume.id, skip_destroy=True,
    opts=pulumi.ResourceOptions(delete_before_replace=True),
)
secret = aws.secretsmanager.Secret("secret", name="cache-dev/formation", recovery_window_in_days=0, tags=tags)
aws.secretsmanager.SecretVersion(
    "version",
    secret_id=secret.id,
    secret_string=pulumi.Output.secret(json.dumps({"passwords": {"app": "s3cr3t-word"}})),
)
bucket = aws.s3.Bucket("bucket", bucket="cache-dev-" + account, force_destroy=True, tags=tags)
aws.s3.BucketVersioning(
    "versioning", bucket=bucket.id,
    versioning_configuration=aws.s3.BucketVersioningVersioningConfigurationArgs(status="Enabled"),
)
for name, value in {"address": interface.private_ip, "instance": instance.id, "tags": instance.tags_all}.items():
    pulumi.export(name, value)
"""


@pytest.fixture(scope="module")
def aws() -> Iterator[LookAlike]:
    with running_look_alike() as started:
        yield started


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("pulumi") is None:
        pytest.skip("there is no pulumi on PATH")
    folder = tmp_path_factory.mktemp("pulumi-home")
    install_stand_in(folder, "aws")
    return folder


@pytest.fixture
def project(aws: LookAlike, home: Path, tmp_path: Path) -> Iterator[PulumiProject]:
    made = PulumiProject(tmp_path, home, provider="aws", environment=aws.environment)
    yield made
    made.run("destroy", "--yes", "--skip-preview")


def _outputs(project: PulumiProject) -> dict[str, object]:
    found: dict[str, object] = json.loads(project.run("stack", "output", "--json").stdout)
    return found


def test_a_deployment_lives_its_life(project: PulumiProject, aws: LookAlike) -> None:
    ec2 = aws.client("ec2")
    project.program(PROGRAM)
    assert set(project.planned_operations().values()) == {"create"}
    project.up()
    first = _outputs(project)

    # Nothing changed: nothing to do, and nothing differs from what really exists.
    assert project.planned_operations() == {}
    project.run("refresh", "--yes", "--expect-no-changes")

    # No secret in the open.
    exported = project.run("stack", "export").stdout
    assert "s3cr3t-word" not in exported
    stored = aws.client("secretsmanager").get_secret_value(SecretId="cache-dev/formation")["SecretString"]
    assert json.loads(stored) == {"passwords": {"app": "s3cr3t-word"}}

    # Another tag is an update of what has tags, and of nothing else.
    project.run("config", "set", "owner", "platform")
    planned = project.planned_operations()
    assert set(planned.values()) == {"update"}
    assert {"vpc", "instance", "volume", "secret", "bucket", "role"} <= planned.keys()
    assert not {"rule", "attachment", "versioning", "version"} & planned.keys()
    project.up()
    assert _outputs(project)["tags"] == {
        "redis-production:deployment": "cache-dev", "owner": "platform", "Name": "cache-redis-0",
    }  # fmt: skip

    # Another type is an update by a stop; other user data are another instance with the same address and volume.
    project.run("config", "set", "type", "t3.small")
    assert project.planned_operations() == {"instance": "update"}
    project.up()
    assert _outputs(project)["instance"] == first["instance"]
    project.run("config", "set", "more", "1")
    project.up()
    second = _outputs(project)
    assert second["instance"] != first["instance"]
    assert second["address"] == first["address"]
    volume = project.resources()["volume"]["id"]
    attachments = ec2.describe_volumes(VolumeIds=[volume])["Volumes"][0]["Attachments"]
    assert [one["InstanceId"] for one in attachments] == [second["instance"]]

    # What someone else killed comes back.
    ec2.modify_instance_attribute(InstanceId=second["instance"], DisableApiTermination={"Value": False})
    ec2.terminate_instances(InstanceIds=[second["instance"]])
    project.run("refresh", "--yes")
    assert set(project.planned_operations()) == {"instance", "attachment"}
    project.up()
    assert _outputs(project)["address"] == first["address"]

    project.run("destroy", "--yes")
    left = {
        "buckets": aws.client("s3").list_buckets()["Buckets"],
        "instances": ec2.describe_instances(
            Filters=[{"Name": "instance-state-name", "Values": ["running", "stopped"]}]
        )["Reservations"],
        "interfaces": ec2.describe_network_interfaces()["NetworkInterfaces"],
        "roles": aws.client("iam").list_roles()["Roles"],
        "secrets": aws.client("secretsmanager").list_secrets()["SecretList"],
        "volumes": ec2.describe_volumes()["Volumes"],
        "vpcs": ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["false"]}])["Vpcs"],
    }
    assert {what: found for what, found in left.items() if found} == {}


def test_what_is_not_covered_is_refused_by_name(project: PulumiProject) -> None:
    project.program('aws.ec2.Vpc("vpc", cidr_block="10.7.0.0/16", ipv4_netmask_length=16)')
    refused = project.run("preview", fails=True)
    assert "the property 'ipv4NetmaskLength' is not covered" in refused.stdout + refused.stderr
    project.program('aws.rds.Instance("database", instance_class="db.t3.micro")')
    refused = project.run("preview", fails=True)
    assert "aws:rds/instance:Instance is not covered by this stand-in" in refused.stdout + refused.stderr


def test_default_tags_and_region_come_from_the_provider(project: PulumiProject, aws: LookAlike) -> None:
    project.program(
        """
provider = aws.Provider(
    "other", region="eu-west-1", default_tags=aws.ProviderDefaultTagsArgs(tags={"owner": "storage", "Name": "none"})
)
topic = aws.sns.Topic("topic", tags={"Name": "alarms"}, opts=pulumi.ResourceOptions(provider=provider))
pulumi.export("arn", topic.arn)
pulumi.export("tags", topic.tags_all)
"""
    )
    project.up()
    found = _outputs(project)
    assert found["tags"] == {"owner": "storage", "Name": "alarms"}
    assert str(found["arn"]).startswith(f"arn:aws:sns:eu-west-1:{ACCOUNT}:topic-")
    assert project.planned_operations() == {}
    project.run("refresh", "--yes", "--expect-no-changes")
