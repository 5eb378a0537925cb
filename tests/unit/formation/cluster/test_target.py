"""The target as data: valid, JSON-able, and silent about secrets."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from components.formation import Address, Member
from components.formation.cluster import ClusterTarget, Shard
from tests.unit.formation.cluster.test_plan_is_safe import TARGET

CANARY = "canary-4711"
FIRST = TARGET.shards[0]


def test_a_target_survives_json() -> None:
    heavy = Shard("shard-5", (Member("a", Address("a", 1), Address("b", 2), host="zone-1"),), weight=3)
    target = replace(TARGET, shards=(*TARGET.shards, heavy), live_settings={"maxmemory": "1gb"})
    assert ClusterTarget.from_dict(json.loads(json.dumps(target.to_dict()))) == target


def test_a_member_without_a_host_is_written_as_before_there_were_hosts() -> None:
    assert set(FIRST.members[0].to_dict()) == {"name", "announced", "reach"}


def test_no_secret_is_shown() -> None:
    assert CANARY not in repr(replace(TARGET, live_settings={"masterauth": CANARY}))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shards": ()}, "at least one shard"),
        ({"shards": (FIRST, FIRST)}, "two shards have the same name"),
        ({"leaving": FIRST.members[:1]}, "two members have the same name"),
    ],
)
def test_an_impossible_target_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(TARGET, **change)  # type: ignore[arg-type]


def test_two_members_cannot_announce_one_address() -> None:
    double = Member("another", FIRST.members[0].announced, Address("127.0.0.1", 1234))
    with pytest.raises(ValueError, match="announce the same address"):
        replace(TARGET, leaving=(double,))


def test_an_impossible_shard_is_refused() -> None:
    with pytest.raises(ValueError, match="shard-9: a shard needs at least one member"):
        Shard("shard-9", ())
    with pytest.raises(ValueError, match="weight 0 is less than 1"):
        Shard("shard-9", FIRST.members, weight=0)


def test_two_copies_of_a_shard_are_never_on_one_host() -> None:
    members = tuple(replace(member, host="host-1") for member in FIRST.members)
    with pytest.raises(ValueError, match="several copies on host-1: they would be lost together"):
        Shard("shard-9", members)
    Shard("shard-9", (members[0], replace(members[1], host="host-2")))
