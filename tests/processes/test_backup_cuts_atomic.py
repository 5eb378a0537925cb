"""Backups of a cluster whose slots Valkey 9 moves by itself, all slots of a job at once."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from components.backups.catalog import Catalog
from components.backups.errors import SourceError
from components.backups.folder_store import FolderStore
from components.backups.manifest import Manifest
from components.backups.prove import prove
from components.backups.take import take
from tests.processes.backed_up import contents_of
from tests.processes.cluster_load import SETTINGS
from tests.processes.cluster_servers import cluster
from tests.processes.servers import PASSWORDS, wait_for
from tests.processes.test_backup_cuts import NAME, in_background, order_of, quiet, writer_to
from tests.processes.test_cluster_slot_migration import balance
from tests.processes.valkey import valkey_command

# The slots' keys come by the user that replicates, which needs `cluster|syncslots` for that.
_USER = {"masteruser": "admin", "masterauth": PASSWORDS["admin"]}

pytestmark = pytest.mark.long


def test_slots_that_move_by_jobs_of_the_server(tmp_path: Path) -> None:
    command = valkey_command()
    catalog = Catalog(FolderStore(tmp_path / "store"), "cache")
    with cluster(tmp_path, command, settings={**SETTINGS, **_USER}, shards=3, replicas=1) as nodes:
        nodes.form_by_hand()
        with nodes.client() as client:
            for number in range(20_000):
                client.set(f"resting:{number}", number)
            with writer_to(client, replicas=0) as writer:
                taken: list[tuple[Manifest, dict[str, int]]] = []

                def move() -> None:
                    for shards in (["0", "1"], ["1", "2"], ["0", "1", "2"]):
                        balance(nodes, shards)

                wait_for(lambda: writer.written > 100, "something is written")
                with in_background(move) as moving:
                    while moving.is_alive() or not taken:
                        before = writer.acknowledged()
                        # One that has met a job of the server is not listed.
                        with contextlib.suppress(SourceError):
                            taken.append((take(order_of(nodes), catalog, NAME.format(len(taken)), 1, quiet), before))
        for manifest, before in taken:
            found = contents_of(catalog, manifest, tmp_path, command)
            assert sum(name.startswith(b"resting:") for name in found) == 20_000
            writer.check(found, before)
            prove(catalog, manifest, None, tmp_path, quiet, command)
