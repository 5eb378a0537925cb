"""The resource type aws:ec2/instance:Instance."""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, ClassVar

from airgap.aws_provider.connection import Aws, wait_until
from airgap.aws_provider.ec2 import Ec2Resource, tagged_as
from airgap.aws_provider.instance_properties import OUTPUT_ONLY, PROPERTIES
from airgap.aws_provider.network_interfaces import await_release, holder_state
from airgap.aws_provider.resource import answer, capital, only, request
from airgap.aws_provider.tags import tag_list, tag_map
from airgap.aws_provider.volumes import find_volume, volume_refusals
from airgap.provider_protocol.difference import Difference
from airgap.provider_protocol.errors import CheckError, ProviderError
from airgap.provider_protocol.properties import Property

_USER_DATA = frozenset({"userData", "userDataBase64"})
_ONLY_WHILE_STOPPED = frozenset({"instanceType"}) | _USER_DATA
_PROTECTIONS = ("disableApiStop", "disableApiTermination")
_OF_THE_INTERFACE = ("associatePublicIpAddress", "privateIp", "sourceDestCheck", "subnetId", "vpcSecurityGroupIds")
_METADATA = (
    "httpEndpoint",
    "httpProtocolIpv6",
    "httpPutResponseHopLimit",
    "httpTokens",
    "instanceMetadataTags",
)
_DISK = ("deleteOnTermination", "encrypted", "iops", "kmsKeyId", "throughput", "volumeSize", "volumeType", "snapshotId")


class Instance(Ec2Resource):
    """A virtual machine."""

    type_name = "aws:ec2/instance:Instance"
    kind = "instance"
    properties: ClassVar[Mapping[str, Property]] = PROPERTIES
    output_only: ClassVar[Mapping[str, Any]] = OUTPUT_ONLY

    def refusals(self, inputs: Mapping[str, Any]) -> Iterator[CheckError]:
        """What excludes each other, and what disks can be."""
        if inputs.get("userData") is not None and inputs.get("userDataBase64") is not None:
            yield CheckError("userDataBase64", f"{self.type_name}: give userData or userDataBase64, not both")
        given = [name for name in ("primaryNetworkInterface", "networkInterfaces") if inputs.get(name)]
        for name in _OF_THE_INTERFACE if given else ():
            if inputs.get(name) is not None:
                reason = f"'{name}' belongs to the network interface where {given[0]} is given: set it there"
                yield CheckError(name, f"{self.type_name}: the property {reason}")
        if len(given) > 1:
            yield CheckError(given[1], f"{self.type_name}: give {given[0]} or {given[1]}, not both")
        root = inputs.get("rootBlockDevice")
        if isinstance(root, dict):
            yield from volume_refusals(root, self.type_name, "rootBlockDevice.", size="volumeSize", kind="volumeType")
        disks = inputs.get("ebsBlockDevices")
        for index, disk in enumerate(disks if isinstance(disks, list) else []):
            if isinstance(disk, dict):
                yield from volume_refusals(
                    disk, self.type_name, f"ebsBlockDevices[{index}].", size="volumeSize", kind="volumeType"
                )

    def difference(self, outputs: Mapping[str, Any], inputs: Mapping[str, Any]) -> list[Difference]:
        """What differs. Other user data need a new instance only if the program says so."""
        replaces = inputs.get("userDataReplaceOnChange") is True
        return [
            replace(one, replaces=replaces) if one.path[0] in _USER_DATA else one
            for one in super().difference(outputs, inputs)
        ]

    def make(self, aws: Aws, inputs: Mapping[str, Any], cancelled: threading.Event) -> str:
        """Start the instance."""
        client = self.client(aws, inputs)
        image = only(client.describe_images(ImageIds=[inputs["ami"]])["Images"])
        if image is None:
            raise ProviderError(f"{self.type_name}: the property 'ami' names no image of this region")
        for interface in _given_interfaces(inputs):
            if holder_state(client, interface) == "shutting-down":
                await_release(client, interface, cancelled)
        made = client.run_instances(
            MinCount=1,
            MaxCount=1,
            **request(inputs, "ebsOptimized", "instanceInitiatedShutdownBehavior", "instanceType", "keyName"),
            **request(inputs, "disableApiStop", "disableApiTermination", ami="ImageId"),
            **_run_arguments(inputs, image.get("RootDeviceName") or "/dev/sda1"),
        )
        return str(made["Instances"][0]["InstanceId"])

    def set_up(self, aws: Aws, identifier: str, inputs: Mapping[str, Any], cancelled: threading.Event) -> None:
        """Wait until it runs, and set what can be set only afterwards."""
        client = self.client(aws, inputs)
        self._await_state(client, identifier, "running", cancelled)
        for name in _PROTECTIONS:
            if inputs.get(name) and not _attribute(client, identifier, name):
                client.modify_instance_attribute(InstanceId=identifier, **{capital(name): {"Value": True}})
        if inputs.get("sourceDestCheck") is False:
            client.modify_instance_attribute(InstanceId=identifier, SourceDestCheck={"Value": False})
        self._tag_volumes(client, identifier, inputs)

    def change(
        self,
        aws: Aws,
        identifier: str,
        outputs: Mapping[str, Any],
        inputs: Mapping[str, Any],
        changed: frozenset[str],
        cancelled: threading.Event,
    ) -> None:
        """Change the instance. Its type and user data change while it is stopped."""
        client = self.client(aws, inputs)
        for name in (*_PROTECTIONS, "sourceDestCheck"):
            if name in changed:
                client.modify_instance_attribute(
                    InstanceId=identifier, **{capital(name): {"Value": inputs.get(name, False)}}
                )
        if "instanceInitiatedShutdownBehavior" in changed:
            behaviour = {"Value": inputs["instanceInitiatedShutdownBehavior"]}
            client.modify_instance_attribute(InstanceId=identifier, InstanceInitiatedShutdownBehavior=behaviour)
        if "vpcSecurityGroupIds" in changed:
            client.modify_instance_attribute(InstanceId=identifier, Groups=inputs["vpcSecurityGroupIds"])
        if "iamInstanceProfile" in changed:
            self._change_profile(client, identifier, inputs.get("iamInstanceProfile") or "")
        if "monitoring" in changed:
            switch = client.monitor_instances if inputs.get("monitoring") else client.unmonitor_instances
            switch(InstanceIds=[identifier])
        if "metadataOptions" in changed:
            client.modify_instance_metadata_options(
                InstanceId=identifier, **request(inputs.get("metadataOptions") or {}, *_METADATA)
            )
        if "rootBlockDevice" in changed:
            self._change_root(client, identifier, outputs, inputs)
        if {"rootBlockDevice", "volumeTags"} & changed:
            self._tag_volumes(client, identifier, inputs)
        if changed & _ONLY_WHILE_STOPPED:
            self._change_while_stopped(client, identifier, inputs, changed, cancelled)

    def _change_while_stopped(
        self,
        client: Any,
        identifier: str,
        inputs: Mapping[str, Any],
        changed: frozenset[str],
        cancelled: threading.Event,
    ) -> None:
        client.stop_instances(InstanceIds=[identifier])
        self._await_state(client, identifier, "stopped", cancelled)
        try:
            if "instanceType" in changed:
                client.modify_instance_attribute(InstanceId=identifier, InstanceType={"Value": inputs["instanceType"]})
            if changed & _USER_DATA:
                client.modify_instance_attribute(InstanceId=identifier, UserData={"Value": _user_data(inputs)})
        finally:
            # Refused or not: the instance ran before, so it runs again.
            client.start_instances(InstanceIds=[identifier])
        self._await_state(client, identifier, "running", cancelled)

    @staticmethod
    def _change_profile(client: Any, identifier: str, name: str) -> None:
        found = client.describe_iam_instance_profile_associations(
            Filters=[{"Name": "instance-id", "Values": [identifier]}]
        )
        association = only(found["IamInstanceProfileAssociations"])
        if association is None:
            client.associate_iam_instance_profile(InstanceId=identifier, IamInstanceProfile={"Name": name})
        else:
            client.replace_iam_instance_profile_association(
                AssociationId=association["AssociationId"], IamInstanceProfile={"Name": name}
            )

    @staticmethod
    def _change_root(client: Any, identifier: str, outputs: Mapping[str, Any], inputs: Mapping[str, Any]) -> None:
        old, new = outputs.get("rootBlockDevice") or {}, inputs.get("rootBlockDevice") or {}
        names = ("iops", "throughput", "volumeSize", "volumeType")
        found = _find(client, identifier)
        if any(new.get(name) is not None and new[name] != old.get(name) for name in names):
            if (new.get("volumeSize") or 0) < (old.get("volumeSize") or 0):
                raise ProviderError(f"the property 'rootBlockDevice.volumeSize' of {identifier} cannot become smaller")
            client.modify_volume(
                VolumeId=_mapping(found, found["RootDeviceName"])["VolumeId"],
                **request(new, "iops", "throughput", "volumeType", volumeSize="Size"),
            )
        if new.get("deleteOnTermination") != old.get("deleteOnTermination"):
            mapping = {
                "DeviceName": found["RootDeviceName"],
                "Ebs": {"DeleteOnTermination": new["deleteOnTermination"]},
            }
            client.modify_instance_attribute(InstanceId=identifier, BlockDeviceMappings=[mapping])

    @staticmethod
    def _tag_volumes(client: Any, identifier: str, inputs: Mapping[str, Any]) -> None:
        root_tags = (inputs.get("rootBlockDevice") or {}).get("tags")
        if not root_tags and not inputs.get("volumeTags"):
            return
        found = _find(client, identifier)
        root = _mapping(found, found["RootDeviceName"])["VolumeId"]
        if root_tags:
            client.create_tags(Resources=[root], Tags=tag_list(root_tags))
        if inputs.get("volumeTags"):
            devices = [disk["deviceName"] for disk in inputs.get("ebsBlockDevices") or []]
            volumes = [root, *(_mapping(found, device)["VolumeId"] for device in devices)]
            client.create_tags(Resources=volumes, Tags=tag_list(inputs["volumeTags"]))

    def facts(self, aws: Aws, identifier: str, recorded: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """The instance; one that is terminated stays listed for an hour."""
        client = self.client(aws, recorded)
        found = _find(client, identifier)
        if found is None or found["State"]["Name"] in ("shutting-down", "terminated"):
            return None
        interfaces = {one["Attachment"]["DeviceIndex"]: one for one in found.get("NetworkInterfaces", [])}
        primary = interfaces.get(0, {})
        facts = {
            **answer(found, "instanceType", "keyName", "subnetId", ami="ImageId", privateIp="PrivateIpAddress"),
            **answer(found, privateDns="PrivateDnsName", publicDns="PublicDnsName", publicIp="PublicIpAddress"),
            "arn": self.arn(aws, identifier, recorded),
            "associatePublicIpAddress": bool(found.get("PublicIpAddress")),
            "availabilityZone": found["Placement"]["AvailabilityZone"],
            "disableApiStop": _attribute(client, identifier, "disableApiStop"),
            "disableApiTermination": _attribute(client, identifier, "disableApiTermination"),
            "ebsBlockDevices": [
                _disk(client, found, disk["deviceName"]) for disk in recorded.get("ebsBlockDevices") or []
            ],
            "ebsOptimized": found.get("EbsOptimized", False),
            "iamInstanceProfile": found.get("IamInstanceProfile", {}).get("Arn", "").rpartition("/")[2],
            "instanceInitiatedShutdownBehavior": _attribute(client, identifier, "instanceInitiatedShutdownBehavior"),
            "instanceState": found["State"]["Name"],
            "metadataOptions": answer(found.get("MetadataOptions") or {}, *_METADATA),
            "monitoring": found.get("Monitoring", {}).get("State") in ("enabled", "pending"),
            "networkInterfaces": [
                {
                    "deleteOnTermination": interfaces[index]["Attachment"].get("DeleteOnTermination", False),
                    "deviceIndex": index,
                    "networkInterfaceId": interfaces[index]["NetworkInterfaceId"],
                }
                for index in (one["deviceIndex"] for one in recorded.get("networkInterfaces") or [])
                if index in interfaces
            ],
            "primaryNetworkInterfaceId": primary.get("NetworkInterfaceId"),
            "rootBlockDevice": self._root_device(client, found, recorded),
            "sourceDestCheck": primary.get("SourceDestCheck", found.get("SourceDestCheck")),
            "tags": tag_map(found.get("Tags")),
            "vpcSecurityGroupIds": sorted(group["GroupId"] for group in found.get("SecurityGroups", [])),
        }
        if recorded.get("primaryNetworkInterface"):
            facts["primaryNetworkInterface"] = answer(primary, "networkInterfaceId")
        encoded = _attribute(client, identifier, "userData")
        if encoded and recorded.get("userDataBase64"):
            facts["userDataBase64"] = encoded
        elif encoded:
            facts["userData"] = base64.b64decode(encoded).decode(errors="replace")
        elif recorded.get("userData") or recorded.get("userDataBase64"):
            facts |= dict.fromkeys(_USER_DATA, "")
        return facts

    @staticmethod
    def _root_device(client: Any, found: Mapping[str, Any], recorded: Mapping[str, Any]) -> dict[str, Any] | None:
        if _mapping(found, found.get("RootDeviceName", "")) is None:
            return None
        disk = _disk(client, found, found["RootDeviceName"])
        tags = (recorded.get("rootBlockDevice") or {}).get("tags")
        return {name: value for name, value in {**disk, "tags": tags}.items() if name != "snapshotId"}

    def remove(self, aws: Aws, identifier: str, outputs: Mapping[str, Any], cancelled: threading.Event) -> None:
        """Terminate the instance and wait for it. Against its protection only with `forceDestroy`."""
        client = self.client(aws, outputs)
        if outputs.get("forceDestroy"):
            for name in _PROTECTIONS:
                if _attribute(client, identifier, name):
                    client.modify_instance_attribute(InstanceId=identifier, **{capital(name): {"Value": False}})
        client.terminate_instances(InstanceIds=[identifier])
        self._await_state(client, identifier, "terminated", cancelled)
        for interface in _given_interfaces(outputs):
            await_release(client, interface, cancelled)

    @staticmethod
    def _await_state(client: Any, identifier: str, state: str, cancelled: threading.Event) -> None:
        def reached() -> bool:
            present = (_find(client, identifier) or {"State": {"Name": "terminated"}})["State"]["Name"]
            if state == "running" and present in ("shutting-down", "terminated"):
                raise ProviderError(f"{identifier} was terminated while it started: see its state transition reason")
            return bool(present == state)

        wait_until(reached, f"{identifier} is {state}", cancelled)


def _run_arguments(inputs: Mapping[str, Any], root_device: str) -> dict[str, Any]:
    """Those arguments of RunInstances whose names or shapes differ from the properties'."""
    arguments: dict[str, Any] = {}
    if data := _user_data(inputs):
        arguments["UserData"] = data
    if inputs.get("iamInstanceProfile"):
        arguments["IamInstanceProfile"] = {"Name": inputs["iamInstanceProfile"]}
    if inputs.get("metadataOptions"):
        arguments["MetadataOptions"] = request(inputs["metadataOptions"], *_METADATA)
    if inputs.get("monitoring") is not None:
        arguments["Monitoring"] = {"Enabled": inputs["monitoring"]}
    if inputs.get("availabilityZone"):
        arguments["Placement"] = {"AvailabilityZone": inputs["availabilityZone"]}
    arguments |= _network_arguments(inputs)
    disks = [{**disk, "device": disk["deviceName"]} for disk in inputs.get("ebsBlockDevices") or []]
    if inputs.get("rootBlockDevice"):
        disks.insert(0, {**inputs["rootBlockDevice"], "device": root_device})
    if disks:
        arguments["BlockDeviceMappings"] = [
            {"DeviceName": disk["device"], "Ebs": request(disk, *_DISK)} for disk in disks
        ]
    return arguments | tagged_as("instance", inputs)


def _network_arguments(inputs: Mapping[str, Any]) -> dict[str, Any]:
    if inputs.get("primaryNetworkInterface"):
        given = [{**inputs["primaryNetworkInterface"], "deviceIndex": 0, "deleteOnTermination": False}]
        return {"NetworkInterfaces": [request(given[0], "networkInterfaceId", "deviceIndex", "deleteOnTermination")]}
    if inputs.get("networkInterfaces"):
        names = ("networkInterfaceId", "deviceIndex", "deleteOnTermination")
        return {"NetworkInterfaces": [request(one, *names) for one in inputs["networkInterfaces"]]}
    if inputs.get("associatePublicIpAddress") is None:
        return request(inputs, "subnetId", privateIp="PrivateIpAddress", vpcSecurityGroupIds="SecurityGroupIds")
    interface = request(
        inputs, "associatePublicIpAddress", "subnetId", privateIp="PrivateIpAddress", vpcSecurityGroupIds="Groups"
    )
    return {"NetworkInterfaces": [{"DeviceIndex": 0, "DeleteOnTermination": True, **interface}]}


def _given_interfaces(values: Mapping[str, Any]) -> list[str]:
    """The network interfaces that are resources of their own."""
    primary = values.get("primaryNetworkInterface")
    given = [*(values.get("networkInterfaces") or []), *([primary] if primary else [])]
    return [str(interface["networkInterfaceId"]) for interface in given]


def _user_data(inputs: Mapping[str, Any]) -> bytes:
    """The user data themselves, not encoded: boto3 encodes them."""
    if inputs.get("userDataBase64"):
        return base64.b64decode(inputs["userDataBase64"])
    return str(inputs.get("userData") or "").encode()


def _find(client: Any, identifier: str) -> Any:
    reservation = only(client.describe_instances(InstanceIds=[identifier])["Reservations"])
    return only(reservation["Instances"]) if reservation else None


def _attribute(client: Any, identifier: str, name: str) -> Any:
    found = client.describe_instance_attribute(InstanceId=identifier, Attribute=name)
    return found.get(capital(name), {}).get("Value")


def _mapping(found: Mapping[str, Any], device: str) -> Any:
    disks = [one["Ebs"] for one in found.get("BlockDeviceMappings", []) if one["DeviceName"] == device]
    return only(disks)


def _disk(client: Any, found: Mapping[str, Any], device: str) -> dict[str, Any]:
    """One disk of an instance as its properties show it."""
    mapping = _mapping(found, device)
    if mapping is None:
        return {"deviceName": device}
    volume = find_volume(client, mapping["VolumeId"]) or {}
    return {
        **answer(volume, "encrypted", "iops", "kmsKeyId", "throughput", "volumeType", volumeSize="Size"),
        "deleteOnTermination": mapping.get("DeleteOnTermination", False),
        "deviceName": device,
        "snapshotId": volume.get("SnapshotId") or "",
        "volumeId": mapping["VolumeId"],
    }
