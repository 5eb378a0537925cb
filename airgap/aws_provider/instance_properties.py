"""The properties of aws:ec2/instance:Instance that are covered, and what a change of each means."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from airgap.aws_provider.limits import USER_DATA_BYTES, VOLUME_TYPES, address_refusal, instance_type_refusal
from airgap.aws_provider.resource import REGION, TAGS
from airgap.provider_protocol.properties import Kind, Property, flag, number, text

_ON_OFF = frozenset({"disabled", "enabled"})
_TOO_LONG = f"is longer than the {USER_DATA_BYTES} bytes that user data may have"


def _user_data_refusal(value: str) -> str:
    return _TOO_LONG if len(value.encode()) > USER_DATA_BYTES else ""


def _encoded_user_data_refusal(value: str) -> str:
    try:
        decoded = base64.b64decode(value, validate=True)
    except binascii.Error:
        return "must be Base64"
    return _TOO_LONG if len(decoded) > USER_DATA_BYTES else ""


METADATA_OPTIONS = Property(
    Kind.OBJECT,
    computed=True,
    fields={
        "httpEndpoint": text(computed=True, choices=_ON_OFF),
        "httpProtocolIpv6": text(computed=True, choices=_ON_OFF),
        "httpPutResponseHopLimit": number(computed=True, minimum=1, maximum=64),
        "httpTokens": text(computed=True, choices=frozenset({"optional", "required"})),
        "instanceMetadataTags": text(computed=True, choices=_ON_OFF),
    },
)
_DISK = {
    "encrypted": flag(replaces=True, computed=True),
    "iops": number(computed=True),
    "kmsKeyId": text(replaces=True, computed=True),
    "throughput": number(computed=True),
    "volumeSize": number(computed=True),
    "volumeType": text(computed=True, choices=VOLUME_TYPES),
}
ROOT_BLOCK_DEVICE = Property(
    Kind.OBJECT,
    computed=True,
    fields={
        **_DISK,
        "deleteOnTermination": flag(default=True),
        "tags": Property(Kind.MAP),
    },
)
EBS_BLOCK_DEVICES = Property(
    Kind.OBJECTS,
    replaces=True,
    identity=("deviceName",),
    fields={
        **{
            name: Property(rule.kind, replaces=True, computed=True, choices=rule.choices)
            for name, rule in _DISK.items()
        },
        "deleteOnTermination": flag(replaces=True, default=True),
        "deviceName": text(required=True, replaces=True),
        "snapshotId": text(replaces=True, computed=True),
    },
)
PROPERTIES: Mapping[str, Property] = {
    "ami": text(required=True, replaces=True),
    "associatePublicIpAddress": flag(replaces=True, computed=True),
    "availabilityZone": text(replaces=True, computed=True),
    "disableApiStop": flag(computed=True),
    "disableApiTermination": flag(computed=True),
    "ebsBlockDevices": EBS_BLOCK_DEVICES,
    "ebsOptimized": flag(replaces=True, computed=True),
    "forceDestroy": flag(default=False),
    "getPasswordData": flag(default=False),
    "iamInstanceProfile": text(computed=True),
    "instanceInitiatedShutdownBehavior": text(computed=True, choices=frozenset({"stop", "terminate"})),
    "instanceType": text(required=True, refusal=instance_type_refusal),
    "keyName": text(replaces=True, computed=True),
    "metadataOptions": METADATA_OPTIONS,
    "monitoring": flag(),
    "networkInterfaces": Property(
        Kind.OBJECTS,
        replaces=True,
        identity=("deviceIndex",),
        fields={
            "deleteOnTermination": flag(replaces=True, default=False),
            "deviceIndex": number(required=True, replaces=True, minimum=0),
            "networkInterfaceId": text(required=True, replaces=True),
        },
    ),
    "primaryNetworkInterface": Property(
        Kind.OBJECT, replaces=True, fields={"networkInterfaceId": text(required=True, replaces=True)}
    ),
    "privateIp": text(replaces=True, computed=True, refusal=address_refusal),
    "region": REGION,
    "rootBlockDevice": ROOT_BLOCK_DEVICE,
    "sourceDestCheck": flag(computed=True),
    "subnetId": text(replaces=True, computed=True),
    "tags": TAGS,
    "userData": text(refusal=_user_data_refusal),
    "userDataBase64": text(refusal=_encoded_user_data_refusal),
    "userDataReplaceOnChange": flag(default=False),
    "volumeTags": Property(Kind.MAP),
    "vpcSecurityGroupIds": Property(Kind.SET, computed=True),
}
OUTPUT_ONLY: Mapping[str, Any] = dict.fromkeys(
    (
        "arn",
        "instanceState",
        "primaryNetworkInterfaceId",
        "privateDns",
        "publicDns",
        "publicIp",
        "tagsAll",
    )
)
