"""What AWS refuses, said before anything is made. Each function returns what is wrong with a value, or nothing."""

from __future__ import annotations

import ipaddress
import json
import re
from functools import cache
from typing import Any

USER_DATA_BYTES = 16 * 1024
SECRET_BYTES = 65536
LOG_RETENTIONS = (
    0, 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653,
)  # fmt: skip
VOLUME_TYPES = frozenset({"gp2", "gp3", "io1", "io2", "sc1", "st1", "standard"})
VOLUME_SIZES = {
    "gp2": (1, 16384),
    "gp3": (1, 65536),
    "io1": (4, 16384),
    "io2": (4, 65536),
    "sc1": (125, 16384),
    "st1": (125, 16384),
    "standard": (1, 1024),
}
"""GiB, by type of volume."""
_PORT_PROTOCOLS = frozenset({"tcp", "udp", "6", "17"})
_PROTOCOLS = _PORT_PROTOCOLS | {"icmp", "icmpv6", "-1", "1", "58"}


def cidr_refusal(value: str) -> str:
    """An IPv4 network as `10.0.0.0/16`, without bits of a host."""
    try:
        ipaddress.IPv4Network(value)
    except ValueError:
        return "must be an IPv4 network such as 10.0.0.0/16, whose address is its first"
    return "" if "/" in value else "must be an IPv4 network such as 10.0.0.0/16: the length of the prefix is missing"


def cidr_v6_refusal(value: str) -> str:
    """An IPv6 network as `fd00::/8`, without bits of a host."""
    try:
        ipaddress.IPv6Network(value)
    except ValueError:
        return "must be an IPv6 network such as fd00::/8, whose address is its first"
    return ""


def network_size_refusal(value: str) -> str:
    """A VPC's or a subnet's network: between /16 and /28."""
    if refusal := cidr_refusal(value):
        return refusal
    length = ipaddress.IPv4Network(value).prefixlen
    return "" if 16 <= length <= 28 else "must be a network between /16 and /28"


def address_refusal(value: str) -> str:
    """An IPv4 address."""
    try:
        ipaddress.IPv4Address(value)
    except ValueError:
        return "must be an IPv4 address"
    return ""


@cache
def instance_types() -> frozenset[str]:
    """All types of instances that the installed botocore knows."""
    from botocore.loaders import Loader

    model = Loader().load_service_model("ec2", "service-2")
    return frozenset(model["shapes"]["InstanceType"]["enum"])


def instance_type_refusal(value: str) -> str:
    """A type of instance that exists."""
    if value in instance_types():
        return ""
    family = value.partition(".")[0]
    known = sorted(name for name in instance_types() if name.startswith(f"{family}."))
    return f"names no instance type ({value})" + (f"; of {family} there are {', '.join(known)}" if known else "")


def bucket_name_refusal(value: str) -> str:
    """S3's rules for names of buckets."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", value):
        return "must be 3 to 63 characters: small letters, digits, '-' and '.', with a letter or digit at both ends"
    if ".." in value or re.fullmatch(r"\d+\.\d+\.\d+\.\d+", value):
        return "must have no two dots side by side and must not look like an address"
    if value.startswith(("xn--", "sthree-", "amzn-s3-demo-")) or value.endswith(("-s3alias", "--ol-s3", "--x-s3")):
        return "begins or ends with what S3 keeps for itself"
    return ""


def retention_refusal(value: int) -> str:
    """The numbers of days for which CloudWatch can keep logs; 0 is for ever."""
    return "" if value in LOG_RETENTIONS else f"must be one of: {', '.join(map(str, LOG_RETENTIONS))}"


def recovery_window_refusal(value: int) -> str:
    """Days until a deleted secret is gone; 0 is at once."""
    return "" if value == 0 or 7 <= value <= 30 else "must be 0 (delete at once) or 7 to 30"


def port_range_refusal(protocol: str, first: Any, last: Any) -> str:
    """What is wrong with the ports of a rule; `first` and `last` may be missing (None)."""
    if protocol not in _PROTOCOLS and not (protocol.isdigit() and int(protocol) <= 255):
        return "ipProtocol must be tcp, udp, icmp, icmpv6, -1 (all) or a number up to 255"
    if protocol == "-1":
        return "" if first in (None, -1, 0) and last in (None, -1, 0) else "ipProtocol -1 means all ports: give none"
    if protocol not in _PORT_PROTOCOLS:
        return ""
    if first is None or last is None:
        return "fromPort and toPort are both needed"
    if not (0 <= first <= 65535 and 0 <= last <= 65535):
        return "fromPort and toPort must be between 0 and 65535"
    return "" if first <= last else "fromPort must not be above toPort"


def json_meaning(value: str) -> Any:
    """JSON without regard to its spaces and to lists of one; other text as it is."""
    try:
        return _without_lists_of_one(json.loads(value))
    except ValueError:
        return value


def _without_lists_of_one(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_lists_of_one(item) for name, item in value.items()}
    if isinstance(value, list):
        items = [_without_lists_of_one(item) for item in value]
        return items[0] if len(items) == 1 else sorted(items, key=lambda item: json.dumps(item, sort_keys=True))
    return value


def policy_refusal(value: str) -> str:
    """A policy document: JSON with statements that each allow or deny something."""
    statements = _statements(value)
    if not statements:
        return "must be a policy: a JSON object with 'Statement'"
    for statement in statements:
        if not isinstance(statement, dict) or statement.get("Effect") not in ("Allow", "Deny"):
            return "has a statement without the Effect Allow or Deny"
        if "Action" not in statement and "NotAction" not in statement:
            return "has a statement without Action"
    return ""


def identity_policy_refusal(value: str) -> str:
    """A policy of a role: its statements name resources and no principal."""
    if refusal := policy_refusal(value):
        return refusal
    for statement in _statements(value):
        if "Resource" not in statement and "NotResource" not in statement:
            return "has a statement without Resource"
        if "Principal" in statement:
            return "has a statement with Principal: a role's policy has none"
    return ""


def trust_policy_refusal(value: str) -> str:
    """A role's trust policy: its statements name principals and no resource."""
    if refusal := policy_refusal(value):
        return refusal
    for statement in _statements(value):
        if "Principal" not in statement and "NotPrincipal" not in statement:
            return "has a statement without Principal: it must say who may assume the role"
        if "Resource" in statement:
            return "has a statement with Resource: a trust policy has none"
    return ""


def resource_policy_refusal(value: str) -> str:
    """A policy of a bucket, key or topic: its statements name principals."""
    if refusal := policy_refusal(value):
        return refusal
    for statement in _statements(value):
        if "Principal" not in statement and "NotPrincipal" not in statement:
            return "has a statement without Principal"
    return ""


def _statements(policy: str) -> list[Any]:
    try:
        document = json.loads(policy)
    except ValueError:
        return []
    statements = document.get("Statement") if isinstance(document, dict) else None
    return statements if isinstance(statements, list) else [statements] if isinstance(statements, dict) else []
