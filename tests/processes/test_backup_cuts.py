"""Backups that are taken while nodes fail and slots move: all that was acknowledged before is in them, once."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from redis.cluster import RedisCluster

from components.backups.catalog import Catalog
from components.backups.folder_store import FolderStore
from components.backups.manifest import Manifest
from components.backups.prove import prove
from components.backups.take import Order, take
from components.formation.replication import form
from components.topologies import CLUSTER
from tests.processes.backed_up import Writer, contents_of
from tests.processes.cluster_servers import Cluster
from tests.processes.servers import Deployment, wait_for
from tests.processes.test_cluster_changes import PERSISTENT, fail_over_by_killing
from tests.processes.test_cluster_forming import StartCluster, formed, run

NAME = "2026-11-26T03-00-{:02}Z"
BACKUPS = 50


def quiet(_: str) -> None: ...


def order_of(cluster: Cluster) -> Order:
    return Order(deployment="cache", record={**cluster.target.to_dict(), "topology": CLUSTER}, access=cluster.access)


def writer_to(client: RedisCluster, *, replicas: int) -> Writer:
    def write(key: str, value: int) -> bool:
        client.set(key, value)
        if not replicas:
            return True
        node = client.get_node_from_key(key)  # type: ignore[no-untyped-call]
        received = client.execute_command("WAIT", replicas, 500, target_nodes=node)  # type: ignore[no-untyped-call]
        return bool(received >= replicas)

    return Writer(write)


@contextmanager
def in_background(work: Callable[[], object]) -> Iterator[threading.Thread]:
    """Its errors are raised at the end."""
    errors: list[BaseException] = []

    def run_it() -> None:
        try:
            work()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run_it)
    thread.start()
    try:
        yield thread
    finally:
        thread.join()
    if errors:
        raise errors[0]


@pytest.mark.long
def test_slots_that_move_meanwhile(start_cluster: StartCluster, redis_command: list[str], tmp_path: Path) -> None:
    cluster = formed(start_cluster(shards=2))
    catalog = Catalog(FolderStore(tmp_path / "store"), "cache")
    with cluster.client() as client:
        with client.pipeline() as pipeline:
            for number in range(30_000):
                pipeline.set(f"resting:{number}", number)
            pipeline.execute()
        with writer_to(client, replicas=0) as writer:
            cluster.add_shards()
            taken: list[tuple[Manifest, dict[str, int]]] = []
            with in_background(lambda: run(cluster)) as moving:
                while moving.is_alive() or not taken:
                    before = writer.acknowledged()
                    manifest = take(order_of(cluster), catalog, NAME.format(len(taken)), 1, quiet)
                    taken.append((manifest, before))
    # Those in which most was on its way.
    taken.sort(key=lambda each: sum(len(shard.ignored) + len(shard.importing) for shard in each[0].shards))
    for manifest, before in taken[-3:]:
        found = contents_of(catalog, manifest, tmp_path, redis_command)
        assert sum(name.startswith(b"resting:") for name in found) == 30_000
        writer.check(found, before)
    assert any(shard.increments for manifest, _ in taken for shard in manifest.shards)
    proof = prove(catalog, manifest, None, tmp_path, quiet, redis_command)
    assert sum(proof.after_increments.values()) >= 30_000


def test_a_failover_meanwhile(start_cluster: StartCluster, redis_command: list[str], tmp_path: Path) -> None:
    """Of a shard that is being followed, while another one's snapshot is still on its way."""
    cluster = formed(start_cluster(settings=PERSISTENT))
    catalog = Catalog(FolderStore(tmp_path / "store"), "cache")
    with cluster.client() as client, writer_to(client, replicas=1) as writer:
        wait_for(lambda: writer.written > 100, "something is written")
        for number, by_hand in enumerate((True, False)):
            done = threading.Event()

            def progress(line: str, by_hand: bool = by_hand, done: threading.Event = done) -> None:
                if line.startswith("copied cache-test-1") and not done.is_set():
                    done.set()
                    if by_hand:
                        (replica,) = cluster.replicas_of("1")
                        replica.ask("CLUSTER", "FAILOVER")
                        wait_for(lambda: replica.info()["role"] == "master", "the replica has taken over")
                    else:
                        old, _ = fail_over_by_killing(cluster, "1")
                        old.start()

            before = writer.acknowledged()
            manifest = take(order_of(cluster), catalog, NAME.format(number), 1, progress)
            assert done.is_set()
            writer.check(contents_of(catalog, manifest, tmp_path, redis_command), before)
            wait_for(cluster.agreed, "all replicas are in sync again")


@pytest.mark.long
def test_many_backups_of_a_cluster_with_failovers_in_between(
    start_cluster: StartCluster, redis_command: list[str], tmp_path: Path
) -> None:
    cluster = formed(start_cluster(settings=PERSISTENT))

    def fail_over() -> None:
        shard = random.choice(list(cluster.shards))
        if random.random() < 0.5:
            cluster.replicas_of(shard)[0].ask("CLUSTER", "FAILOVER")
        else:
            old, _ = fail_over_by_killing(cluster, shard)
            old.start()
        wait_for(cluster.agreed, "all replicas are in sync again")

    with cluster.client() as client, writer_to(client, replicas=1) as writer:
        many_backups(order_of(cluster), writer, fail_over, redis_command, tmp_path)


@pytest.mark.long
def test_many_backups_of_a_replicated_deployment_with_failovers_in_between(
    deploy: Callable[..., Deployment], redis_command: list[str], tmp_path: Path
) -> None:
    deployment = deploy(settings=PERSISTENT)
    form(deployment.target, deployment.access, progress=quiet, timeout_seconds=30)

    def fail_over() -> None:
        old = deployment.primary
        old.kill()
        wait_for(deployment.primaries, "a replica takes over")
        old.start()
        form(deployment.target, deployment.access, progress=quiet, timeout_seconds=60)

    def write(key: str, value: int) -> bool:
        primaries = deployment.primaries()
        if len(primaries) != 1:
            return False
        with primaries[0].client(user="app") as client, client.client() as connection:
            connection.set(key, value)
            return bool(connection.execute_command("WAIT", 2, 500) == 2)

    order = Order(deployment="cache", record=deployment.target.to_dict(), access=deployment.access)
    with Writer(write) as writer:
        many_backups(order, writer, fail_over, redis_command, tmp_path)


def many_backups(
    order: Order, writer: Writer, fail_over: Callable[[], None], redis_command: list[str], folder: Path
) -> None:
    """Takes them one after the other while nodes fail, and looks into each."""
    catalog = Catalog(FolderStore(folder / "store"), "cache")
    wait_for(lambda: writer.written > 100, "something is written")
    over = threading.Event()
    failovers = 0

    def fail_again_and_again() -> None:
        nonlocal failovers
        while not over.wait(random.uniform(0, 5)):
            fail_over()
            failovers += 1

    with in_background(fail_again_and_again) as failing:
        try:
            for number in range(BACKUPS):
                assert failing.is_alive()
                before = writer.acknowledged()
                manifest = take(order, catalog, NAME.format(number), 1, quiet)
                writer.check(contents_of(catalog, manifest, folder, redis_command), before)
                if number % 5 == 0:
                    prove(catalog, manifest, None, folder, quiet, redis_command)
        finally:
            over.set()
    assert failovers >= BACKUPS / 10
    assert len(catalog.names()) == BACKUPS
