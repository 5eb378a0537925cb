"""Debian 13's images and the public parameters that name the latest of them, in every region."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Any

from moto.ec2.models.amis import Ami, AmiBackend
from moto.ssm.models import Parameter, ParameterDict

from airgap.aws_cloud.patching import around

DEBIAN_ACCOUNT = "136693071363"
_RELEASE = "20251117-2299"
_ARCHITECTURES = {"arm64": "arm64", "amd64": "x86_64"}
"""Debian's names, and EC2's."""
_PUBLISHED = datetime(2025, 11, 17, tzinfo=UTC)


def image_id(architecture: str, region: str) -> str:
    """The image's id: another one in each region, as in AWS. ``architecture`` is Debian's name of it."""
    return f"ami-{hashlib.sha256(f'{_name(architecture)} {region}'.encode()).hexdigest()[:17]}"


def is_debian(image: str, region: str) -> bool:
    """Whether this image is one that a look-alike instance can be booted from."""
    return image in {image_id(architecture, region) for architecture in _ARCHITECTURES}


@around(AmiBackend, "_load_amis")
def _load_amis(self: Any, original: Any) -> None:
    original()
    for architecture, ec2_name in _ARCHITECTURES.items():
        identity = image_id(architecture, self.region_name)
        self.amis[identity] = Ami(
            self,
            identity,
            name=_name(architecture),
            description=f"Debian 13 ({_RELEASE})",
            owner_id=DEBIAN_ACCOUNT,
            public=True,
            virtualization_type="hvm",
            architecture=ec2_name,
            hypervisor="xen",
            root_device_type="ebs",
            root_device_name="/dev/xvda",
            creation_date=_PUBLISHED,
            region_name=f"{self.region_name}a",
        )


@around(ParameterDict, "__init__")
def _parameters(self: Any, original: Any, account_id: str, region_name: str) -> None:
    original(account_id, region_name)
    for architecture in _ARCHITECTURES:
        name = f"/aws/service/debian/release/13/latest/{architecture}"
        self[name].append(
            Parameter(
                account_id=account_id,
                name=name,
                value=image_id(architecture, region_name),
                parameter_type="String",
                description=None,
                allowed_pattern=None,
                keyid=None,
                last_modified_date=_PUBLISHED,
                version=1,
                data_type="aws:ec2:image",
            )
        )


def _name(architecture: str) -> str:
    return f"debian-13-{architecture}-{_RELEASE}"
