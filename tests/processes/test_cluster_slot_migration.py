"""Slots move between bare servers under load: nothing is lost, whatever dies meanwhile."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import redis

from components.cluster_client import FollowingCluster
from components.formation import FormationError
from components.formation.cluster.observation import PRIMARY, Observation, observe
from components.formation.cluster.slot_migration import Limits, move_slots, settle
from components.formation.cluster.slots import SLOT_COUNT, SlotMove, fewest_moves, slot_of
from components.formation.connection import Connections
from tests.processes.cluster_load import BIG_BYTES, SETTINGS, load_on
from tests.processes.cluster_servers import Cluster, ClusterProcess
from tests.processes.servers import PASSWORDS, wait_for

StartCluster = Callable[..., Cluster]

TAGS = [f"{{{number}}}" for number in range(12)]
"""Hash tags of slots all over the cluster."""


@pytest.fixture
def formed(start_cluster: StartCluster) -> Callable[..., Cluster]:
    """Starts a cluster whose slots are spread over all its shards."""

    def make(**options: Any) -> Cluster:
        made = start_cluster(settings={**SETTINGS, **options.pop("settings", {})}, **options)
        made.form_by_hand()
        return made

    return make


@pytest.fixture
def two(formed: Callable[..., Cluster]) -> Cluster:
    """Two primaries, without replicas."""
    return formed(shards=2, replicas=0)


def owned(observation: Observation) -> dict[str, list[int]]:
    return {
        view.name: [slot for first, last in view.slots for slot in range(first, last + 1)]
        for view in observation.every_node
        if view.reachable and view.role == PRIMARY
    }


def moves_to_balance(cluster: Cluster, shards: Sequence[str]) -> tuple[SlotMove, ...]:
    """A shard that is named twice gets twice as much."""
    observation = observe(cluster.target, cluster.access)
    weights = Counter(cluster.primary_of(shard).name for shard in shards)
    return fewest_moves(owned(observation), weights)


def move(cluster: Cluster, moves: Sequence[SlotMove], limits: Limits = Limits()) -> list[str]:  # noqa: B008
    told: list[str] = []
    observation = observe(cluster.target, cluster.access)
    with Connections(cluster.access) as connections:
        move_slots(connections, cluster.target, observation, moves, progress=told.append, limits=limits)
    return told


def balance(cluster: Cluster, shards: Sequence[str], limits: Limits = Limits()) -> list[str]:  # noqa: B008
    return move(cluster, moves_to_balance(cluster, shards), limits)


def open_slots(cluster: Cluster) -> set[int]:
    views = observe(cluster.target, cluster.access).every_node
    return {opened.slot for view in views for opened in view.open_slots}


def settle_all(cluster: Cluster, slots: set[int] | None = None) -> None:
    opened = open_slots(cluster) if slots is None else slots
    observation = observe(cluster.target, cluster.access)
    with Connections(cluster.access) as connections:
        settle(connections, cluster.target, observation, opened, progress=lambda _: None)
    wait_for(lambda: not open_slots(cluster), "no slot is open")


def healthy(cluster: Cluster) -> None:
    wait_for(cluster.agreed, "all nodes agree")
    cluster.check()


def raw(cluster: Cluster, name: str) -> redis.Redis:
    """A client of one node that leaves bytes alone."""
    client = cluster.process(name).client()
    client.connection_pool.connection_kwargs["decode_responses"] = False
    return client


# --- what arrives ----------------------------------------------------------------------------------------------------


def every_type(client: redis.Redis, tag: str) -> None:
    client.set(f"{tag}string", b"\x00\xff\r\n" * 10)
    client.set(f"{tag}number", 12345)
    client.setbit(f"{tag}bits", 1000, 1)
    client.rpush(f"{tag}list", *range(500))
    client.sadd(f"{tag}numbers", *range(300))
    client.sadd(f"{tag}set", *(f"member{number}" for number in range(300)))
    client.hset(f"{tag}hash", mapping={f"field{number}": "v" * number for number in range(200)})
    client.zadd(f"{tag}sorted", {f"member{number}": number / 3 for number in range(300)})
    client.geoadd(f"{tag}places", (13.4, 52.5, "Berlin"))
    client.pfadd(f"{tag}unique", *range(1000))
    stream = f"{tag}stream"
    for number in range(50):
        client.xadd(stream, {"number": number})
    client.xgroup_create(stream, "group", id="0")
    client.xreadgroup("group", "consumer", {stream: ">"}, count=10)
    client.set(tag.encode() + b"\xff\x00 binary name", b"value")
    client.set(f"{tag}expires", "later", px=5_000_000)


def contents(client: redis.Redis, slot: int) -> dict[bytes, tuple[object, bool]]:
    """What a slot has: the DUMP of each key, and whether it expires."""

    def content(name: bytes) -> object:
        # In a hash table the members have no order: the same ones may be dumped in another.
        if client.object("encoding", name) == b"hashtable":
            return client.hgetall(name) if client.type(name) == b"hash" else client.smembers(name)
        return client.dump(name)

    names: list[bytes] = client.execute_command(  # type: ignore[no-untyped-call]
        "CLUSTER", "GETKEYSINSLOT", slot, 1000
    )
    return {name: (content(name), client.pttl(name) > 0) for name in names}


@pytest.mark.parametrize("limits", [Limits(), Limits(keys_at_once=5), Limits(open_slots=1, blocked_milliseconds=0.5)])
def test_every_type_arrives_as_it_was(two: Cluster, limits: Limits) -> None:
    source, target = (process.name for process in two.nodes)
    tags = [tag for tag in TAGS if slot_of(tag) < SLOT_COUNT // 2]
    slots = [slot_of(tag) for tag in tags]
    with raw(two, source) as here, raw(two, target) as there:
        for tag in tags:
            every_type(here, tag)
        before = {slot: contents(here, slot) for slot in slots}
        keys, expiry = here.dbsize(), here.pttl(f"{tags[0]}expires")
        move(two, [SlotMove(source, target, tuple(sorted({*slots, *range(100)})))], limits)
        assert here.dbsize() == 0
        assert there.dbsize() == keys
        assert {slot: contents(there, slot) for slot in slots} == before
        assert expiry - 60_000 < there.pttl(f"{tags[0]}expires") <= expiry
    healthy(two)


def test_a_slot_that_never_stops_changing_is_moved(two: Cluster) -> None:
    source, target = (process.name for process in two.nodes)
    slot = slot_of("{foo}")
    names = (source, target) if slot < SLOT_COUNT // 2 else (target, source)
    stop = threading.Event()
    counts = []

    def count(number: int) -> None:
        with two.client() as client:
            value = 0
            while not stop.is_set():
                value = client.incr(f"{{foo}}{number}")
            counts.append((number, value))

    threads = [threading.Thread(target=count, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    try:
        move(two, [SlotMove(*names, (slot,))])
        move(two, [SlotMove(*names[::-1], (slot,))], Limits(attempts=1))
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    with two.client() as client:
        assert len(counts) == 3
        for number, value in counts:
            assert client.get(f"{{foo}}{number}") == str(value)
    healthy(two)


def test_progress_is_told_in_few_lines(two: Cluster) -> None:
    began = time.monotonic()
    source, target = (process.name for process in two.nodes)
    told = move(two, [SlotMove(source, target, tuple(range(1000)))])
    assert told[-1].startswith("1000 of 1000 slots moved, 0 keys")
    assert len(told) <= time.monotonic() - began + 2


# --- under load ------------------------------------------------------------------------------------------------------


def scale_out_and_in(cluster: Cluster, big: int) -> None:
    """Four shards, of which the last is new: 3 -> 4 -> 3."""
    balance(cluster, ["0", "1", "2"])
    healthy(cluster)
    keys = [f"big:{number}" for number in range(big)]
    with cluster.client() as client:
        for key in keys:
            client.set(key, key * (BIG_BYTES // len(key)))
    with load_on(cluster) as load:
        for shards in (["0", "1", "2", "3"], ["0", "1", "2"]):
            before = load.acknowledged
            wait_for(lambda before=before: load.acknowledged > before + 1000, "writes")
            balance(cluster, shards)
            wait_for(cluster.agreed, "all nodes agree")
            cluster.check()
    with cluster.client() as client:
        for key in keys:
            assert client.get(key) == key * (BIG_BYTES // len(key))
    assert cluster.primary_of("3").ask("DBSIZE") == 0


def test_scaling_out_and_in_under_load_loses_nothing(formed: Callable[..., Cluster]) -> None:
    scale_out_and_in(formed(shards=4, replicas=0), big=4)


@pytest.mark.long
def test_scaling_with_replicas_and_tls_under_load_loses_nothing(formed: Callable[..., Cluster], authority: Any) -> None:
    scale_out_and_in(formed(shards=4, replicas=1, authority=authority), big=2)


# --- what is interrupted ---------------------------------------------------------------------------------------------

_MOVER = """
import json, sys
from components.formation import Access
from components.formation.cluster.observation import observe
from components.formation.cluster.slot_migration import Limits, move_slots
from components.formation.cluster.slots import SlotMove
from components.formation.cluster.target import ClusterTarget
from components.formation.connection import Connections
given = json.load(sys.stdin)
target, access = ClusterTarget.from_dict(given["target"]), Access.from_dict(given["access"])
moves = [SlotMove(source, to, tuple(slots)) for source, to, slots in given["moves"]]
observation = observe(target, access)
with Connections(access) as connections:
    print("begins", flush=True)
    move_slots(connections, target, observation, moves, progress=print, limits=Limits(**given["limits"]))
"""


def start_mover(cluster: Cluster, moves: Sequence[SlotMove], **limits: Any) -> subprocess.Popen[str]:
    """Another program that moves slots, at work."""
    given = {
        "target": cluster.target.to_dict(),
        "access": cluster.access.to_dict(),
        "moves": [(each.source, each.target, each.slots) for each in moves],
        "limits": limits,
    }
    mover = subprocess.Popen(
        [sys.executable, "-c", _MOVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert mover.stdin is not None
    assert mover.stdout is not None
    json.dump(given, mover.stdin)
    mover.stdin.close()
    assert mover.stdout.readline() == "begins\n"
    return mover


def fill(cluster: Cluster, keys: int = 3000) -> dict[str, str]:
    values = {f"key:{number}": f"value {number}" for number in range(keys)}
    with cluster.client() as client:
        client.mset_nonatomic(values)
    return values


def everything_there(cluster: Cluster, values: dict[str, str]) -> bool:
    names = list(values)
    with cluster.client() as client:
        assert dict(zip(names, client.mget_nonatomic(names), strict=True)) == values
    return True


def kill_the_mover(cluster: Cluster, times: int) -> None:
    values = fill(cluster)
    with load_on(cluster):
        for turn in range(times):
            # No shard is ever without slots: redis-py's clients cannot follow ASK to a node that they do not know, and
            # a slot whose mover is killed just after the source has released it is served by ASK until it is settled.
            shards = ["0", "0", "1", "1", "2"] if turn % 2 == 0 else ["0", "1", "2", "2"]
            mover = start_mover(cluster, moves_to_balance(cluster, shards))
            time.sleep(random.uniform(0.05, 1))  # a moment that nothing depends on
            mover.kill()
            mover.wait()
            assert everything_there(cluster, values), "served before anything is settled"
            settle_all(cluster)
            wait_for(cluster.agreed, "all nodes agree")
            cluster.check()
            balance(cluster, shards)
    assert everything_there(cluster, values)
    healthy(cluster)
    has = owned(observe(cluster.target, cluster.access))
    for process in cluster.nodes:
        slots = set(has[process.name])
        with process.client() as client:
            strays = [key for key in client.scan_iter(count=1000) if slot_of(key) not in slots]
        assert strays == [], "no copies are left over"


def test_a_mover_that_is_killed_leaves_every_slot_served(formed: Callable[..., Cluster]) -> None:
    kill_the_mover(formed(shards=3, replicas=0), times=2)


@pytest.mark.long
def test_a_mover_may_be_killed_again_and_again(formed: Callable[..., Cluster]) -> None:
    kill_the_mover(formed(shards=3, replicas=0), times=20)


def rejoin(cluster: Cluster, returned: ClusterProcess) -> None:
    """Until one of a shard's nodes is a replica again after `returned`, its primary, was replaced while it was away.

    It does not become one by itself when several nodes have got what it had (cluster-allow-replica-migration no): then
    it stays a primary without slots, and is told whom to follow, as formation does. When it died in the moment in which
    it got a slot, both may have the same epoch, and it may win (Redis source, cluster_legacy.c:
    clusterHandleConfigEpochCollision): then the other one has no slots.
    """
    (shard,) = [processes for processes in cluster.shards.values() if returned in processes]

    def owners() -> list[ClusterProcess]:
        observation = observe(cluster.target, cluster.access)
        agreed = len({view.knows.owners for view in observation.nodes}) == 1
        return [process for process in shard if agreed and owned(observation).get(process.name)]

    (primary,) = wait_for(lambda: len(found := owners()) == 1 and found, "all nodes agree who of them has the slots")
    settle_all(cluster)
    for process in shard:
        if process is not primary and process.info()["role"] == "master":
            process.ask("CLUSTER", "REPLICATE", primary.node_id)
    wait_for(cluster.agreed, "all nodes agree")


def kill_a_primary(cluster: Cluster, shard: str) -> None:
    """The primary of `shard` dies while shard 2 gives all its slots to the others."""
    values = fill(cluster)
    moves = moves_to_balance(cluster, ["0", "1"])
    victim = cluster.primary_of(shard)
    last = moves[0].slots[-1]
    failures: list[FormationError] = []

    def work() -> None:
        try:
            move(cluster, moves)
        except FormationError as error:
            failures.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    with cluster.process(moves[0].target).client() as client:
        wait_for(lambda: client.execute_command("CLUSTER", "COUNTKEYSINSLOT", moves[0].slots[0]) >= 0, "it answers")
        time.sleep(random.uniform(0.1, 0.5))  # a moment that nothing depends on
    victim.kill()
    thread.join()
    assert failures, f"it was over before {last}"
    assert victim.name in str(failures[0])

    def taken_over() -> bool:
        running = [process for process in cluster.shards[shard] if process.running]
        return all(
            process.info()["role"] == "master" and process.cluster_info()["cluster_state"] == "ok"
            for process in running
        )  # fmt: skip

    wait_for(taken_over, "the replica has taken over")
    settle_all(cluster)
    others = [process for process in cluster.nodes if process.running]
    wait_for(lambda: all(each.cluster_info()["cluster_state"] == "ok" for each in others), "all is well again")
    assert everything_there(cluster, values)
    victim.start()
    victim.wait_until_up()
    rejoin(cluster, victim)
    balance(cluster, ["0", "1"])
    healthy(cluster)
    assert everything_there(cluster, values)
    assert cluster.primary_of("2").ask("DBSIZE") == 0


def test_the_source_dies(formed: Callable[..., Cluster]) -> None:
    kill_a_primary(formed(shards=3, replicas=1), "2")


def test_the_target_dies(formed: Callable[..., Cluster]) -> None:
    kill_a_primary(formed(shards=3, replicas=1), "1")


# --- what is left open -----------------------------------------------------------------------------------------------


class Sides:
    """A slot with three keys on its owner, and the node it goes to."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.slot = slot_of("{foo}")
        nodes = sorted(cluster.nodes, key=lambda process: self.slot not in owned(self.seen)[process.name])
        self.source, self.target, *_ = nodes
        self.other = nodes[-1]
        self.keys = [f"{{foo}}{number}" for number in range(3)]
        for key in self.keys:
            self.source.ask("SET", key, "right")

    @property
    def seen(self) -> Observation:
        return observe(self.cluster.target, self.cluster.access)

    def set_slot(self, process: Any, state: str, node: Any = None) -> None:
        process.ask("CLUSTER", "SETSLOT", self.slot, state, *([node.node_id] if node else []))

    def send(self, key: str, *options: str) -> None:
        password = self.cluster.access.password
        self.source.ask(
            "MIGRATE", "127.0.0.1", self.target.port, "", 0, 5000, *options, "AUTH2", "admin", password, "KEYS", key
        )

    def put(self, key: str, value: str) -> None:
        """On the target, as a client does that was sent there."""
        with self.target.client() as client, client.pipeline(transaction=False) as pipeline:
            pipeline.execute_command("ASKING")
            pipeline.execute_command("SET", key, value)
            pipeline.execute()

    def settled(self, owner: Any) -> None:
        settle_all(self.cluster, {self.slot})
        healthy(self.cluster)
        assert self.slot in owned(self.seen)[owner.name]
        with self.cluster.client() as client:
            for key in self.keys:
                assert client.get(key) == "right"
            assert sum(process.ask("DBSIZE") for process in self.cluster.nodes) == len(self.keys)
        assert not open_slots(self.cluster)


@pytest.fixture
def sides(formed: Callable[..., Cluster]) -> Sides:
    return Sides(formed(shards=3, replicas=0))


def test_a_slot_that_is_migrating_is_finished(sides: Sides) -> None:
    sides.set_slot(sides.target, "IMPORTING", sides.source)
    sides.set_slot(sides.source, "MIGRATING", sides.target)
    sides.send(sides.keys[0])
    sides.put(sides.keys[1], "older than the owner's")
    sides.settled(sides.target)


def test_a_slot_that_is_only_imported_is_rolled_back(sides: Sides) -> None:
    sides.set_slot(sides.target, "IMPORTING", sides.source)
    sides.send(sides.keys[0], "COPY")
    sides.put("{foo}removed meanwhile", "wrong")
    sides.settled(sides.source)


def test_a_target_that_failed_over_is_finished_with(sides: Sides) -> None:
    sides.set_slot(sides.target, "IMPORTING", sides.source)
    sides.set_slot(sides.source, "MIGRATING", sides.target)
    sides.send(sides.keys[0])
    sides.set_slot(sides.target, "STABLE")  # as a replica that has been promoted
    sides.settled(sides.target)


def test_a_source_that_failed_over_gets_no_key_back_that_it_has_given_away(sides: Sides) -> None:
    sides.set_slot(sides.target, "IMPORTING", sides.source)
    sides.set_slot(sides.source, "MIGRATING", sides.target)
    sides.send(sides.keys[0])
    sides.set_slot(sides.source, "STABLE")  # as a replica that has been promoted
    sides.set_slot(sides.target, "IMPORTING", sides.other)  # and the owner's id is not the one it was
    sides.settled(sides.target)


def test_a_source_that_failed_over_with_all_its_keys_keeps_the_slot(sides: Sides) -> None:
    sides.set_slot(sides.target, "IMPORTING", sides.other)
    sides.put(sides.keys[0], "older than the owner's")
    sides.settled(sides.source)


def test_an_owner_that_does_not_know_yet_is_told(sides: Sides) -> None:
    sides.set_slot(sides.target, "IMPORTING", sides.source)
    sides.set_slot(sides.source, "MIGRATING", sides.target)
    for key in sides.keys:
        sides.send(key)
    sides.set_slot(sides.target, "NODE", sides.target)
    sides.settled(sides.target)


def test_keys_that_are_left_at_the_target_do_not_survive_the_next_move(sides: Sides) -> None:
    sides.set_slot(sides.target, "IMPORTING", sides.source)
    sides.put("{foo}removed meanwhile", "wrong")
    sides.set_slot(sides.target, "STABLE")
    move(sides.cluster, [SlotMove(sides.source.name, sides.target.name, (sides.slot,))])
    sides.settled(sides.target)


def test_a_slot_that_the_source_does_not_have_is_refused(sides: Sides) -> None:
    with pytest.raises(FormationError, match=f"{sides.target.name}: does not have slots {sides.slot} any more"):
        move(sides.cluster, [SlotMove(sides.target.name, sides.source.name, (sides.slot,))])


def test_a_node_that_does_not_answer_is_named(sides: Sides) -> None:
    sides.target.kill()
    with pytest.raises(FormationError, match=sides.target.name):
        move(sides.cluster, [SlotMove(sides.source.name, sides.target.name, (sides.slot,))])
    with sides.source.client() as client:
        assert client.get(sides.keys[0]) == "right"


def test_a_client_is_sent_to_a_node_that_has_no_slot_yet(start_cluster: StartCluster) -> None:
    cluster = start_cluster(shards=2, replicas=0, settings=SETTINGS)
    source, target = cluster.nodes
    source.ask("CLUSTER", "ADDSLOTSRANGE", 0, SLOT_COUNT - 1)
    source.ask("CLUSTER", "MEET", "127.0.0.1", target.port)
    wait_for(lambda: len(target.known()) == 2 == len(source.known()), "they know each other")
    wait_for(lambda: {each.cluster_info()["cluster_state"] for each in cluster.nodes} == {"ok"}, "all is well")
    slot = slot_of("key")
    target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", source.node_id)
    source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", target.node_id)
    client = FollowingCluster(host="127.0.0.1", port=source.port, username="app", password=PASSWORDS["app"])
    assert client.set("key", "value")
    assert client.get("key") == b"value"
    assert target.ask("DBSIZE") == 1
