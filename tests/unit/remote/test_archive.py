"""The code that hosts are sent: the same every time, complete, and without Pulumi."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from components.remote.archive import archive


def test_the_same_sources_give_the_same_bytes() -> None:
    first = archive()
    archive.cache_clear()

    assert archive() == first
    with zipfile.ZipFile(io.BytesIO(first)) as found:
        entries = found.infolist()
    assert {entry.date_time for entry in entries} == {(1980, 1, 1, 0, 0, 0)}
    assert [entry.filename for entry in entries] == sorted(entry.filename for entry in entries)


def run(tmp_path: Path, orders: dict[str, Any]) -> list[dict[str, Any]]:
    """What the code answers where Python has nothing but its standard library."""
    program = tmp_path / "formation.pyz"
    program.write_bytes(archive())
    done = subprocess.run(
        [sys.executable, "-I", "-S", program], input=json.dumps(orders), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def member(name: str, port: int) -> dict[str, Any]:
    """Nobody listens on these ports."""
    return {"name": name, "announced": {"host": "here", "port": port}, "reach": {"host": "127.0.0.1", "port": port}}


PASSWORDS = {"admin": "a-password", "app": "another-password", "sentinel": "the-third-password"}
SECRET = {"passwords": PASSWORDS, "acl": {}, "ca_certificate": None}
REPLICATED = {
    "nodes": [member("redis-0", 1)],
    "sentinels": [member("sentinel-0", 2)],
    "sentinel": {
        "master_name": "m",
        "quorum": 1,
        "down_after_milliseconds": 1,
        "parallel_syncs": 1,
        "failover_timeout_milliseconds": 1,
        "auth_user": "sentinel",
    },
    "runner": {"kind": "ssm"},
}
CLUSTER = {
    "topology": "cluster",
    "shards": [
        {"name": str(shard), "members": [member(f"redis-{shard}-0", 1 + shard)], "weight": 1} for shard in range(3)
    ],
    "runner": {"kind": "ssm"},
}


@pytest.mark.parametrize("record", [REPLICATED, CLUSTER], ids=["replicated", "cluster"])
def test_it_needs_nothing_but_python(tmp_path: Path, record: dict[str, Any]) -> None:
    request = {"operation": "status", "arguments": {}, "record": record, "earlier": None}

    (answer,) = run(tmp_path, {"request": request, "secret": SECRET})

    assert not answer["result"]["healthy"]
    assert answer["result"]["rows"][0]["name"].startswith("redis-0")


@pytest.mark.parametrize(
    ("operation", "record", "said"),
    [
        ("nothing", REPLICATED, "there is no operation nothing"),
        ("status", {"nodes": "a-password"}, "KeyError: 'sentinel'"),
        ("promote", CLUSTER, "(secret): a cluster's nodes are not promoted by hand; hand over instead"),
    ],
)
def test_whatever_goes_wrong_is_an_answer_without_a_password(
    tmp_path: Path, operation: str, record: dict[str, Any], said: str
) -> None:
    request = {"operation": operation, "arguments": {"name": "a-password"}, "record": record, "earlier": None}

    (answer,) = run(tmp_path, {"request": request, "secret": SECRET})

    assert answer == {"error": {"kind": "FormationError", "message": said}}
