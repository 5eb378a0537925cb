"""The target as data: valid, JSON-able, and silent about secrets."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from components.formation import Access, Address, Member
from components.formation.replication import ReplicationTarget
from tests.unit.formation.replication.test_plan_is_safe import SETTINGS, TARGET

CANARY = "canary-4711"


def test_a_target_survives_json() -> None:
    target = replace(TARGET, live_settings={"maxmemory": "1gb"}, replica_priority=50)
    assert ReplicationTarget.from_dict(json.loads(json.dumps(target.to_dict()))) == target


def test_access_survives_json() -> None:
    access = Access("admin", CANARY, "certificate")
    assert Access.from_dict(json.loads(json.dumps(access.to_dict()))) == access


def test_no_secret_is_shown() -> None:
    target = replace(TARGET, sentinel=replace(SETTINGS, auth_password=CANARY), live_settings={"masterauth": CANARY})
    assert CANARY not in repr(target)
    assert CANARY not in repr(Access("admin", CANARY, CANARY))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"nodes": ()}, "at least one Redis node"),
        ({"sentinels": ()}, "at least one Sentinel"),
        ({"leaving_nodes": TARGET.nodes[:1]}, "same name"),
        ({"sentinel": replace(SETTINGS, quorum=4)}, "quorum: 4 is not within 1..3"),
        ({"replica_priority": 0}, "never to be promoted"),
    ],
)
def test_an_impossible_target_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(TARGET, **change)  # type: ignore[arg-type]


def test_two_members_cannot_announce_one_address() -> None:
    double = Member("another", TARGET.nodes[0].announced, Address("127.0.0.1", 1234))
    with pytest.raises(ValueError, match="announce the same address"):
        replace(TARGET, nodes=(*TARGET.nodes, double))
