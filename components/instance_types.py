"""What is known of EC2's instance types without asking AWS: memory and architecture, by family and size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Architecture = Literal["arm64", "x86_64"]

_GIBIBYTE = 1024**3
_MEBIBYTE = 1024**2
# Burstable sizes differ in memory only; all the others grow in step with their virtual CPUs.
_BURSTABLE_GIBIBYTES = {"micro": 1, "small": 2, "medium": 4, "large": 8, "xlarge": 16, "2xlarge": 32}
_VIRTUAL_CPUS = {
    "medium": 1, "large": 2, "xlarge": 4, "2xlarge": 8, "4xlarge": 16, "8xlarge": 32, "12xlarge": 48, "16xlarge": 64,
    "24xlarge": 96, "32xlarge": 128, "48xlarge": 192,
}  # fmt: skip
_GIBIBYTES_OF_A_CPU = {"c": 2, "m": 4, "r": 8}
_COMMON = ("large", "xlarge", "2xlarge", "4xlarge", "8xlarge", "12xlarge", "16xlarge")
_SIZES = {
    "6g": ("medium", *_COMMON),
    "7g": ("medium", *_COMMON),
    "8g": ("medium", *_COMMON, "24xlarge", "48xlarge"),
    "6i": (*_COMMON, "24xlarge", "32xlarge"),
    "7i": (*_COMMON, "24xlarge", "48xlarge"),
}
_FAMILIES = ("t4g", "t3", "m6g", "m7g", "m8g", "r6g", "r7g", "r8g", "c6g", "m6i", "m7i", "r6i", "r7i", "c6i", "c7i")


@dataclass(frozen=True)
class InstanceType:
    """One instance type: ``memory`` in bytes as AWS states it."""

    name: str
    memory: int
    architecture: Architecture

    @property
    def node_memory(self) -> int:
        """Bytes that Redis may have: ``memory`` less 384 MiB for the operating system, the SSM agent and what runs
        beside Redis, and less 3 % for the kernel's own bookkeeping.
        """
        return self.memory - 384 * _MEBIBYTE - self.memory * 3 // 100


def find_instance_type(name: str) -> InstanceType:
    """The type of this name. Raises ValueError, in one line, for one that is not known."""
    family, _, size = name.partition(".")
    if family not in _FAMILIES:
        raise ValueError(f"'{name}' is not a known instance type; its family must be one of {', '.join(_FAMILIES)}")
    sizes = sizes_of(family)
    if size not in sizes:
        raise ValueError(f"'{name}' is not a known instance type; {family} comes as {', '.join(sizes)}")
    gibibytes = (
        _BURSTABLE_GIBIBYTES[size] if family.startswith("t") else _VIRTUAL_CPUS[size] * _GIBIBYTES_OF_A_CPU[family[0]]
    )
    return InstanceType(name, gibibytes * _GIBIBYTE, "arm64" if family.endswith("g") else "x86_64")


def instance_memory(name: str) -> int:
    """Memory of an instance type in bytes, as AWS states it. Raises ValueError for one that is not known."""
    return find_instance_type(name).memory


def sizes_of(family: str) -> tuple[str, ...]:
    """The sizes of a known family, smallest first. Those that do not hold a Redis node (nano, metal) are left out."""
    return tuple(_BURSTABLE_GIBIBYTES) if family.startswith("t") else _SIZES[family[1:]]
