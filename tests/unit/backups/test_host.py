"""Which host takes a backup that is due: a replica's at once, a primary's when nobody else has."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
import redis

from components.backups import host, room
from components.backups.catalog import Catalog
from components.backups.errors import BackupError
from components.backups.folder_store import FolderStore
from components.backups.host import tick


class Service:
    """As far as a look goes; without any backup one is due at once."""

    def __init__(self, folder: Path) -> None:
        self.schedule = "0 3 * * *"
        self.scratch = folder
        self.catalog = Catalog(FolderStore(folder / "store"), "cache")
        self.order = type("Order", (), {"access": None, "record": {"nodes": [member(name) for name in ("a", "b")]}})
        self.taken = 0
        self.looked = 0

    def status(self) -> None:
        self.looked += 1

    def run_if_due(self, *_: Any) -> bool:
        self.taken += 1
        return True


def member(name: str) -> dict[str, Any]:
    address = {"host": name, "port": 1}
    return {"name": name, "announced": address, "reach": address}


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Service:
    """``a`` is the primary, ``b`` a replica, and nobody else answers."""
    roles = {"a": "master", "b": "slave"}

    class Connections:
        def __init__(self, _: Any) -> None: ...

        def __enter__(self) -> Connections:
            return self

        def __exit__(self, *_: object) -> None: ...

        def ask(self, asked: Any, *_: str) -> dict[str, str]:
            if asked.name not in roles:
                raise redis.ConnectionError
            return {"role": roles[asked.name]}

    monkeypatch.setattr(host, "Connections", Connections)
    return Service(tmp_path)


def look(service: Service, node: str) -> None:
    tick(service, node, lambda _: None)  # type: ignore[arg-type]


def test_a_replicas_host_takes_it_at_once(service: Service) -> None:
    look(service, "b")

    assert service.taken == 1


@pytest.mark.parametrize("node", ["a", "somebody"])
def test_others_leave_it_for_some_time(service: Service, node: str) -> None:
    look(service, node)
    look(service, node)
    assert (service.taken, service.looked) == (0, 2)

    an_hour_ago = time.time() - 3600
    os.utime(service.scratch / "due", (an_hour_ago, an_hour_ago))
    look(service, node)
    assert service.taken == 1


def test_the_next_one_is_left_for_as_long(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    look(service, "a")
    an_hour_ago = time.time() - 3600
    os.utime(service.scratch / "due", (an_hour_ago, an_hour_ago))
    (service.scratch / "due").write_text("2020-01-01T03-00-00Z")
    look(service, "a")

    assert service.taken == 0
    monkeypatch.setattr(host, "due_at", lambda *_: None)
    look(service, "a")
    assert not (service.scratch / "due").exists()


def manifest(*sizes: int) -> Any:
    snapshots = [type("Piece", (), {"plain_bytes": size}) for size in sizes]
    shards = [type("Shard", (), {"snapshot": snapshot, "increments": None}) for snapshot in snapshots]
    return type("Manifest", (), {"backup": "2026-11-26T03-00-00Z", "shards": shards})


def test_a_proof_never_fills_the_disk(tmp_path: Path) -> None:
    room.require_room(tmp_path, manifest(1, 2))
    with pytest.raises(BackupError, match=r"is not loaded: .* bytes free, but 2000000000000000000 are needed"):
        room.require_room(tmp_path, manifest(1, 10**18))
