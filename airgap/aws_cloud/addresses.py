"""Where the look-alike answers: the two link-local addresses that AWS gives to every VPC, on this machine's loopback.

Containers reach them over their bridge, as instances reach the real ones; nothing else on the machine's networks does.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from airgap.problem import Problem

METADATA = "169.254.169.254"
"""The instance metadata service (port 80) and the AWS API (port API_PORT)."""
RESOLVER = "169.254.169.253"
"""The VPC's resolver (port 53)."""
API_PORT = 4566
ENDPOINT = f"http://{METADATA}:{API_PORT}"
"""AWS_ENDPOINT_URL, the same one on this machine and in the instances."""

_VENDOR = Path("/sys/class/dmi/id/sys_vendor")


def claim() -> None:
    """Put the addresses on the loopback interface.

    Raises Problem on an instance of EC2: its programs would get the look-alike's credentials instead of their own.
    """
    if _VENDOR.exists() and _VENDOR.read_text().strip() == "Amazon EC2":
        raise Problem(
            f"this machine is an EC2 instance, whose metadata service at {METADATA} the look-alike would hide: "
            "rehearse on another machine"
        )
    for address in {METADATA, RESOLVER} - _present():
        _ip("add", address)


def release() -> None:
    """Take the addresses off again."""
    for address in {METADATA, RESOLVER} & _present():
        _ip("del", address)


def _present() -> set[str]:
    shown = subprocess.run(
        ["ip", "-4", "-oneline", "address", "show", "dev", "lo"], capture_output=True, text=True, check=True
    )
    return {line.split()[3].partition("/")[0] for line in shown.stdout.splitlines()}


def _ip(verb: str, address: str) -> None:
    subprocess.run(["ip", "address", verb, f"{address}/32", "dev", "lo"], capture_output=True, text=True, check=True)
