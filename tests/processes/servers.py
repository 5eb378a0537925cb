"""Bare redis-server and Sentinel processes on loopback, configured as the nodes of a deployment are."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis

from components.config_files import redis_acl_rules
from components.formation import Access, Address, Member
from components.formation.replication import ReplicationTarget, SentinelSettings
from components.settings import ReplicatedRedisSettings
from tests.ports import free_port
from tests.processes.certificates import Authority

DOWN_AFTER_MILLISECONDS = 1000
PASSWORDS = {user: f"{user}-password" for user in ("admin", "app", "replication", "sentinel", "backup")}
# What a node needs at least; a deployment's own rules are tested where they are made.
NODE_USERS = {
    "admin": "~* &* +@all -flushall -flushdb -keys -debug",
    "app": "~* &* +@all -@admin -@dangerous +info",
    "replication": "+psync +replconf +ping",
    "sentinel": "allchannels +multi +slaveof +ping +exec +subscribe +config|rewrite +role +publish +info "
    "+client|setname +client|kill +script|kill",
    "backup": redis_acl_rules(ReplicatedRedisSettings())["backup"],
}
SENTINEL_USERS = {
    "admin": "allchannels +@all",
    "app": "allchannels +ping +sentinel|get-master-addr-by-name +sentinel|masters +sentinel|master +sentinel|replicas "
    "+sentinel|sentinels +subscribe +client +hello",
    "sentinel": "allchannels +@all",
}
_START_SECONDS = 10


def acl_lines(users: Mapping[str, str]) -> str:
    """An ACL file in which only these users exist."""
    lines = ["user default off", *(f"user {user} on >{PASSWORDS[user]} {rules}" for user, rules in users.items())]
    return "".join(f"{line}\n" for line in lines)


@dataclass
class Process:
    """One server: announced as localhost, reached as 127.0.0.1."""

    name: str
    folder: Path
    command: list[str]
    authority: Authority | None
    sentinel: bool = False
    settings: Mapping[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    popen: subprocess.Popen[bytes] | None = None

    @property
    def member(self) -> Member:
        return Member(self.name, Address("localhost", self.port), Address("127.0.0.1", self.port))

    @property
    def running(self) -> bool:
        return self.popen is not None and self.popen.poll() is None

    def start(self) -> None:
        """Starts it as after a reboot: a Redis node unformed, a Sentinel with what it has remembered."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "users.acl").write_text(acl_lines(SENTINEL_USERS if self.sentinel else NODE_USERS))
        config = self.folder / "node.conf"
        if self.sentinel:
            if not config.exists():
                config.write_text("".join(f"{line}\n" for line in self._sentinel_lines()))
        else:
            config.write_text("".join(f"{line}\n" for line in self._node_lines()))
        mode = ["--sentinel"] if self.sentinel else []
        with (self.folder / "log").open("ab") as log:
            self.popen = subprocess.Popen(
                [*self.command, str(config), *mode], stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )

    def wait_until_up(self) -> None:
        """Until it answers PING, or a replica without its primary says so."""
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            assert self.running, f"{self.name} ended: {(self.folder / 'log').read_text()[-2000:]}"
            with contextlib.suppress(redis.ConnectionError, redis.BusyLoadingError), self.client() as client:
                client.execute_command("INFO", "server")
                return
            time.sleep(0.01)
        raise AssertionError(f"{self.name} did not start: {(self.folder / 'log').read_text()[-2000:]}")

    def kill(self) -> None:
        """As in a power cut."""
        if self.popen is not None:
            # A paused process does not die before it goes on.
            with contextlib.suppress(ProcessLookupError):
                self.popen.send_signal(signal.SIGKILL)
            self.popen.wait()

    def pause(self) -> None:
        assert self.popen is not None
        self.popen.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self.popen is not None
        self.popen.send_signal(signal.SIGCONT)

    def wipe(self) -> None:
        """Its data volume is lost."""
        assert not self.running
        shutil.rmtree(self.folder)

    def client(self, user: str = "admin", **options: Any) -> redis.Redis:
        return redis.Redis(
            host="127.0.0.1",
            port=self.port,
            username=user,
            password=PASSWORDS[user],
            protocol=2,
            socket_timeout=5,
            **{"decode_responses": True, **self.tls(), **options},
        )

    def tls(self) -> dict[str, Any]:
        return {"ssl": True, "ssl_ca_data": self.authority.certificate} if self.authority else {}

    def ask(self, *words: str | int) -> Any:
        with self.client() as client:
            return client.execute_command(*words)

    def info(self) -> dict[str, Any]:
        with self.client() as client:
            return dict(client.info())

    def _common_lines(self) -> list[str]:
        lines = [
            "bind 127.0.0.1 -::1",
            "protected-mode no",
            "daemonize no",
            f"dir {self.folder}",
            f"aclfile {self.folder}/users.acl",
        ]
        if self.authority is None:
            return [*lines, f"port {self.port}"]
        self.authority.issue(self.folder, self.name)
        return [
            *lines,
            "port 0",
            f"tls-port {self.port}",
            f"tls-cert-file {self.folder}/node.crt",
            f"tls-key-file {self.folder}/node.key",
            f"tls-ca-cert-file {self.folder}/ca.crt",
            "tls-auth-clients no",
            "tls-replication yes",
        ]

    def _node_lines(self) -> list[str]:
        settings = {"save": '""', "appendonly": "no", **self.settings}
        return [
            *self._common_lines(),
            "replica-announce-ip localhost",
            f"replica-announce-port {self.port}",
            "masteruser replication",
            f"masterauth {PASSWORDS['replication']}",
            "replicaof 127.0.0.1 1",
            "replica-priority 0",
            "replica-serve-stale-data no",
            *(f"{name} {value}" for name, value in settings.items()),
        ]

    def _sentinel_lines(self) -> list[str]:
        return [
            *self._common_lines(),
            "sentinel resolve-hostnames yes",
            "sentinel announce-hostnames yes",
            "sentinel announce-ip localhost",
            f"sentinel announce-port {self.port}",
            "sentinel sentinel-user sentinel",
            f"sentinel sentinel-pass {PASSWORDS['sentinel']}",
        ]


class Deployment:
    """The processes of one deployment and its target. Nothing outlives `close`."""

    def __init__(
        self,
        folder: Path,
        command: list[str],
        *,
        name: str = "cache-test",
        nodes: int = 3,
        sentinels: int = 3,
        authority: Authority | None = None,
        settings: Mapping[str, str] | None = None,
        live_settings: Mapping[str, str] | None = None,
        down_after_milliseconds: int = DOWN_AFTER_MILLISECONDS,
    ) -> None:
        self.folder = folder
        self.command = command
        self.name = name
        self.authority = authority
        self.down_after_milliseconds = down_after_milliseconds
        self.settings = {"repl-diskless-sync-delay": "0", **(settings or {})}
        self.live_settings = dict(live_settings or {})
        self.all_nodes: list[Process] = []
        self.all_sentinels: list[Process] = []
        self.nodes = self.all_nodes
        self.sentinels = self.all_sentinels
        try:
            self.add(nodes=nodes, sentinels=sentinels)
        except BaseException:
            self.close()
            raise
        self.nodes = list(self.all_nodes)
        self.sentinels = list(self.all_sentinels)

    def add(self, *, nodes: int = 0, sentinels: int = 0) -> list[Process]:
        """More processes, started; they are not part of the target yet."""
        new = []
        for _ in range(nodes):
            name = f"{self.name}-redis-{len(self.all_nodes)}"
            process = Process(name, self.folder / name, self.command, self.authority, settings=self.settings)
            self.all_nodes.append(process)
            new.append(process)
        for _ in range(sentinels):
            name = f"{self.name}-sentinel-{len(self.all_sentinels)}"
            process = Process(name, self.folder / name, self.command, self.authority, sentinel=True)
            self.all_sentinels.append(process)
            new.append(process)
        for process in new:
            process.start()
        for process in new:
            process.wait_until_up()
        return new

    @property
    def access(self) -> Access:
        return Access("admin", PASSWORDS["admin"], self.authority.certificate if self.authority else None)

    @property
    def target(self) -> ReplicationTarget:
        """What should be: `nodes` and `sentinels`; the other processes are leaving."""
        quorum = len(self.sentinels) // 2 + 1
        return ReplicationTarget(
            nodes=tuple(process.member for process in self.nodes),
            sentinels=tuple(process.member for process in self.sentinels),
            sentinel=SentinelSettings(
                self.name, quorum, self.down_after_milliseconds, 1, 3000, "sentinel", PASSWORDS["sentinel"]
            ),
            live_settings=self.live_settings,
            leaving_nodes=tuple(process.member for process in self.all_nodes if process not in self.nodes),
            leaving_sentinels=tuple(process.member for process in self.all_sentinels if process not in self.sentinels),
        )

    def process(self, name: str) -> Process:
        return next(process for process in self.all_nodes + self.all_sentinels if process.name == name)

    def primaries(self) -> list[Process]:
        return [process for process in self.all_nodes if process.running and process.info()["role"] == "master"]

    @property
    def primary(self) -> Process:
        (primary,) = self.primaries()
        return primary

    @property
    def replicas(self) -> list[Process]:
        primary = self.primary
        return [process for process in self.nodes if process is not primary]

    def close(self) -> None:
        for process in self.all_nodes + self.all_sentinels:
            process.kill()


def wait_for(condition: Any, what: str, seconds: float = 60) -> Any:
    """The first true answer of `condition`, asked again and again."""
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(redis.ConnectionError, redis.TimeoutError):
            answer = condition()
            if answer:
                return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.02)


def server_command() -> list[str]:
    """How to start redis-server here: REDIS_SERVER, else the one on PATH, else the one of a Redis image."""
    return _program("redis-server", "REDIS_SERVER")


def client_command() -> list[str]:
    """How to start redis-cli here: REDIS_CLI, else the one on PATH, else the one of a Redis image."""
    return _program("redis-cli", "REDIS_CLI")


def _program(name: str, variable: str) -> list[str]:
    given = os.environ.get(variable)
    if given:
        return shlex.split(given)
    found = shutil.which(name)
    return [found] if found else _from_image(name)


def _from_image(name: str) -> list[str]:
    """A program's files out of the image that the project deploys, run with the image's own loader and libraries."""
    image = os.environ.get("REDIS_IMAGE", "redis:8.0.2")
    docker = shutil.which("docker")
    missing = (
        f"no {name} for the process tests: install one (`apt-get install redis-server`), name one in "
        f"{name.upper().replace('-', '_')}, or have the image {image} on a running Docker engine"
    )
    if docker is None:
        raise RuntimeError(missing)
    identity = subprocess.run(
        [docker, "image", "inspect", "--format", "{{.Id}}", image], capture_output=True, text=True, check=False
    )
    if identity.returncode != 0:
        raise RuntimeError(f"{missing} ({identity.stderr.strip()})")
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "redis-production"
    root = cache / f"redis-server-{identity.stdout.strip().removeprefix('sha256:')[:16]}"
    cache.mkdir(parents=True, exist_ok=True)
    with root.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the other worker needs the same files at the same time
        if not root.exists():
            _extract(docker, image, root)
    (program,) = [path for path in (root / "usr/bin" / name, root / "usr/local/bin" / name) if path.exists()]
    loaders = sorted(root.glob("lib*/ld-linux*.so*")) + sorted(root.glob("lib/ld-musl*.so*"))
    libraries = [root / "usr/lib", root / "lib", *root.glob("usr/lib/*-linux-*"), *root.glob("lib/*-linux-*")]
    # By its own name: redis-server and redis-check-rdb may be one file that looks at how it was called.
    return [str(loaders[0]), "--library-path", ":".join(map(str, libraries)), str(program)]


def _extract(docker: str, image: str, root: Path) -> None:
    created = subprocess.run([docker, "create", image, "true"], capture_output=True, text=True, check=True)
    container = created.stdout.strip()
    partial = root.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        with subprocess.Popen([docker, "export", container], stdout=subprocess.PIPE) as export:
            # Only what a program needs to start; links between the folders (lib -> usr/lib) must come along.
            subprocess.run(
                ["tar", "-x", "-C", str(partial), "--wildcards", "--no-same-owner", "--exclude=*/share/*",
                 "bin", "lib*", "usr/lib*", "usr/bin/redis*", "usr/local/bin/redis*"],
                stdin=export.stdout, stderr=subprocess.DEVNULL, check=False,
            )  # fmt: skip
    finally:
        subprocess.run([docker, "rm", "--force", container], capture_output=True, check=False)
    partial.rename(root)


@contextlib.contextmanager
def deployment(folder: Path, command: list[str], **options: Any) -> Iterator[Deployment]:
    """A running deployment, unformed; all its processes are gone afterwards."""
    made = Deployment(folder, command, **options)
    try:
        yield made
    finally:
        made.close()
