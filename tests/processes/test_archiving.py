"""What is written between backups can be restored up to any moment, whatever fails meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path

import pytest

from components.backups.archive import Archive
from components.backups.archiving import Archiver
from components.backups.catalog import Catalog
from components.backups.folder_store import FolderStore
from components.backups.names import name_of
from components.backups.recovery import NotRestorable, increments_of, segments_until
from components.backups.sealing import unseal
from components.backups.take import Order, take
from components.backups.throwaway_server import throwaway_server
from components.formation.cluster.observation import slots_of
from components.formation.cluster.slots import slot_of
from components.formation.replication import form
from tests.processes.backed_up import Contents, dump
from tests.processes.servers import Deployment, wait_for
from tests.processes.test_backup_cuts import in_background, order_of
from tests.processes.test_cluster_changes import PERSISTENT, fail_over_by_killing
from tests.processes.test_cluster_forming import StartCluster, formed, run

KEY = bytes(range(32))


def quiet(_: str) -> None: ...


class Archived:
    """A deployment's archive, and whoever writes it."""

    def __init__(self, order: Order, folder: Path, command: list[str]) -> None:
        self.order = order
        self.catalog = Catalog(FolderStore(folder / "store"), order.deployment)
        self.archive = Archive(self.catalog.store, order.deployment)
        self.lines: list[str] = []
        self._folder = folder
        self._command = command
        self._number = 0

    def take(self) -> None:
        self._number += 1
        take(self.order, self.catalog, name_of(datetime.fromtimestamp(time.time(), UTC)), self._number, quiet)

    @contextmanager
    def running(self) -> Iterator[threading.Event]:
        stop = threading.Event()
        archiver = Archiver(self.order, self.catalog, self.take, self.lines.append)
        with in_background(lambda: archiver.run(stop)):
            try:
                yield stop
            finally:
                stop.set()

    @contextmanager
    def running_until_killed(self) -> Iterator[None]:
        """In a process of its own, which is killed."""
        archiver = Archiver(self.order, self.catalog, self.take, quiet)
        process = get_context("fork").Process(target=archiver.run, args=(threading.Event(),))
        process.start()
        try:
            yield
        finally:
            process.kill()
            process.join()

    def until(self) -> float:
        return self.archive.status().archived_until or 0.0

    def wait_until(self, moment: float) -> None:
        wait_for(lambda: self.until() > moment, "it is archived")

    def at(self, moment: float) -> Contents:
        """What a restore would bring."""
        backups = [each.manifest for each in self.catalog.backups() if each.manifest]
        manifest = [each for each in backups if each.cut_at <= moment][-1]
        segments = self.archive.between(manifest.cut_at, moment)
        owned: Contents = {}
        arriving: Contents = {}
        for each in segments_until(manifest, segments, moment).shards:
            with ExitStack() as stack:
                shard = each.shard
                chunks = stack.enter_context(
                    self.catalog.store.read(self.catalog.key(manifest.backup, shard.snapshot.name))
                )
                snapshot = unseal(chunks, self.order.key, shard.snapshot)
                increments = increments_of(self.catalog, self.archive, manifest, each, self.order.key)
                server = throwaway_server(self._folder, snapshot, increments, command=self._command)
                found = dump(stack.enter_context(server).client)
            if manifest.topology != "cluster":
                return found
            slots, importing = set(slots_of(each.place.slots)), set(each.place.importing)
            owned |= {name: value for name, value in found.items() if slot_of(name) in slots}
            arriving |= {name: value for name, value in found.items() if slot_of(name) in importing}
        return arriving | owned


@pytest.fixture
def faster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("components.backups.archiving._SEGMENT_SECONDS", 2.0)
    monkeypatch.setattr("components.backups.archiving._RETRY_SECONDS", 0.2)
    monkeypatch.setattr("components.backups.archiving._MARK_SECONDS", 0.3)
    monkeypatch.setattr("components.backups.archiving._CLAIM_SECONDS", 5.0)
    monkeypatch.setattr("components.backups.archiving._RENEW_SECONDS", 1.0)


@pytest.mark.usefixtures("faster")
def test_a_replicated_deployment_through_failovers_and_restarts_of_the_archiver(
    deploy: Callable[..., Deployment], redis_command: list[str], tmp_path: Path
) -> None:
    deployment = deploy(settings=PERSISTENT)
    form(deployment.target, deployment.access, progress=quiet, timeout_seconds=30)
    order = Order(deployment="cache", record=deployment.target.to_dict(), access=deployment.access, key=KEY)
    archived = Archived(order, tmp_path, redis_command)
    written: list[tuple[float, int]] = []

    def write(count: int = 100) -> None:
        with deployment.primary.client(user="app") as client:
            for _ in range(count):
                number = len(written)
                client.set(f"key:{number}", number)
                client.set("last", number)
                written.append((time.time(), number))
                time.sleep(0.002)
            with client.client() as connection:
                connection.set("all", len(written))
                wait_for(lambda: connection.execute_command("WAIT", 1, 1000) >= 1, "a replica has all")

    write()
    with archived.running():
        archived.wait_until(time.time())
        assert len(archived.catalog.names()) == 1, "one was taken to begin with"
        write()
        old = deployment.primary
        old.kill()
        wait_for(deployment.primaries, "a replica takes over")
        write()
        archived.wait_until(time.time())
        old.start()
        form(deployment.target, deployment.access, progress=quiet, timeout_seconds=60)
    with archived.running_until_killed():
        write()
        archived.wait_until(time.time())
        write()
    killed_at = time.time()
    assert archived.until() > killed_at - 60
    assert len(archived.at(archived.until())) > 400
    write()  # while nobody archives
    before = archived.archive.names()
    with archived.running(), archived.running():
        write()
        archived.wait_until(time.time())
    assert len({name.split(".")[1] for name in archived.archive.names() if name not in before}) == 1, "one at a time"
    assert len(archived.catalog.names()) == 1, "nothing was missed"
    assert archived.archive.status().gaps == 0
    with deployment.primary.client(decode_responses=False) as client:
        assert archived.at(archived.until()) == dump(client)
    for at, number in written[150::120]:
        found = archived.at(at)
        assert f"key:{number}".encode() not in found or f"key:{number + 2}".encode() not in found
        missing = [other for other_at, other in written if other_at < at - 60 and f"key:{other}".encode() not in found]
        assert not missing
    with pytest.raises(NotRestorable):
        archived.at(time.time() + 60)


@pytest.mark.usefixtures("faster")
def test_what_no_node_has_any_more_is_a_gap_and_a_new_backup_follows(
    deploy: Callable[..., Deployment], redis_command: list[str], tmp_path: Path
) -> None:
    deployment = deploy(settings={"repl-backlog-size": "16kb"})
    form(deployment.target, deployment.access, progress=quiet, timeout_seconds=30)
    order = Order(deployment="cache", record=deployment.target.to_dict(), access=deployment.access)
    archived = Archived(order, tmp_path, redis_command)
    with archived.running():
        archived.wait_until(time.time())
    with deployment.primary.client() as client:
        for number in range(100):
            client.set(f"key:{number}", "x" * 1000)
    with archived.running():
        archived.wait_until(time.time())
    assert len(archived.catalog.names()) == 2
    assert archived.archive.status().gaps == 1
    with deployment.primary.client(decode_responses=False) as client:
        assert archived.at(archived.until()) == dump(client)


@pytest.mark.long
@pytest.mark.usefixtures("faster")
def test_a_cluster_whose_slots_move_and_whose_primary_fails(
    start_cluster: StartCluster, redis_command: list[str], tmp_path: Path
) -> None:
    cluster = formed(start_cluster(settings=PERSISTENT))
    archived = Archived(order_of(cluster), tmp_path, redis_command)
    with cluster.client() as client:
        for number in range(3000):
            client.set(f"resting:{number}", number)
        with archived.running():
            archived.wait_until(time.time())
            cluster.weights = {"1": 3}
            began = time.time()
            run(cluster)
            ended = time.time()
            old, _ = fail_over_by_killing(cluster, "1")
            for number in range(100):
                client.set(f"late:{number}", number)
            archived.wait_until(time.time())
            old.start()
            wait_for(cluster.agreed, "all replicas are in sync again")
            for number in range(100, 200):
                client.set(f"late:{number}", number)
            archived.wait_until(time.time())
    assert len(archived.catalog.names()) == 1
    for moment in (began + (ended - began) / 3, began + (ended - began) * 2 / 3, ended):
        assert sum(name.startswith(b"resting:") for name in archived.at(moment)) == 3000
    assert len(archived.at(archived.until())) == 3200
    assert archived.archive.status().gaps == 0


@pytest.mark.long
def test_less_than_a_minute_is_lost(
    deploy: Callable[..., Deployment], redis_command: list[str], tmp_path: Path
) -> None:
    """When the archiver, and then every node, is gone at once."""
    deployment = deploy()
    form(deployment.target, deployment.access, progress=quiet, timeout_seconds=30)
    order = Order(deployment="cache", record=deployment.target.to_dict(), access=deployment.access)
    archived = Archived(order, tmp_path, redis_command)
    written: list[tuple[float, int]] = []
    over = threading.Event()

    def write() -> None:
        with deployment.primary.client(user="app") as client:
            while not over.wait(0.01):
                client.set(f"key:{len(written)}", len(written))
                written.append((time.time(), len(written)))

    with in_background(write):
        try:
            with archived.running_until_killed():
                wait_for(lambda: len(archived.archive.names()) >= 3, "three segments are stored", 150)
        finally:
            over.set()
    deployment.close()
    gone_at = time.time()
    assert gone_at - archived.until() < 60
    found = archived.at(archived.until())
    kept = [number for at, number in written if at < archived.until() - 1]
    assert kept
    assert all(f"key:{number}".encode() in found for number in kept)
