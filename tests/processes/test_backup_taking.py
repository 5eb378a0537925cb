"""Backups of real servers: what is in the store is what the deployment had, by a server that loads it."""

from __future__ import annotations

import dataclasses
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis
from redis.crc import key_slot

from components.backups.catalog import Catalog
from components.backups.errors import Damaged, SourceError
from components.backups.folder_store import FolderStore
from components.backups.manifest import ShardCopy
from components.backups.prove import prove
from components.backups.sealing import unseal
from components.backups.take import Order, take
from components.formation.cluster import form as form_cluster
from components.formation.replication import form
from components.topologies import CLUSTER
from tests.ports import free_port
from tests.processes.certificates import Authority
from tests.processes.cluster_servers import Cluster
from tests.processes.servers import Deployment, wait_for

NAME = "2026-11-26T03-00-00Z"
KEY = bytes(range(32))


def quiet(_: str) -> None: ...


def every_type(client: redis.Redis, prefix: str = "") -> None:
    client.set(f"{prefix}text", "v" * 100)
    client.set(f"{prefix}fleeting", "v", px=3_600_000)
    client.rpush(f"{prefix}list", *range(500))
    client.sadd(f"{prefix}set", *range(50))
    client.hset(f"{prefix}hash", mapping={f"field-{number}": "v" * 60 for number in range(100)})
    client.zadd(f"{prefix}sorted", {f"member-{number}": number / 7 for number in range(300)})
    client.xadd(f"{prefix}stream", {"field": "value"})
    client.xgroup_create(f"{prefix}stream", "group", id="0")
    client.xreadgroup("group", "consumer", {f"{prefix}stream": ">"})
    client.set(f"{prefix}large", b"\0\xff" * 3_000_000)


def contents(client: redis.Redis) -> dict[bytes, tuple[bytes, int]]:
    """Key -> its DUMP and when it ends, of a client that does not decode.

    Only of values whose DUMP says the same for the same: a hash table is dumped in an order that a server's seed makes.
    """
    return {key: (client.dump(key), client.pexpiretime(key)) for key in client.scan_iter()}  # type: ignore[misc]


@contextmanager
def loaded(
    folder: Path, command: list[str], catalog: Catalog, shard: ShardCopy, key: bytes | None
) -> Iterator[redis.Redis]:
    """A bare server with the shard's data."""
    data = folder / f"loaded-{shard.name}"
    data.mkdir()
    with catalog.store.read(catalog.key(NAME, shard.snapshot.name)) as chunks, (data / "dump.rdb").open("wb") as file:
        for chunk in unseal(chunks, key, shard.snapshot):
            file.write(chunk)
    port = free_port()
    options = ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(data), "--save", "", "--daemonize", "no"]
    server = subprocess.Popen([*command, *options], stdout=subprocess.DEVNULL)
    try:
        with redis.Redis(port=port) as client:
            wait_for(lambda: not client.info("persistence")["loading"], "the server has loaded the backup")
            yield client
    finally:
        server.kill()
        server.wait()


@pytest.mark.parametrize("key", [None, KEY], ids=["plain", "encrypted"])
def test_a_replicated_deployment(
    deploy: Callable[..., Deployment], authority: Authority, redis_command: list[str], tmp_path: Path, key: bytes | None
) -> None:
    deployment = deploy(authority=authority)
    form(deployment.target, deployment.access, progress=quiet, timeout_seconds=30)
    with deployment.primary.client(decode_responses=False) as client:
        every_type(client)
        client.function_load("#!lua name=lib\nredis.register_function('one', function() return 1 end)")
        functions = client.function_dump()
    catalog = Catalog(FolderStore(tmp_path / "store"), "cache")
    order = Order(deployment="cache", record=deployment.target.to_dict(), access=deployment.access, key=key)
    manifest = take(order, catalog, NAME, 1, quiet)

    (shard,) = manifest.shards
    assert shard.node in {replica.name for replica in deployment.replicas}
    # A replica has its own times at which a stream's consumers were seen.
    with deployment.process(shard.node).client(decode_responses=False) as client:
        before = contents(client)
    assert (shard.keys, shard.expiring) == (len(before), 1)
    assert any("user admin on" in line for line in manifest.users)
    backup = catalog.latest()
    assert backup is not None
    assert backup.manifest == manifest
    with loaded(tmp_path, redis_command, catalog, shard, key) as client:
        assert contents(client) == before
        assert client.function_dump() == functions
    proof = prove(catalog, manifest, key, tmp_path, quiet, redis_command)
    assert proof.keys == {"redis": len(before)}
    assert proof.sampled == len(before)
    proven = catalog.latest(proven=True)
    assert proven is not None
    assert proven.proof == proof
    # Nobody takes the copy for a replica.
    assert deployment.primary.info()["connected_slaves"] == 2
    for sentinel in deployment.all_sentinels:
        assert len(sentinel.ask("SENTINEL", "REPLICAS", deployment.target.sentinel.master_name)) == 2


def test_a_primary_that_is_alone(deploy: Callable[..., Deployment], redis_command: list[str], tmp_path: Path) -> None:
    deployment = deploy(nodes=1, sentinels=1)
    form(deployment.target, deployment.access, progress=quiet, timeout_seconds=30)
    with deployment.primary.client(decode_responses=False) as client:
        every_type(client)
        before = contents(client)
    catalog = Catalog(FolderStore(tmp_path / "store"), "cache")
    order = Order(deployment="cache", record=deployment.target.to_dict(), access=deployment.access)
    (shard,) = take(order, catalog, NAME, 1, quiet).shards
    assert shard.node == deployment.primary.name
    with loaded(tmp_path, redis_command, catalog, shard, None) as client:
        assert contents(client) == before


def test_a_cluster(
    start_cluster: Callable[..., Cluster], authority: Authority, redis_command: list[str], tmp_path: Path
) -> None:
    cluster = start_cluster(authority=authority)
    form_cluster(cluster.target, cluster.access, progress=quiet, timeout_seconds=30)
    with cluster.client(user="admin", decode_responses=False) as client:
        for number in range(30):
            client.set(f"{{{number}}}text", number)
            client.rpush(f"{{{number}}}list", *range(number + 1))
    before: dict[bytes, tuple[bytes, int]] = {}
    for shard in cluster.shards:
        with cluster.primary_of(shard).client(decode_responses=False) as client:
            before |= contents(client)
    catalog = Catalog(FolderStore(tmp_path / "store"), "cache")
    record = {**cluster.target.to_dict(), "topology": CLUSTER}
    manifest = take(Order(deployment="cache", record=record, access=cluster.access), catalog, NAME, 1, quiet)
    assert manifest.keys == 60
    assert sum(last - first + 1 for shard in manifest.shards for first, last in shard.slots) == 16384
    assert {shard.node for shard in manifest.shards}.isdisjoint(
        {cluster.primary_of(shard).name for shard in cluster.shards}
    )
    proof = prove(catalog, manifest, None, tmp_path, quiet, redis_command)
    assert sum(proof.slots.values()) == sum(proof.keys.values()) == 60
    assert len(proof.slots) == len({key_slot(str(number).encode()) for number in range(30)})
    found: dict[bytes, tuple[bytes, int]] = {}
    for copy in manifest.shards:
        with loaded(tmp_path, redis_command, catalog, copy, None) as client:
            found |= contents(client)
    assert found == before


def test_what_cannot_be_copied_is_never_listed_as_good(
    deploy: Callable[..., Deployment], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("components.backups.take._SETTLE_SECONDS", 0.1)
    deployment = deploy(nodes=1, sentinels=1)
    form(deployment.target, deployment.access, progress=quiet, timeout_seconds=30)
    catalog = Catalog(FolderStore(tmp_path / "store"), "cache")
    order = Order(deployment="cache", record=deployment.target.to_dict(), access=deployment.access)
    deployment.primary.kill()
    with pytest.raises(SourceError, match="cache-test-redis-0"):
        take(order, catalog, NAME, 1, quiet)
    assert catalog.latest() is None


def test_a_backup_that_is_not_what_its_manifest_says_is_not_proven(
    deploy: Callable[..., Deployment], redis_command: list[str], tmp_path: Path
) -> None:
    deployment = deploy(nodes=1, sentinels=1)
    form(deployment.target, deployment.access, progress=quiet, timeout_seconds=30)
    with deployment.primary.client() as client:
        client.set("key", "value")
    catalog = Catalog(FolderStore(tmp_path / "store"), "cache")
    order = Order(deployment="cache", record=deployment.target.to_dict(), access=deployment.access)
    manifest = take(order, catalog, NAME, 1, quiet)
    (shard,) = manifest.shards
    path = tmp_path / "store" / catalog.key(NAME, shard.snapshot.name)
    content = path.read_bytes()
    path.write_bytes(content[:40] + bytes([content[40] ^ 1]) + content[41:])
    with pytest.raises(Damaged, match=f"{NAME}, redis: .* altered"):
        prove(catalog, manifest, None, tmp_path, quiet, redis_command)
    path.write_bytes(content)
    more = dataclasses.replace(manifest, shards=(dataclasses.replace(shard, keys=2),))
    with pytest.raises(Damaged, match="loaded 1 keys, and 0 had expired, but the manifest says 2"):
        prove(catalog, more, None, tmp_path, quiet, redis_command)
    found = catalog.latest()
    assert found is not None
    assert not found.proven
    assert not list(tmp_path.glob("throwaway-*"))
