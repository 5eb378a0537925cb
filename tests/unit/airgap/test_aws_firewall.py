"""Security groups as packet-filter rules."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from airgap.aws_cloud.firewall import rules_of

BRIDGE = "aws-23456789abc"


def group(identity: str, ingress: list[Any] | None = None, egress: list[Any] | None = None) -> Any:
    return SimpleNamespace(id=identity, ingress_rules=ingress or [], egress_rules=egress or [])


def rule(
    protocol: str = "tcp", ports: tuple[int, int] = (6379, 6379), cidr: str | None = None, source: str = ""
) -> Any:
    return SimpleNamespace(
        ip_protocol=protocol,
        from_port=ports[0],
        to_port=ports[1],
        cidr_ipv4=cidr,
        source_group={"GroupId": source} if source else {},
    )


def interface(address: str, *groups: Any) -> Any:
    return SimpleNamespace(private_ip_address=address, vpc_id="vpc-0123456789abc", group_set=list(groups))


def test_nothing_passes_that_no_group_allows() -> None:
    assert rules_of([interface("10.0.0.4", group("sg-1"))]) == [
        "-A AWS-CLOUD -m conntrack --ctstate RELATED,ESTABLISHED -j RETURN",
        f"-A AWS-CLOUD -i {BRIDGE} -s 10.0.0.4 -j DROP",
        f"-A AWS-CLOUD -o {BRIDGE} -g AWS-CLOUD-IN",
        f"-A AWS-CLOUD-IN -o {BRIDGE} -d 10.0.0.4 -j DROP",
    ]


def test_a_range_and_a_group_of_peers() -> None:
    nodes = group("sg-1", ingress=[rule(source="sg-1"), rule("udp", (1, 9), cidr="10.9.0.0/16")])
    rules = rules_of([interface("10.0.0.5", nodes), interface("10.0.0.4", nodes)])
    into = [each for each in rules if each.startswith(f"-A AWS-CLOUD-IN -o {BRIDGE} -d 10.0.0.4")]
    assert into == [
        f"-A AWS-CLOUD-IN -o {BRIDGE} -d 10.0.0.4 -s 10.0.0.5 -p tcp --dport 6379:6379 -j RETURN",
        f"-A AWS-CLOUD-IN -o {BRIDGE} -d 10.0.0.4 -s 10.0.0.4 -p tcp --dport 6379:6379 -j RETURN",
        f"-A AWS-CLOUD-IN -o {BRIDGE} -d 10.0.0.4 -s 10.9.0.0/16 -p udp --dport 1:9 -j RETURN",
        f"-A AWS-CLOUD-IN -o {BRIDGE} -d 10.0.0.4 -j DROP",
    ]


def test_what_a_sender_may_send_the_receiver_is_asked_for() -> None:
    sender = group("sg-1", egress=[rule("-1", cidr="0.0.0.0/0")])
    assert f"-A AWS-CLOUD -i {BRIDGE} -s 10.0.0.4 -d 0.0.0.0/0 -g AWS-CLOUD-IN" in rules_of(
        [interface("10.0.0.4", sender)]
    )


def test_groups_without_members_and_peers_that_are_not_here_make_no_rule() -> None:
    nodes = group("sg-1", ingress=[rule(source="sg-2"), rule()])
    assert not [
        each for each in rules_of([interface("10.0.0.4", nodes)]) if each.endswith("-j RETURN") and "-d" in each
    ]
