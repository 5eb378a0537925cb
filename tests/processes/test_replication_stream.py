"""Copies of real nodes over the replication protocol: whole, without a gap, and without harm to the deployment."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis

from components.backups.commands import complete_commands
from components.backups.errors import SourceError
from components.backups.rdb_head import Head
from components.backups.replication_stream import PIECE_BYTES, HistoryGone, ReplicationStream
from components.formation import Access
from components.formation.cluster.observation import SYNC_DELAY
from components.formation.members import NO_PORT
from components.formation.replication import form
from tests.processes.certificates import Authority
from tests.processes.cluster_servers import Cluster
from tests.processes.replicated import Deploy, backup_access, follow, read_until, replicated, stream_of
from tests.processes.servers import Deployment, Process, deployment, wait_for
from tests.processes.valkey import valkey_command


def fill(process: Process, keys: int = 1000, expiring: int = 10, prefix: str = "key") -> None:
    with process.client() as client, client.pipeline(transaction=False) as pipeline:
        for number in range(keys):
            pipeline.set(f"{prefix}:{number}", f"{number} " * 200, ex=10_000 if number < expiring else None)
        pipeline.execute()


def fill_much(process: Process) -> None:
    """So much that a snapshot of it is under way for as long as nobody reads it."""
    process.ask("CONFIG", "SET", "rdbcompression", "no")
    with process.client() as client:
        for number in range(50):
            client.setrange(f"much:{number}", 1_000_000, "x")


def offset_of(process: Process) -> int:
    return int(process.info()["master_repl_offset"])


def in_sync(replica: Process, primary: Process) -> bool:
    return offset_of(replica) == offset_of(primary)


def taken(process: Process, **options: Any) -> tuple[bytes, Head, ReplicationStream]:
    """A snapshot of a node, and the connection that it came over."""
    with stream_of(process) as stream:
        snapshot = stream.full_copy(**options)
        pieces = list(snapshot.chunks())
        assert all(0 < len(piece) <= PIECE_BYTES for piece in pieces)
        assert snapshot.head is not None
        assert (snapshot.replication_id, snapshot.offset) == (stream.replication_id, stream.offset)
        return b"".join(pieces), snapshot.head, stream


def assert_whole(rdb: bytes) -> None:
    """From its magic word to its end, which is an opcode and a checksum of 8 bytes."""
    assert rdb.startswith((b"REDIS", b"VALKEY"))
    assert rdb[-9] == 0xFF


@pytest.mark.parametrize("tls", [True, False], ids=["tls", "plain"])
def test_primary_and_replica_give_the_same(deploy: Deploy, authority: Authority, tls: bool) -> None:
    primary, replica = replicated(deploy, authority=authority if tls else None)
    fill(primary)
    wait_for(lambda: in_sync(replica, primary), "the replica has all")
    version = primary.info()["redis_version"]
    for process in (primary, replica):
        for with_increments in (False, True):
            rdb, head, stream = taken(process, with_increments=with_increments)
            assert_whole(rdb)
            assert (head.database, head.keys, head.expiring) == (0, 1000, 10)
            assert (head.server, head.server_version) == ("redis", version)
            assert stream.replication_id == primary.info()["master_replid"]
            assert stream.offset <= offset_of(primary)
    wait_for(lambda: primary.info()["connected_slaves"] == 1, "the primary has forgotten the connections")


def test_a_node_that_makes_a_file_first(deploy: Deploy) -> None:
    (primary,) = replicated(deploy, 0, settings={"repl-diskless-sync": "no"})
    fill(primary)
    for with_increments in (False, True):
        with stream_of(primary) as stream:
            snapshot = stream.full_copy(with_increments=with_increments)
            fill(primary, 3, prefix="later")
            assert_whole(b"".join(snapshot.chunks()))
            increments = read_until(stream, offset_of(primary))
        assert increments.count(b"later:") == 3
    assert b"".join(complete_commands([increments])).count(b"later:") == 3


def test_an_empty_node(deploy: Deploy) -> None:
    (primary,) = replicated(deploy, 0)
    rdb, head, _ = taken(primary)
    assert_whole(rdb)
    assert (head.database, head.keys, head.functions) == (None, 0, 0)


def test_functions_and_the_first_of_several_databases(deploy: Deploy) -> None:
    primary, replica = replicated(deploy)
    primary.ask("FUNCTION", "LOAD", "#!lua name=one\nredis.register_function('f', function() return 1 end)")
    with primary.client() as client:
        for database in (3, 5):
            client.execute_command("SELECT", database)
            client.mset({str(number): number for number in range(database)})
    wait_for(lambda: in_sync(replica, primary), "the replica has all")
    _, head, _ = taken(replica)
    assert (head.functions, head.database, head.keys, head.stream_database) == (1, 3, 3, 5)
    # A replica passes on what its primary sends, which has selected the database long ago.
    with stream_of(replica) as stream:
        assert b"".join(stream.full_copy(with_increments=True).chunks())
        with primary.client() as client:
            client.execute_command("SELECT", 5)
            client.set("later", 1)
        assert b"SELECT" not in read_until(stream, offset_of(primary))


def test_valkey(tmp_path: Path) -> None:
    with deployment(tmp_path, valkey_command(), nodes=1, sentinels=0) as made:
        (primary,) = made.nodes
        primary.ask("REPLICAOF", "NO", "ONE")
        fill(primary)
        with stream_of(primary) as stream:
            snapshot = stream.full_copy(with_increments=True)
            assert_whole(b"".join(snapshot.chunks()))
            assert snapshot.head is not None
            assert (snapshot.head.server, snapshot.head.keys, snapshot.head.expiring) == ("valkey", 1000, 10)
            assert snapshot.head.server_version == primary.info()["valkey_version"]
            fill(primary, 3, prefix="later")
            assert read_until(stream, offset_of(primary)).count(b"later:") == 3
            listed = primary.info()["slave0"]
            assert listed["port"] == NO_PORT


def test_nodes_of_a_cluster(start_cluster: Callable[..., Cluster], authority: Authority) -> None:
    cluster = start_cluster(authority=authority)
    cluster.form_by_hand()
    with cluster.client() as client:
        for number in range(1000):
            client.set(f"key:{number}", number, ex=10_000 if number < 100 else None)
    wait_for(cluster.agreed, "replicas in sync")
    # As long as a node has not proven itself, it holds snapshots back.
    with (
        stream_of(cluster.replicas_of("0")[0]) as stream,
        pytest.raises(SourceError, match="began no snapshot within 1 s"),
    ):
        stream.full_copy(wait_seconds=1)
    found = expiring = 0
    for shard in cluster.shards:
        primary, (replica,) = cluster.primary_of(shard), cluster.replicas_of(shard)
        wait_for(lambda primary=primary, replica=replica: in_sync(replica, primary), "the replica has all")
        replica.ask("CONFIG", "SET", SYNC_DELAY, 0)
        rdb, head, _ = taken(replica)
        assert_whole(rdb)
        assert head.keys == primary.ask("DBSIZE")
        found, expiring = found + head.keys, expiring + head.expiring
    assert (found, expiring) == (1000, 100)


@contextmanager
def writing(process: Process) -> Iterator[None]:
    """Transactions, values that look like the protocol, and two databases, as long as the context lasts."""
    stop = threading.Event()

    def write() -> None:
        with process.client() as client:
            number = 0
            while not stop.is_set():
                number += 1
                with client.pipeline() as pipeline:
                    pipeline.execute_command("SELECT", number % 2)
                    pipeline.set("last", number).set(f"\r\n*1\r\n$4\r\nEXEC\r\n{number % 50}", "\r\n" * (number % 300))
                    pipeline.rpush("list", number).ltrim("list", -100, -1)
                    pipeline.execute()

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def test_no_byte_is_missing_or_twice(deploy: Deploy, authority: Authority) -> None:
    """The same stretch of the stream: from the primary, from a replica, and over connections that break."""
    primary, replica = replicated(deploy, authority=authority, settings={"repl-backlog-size": "64mb"})
    fill(primary)
    with stream_of(replica) as stream, writing(primary):
        snapshot = stream.full_copy(with_increments=True)
        assert_whole(b"".join(snapshot.chunks()))
        content = b""
        for number in range(5):
            content += read_until(stream, offset_of(primary) + 1)
            assert replica.ask("CLIENT", "KILL", "TYPE", "replica") == 1, number
        content += read_until(stream, offset_of(primary) + 1)
    size = len(content)
    assert stream.offset == snapshot.offset + size
    wait_for(lambda: in_sync(replica, primary), "the replica has all")
    for process in (primary, replica):
        with stream_of(process) as again:
            again.continue_from(snapshot.replication_id, snapshot.offset)
            assert read_until(again, stream.offset)[:size] == content
    assert list(complete_commands([content]))
    # Once more from the middle: what was cut off there is what comes there.
    with stream_of(primary) as rest:
        rest.continue_from(snapshot.replication_id, snapshot.offset + size // 2)
        assert read_until(rest, stream.offset)[: size - size // 2] == content[size // 2 :]


def test_without_increments_they_are_in_the_backlog(deploy: Deploy) -> None:
    (primary,) = replicated(deploy, 0)
    fill(primary, 100)
    with stream_of(primary) as stream:
        assert_whole(b"".join(stream.full_copy().chunks()))
        fill(primary, 3, prefix="later")
        assert read_until(stream, offset_of(primary)).count(b"later:") == 3


def test_a_failover_does_not_end_a_history(deploy: Deploy) -> None:
    primary, replica, other = replicated(deploy, 2)
    fill(primary, 100)
    with stream_of(other) as stream:
        assert_whole(b"".join(stream.full_copy(with_increments=True).chunks()))
        first = stream.replication_id, stream.offset
        fill(primary, 3, prefix="before")
        content = read_until(stream, offset_of(primary))
        wait_for(lambda: in_sync(replica, primary) and in_sync(other, primary), "all have all")
        primary.kill()
        replica.ask("REPLICAOF", "NO", "ONE")
        follow(other, replica)
        fill(replica, 3, prefix="after")
        content += read_until(stream, offset_of(replica))
        assert stream.replication_id == replica.info()["master_replid"] != first[0]
    assert (content.count(b"before:"), content.count(b"after:")) == (3, 3)
    for process in (replica, other):
        with stream_of(process) as again:
            again.continue_from(*first)
            assert again.replication_id == stream.replication_id
            assert read_until(again, stream.offset)[: len(content)] == content


def test_a_history_that_is_gone_is_said_so_and_costs_no_fork(deploy: Deploy) -> None:
    primary, replica = replicated(deploy, settings={"repl-backlog-size": "16kb"})
    fill(primary, 10)
    with stream_of(primary) as stream:
        snapshot = stream.full_copy()
        assert_whole(b"".join(snapshot.chunks()))
    forks = primary.info()["total_forks"]
    fill(primary, 1000)
    now = offset_of(primary)
    known = snapshot.replication_id
    wait_for(lambda: in_sync(replica, primary), "the replica has all")
    for process in (primary, replica):
        for history, offset in [(known, snapshot.offset), ("0" * 40, now), ("f" * 40, now), (known, now + 1_000_000)]:
            with stream_of(process) as stream, pytest.raises(HistoryGone, match=f"{process.name}: .* new snapshot"):
                stream.continue_from(history, offset)
    assert primary.info()["total_forks"] == forks


@pytest.mark.parametrize("password", ["wrong", None], ids=["password", "certificate"])
def test_who_is_not_let_in_is_told(deploy: Deploy, authority: Authority, password: str | None) -> None:
    (primary,) = replicated(deploy, 0, authority=authority)
    right = backup_access(primary)
    access = Access("backup", password or right.password, right.ca_certificate if password else Authority().certificate)
    expected = "refuses: WRONGPASS" if password else "no TLS connection to 127.0.0.1:.* certificate"
    with pytest.raises(SourceError, match=f"{primary.name}: {expected}"), ReplicationStream(primary.member, access):
        pass


def test_a_replica_without_its_primary_is_no_source(deploy: Deploy) -> None:
    primary, replica = replicated(deploy)
    primary.kill()
    wait_for(lambda: replica.info()["master_link_status"] == "down", "the replica has noticed")
    with stream_of(replica) as stream, pytest.raises(SourceError, match=f"{replica.name}: refuses: (NOM|M)ASTER"):
        stream.full_copy()


def test_a_node_that_dies_or_falls_silent_meanwhile(deploy: Deploy) -> None:
    for end in (Process.kill, Process.pause):
        (primary,) = replicated(deploy, 0, name=f"{end.__name__}-test")
        fill_much(primary)
        with stream_of(primary, silence_timeout_seconds=2) as stream:
            snapshot = stream.full_copy()
            end(primary)
            with pytest.raises(SourceError, match=f"{primary.name}: (ended the connection|silent for 2 s)"):
                list(snapshot.chunks())
        with (
            pytest.raises(SourceError, match=f"{primary.name}: (not reached|silent)"),
            stream_of(primary, silence_timeout_seconds=2),
        ):
            pass


def test_an_isolated_primary_is_not_deceived(deploy: Deploy) -> None:
    """Neither a snapshot nor what follows it counts for WAIT; min-replicas-to-write is deceived for max-lag only."""
    (primary,) = replicated(deploy, 0)
    fill_much(primary)
    primary.ask("CONFIG", "SET", "min-replicas-to-write", 1, "min-replicas-max-lag", 1)
    with stream_of(primary) as stream:
        stream.full_copy()
        found = primary.info()
        assert (found["connected_slaves"], found["slave0"]["port"]) == (1, NO_PORT)
        assert (found["slave0"]["state"], found["min_slaves_good_slaves"]) == ("wait_bgsave", 0)
        with pytest.raises(redis.ResponseError, match="NOREPLICAS"):
            primary.ask("SET", "key", "value")
    wait_for(lambda: not primary.info()["rdb_bgsave_in_progress"], "the node ends what nobody waits for")
    with stream_of(primary) as stream:
        assert_whole(b"".join(stream.full_copy(with_increments=True).chunks()))
        primary.ask("CONFIG", "SET", "min-replicas-to-write", 0)
        assert primary.ask("SET", "key", "value")
        assert b"value" in read_until(stream, offset_of(primary))
        assert primary.info()["slave0"]["state"] == "online"
        with primary.client() as client:
            client.set("key", "value")
            assert client.execute_command("WAIT", 1, 100) == 0
        primary.ask("CONFIG", "SET", "min-replicas-to-write", 1)
        wait_for(lambda: primary.info()["min_slaves_good_slaves"] == 0, "it does not count any longer")
        assert primary.info()["connected_slaves"] == 1
        with pytest.raises(redis.ResponseError, match="NOREPLICAS"):
            primary.ask("SET", "key", "value")


def test_sentinels_take_no_notice(deploy: Deploy) -> None:
    made: Deployment = deploy(nodes=2)
    form(made.target, made.access, progress=lambda _: None, timeout_seconds=20)
    primary = made.primary
    fill_much(primary)
    known = {f"localhost:{process.port}" for process in made.replicas}

    def replicas(sentinel: Process) -> set[str]:
        return {entry[1] for entry in sentinel.ask("SENTINEL", "REPLICAS", made.name)}

    def have_asked(since: float) -> bool:
        """Whether every Sentinel has had the primary's INFO since; it asks every 10 s."""
        states = [sentinel.ask("SENTINEL", "MASTER", made.name) for sentinel in made.sentinels]
        ages = [int(dict(zip(state[::2], state[1::2], strict=True))["info-refresh"]) / 1000 for state in states]
        # An answer may have been on its way for a moment.
        return max(ages) < time.monotonic() - since - 0.5

    with stream_of(primary) as ending, stream_of(primary) as going_on:
        ending.full_copy()
        listed = wait_for(lambda: primary.info().get("slave1"), "the primary lists the connection")
        assert (listed["port"], listed["state"]) == (NO_PORT, "wait_bgsave")
        listed_at = time.monotonic()
        wait_for(lambda: have_asked(listed_at), "every Sentinel has read the primary's list", 30)
        ending.close()
        assert [replicas(sentinel) for sentinel in made.sentinels] == [known] * 3
        wait_for(lambda: not primary.info()["rdb_bgsave_in_progress"], "the node ends what nobody waits for")
        assert_whole(b"".join(going_on.full_copy(with_increments=True).chunks()))
        next(going_on.increments())
        wait_for(lambda: primary.info()["slave1"]["state"] == "online", "the connection is online")
        online_at = time.monotonic()
        wait_for(lambda: have_asked(online_at), "every Sentinel has read the primary's list", 30)
        assert [replicas(sentinel) for sentinel in made.sentinels] == [known] * 3
