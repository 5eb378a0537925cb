"""Restores of real servers: what comes back is what was there, whatever the topology, and nobody sees half of it."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import pytest
import redis

from components.backups.archive import Archive
from components.backups.archiving import Archiver
from components.backups.catalog import Catalog
from components.backups.errors import BackupError, Damaged, Refused
from components.backups.folder_store import FolderStore
from components.backups.manifest import Manifest
from components.backups.recovery import recovery_of, segments_until
from components.backups.restore import RestoreOrder, abandon, restore
from components.backups.take import Order, take
from components.formation import Access
from components.formation.access_control import apply_access_control
from components.formation.closing import MARK, is_closed
from components.formation.cluster import form as form_cluster
from components.formation.replication import form
from components.topologies import CLUSTER
from tests.processes.certificates import Authority
from tests.processes.cluster_servers import Cluster, ClusterProcess
from tests.processes.contents import contents, fill_with_every_type
from tests.processes.servers import NODE_USERS, PASSWORDS, Deployment, Process, wait_for
from tests.processes.valkey import valkey_command

NAME = "2026-11-26T03-00-00Z"
Made = Deployment | Cluster
AnyMade = TypeVar("AnyMade", Deployment, Cluster)


def quiet(_: str) -> None: ...


def formed(made: AnyMade) -> AnyMade:
    if isinstance(made, Cluster):
        form_cluster(made.target, made.access, progress=quiet, timeout_seconds=60)
    else:
        form(made.target, made.access, progress=quiet, timeout_seconds=60)
    return made


def record_of(made: Made) -> dict[str, Any]:
    record = made.target.to_dict()
    return {**record, "topology": CLUSTER} if isinstance(made, Cluster) else record


def primaries_of(made: Made) -> list[Process]:
    return [made.primary_of(shard) for shard in made.shards] if isinstance(made, Cluster) else [made.primary]


def everything(made: Made) -> dict[tuple[int, bytes], Any]:
    found: dict[tuple[int, bytes], Any] = {}
    for process in primaries_of(made):
        with process.client(decode_responses=False) as client:
            found |= contents(client)
    return found


def dumps(processes: Iterable[Process]) -> dict[bytes, bytes | None]:
    """Of what is dumped in the order in which it is, as hash tables are not."""
    found: dict[bytes, bytes | None] = {}
    for process in processes:
        with process.client(decode_responses=False, single_connection_client=True) as client:
            if isinstance(process, ClusterProcess):
                client.readonly()  # a replica answers then
            for key in client.scan_iter():
                if client.object("ENCODING", key) not in (b"hashtable", b"listpackex"):
                    found[key] = client.dump(key)
    return found


def libraries(client: Any) -> list[str]:
    """Of functions, with their code; listed in no order."""
    return sorted(str(each) for each in client.execute_command("FUNCTION", "LIST", "WITHCODE"))


@dataclasses.dataclass
class Stored:
    """A backup in a folder."""

    folder: Path
    command: list[str]
    catalog: Catalog
    manifest: Manifest

    @classmethod
    def of(cls, made: Made, folder: Path) -> Stored:
        folder.mkdir(exist_ok=True)
        catalog = Catalog(FolderStore(folder / "store"), "cache")
        order = Order(deployment="cache", record=record_of(made), access=made.access)
        return cls(folder, made.command, catalog, take(order, catalog, NAME, 1, quiet))

    def order(self, made: Made, **options: Any) -> RestoreOrder:
        return RestoreOrder(
            catalog=self.catalog,
            manifest=self.manifest,
            recovery=recovery_of(self.manifest),
            key=None,
            record=record_of(made),
            access=made.access,
            scratch=self.folder,
            command=made.command,
            **options,
        )


def app_can_log_in(made: Made) -> bool:
    answers = set()
    for process in made.nodes:
        with process.client("app") as client:
            try:
                answers.add(bool(client.ping()))
            except redis.AuthenticationError:
                answers.add(False)
    (answer,) = answers
    return answer


@pytest.fixture(params=["redis", pytest.param("valkey", marks=pytest.mark.long)])
def command(request: pytest.FixtureRequest, redis_command: list[str]) -> list[str]:
    return redis_command if request.param == "redis" else valkey_command()


def test_every_type_comes_back(tmp_path: Path, command: list[str], authority: Authority) -> None:
    made = formed(Deployment(tmp_path / "before", command, authority=authority))
    try:
        with made.primary.client(decode_responses=False) as client:
            fill_with_every_type(client, large_bytes=50_000_000)
            client.execute_command("SELECT", 3)
            client.set("of another database", "value", ex=5000)
            functions = libraries(client)
        before = everything(made)
        stored = Stored.of(made, tmp_path / "stored")
        # When a stream's consumers were seen is known to each node for itself.
        dumped = dumps(made.process(shard.node) for shard in stored.manifest.shards)
    finally:
        made.close()
    again = formed(Deployment(tmp_path / "after", command, authority=authority))
    try:
        lines: list[str] = []
        restored = restore(stored.order(again), lines.append)
        assert restored.keys == len(before)
        assert restored.functions == 2
        assert everything(again) == before
        assert dumps(primaries_of(again)) == dumped
        for process in again.nodes:
            with process.client(decode_responses=False) as client:
                assert libraries(client) == functions
                assert contents(client).keys() == before.keys()
        assert app_can_log_in(again)
        assert not is_closed([process.member for process in again.nodes], again.access)
        assert "applications are let in" in lines[-1]
        with pytest.raises(Refused, match=rf"the deployment has {len(before)} keys, .*--overwrite"):
            restore(stored.order(again), quiet)
        with again.primary.client() as client:
            client.set("later", "value")
        assert restore(stored.order(again, overwrite=True), quiet).keys == len(before)
        assert everything(again) == before
        assert not list((tmp_path / "stored").glob("throwaway-*"))
    finally:
        again.close()


def fill_cluster(cluster: Cluster) -> None:
    with cluster.client(user="admin", decode_responses=False) as client:
        for number in range(2000):
            client.set(f"{number}", f"value {number}", ex=10_000 if number % 3 == 0 else None)
        for number in range(50):
            client.rpush(f"list {number}", *range(number + 1))
            client.zadd(f"sorted {number}", {"a": number})
    for shard in cluster.shards:
        with cluster.primary_of(shard).client() as client:
            client.function_load("#!lua name=lib\nredis.register_function('one', function() return 1 end)")


@pytest.mark.parametrize("shards", [2, pytest.param(5, marks=pytest.mark.long)])
def test_a_cluster_comes_back_with_another_number_of_shards(
    tmp_path: Path, redis_command: list[str], authority: Authority, shards: int
) -> None:
    made = formed(Cluster(tmp_path / "before", redis_command, authority=authority))
    try:
        fill_cluster(made)
        before = everything(made)
        stored = Stored.of(made, tmp_path / "stored")
        # When a stream's consumers were seen is known to each node for itself.
        dumped = dumps(made.process(shard.node) for shard in stored.manifest.shards)
    finally:
        made.close()
    again = formed(Cluster(tmp_path / "after", redis_command, shards=shards, authority=authority))
    try:
        assert restore(stored.order(again), quiet).keys == len(before) == 2100
        assert everything(again) == before
        assert dumps(primaries_of(again)) == dumped
        assert app_can_log_in(again)
        assert all(process.info()["db0"]["keys"] > 0 for process in again.nodes)
        for process in primaries_of(again):
            assert process.ask("FUNCTION", "LIST")[0][1] == "lib"
    finally:
        again.close()


@pytest.mark.long
def test_from_one_topology_to_the_other_and_back(tmp_path: Path, redis_command: list[str]) -> None:
    cluster = formed(Cluster(tmp_path / "cluster", redis_command, replicas=0))
    single = formed(Deployment(tmp_path / "single", redis_command, nodes=2, sentinels=1))
    try:
        fill_cluster(cluster)
        before = everything(cluster)
        assert restore(Stored.of(cluster, tmp_path / "one").order(single), quiet).keys == len(before)
        assert everything(single) == before
        stored = Stored.of(single, tmp_path / "two")
        assert restore(stored.order(cluster, overwrite=True), quiet).keys == len(before)
        assert everything(cluster) == before
        with single.primary.client() as client:
            client.execute_command("SELECT", 1)
            client.set("key", "value")
        stored = Stored.of(single, tmp_path / "three")
        with pytest.raises(Refused, match="keys in database 1, and a cluster has database 0 alone"):
            restore(stored.order(cluster, overwrite=True), quiet)
        assert everything(cluster) == before
        assert app_can_log_in(cluster)
    finally:
        cluster.close()
        single.close()


def test_some_keys_come_back_into_a_deployment_at_work(tmp_path: Path, redis_command: list[str]) -> None:
    made = formed(Cluster(tmp_path / "nodes", redis_command, replicas=0))
    try:
        with made.client(user="app") as client:
            for number in range(300):
                client.set(f"user:{number}", f"before {number}", ex=5000)
                client.set(f"other:{number}", "before")
            stored = Stored.of(made, tmp_path / "stored")
            for number in range(300):
                client.delete(f"user:{number}")
                client.set(f"other:{number}", "after")
            assert restore(stored.order(made, pattern="user:*"), quiet).keys == 300
            assert {client.get(f"user:{number}") for number in range(300)} == {f"before {n}" for n in range(300)}
            assert {client.get(f"other:{number}") for number in range(300)} == {"after"}
            client.set("user:1", "after")
            with pytest.raises(Refused, match=r"of the keys that match 'user:\*' in .* exist: say --overwrite"):
                restore(stored.order(made, pattern="user:*"), quiet)
            assert client.get("user:1") == "after"
            assert restore(stored.order(made, pattern="user:1", overwrite=True), quiet).keys == 1
            assert client.get("user:1") == "before 1"
            assert client.ttl("user:1") > 4000
    finally:
        made.close()


def test_what_was_written_after_a_backup_comes_back_up_to_a_moment(
    deploy: Callable[..., Deployment], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("components.backups.archiving._SEGMENT_SECONDS", 1.0)
    monkeypatch.setattr("components.backups.archiving._MARK_SECONDS", 0.2)
    made = formed(deploy(nodes=2, sentinels=1))
    with made.primary.client() as client:
        client.mset({"old": "value", "changed": "before"})
        stored = Stored.of(made, tmp_path / "stored")
        catalog = stored.catalog
        order = Order(deployment="cache", record=record_of(made), access=made.access)
        stop = threading.Event()
        archiver = threading.Thread(target=Archiver(order, catalog, lambda: None, quiet).run, args=(stop,))
        archiver.start()
        try:
            client.mset({"changed": "after", "new": "value"})
            client.pexpire("new", 1_000_000)
            time.sleep(1)
            moment = time.time()
            time.sleep(1)
            client.delete("old", "new")
            client.set("later", "value")
            archive = Archive(catalog.store, "cache")
            archived = time.time()
            wait_for(lambda: (archive.status().archived_until or 0) > archived, "it is archived")
        finally:
            stop.set()
            archiver.join()
    segments = archive.between(stored.manifest.cut_at, moment)
    recovery = segments_until(stored.manifest, segments, moment)
    assert moment - 1 < recovery.time <= moment
    order_to_restore = dataclasses.replace(stored.order(made, overwrite=True), recovery=recovery)
    assert restore(order_to_restore, quiet).keys == 3
    with made.primary.client() as client:
        assert client.mget("old", "changed", "new", "later") == ["value", "after", "value", None]
        assert 0 < client.pttl("new") < 1_000_000


def test_a_damaged_backup_touches_nothing(deploy: Callable[..., Deployment], tmp_path: Path) -> None:
    made = formed(deploy(nodes=1, sentinels=1))
    with made.primary.client() as client:
        client.set("key", "value")
    stored = Stored.of(made, tmp_path / "stored")
    (shard,) = stored.manifest.shards
    path = tmp_path / "stored" / "store" / stored.catalog.key(NAME, shard.snapshot.name)
    content = path.read_bytes()
    path.write_bytes(content[:-10] + bytes([content[-10] ^ 1]) + content[-9:])
    before = everything(made)
    with pytest.raises(Damaged, match=f"{NAME}, redis: .* altered"):
        restore(stored.order(made, overwrite=True), quiet)
    assert everything(made) == before
    assert app_can_log_in(made)


def _restore_and_be_killed(order: RestoreOrder) -> None:
    def killed_at(line: str) -> None:
        if line.startswith("loaded"):
            os.kill(os.getpid(), signal.SIGKILL)

    restore(order, killed_at)


def test_an_interrupted_restore_serves_nobody(deploy: Callable[..., Deployment], tmp_path: Path) -> None:
    made = formed(deploy())
    with made.primary.client(decode_responses=False) as client:
        fill_with_every_type(client)
    before = everything(made)
    stored = Stored.of(made, tmp_path / "stored")
    order = stored.order(made, overwrite=True)
    process = multiprocessing.get_context("fork").Process(target=_restore_and_be_killed, args=(order,))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    members = [node.member for node in made.nodes]
    assert is_closed(members, made.access)
    assert not app_can_log_in(made)
    # Whoever restarts a node finds it closed, too, and formation leaves it so.
    for node in made.nodes:
        saved = (node.folder / "users.acl").read_text()
        assert "user app off" in saved
        assert f"user {MARK} off" in saved
    users = {user: f"reset on >{PASSWORDS[user]} {rules}" for user, rules in NODE_USERS.items()}
    definitions = {"default": "reset off", **users}
    apply_access_control(members, made.access, definitions)
    assert not app_can_log_in(made)
    # No backup is taken of what is half there.
    with pytest.raises(BackupError, match="is being restored"):
        Stored.of(made, tmp_path / "more")
    # What is there now is nothing to lose.
    assert restore(stored.order(made), quiet).keys == len(before)
    assert everything(made) == before
    assert app_can_log_in(made)
    assert not is_closed(members, made.access)


def test_an_interrupted_restore_can_be_abandoned(deploy: Callable[..., Deployment], tmp_path: Path) -> None:
    made = formed(deploy(nodes=2, sentinels=1))
    with made.primary.client() as client:
        client.mset({f"key {number}": "value" for number in range(5000)})
    stored = Stored.of(made, tmp_path / "stored")
    record, access = record_of(made), made.access
    with pytest.raises(Refused, match="nothing to abandon"):
        abandon(record, access, quiet)
    process = multiprocessing.get_context("fork").Process(
        target=_restore_and_be_killed, args=(stored.order(made, overwrite=True),)
    )
    process.start()
    process.join(60)
    assert not app_can_log_in(made)
    abandon(record, access, quiet)
    assert app_can_log_in(made)
    assert everything(made) == {}


@pytest.mark.long
def test_a_failover_meanwhile(deploy: Callable[..., Deployment], tmp_path: Path) -> None:
    """The new primary may lack what the old one had taken: everything is begun anew."""
    made = formed(deploy())
    with made.primary.client() as client:
        for number in range(100):
            client.mset({f"key {number}.{index}": "v" * 500 for index in range(500)})
    stored = Stored.of(made, tmp_path / "stored")
    before = everything(made)
    old = made.primary
    lines: list[str] = []

    def progress(line: str) -> None:
        lines.append(line)
        if line.startswith("loaded") and old.running:
            old.kill()

    # The node that is gone cannot be closed, so it has to be there at first, and again at the end.
    def revive(line: str) -> None:
        progress(line)
        if not old.running and len([each for each in lines if each.startswith("loaded")]) > 1:
            old.start()
            old.wait_until_up()

    restore(stored.order(made, overwrite=True), revive)
    assert any("beginning anew" in line for line in lines)
    wait_for(lambda: len(made.primaries()) == 1, "one primary")
    assert everything(made) == before


def test_who_may_restore(deploy: Callable[..., Deployment], tmp_path: Path) -> None:
    made = formed(deploy(nodes=1, sentinels=1))
    stored = Stored.of(made, tmp_path / "stored")
    wrong = dataclasses.replace(stored.order(made), access=Access("admin", "wrong", made.access.ca_certificate))
    with pytest.raises(BackupError, match="cache-test"):
        restore(wrong, quiet)
