"""EBS volumes and their attachments."""

from __future__ import annotations

import threading
import zlib
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from airgap.aws_provider.connection import Aws, wait_until
from airgap.aws_provider.ec2 import Ec2Resource, remove_when_free, tagged_as
from airgap.aws_provider.limits import VOLUME_SIZES, VOLUME_TYPES
from airgap.aws_provider.resource import REGION, TAGS, AwsResource, answer, only, request
from airgap.aws_provider.tags import tag_map
from airgap.provider_protocol.errors import CheckError, ProviderError
from airgap.provider_protocol.properties import Property, flag, number, text

_WITH_IOPS = ("gp3", "io1", "io2")
_DEVICE = r"/dev/(sd|xvd)[a-z]{1,2}[0-9]{0,2}"


def volume_refusals(
    settings: Mapping[str, Any], type_name: str, path: str, *, size: str, kind: str
) -> Iterator[CheckError]:
    """What is wrong with a volume's type, size, iops and throughput.

    `path` comes before the names of properties, for example `rootBlockDevice.`; `size` and `kind` are the properties
    that hold the size and the type.
    """
    chosen = settings.get(kind)
    if not isinstance(chosen, str) or chosen not in VOLUME_SIZES:
        return
    smallest, largest = VOLUME_SIZES[chosen]
    gibibytes = settings.get(size)
    if isinstance(gibibytes, int) and not smallest <= gibibytes <= largest:
        reason = f"'{path}{size}' must be {smallest} to {largest} GiB for {chosen}"
        yield CheckError(f"{path}{size}", f"{type_name}: the property {reason}")
    if settings.get("iops") is not None and chosen not in _WITH_IOPS:
        yield CheckError(f"{path}iops", f"{type_name}: '{path}iops' is only for {', '.join(_WITH_IOPS)}")
    if settings.get("throughput") is not None and chosen != "gp3":
        yield CheckError(f"{path}throughput", f"{type_name}: '{path}throughput' is only for gp3")


class Volume(Ec2Resource):
    """A disk of its own, which outlives the instance it is attached to."""

    type_name = "aws:ebs/volume:Volume"
    kind = "volume"
    properties: ClassVar[Mapping[str, Property]] = {
        "availabilityZone": text(required=True, replaces=True),
        "encrypted": flag(replaces=True, computed=True),
        "finalSnapshot": flag(default=False),
        "iops": number(computed=True, minimum=100, maximum=256000),
        "kmsKeyId": text(replaces=True, computed=True),
        "region": REGION,
        "size": number(computed=True, minimum=1),
        "snapshotId": text(replaces=True, computed=True),
        "tags": TAGS,
        "throughput": number(computed=True, minimum=125, maximum=2000),
        "type": text(computed=True, choices=VOLUME_TYPES),
    }
    output_only: ClassVar[Mapping[str, Any]] = dict.fromkeys(("arn", "createTime", "tagsAll"))

    def refusals(self, inputs: Mapping[str, Any]) -> Iterator[CheckError]:
        """Sizes fit their types, the zone is one of the region, a key means encryption."""
        if inputs.get("size") is None and inputs.get("snapshotId") is None:
            yield CheckError("size", f"{self.type_name}: size or snapshotId must be given")
        yield from volume_refusals({"type": "gp2", **inputs}, self.type_name, "", size="size", kind="type")
        zone, region = inputs["availabilityZone"], inputs.get("region")
        if isinstance(zone, str) and isinstance(region, str) and not zone.startswith(region):
            reason = f"'availabilityZone' names no zone of the region {region} ({zone})"
            yield CheckError("availabilityZone", f"{self.type_name}: the property {reason}")
        if inputs.get("kmsKeyId") is not None and not inputs.get("encrypted"):
            yield CheckError("encrypted", f"{self.type_name}: 'encrypted' must be true where kmsKeyId is given")

    def make(self, aws: Aws, inputs: Mapping[str, Any], cancelled: threading.Event) -> str:
        """Make the volume."""
        made = self.client(aws, inputs).create_volume(
            **request(inputs, "availabilityZone", "encrypted", "iops", "kmsKeyId", "size", "snapshotId", "throughput"),
            **request(inputs, type="VolumeType"),
            **tagged_as("volume", inputs),
        )
        return str(made["VolumeId"])

    def set_up(self, aws: Aws, identifier: str, inputs: Mapping[str, Any], cancelled: threading.Event) -> None:
        """Wait until it can be attached."""
        client = self.client(aws, inputs)
        wait_until(
            lambda: find_volume(client, identifier)["State"] in ("available", "in-use"),
            f"{identifier} is available",
            cancelled,
        )

    def change(
        self,
        aws: Aws,
        identifier: str,
        outputs: Mapping[str, Any],
        inputs: Mapping[str, Any],
        changed: frozenset[str],
        cancelled: threading.Event,
    ) -> None:
        """Change size, type and performance while the volume is in use."""
        if not changed & {"size", "type", "iops", "throughput"}:
            return
        if inputs.get("size") is not None and inputs["size"] < (outputs.get("size") or 0):
            raise ProviderError(f"{self.type_name}: the property 'size' cannot become smaller: keep {outputs['size']}")
        self.client(aws, inputs).modify_volume(
            VolumeId=identifier, **request(inputs, "iops", "size", "throughput", type="VolumeType")
        )

    def facts(self, aws: Aws, identifier: str, recorded: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """The volume."""
        found = find_volume(self.client(aws, recorded), identifier)
        if found is None or found["State"] in ("deleting", "deleted"):
            return None
        return {
            **answer(found, "availabilityZone", "encrypted", "iops", "kmsKeyId", "size", "throughput"),
            "arn": self.arn(aws, identifier, recorded),
            "createTime": found["CreateTime"].isoformat(),
            "snapshotId": found.get("SnapshotId") or "",
            "tags": tag_map(found.get("Tags")),
            "type": found.get("VolumeType"),
        }

    def remove(self, aws: Aws, identifier: str, outputs: Mapping[str, Any], cancelled: threading.Event) -> None:
        """Remove the volume once no instance has it, after a last snapshot if that is wanted."""
        client = self.client(aws, outputs)
        if outputs.get("finalSnapshot"):
            snapshot = client.create_snapshot(VolumeId=identifier, **tagged_as("snapshot", outputs))["SnapshotId"]
            wait_until(
                lambda: client.describe_snapshots(SnapshotIds=[snapshot])["Snapshots"][0]["State"] == "completed",
                f"the last snapshot of {identifier} is made",
                cancelled,
                3600.0,
            )
        remove_when_free(lambda: client.delete_volume(VolumeId=identifier), identifier, cancelled)


def find_volume(client: Any, identifier: str) -> Any:
    """A volume as EC2 describes it."""
    return only(client.describe_volumes(VolumeIds=[identifier])["Volumes"])


class VolumeAttachment(AwsResource):
    """Puts a volume into an instance. Its id is made up as the vendor does."""

    type_name = "aws:ec2/volumeAttachment:VolumeAttachment"
    service = "ec2"
    deletes_before_replacing = True
    properties: ClassVar[Mapping[str, Property]] = {
        "deviceName": text(required=True, replaces=True, pattern=_DEVICE),
        "forceDetach": flag(),
        "instanceId": text(required=True, replaces=True),
        "region": REGION,
        "skipDestroy": flag(),
        "stopInstanceBeforeDetaching": flag(),
        "volumeId": text(required=True, replaces=True),
    }

    def make(self, aws: Aws, inputs: Mapping[str, Any], cancelled: threading.Event) -> str:
        """Attach the volume. One that is attached there already is taken as it is."""
        client = self.client(aws, inputs)
        device, instance, volume = inputs["deviceName"], inputs["instanceId"], inputs["volumeId"]
        if self._found(client, inputs) is None:
            self._require_same_zone(client, instance, volume)
            wait_until(lambda: find_volume(client, volume)["State"] == "available", f"{volume} is free", cancelled)
            client.attach_volume(Device=device, InstanceId=instance, VolumeId=volume)
        return f"vai-{zlib.crc32(f'{device}-{instance}-{volume}-'.encode())}"

    def _require_same_zone(self, client: Any, instance: str, volume: str) -> None:
        reservation = only(client.describe_instances(InstanceIds=[instance])["Reservations"])
        host = only(reservation["Instances"])["Placement"]["AvailabilityZone"]
        disk = (find_volume(client, volume) or {}).get("AvailabilityZone")
        if disk != host:
            raise ProviderError(
                f"{self.type_name}: {volume} is in {disk} and {instance} in {host}: both must be in one zone"
            )

    def set_up(self, aws: Aws, identifier: str, inputs: Mapping[str, Any], cancelled: threading.Event) -> None:
        """Wait until the instance has it."""
        client = self.client(aws, inputs)
        wait_until(
            lambda: (self._found(client, inputs) or {}).get("State") == "attached",
            f"{inputs['volumeId']} is attached to {inputs['instanceId']}",
            cancelled,
        )

    @staticmethod
    def _found(client: Any, values: Mapping[str, Any]) -> Any:
        volume = find_volume(client, values["volumeId"]) or {"Attachments": []}
        return only(
            [
                one
                for one in volume["Attachments"]
                if one["InstanceId"] == values["instanceId"] and one["Device"] == values["deviceName"]
            ]
        )

    def facts(self, aws: Aws, identifier: str, recorded: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """The attachment, found by volume, instance and device."""
        if not recorded.get("volumeId"):
            return None  # an import: the id says nothing
        found = self._found(self.client(aws, recorded), recorded)
        return None if found is None else {}

    def remove(self, aws: Aws, identifier: str, outputs: Mapping[str, Any], cancelled: threading.Event) -> None:
        """Detach the volume and wait for it; with `skipDestroy` do nothing: the instance's end detaches it."""
        if outputs.get("skipDestroy"):
            return
        client = self.client(aws, outputs)
        if self._found(client, outputs) is None:
            return
        if outputs.get("stopInstanceBeforeDetaching"):
            client.stop_instances(InstanceIds=[outputs["instanceId"]])
            client.get_waiter("instance_stopped").wait(InstanceIds=[outputs["instanceId"]])
        client.detach_volume(**request(outputs, "instanceId", "volumeId", deviceName="Device", forceDetach="Force"))
        wait_until(lambda: self._found(client, outputs) is None, f"{outputs['volumeId']} is detached", cancelled)
