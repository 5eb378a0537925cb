"""Security groups as packet-filter rules between the look-alikes, and between them and the world outside.

Traffic passes that the groups of its sender let out and those of its receiver let in, and the answers to it. This
machine itself is outside the VPC but reaches every instance, and every instance reaches metadata, names and the API.
"""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterable, Iterator
from typing import Any

from airgap.aws_cloud import networks
from airgap.problem import Problem

_CHAIN = "AWS-CLOUD"
_INGRESS = "AWS-CLOUD-IN"
_HOOK = "DOCKER-USER"
"""The engine leaves this chain to others and asks it first."""

_one_at_a_time = threading.Lock()
_applied: list[str] = []


def apply(interfaces: Iterable[Any]) -> None:
    """Make the rules those of these network interfaces (moto's). Raises Problem when the packet filter refuses them."""
    with _one_at_a_time:
        rules = rules_of(list(interfaces))
        if rules == _applied:
            return
        _feed(rules)
        if subprocess.run(["iptables", "-w", "-C", _HOOK, "-j", _CHAIN], capture_output=True, check=False).returncode:
            subprocess.run(["iptables", "-w", "-I", _HOOK, "-j", _CHAIN], capture_output=True, check=True)
        _applied[:] = rules


def remove() -> None:
    """Take every rule of this life or an earlier one away."""
    with _one_at_a_time:
        for arguments in (
            ["-D", _HOOK, "-j", _CHAIN],
            ["-F", _CHAIN],
            ["-F", _INGRESS],
            ["-X", _CHAIN],
            ["-X", _INGRESS],
        ):
            # What is not there needs no removal.
            subprocess.run(["iptables", "-w", *arguments], capture_output=True, check=False)
        _applied.clear()


def rules_of(interfaces: list[Any]) -> list[str]:
    """The rules in iptables-restore's form, in the order in which they are asked."""
    members: dict[str, list[str]] = {}
    for interface in interfaces:
        for group in interface.group_set:
            members.setdefault(group.id, []).append(interface.private_ip_address)
    egress, ingress = [f"-A {_CHAIN} -m conntrack --ctstate RELATED,ESTABLISHED -j RETURN"], []
    for interface in sorted(interfaces, key=lambda each: str(each.private_ip_address)):
        address, bridge = interface.private_ip_address, networks.bridge_of(interface.vpc_id)
        groups = sorted(interface.group_set, key=lambda group: str(group.id))
        outgoing, incoming = f"-A {_CHAIN} -i {bridge} -s {address}", f"-A {_INGRESS} -o {bridge} -d {address}"
        for rule in (rule for group in groups for rule in group.egress_rules):
            egress += [f"{outgoing}{match} -g {_INGRESS}" for match in _matches(rule, "-d", members)]
        egress.append(f"{outgoing} -j DROP")
        for rule in (rule for group in groups for rule in group.ingress_rules):
            ingress += [f"{incoming}{match} -j RETURN" for match in _matches(rule, "-s", members)]
        ingress.append(f"{incoming} -j DROP")
    bridges = sorted({networks.bridge_of(interface.vpc_id) for interface in interfaces})
    return [*egress, *(f"-A {_CHAIN} -o {bridge} -g {_INGRESS}" for bridge in bridges), *ingress]


def _matches(rule: Any, side: str, members: dict[str, list[str]]) -> Iterator[str]:
    """The rule's traffic, once for each peer: an IPv4 range, or each member of a group. (Other peers are not here.)"""
    protocol = "" if rule.ip_protocol == "-1" else f" -p {rule.ip_protocol}"
    if rule.ip_protocol in ("tcp", "udp"):
        protocol += f" --dport {rule.from_port}:{rule.to_port}"
    if rule.source_group:
        for address in members.get(rule.source_group.get("GroupId", ""), []):
            yield f" {side} {address}{protocol}"
    elif rule.cidr_ipv4:
        yield f" {side} {rule.cidr_ipv4}{protocol}"


def _feed(rules: list[str]) -> None:
    # Naming a chain empties it; everything is put into force at once.
    text = "\n".join(["*filter", f":{_CHAIN} - [0:0]", f":{_INGRESS} - [0:0]", *rules, "COMMIT", ""])
    done = subprocess.run(
        ["iptables-restore", "-w", "--noflush"], input=text, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise Problem(f"security groups cannot be put into the packet filter: {done.stderr.strip()}")
