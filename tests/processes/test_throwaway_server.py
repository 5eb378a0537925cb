"""A server that loads a backup: all of it comes back, damage is told, and nothing stays."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis

from components.backups import throwaway_server as throwaway_server_module
from components.backups.commands import complete_commands
from components.backups.errors import BackupError, Damaged
from components.backups.throwaway_server import throwaway_server
from components.formation.cluster.slots import slot_of
from tests.processes.certificates import Authority
from tests.processes.cluster_servers import Cluster
from tests.processes.contents import contents, fill_with_every_type
from tests.processes.replicated import Deploy, read_until, replicated, stream_of
from tests.processes.servers import PASSWORDS, Process, deployment, wait_for
from tests.processes.valkey import valkey_command

MEBIBYTE = 1024 * 1024


@pytest.fixture
def parent(tmp_path: Path) -> Iterator[Path]:
    """Where throwaway servers have their folders; there is none afterwards, and no process of one."""
    folder = tmp_path / "throwaway"
    folder.mkdir()
    yield folder
    assert list(folder.iterdir()) == []
    assert processes_about(folder) == []


def processes_about(folder: Path) -> list[str]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            line = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if str(folder) in line and int(process.name) != os.getpid():
            found.append(line)
    return found


@pytest.fixture(params=["redis", "valkey"])
def command(request: pytest.FixtureRequest, redis_command: list[str]) -> list[str]:
    """Both servers."""
    return redis_command if request.param == "redis" else valkey_command()


@contextmanager
def primary_of(folder: Path, command: list[str], **options: Any) -> Iterator[Process]:
    with deployment(folder, command, nodes=1, sentinels=0, **options) as made:
        (primary,) = made.nodes
        primary.ask("REPLICAOF", "NO", "ONE")
        yield primary


def raw(process: Process, database: int = 0) -> Any:
    """A client whose answers are bytes."""
    return redis.Redis(
        host="127.0.0.1",
        port=process.port,
        db=database,
        username="admin",
        password=PASSWORDS["admin"],
        protocol=2,
        **process.tls(),
    )


def snapshot_of(process: Process) -> list[bytes]:
    with stream_of(process) as stream:
        return list(stream.full_copy().chunks())


def test_all_comes_back(tmp_path: Path, command: list[str], parent: Path) -> None:
    with primary_of(tmp_path / "source", command) as primary, raw(primary) as client:
        client.config_set("active-expire-effort", 1)
        fill_with_every_type(client, large_bytes=50 * MEBIBYTE)
        with raw(primary, 9) as other:
            other.mset({f"other:{number}": number for number in range(100)})
        expected, snapshot = contents(client), snapshot_of(primary)
        version = primary.info().get("valkey_version") or primary.info()["redis_version"]
    with throwaway_server(parent, snapshot, command=command) as server:
        assert contents(server.client) == expected
        assert server.loaded.keys == len(expected)
        assert server.loaded.expired == 0
        assert server.loaded.databases == {0: len(expected) - 100, 9: 100}
        assert server.loaded.functions == ("one", "two")
        assert server.loaded.version == server.head.server_version == version
        assert server.client.fcall("one", 0) == 1


def test_what_has_expired_is_counted(deploy: Deploy, redis_command: list[str], parent: Path) -> None:
    (primary,) = replicated(deploy, 0)
    with raw(primary) as client:
        client.mset({str(number): number for number in range(100)})
        for number in range(30):
            client.pexpire(str(number), 2000)
        snapshot = snapshot_of(primary)
        wait_for(lambda: client.dbsize() == 70, "their time has come")
    with throwaway_server(parent, snapshot, command=redis_command) as server:
        assert (server.head.keys, server.head.expiring) == (100, 30)
        assert (server.loaded.keys, server.loaded.expired) == (70, 30)


@pytest.mark.parametrize("from_replica", [False, True], ids=["primary", "replica"])
def test_increments_are_applied(deploy: Deploy, redis_command: list[str], parent: Path, from_replica: bool) -> None:
    primary, replica = replicated(deploy)
    with raw(primary) as client, raw(primary, 3) as other:
        other.mset({str(number): number for number in range(100)})
        fill_with_every_type(client)
        # What is written next is for database 3, too, which a replica's stream does not say again.
        other.set("before", 1)
        wait_for(lambda: replica.info()["master_repl_offset"] == primary.info()["master_repl_offset"], "in sync")
        with stream_of(replica if from_replica else primary) as stream:
            snapshot = list(stream.full_copy(with_increments=True).chunks())
            other.set("after", 1)
            other.delete(*map(str, range(50)))
            with client.pipeline() as pipeline:
                pipeline.rpush("list", "d").hset("hash", "c", "3").rename("set", "renamed").execute()
            client.xadd("stream", {"later": 1})
            client.execute_command("FUNCTION DELETE", "one")
            client.execute_command("EVAL", "redis.call('SET', 'by script', '*1\\r\\n')", 0)
            expected = contents(client)
            increments = [read_until(stream, primary.info()["master_repl_offset"])]
            client.set("not any more", 1)
            rest = read_until(stream, primary.info()["master_repl_offset"])
    with throwaway_server(parent, snapshot, [*increments, rest[:-1]], command=redis_command) as server:
        assert contents(server.client) == expected
        assert server.loaded.databases == {0: len(expected) - 52, 3: 52}
        assert server.loaded.expired is None
        assert server.loaded.functions == ("two",)
        assert server.client.config_get("appendonly") == {"appendonly": "no"}
    (complete,) = complete_commands([increments[0] + rest])
    assert b"not any more" in complete


def test_keys_by_slot(
    start_cluster: Callable[..., Cluster], authority: Authority, redis_command: list[str], parent: Path
) -> None:
    cluster = start_cluster(shards=3, replicas=0, authority=authority)
    cluster.form_by_hand()
    names = [f"key:{number}" for number in range(500)] + [f"{{tag}}:{number}" for number in range(20)]
    expected: dict[int, int] = {}
    with cluster.client() as client:
        for name in names:
            client.set(name, name)
            expected[slot_of(name.encode())] = expected.get(slot_of(name.encode()), 0) + 1
    found: dict[int, int] = {}
    for shard in cluster.shards:
        snapshot = snapshot_of(cluster.primary_of(shard))
        with throwaway_server(parent, snapshot, command=redis_command, cluster=True) as server:
            slots = server.keys_by_slot()
            assert sum(slots.values()) == server.loaded.keys == server.head.keys
            found |= slots
    assert found == expected


def test_several_databases_are_not_counted_by_slot(deploy: Deploy, redis_command: list[str], parent: Path) -> None:
    (primary,) = replicated(deploy, 0)
    with primary.client() as client:
        client.execute_command("SELECT", 1)
        client.set("key", "value")
    with (
        pytest.raises(BackupError, match="is of no cluster, which has database 0 alone"),
        throwaway_server(parent, snapshot_of(primary), command=redis_command, cluster=True),
    ):
        pass


def test_what_is_damaged_is_said_so(tmp_path: Path, command: list[str], parent: Path) -> None:
    with primary_of(tmp_path / "source", command) as primary, raw(primary) as client:
        fill_with_every_type(client)
        with stream_of(primary) as stream:
            snapshot = b"".join(stream.full_copy(with_increments=True).chunks())
            client.set("later", 1)
            increments = read_until(stream, primary.info()["master_repl_offset"])
    size = len(snapshot)
    chosen = random.Random(size)
    altered = []
    for position in chosen.sample(range(size - 8), 10):
        flipped = bytes([snapshot[position] ^ 1 << chosen.randrange(8)])
        altered.append(snapshot[:position] + flipped + snapshot[position + 1 :])
    truncated = [snapshot[:length] for length in (0, 5, 20, size // 3, size // 2, size - 8, size - 1)]
    for content in [*truncated, *altered]:
        for following in (None, [increments]):
            # A version that there is none of yet is one of the things that a flipped bit can make.
            with pytest.raises(BackupError) as caught, throwaway_server(parent, [content], following, command=command):
                pass
            assert isinstance(caught.value, Damaged) or "a format (RDB version" in str(caught.value), caught.value
            assert "\n" not in str(caught.value)
            assert list(parent.iterdir()) == []
    for broken in (increments[1:], increments.replace(b"$3\r\nSET", b"$4\r\nSET"), b"junk"):
        with pytest.raises(Damaged), throwaway_server(parent, [snapshot], [broken], command=command):
            pass


def test_what_another_server_wrote_is_said_so(deploy: Deploy, parent: Path) -> None:
    (primary,) = replicated(deploy, 0)
    primary.ask("SET", "key", "value")
    version = primary.info()["redis_version"]
    with (
        pytest.raises(
            BackupError, match=rf"redis {version} in a format .RDB version \d+. that valkey-server .* not know"
        ),
        throwaway_server(parent, snapshot_of(primary), command=valkey_command()),
    ):
        pass


def test_servers_that_do_not_do(tmp_path: Path, redis_command: list[str], parent: Path) -> None:
    with primary_of(tmp_path / "source", redis_command) as primary, raw(primary) as client:
        client.mset({str(number): number for number in range(1000)})
        snapshot = snapshot_of(primary)
    cases = {
        "does not start: Unresolved Configuration": with_options(redis_command, "--nonsense yes"),
        "does not start: .*no-such-program": ["/no-such-program"],
        "was killed while it loaded": ["/bin/sh", "-c", "kill -KILL $$"],
        "did not load the backup within 2 s": ["/bin/sh", "-c", "exec sleep 1000"],
    }
    for message, command in cases.items():
        with (
            pytest.raises(BackupError, match=message) as caught,
            throwaway_server(parent, snapshot, command=command, load_timeout_seconds=2),
        ):
            pass
        assert not isinstance(caught.value, Damaged)
        assert "\n" not in str(caught.value)
    with (
        pytest.raises(BackupError, match="No such file or directory: a throwaway server needs a folder there"),
        throwaway_server(parent / "missing", snapshot, command=redis_command),
    ):
        pass


def with_options(command: list[str], options: str) -> list[str]:
    """The configuration comes last, and options after it: that takes a shell."""
    return ["/bin/sh", "-c", f'exec "$@" {options}', "sh", *command]


def with_slow_loading(command: list[str]) -> list[str]:
    return with_options(command, "--key-load-delay 2000")


def test_progress_and_place(tmp_path: Path, redis_command: list[str], parent: Path) -> None:
    with primary_of(tmp_path / "source", redis_command) as primary, raw(primary) as client:
        client.mset({str(number): "x" * 10_000 for number in range(500)})
        client.config_set("rdbcompression", "no")
        snapshot = snapshot_of(primary)
    told: list[float] = []
    with throwaway_server(parent, snapshot, command=with_slow_loading(redis_command), progress=told.append) as server:
        assert told
        assert told == sorted(told)
        assert 0 <= told[0] <= told[-1] <= 100
        process = int(server.client.info("server")["process_id"])
        assert Path(f"/proc/{process}/oom_score_adj").read_text().strip() == "1000"
        assert os.getpriority(os.PRIO_PROCESS, process) == 19
        (folder,) = parent.iterdir()
        assert folder.stat().st_mode & 0o777 == 0o700
        assert (folder / "server.conf").stat().st_mode & 0o777 == 0o600
        assert server.client.config_get("bind") == {"bind": "127.0.0.1"}
        password = str(server.client.config_get("requirepass")["requirepass"])
        assert len(password) >= 40
        assert not any(password in line for line in processes_about(parent))


@pytest.mark.parametrize("at", ["writing", "loading", "loaded"])
def test_nothing_outlives_who_is_killed(tmp_path: Path, redis_command: list[str], parent: Path, at: str) -> None:
    with primary_of(tmp_path / "source", redis_command) as primary, raw(primary) as client:
        client.mset({str(number): "x" * 10_000 for number in range(500)})
        client.config_set("rdbcompression", "no")
        (tmp_path / "snapshot").write_bytes(b"".join(snapshot_of(primary)))
    program = """
        import pathlib, sys, time
        from components.backups.throwaway_server import throwaway_server

        parent, snapshot, at, *command = sys.argv[1:]

        def here(name):
            if name == at:
                print("here", flush=True)
                time.sleep(1000)

        def pieces():
            yield pathlib.Path(snapshot).read_bytes()
            here("writing")

        with throwaway_server(
            pathlib.Path(parent), pieces(), command=command, progress=lambda percent: here("loading")
        ):
            here("loaded")
    """
    arguments = [str(parent), str(tmp_path / "snapshot"), at, *with_slow_loading(redis_command)]
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program), *arguments], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "here\n"
        (folder,) = parent.iterdir()
        assert processes_about(folder)
        process.send_signal(signal.SIGKILL)
    wait_for(lambda: not list(parent.iterdir()), "the folder is gone")
    wait_for(lambda: not processes_about(folder), "the processes are gone")


def test_who_fails_with_it_leaves_nothing(deploy: Deploy, redis_command: list[str], parent: Path) -> None:
    (primary,) = replicated(deploy, 0)
    snapshot = snapshot_of(primary)

    def broken() -> Iterator[bytes]:
        yield snapshot[0][:20]
        raise Damaged("the store's object was altered")

    with pytest.raises(Damaged, match="object was altered"), throwaway_server(parent, broken(), command=redis_command):
        pass
    with ExitStack() as stack:
        servers = [stack.enter_context(throwaway_server(parent, snapshot, command=redis_command)) for _ in range(3)]
        assert [server.loaded.keys for server in servers] == [0, 0, 0]
        with pytest.raises(ZeroDivisionError), throwaway_server(parent, snapshot, command=redis_command):
            raise ZeroDivisionError
        assert len(list(parent.iterdir())) == 3


@pytest.mark.parametrize("cluster", [False, True], ids=["port", "bus port"])
def test_a_port_that_somebody_takes_meanwhile(
    deploy: Deploy, redis_command: list[str], parent: Path, monkeypatch: pytest.MonkeyPatch, cluster: bool
) -> None:
    (primary,) = replicated(deploy, 0)
    primary.ask("SET", "key", "value")
    port, bus_port = throwaway_server_module._free_ports(2)
    with socket.create_server(("127.0.0.1", bus_port if cluster else port)):
        ports = iter([[port, bus_port], throwaway_server_module._free_ports(2)])
        monkeypatch.setattr(throwaway_server_module, "_free_ports", lambda count: next(ports))
        snapshot = snapshot_of(primary)
        with throwaway_server(parent, snapshot, command=redis_command, cluster=cluster) as server:
            assert server.client.dbsize() == 1
    assert next(ports, None) is None
