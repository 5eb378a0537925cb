"""A cluster's preview and gate, from what was observed: who joins, leaves, restarts, and what may not go."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pulumi
import pytest
from pulumi.output import Unknown

from components import live_cluster
from components.config_files import Listener
from components.formation import Access, FormationRefused, Plan
from components.formation.cluster import ClusterTarget, NodeView, Observation, Report
from components.formation.cluster.observation import Knowledge, KnownNode, fresh
from components.formation.members import Address
from components.formation_lifecycle import Impossible, planned
from components.hooks import RollingGate
from components.live_cluster import LiveCluster
from components.live_deployment import live_deployment
from components.live_replication import LiveReplication
from components.topology_resource import impossible_moves, moved_members

ACCESS = Access("admin", "password")
PASSWORDS = {"admin": "password"}


def record(shards: int = 3, copies: int = 2, **live_settings: str) -> dict[str, Any]:
    def member(shard: int, copy: int) -> dict[str, Any]:
        port = 7000 + 10 * shard + copy
        return {
            "name": f"cache-redis-{shard}-{copy}",
            "announced": {"host": f"cache-local-redis-{shard}-{copy}", "port": port},
            "reach": {"host": "127.0.0.1", "port": port},
        }

    return {
        "topology": "cluster",
        "shards": [
            {"name": f"cache-redis-{shard}", "members": [member(shard, copy) for copy in range(copies)], "weight": 1}
            for shard in range(shards)
        ],
        "live_settings": {"maxmemory": "1000", **live_settings},
    }


def observed(target: ClusterTarget, strangers: tuple[Address, ...] = ()) -> Observation:
    """Copy 0 of each shard has slots, the others replicate it; all know the strangers."""
    nodes: list[NodeView] = []
    for shard in target.shards:
        first, *others = (fresh(member) for member in shard.members)
        nodes.append(replace(first, slots=((0, 100),), memory_used=500))
        nodes += [replace(node, role="replica", primary_id=first.node_id) for node in others]
    known = {str(address): KnownNode(str(address), address, "", frozenset({"master"}), "", ()) for address in strangers}
    return Observation(tuple(replace(node, knows=Knowledge(known)) for node in nodes))


class Formation:
    """Stands for formation: keeps what it was asked, answers as told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.strangers: tuple[Address, ...] = ()
        self.refuses: tuple[str, ...] = ()
        self.needed = True
        self.owns: str | None = None
        self.targets: list[ClusterTarget] = []
        self.joining: list[frozenset[str]] = []
        self.asked_about: list[Address] = []
        for name in ("preview", "observe", "form", "is_formed", "still_owns_slots"):
            monkeypatch.setattr(live_cluster, name, getattr(self, f"_{name}"))
        monkeypatch.setattr(live_cluster, "put_in_force", lambda *_: None)

    def _preview(self, target: ClusterTarget, access: Access, joining: frozenset[str]) -> tuple[Plan, Observation]:
        self.targets.append(target)
        self.joining.append(joining)
        refusals = self.refuses or self._refuses_strangers(target)
        return Plan(refusals=refusals), observed(target, self.strangers)

    def _observe(self, target: ClusterTarget, access: Access) -> Observation:
        return observed(target, self.strangers)

    def _form(self, target: ClusterTarget, access: Access, **_: Any) -> Report:
        self.targets.append(target)
        if refusals := self._refuses_strangers(target):
            raise FormationRefused(refusals)
        return Report(
            {shard.name: shard.members[0].name for shard in target.shards},
            {shard.name: tuple(member.name for member in shard.members[1:]) for shard in target.shards},
            {shard.name: "0-100" for shard in target.shards},
            (),
            1.0,
        )

    def _refuses_strangers(self, target: ClusterTarget) -> tuple[str, ...]:
        known = {member.announced for member in target.every_member}
        return tuple(f"{address}: unknown" for address in self.strangers if address not in known)

    def _is_formed(self, target: ClusterTarget, access: Access, name: str) -> bool:
        self.targets.append(target)
        return self.needed and name in {member.name for member in target.members}

    def _still_owns_slots(self, target: ClusterTarget, access: Access, announced: Address) -> str | None:
        self.asked_about.append(announced)
        return self.owns


@pytest.fixture
def formation(monkeypatch: pytest.MonkeyPatch) -> Formation:
    return Formation(monkeypatch)


def names(target: ClusterTarget) -> list[str]:
    return [member.name for member in target.leaving]


def inputs(target: dict[str, Any], **generations: Any) -> dict[str, Any]:
    return {
        "target": target,
        "passwords": PASSWORDS,
        "ca_certificate": None,
        "acl": {},
        "generations": {name.replace("_", "-"): value for name, value in generations.items()},
        "files_generations": {},
    }


def test_the_record_says_which_topology_it_is() -> None:
    assert isinstance(live_deployment(record(), PASSWORDS, ""), LiveCluster)
    replicated = {
        "nodes": [record()["shards"][0]["members"][0]],
        "sentinels": [record()["shards"][0]["members"][1]],
        "sentinel": {
            "master_name": "m",
            "quorum": 1,
            "down_after_milliseconds": 1,
            "parallel_syncs": 1,
            "failover_timeout_milliseconds": 1,
            "auth_user": "sentinel",
        },
    }
    assert isinstance(live_deployment(replicated, {**PASSWORDS, "sentinel": ""}, ""), LiveReplication)


def test_a_first_plan_names_every_node_and_needs_none() -> None:
    lines = planned({}, {"target": record()})

    for name in ("cache-redis-0-0", "cache-redis-1-1", "cache-redis-2-1"):
        assert any(name in line for line in lines)


@pytest.mark.parametrize(
    ("shards", "copies", "leaving"),
    [
        (3, 2, ["cache-redis-3-0", "cache-redis-3-1"]),
        (4, 1, [f"cache-redis-{shard}-1" for shard in range(4)]),
        (4, 3, []),
    ],
)
def test_members_of_the_earlier_record_leave(
    formation: Formation, shards: int, copies: int, leaving: list[str]
) -> None:
    LiveCluster(record(shards, copies), ACCESS, PASSWORDS).after(record(4, 2)).forecast(frozenset())

    assert names(formation.targets[-1]) == leaving


def test_what_does_not_exist_yet_joins_and_what_is_made_anew_restarts(formation: Formation) -> None:
    unknown = Unknown()  # type: ignore[no-untyped-call]
    olds = inputs(record(3), cache_redis_0_0="a", cache_redis_0_1="b")
    news = inputs(record(4), cache_redis_0_0=unknown, cache_redis_0_1=unknown, cache_redis_3_0=unknown)
    lines = planned(olds, news)

    assert formation.joining == [frozenset({"cache-redis-3-0"})]
    assert lines == [
        "cache-redis-0-1: restart when the others are in sync, one node at a time",
        "cache-redis-0-0: hand over to a replica, then restart when the others are in sync, one node at a time",
    ]


def test_a_primary_without_a_replica_has_nobody_to_hand_over_to(formation: Formation) -> None:
    unknown = Unknown()  # type: ignore[no-untyped-call]
    lines = planned(inputs(record(3, 1), cache_redis_0_0="a"), inputs(record(3, 1), cache_redis_0_0=unknown))

    assert lines == ["cache-redis-0-0: restart when the others are in sync, one node at a time"]


def test_nothing_to_do(formation: Formation) -> None:
    assert planned(inputs(record()), inputs(record())) == []


def test_a_refusal_fails_the_preview(formation: Formation) -> None:
    formation.refuses = ("cache-redis-0-0: would get more than its maxmemory",)

    with pytest.raises(Impossible) as caught:
        planned(inputs(record(4)), inputs(record(3)))
    assert caught.value.problems == formation.refuses


def test_less_memory_than_a_node_uses_fails_the_preview(formation: Formation) -> None:
    with pytest.raises(Impossible, match="maxmemory: cache-redis-0-0 uses 500 bytes, more than the new limit of 400"):
        planned(inputs(record()), inputs(record(maxmemory="400")))


def test_two_copies_on_one_host_fail_the_preview() -> None:
    target = record()
    for member in target["shards"][1]["members"]:
        member["host"] = "zone-a"

    with pytest.raises(Impossible, match="cache-redis-1: several copies on zone-a: they would be lost together"):
        planned({}, {"target": target})


def test_another_port_fails_the_preview() -> None:
    moved = record(4)
    for shard in moved["shards"]:
        for member in shard["members"]:
            member["announced"]["port"] += 100

    (problem,) = moved_members(record(), moved)
    assert problem.startswith("port: cache-redis-0-0 cannot move from port 7000 to 7100, because ")
    assert moved_members(record(), record(4)) == moved_members(record(4), record(3)) == []
    assert moved_members({"nodes": []}, record()) == []


LEFT_BEHIND = Address("cache-local-redis-3-0", 7030)


def test_nodes_that_an_interrupted_run_left_behind_leave(formation: Formation) -> None:
    formation.strangers = (LEFT_BEHIND,)
    assert LiveCluster(record(), ACCESS, PASSWORDS).forecast(frozenset()).refusals == ()
    (member,) = formation.targets[-1].leaving
    assert (member.name, member.announced, member.reach) == ("cache-redis-3-0", LEFT_BEHIND, Address("127.0.0.1", 7030))

    assert LiveCluster(record(), ACCESS, PASSWORDS).form({}, print)["shards"][1] == {
        "name": "cache-redis-1",
        "slots": "0-100",
        "primary": "127.0.0.1:7010",
        "replicas": ["127.0.0.1:7011"],
    }
    assert names(formation.targets[-1]) == ["cache-redis-3-0"]


def test_nodes_that_are_left_behind_on_hosts_of_their_own_leave(formation: Formation) -> None:
    target = record()
    for shard in target["shards"]:
        for member in shard["members"]:
            address = {"host": f"{member['name'].removeprefix('cache-')}.cache-prod.internal", "port": 7000}
            member |= {"announced": address, "reach": address}
    stranger = Address("redis-3-0.cache-prod.internal", 7000)
    formation.strangers = (stranger,)

    assert LiveCluster(target, ACCESS, {}).forecast(frozenset()).refusals == ()
    (member,) = formation.targets[-1].leaving
    assert (member.name, member.announced, member.reach) == ("cache-redis-3-0", stranger, stranger)

    formation.strangers = (Address("redis-3-0.cache-prod2.internal", 7000),)
    assert len(LiveCluster(target, ACCESS, {}).forecast(frozenset()).refusals) == 1


@pytest.mark.parametrize(
    "host", ["cache-other-redis-3-0", "10.0.0.1", "cache-local-redis-3", "x-cache-local-redis-3-0"]
)
def test_strangers_stay_refused(formation: Formation, host: str) -> None:
    formation.strangers = (Address(host, 7030),)

    assert LiveCluster(record(), ACCESS, PASSWORDS).forecast(frozenset()).refusals == (f"{host}:7030: unknown",)
    with pytest.raises(FormationRefused, match="unknown"):
        LiveCluster(record(), ACCESS, PASSWORDS).form({}, print)
    assert formation.targets[-1].leaving == ()


# The gate


def test_the_gate_goes_by_who_has_joined_and_not_left(formation: Formation) -> None:
    # Shard 3 is new and knows nobody; a copy of an earlier run is still there.
    formation.strangers = tuple(
        Address(f"cache-local-redis-{ordinals}", port)
        for ordinals, port in (("0-0", 7000), ("0-1", 7001), ("1-0", 7010), ("2-0", 7020), ("2-2", 7022))
    )
    live = LiveCluster(record(4), ACCESS, PASSWORDS)

    assert live.is_needed("cache-redis-0-1")
    assert not live.is_needed("cache-redis-1-1")
    assert not live.is_needed("cache-redis-3-0")
    target = formation.targets[-1]
    assert [member.name for member in target.members] == [
        "cache-redis-0-0", "cache-redis-0-1", "cache-redis-1-0", "cache-redis-2-0",
    ]  # fmt: skip
    assert names(target) == ["cache-redis-2-2"]


def test_a_node_is_back_when_its_data_are(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[str] = []
    live = type("Live", (), {"wait_until_back": lambda _, name, progress: waited.append(name)})()

    async def answer(_: RollingGate) -> Any:
        return live

    monkeypatch.setattr(RollingGate, "_live", answer)
    monkeypatch.setattr(pulumi.ResourceHook, "__init__", _keep_callback)
    monkeypatch.setattr(pulumi.ErrorHook, "__init__", _keep_callback)

    async def run() -> str | None:
        passwords, certificate = pulumi.Output.from_input(PASSWORDS), pulumi.Output.from_input("")
        gate = RollingGate("cache", record(), passwords, certificate)
        gate._holder = "cache-redis-0-0"
        hooks = gate.start_options.hooks
        assert hooks is not None
        assert hooks.after_create
        hook: Any = hooks.after_create[0]
        for name in ("cache-redis-0-1-attachment", "cache-redis-0-0-attachment"):
            await hook.callback(
                pulumi.ResourceHookArgs(urn="", id="", name=name, type="", old_inputs={}, old_outputs={})
            )
        return gate._holder

    loop = asyncio.new_event_loop()
    try:
        assert loop.run_until_complete(run()) is None
    finally:
        loop.close()
    assert waited == ["cache-redis-0-0"]


AWS = {
    "region": "eu-central-1",
    "network": "10.0.0.0/16",
    "zones": ["a", "b", "c"],
    "architectures": ["arm64"],
    "image": None,
}


@pytest.mark.parametrize(
    ("before", "after", "line"),
    [
        (None, AWS, "platform: a deployment stays where it is"),
        (AWS, None, "platform: a deployment stays where it is"),
        (AWS, AWS | {"region": "eu-west-1"}, "aws:region: nodes cannot move from eu-central-1 to eu-west-1"),
        (AWS, AWS | {"network": "vpc-1"}, "vpc-id or vpc-cidr: nodes cannot move from 10.0.0.0/16 to vpc-1"),
        (
            AWS,
            AWS | {"zones": ["b", "a", "c"]},
            "subnet-ids or availability-zones: nodes cannot move from a, b, c to b, a, c",
        ),
        (
            AWS,
            AWS | {"architectures": ["arm64", "x86_64"]},
            "ami-id: without it nodes keep their image, which is for arm64; name one for arm64, x86_64",
        ),
    ],
)
def test_hosts_that_cannot_move_fail_the_preview(before: Any, after: Any, line: str) -> None:
    (problem,) = impossible_moves(
        record() | ({"aws": before} if before else {}), record() | ({"aws": after} if after else {})
    )
    assert problem.startswith(line)


def test_hosts_that_stay_are_fine() -> None:
    pinned = AWS | {"architectures": ["x86_64"], "image": "ami-1"}

    assert (
        impossible_moves(record(), record()) == impossible_moves(record() | {"aws": AWS}, record() | {"aws": AWS}) == []
    )
    assert impossible_moves(record() | {"aws": AWS}, record() | {"aws": pinned}) == []


@pytest.fixture
def stop(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Runs the hook that comes before a node's removal."""

    async def live(_: RollingGate) -> LiveCluster:
        return LiveCluster(record(), ACCESS, PASSWORDS)

    monkeypatch.setattr(RollingGate, "_live", live)
    monkeypatch.setattr(pulumi.ResourceHook, "__init__", _keep_callback)
    monkeypatch.setattr(pulumi.ErrorHook, "__init__", _keep_callback)

    async def run(name: str) -> None:
        passwords, certificate = pulumi.Output.from_input(PASSWORDS), pulumi.Output.from_input("")
        gate = RollingGate("cache", record(), passwords, certificate, lambda _: Listener("cache-local-redis-3-0", 7030))
        hooks = gate.options.hooks
        assert hooks is not None
        assert hooks.before_delete is not None
        hook: Any = hooks.before_delete[0]
        await hook.callback(pulumi.ResourceHookArgs(urn="", id="", name=name, type="", old_inputs={}, old_outputs={}))

    def run_to_the_end(name: str) -> None:
        loop = asyncio.new_event_loop()  # asyncio.run would leave the thread without one, which Pulumi's mocks need
        try:
            loop.run_until_complete(run(name))
        finally:
            loop.close()

    return run_to_the_end


def _keep_callback(self: Any, name: str, callback: Any, *_: Any) -> None:
    self.name, self.callback = name, callback


def test_a_node_that_left_goes_once_it_is_proven_to_own_no_slot(
    formation: Formation, stop: Callable[[str], None]
) -> None:
    stop("cache-redis-3-0")
    assert formation.asked_about == [LEFT_BEHIND]

    formation.owns = "cache-local-redis-3-0:7030: still has 5 slots"
    with pytest.raises(RuntimeError, match=r"cache-redis-3-0 was left as it is, because .* still has 5 slots"):
        stop("cache-redis-3-0")


def test_a_node_of_a_disbanded_cluster_goes(formation: Formation, stop: Callable[[str], None]) -> None:
    formation.needed, formation.owns = False, "not asked"

    stop("cache-redis-0-0")
    assert formation.asked_about == []
