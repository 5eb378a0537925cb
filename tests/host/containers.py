"""Nodes as containers with the project's own files, made without Pulumi: a test can do to them what hosts do."""

from __future__ import annotations

import abc
import contextlib
import functools
import io
import os
import secrets
import tarfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Self, TypeVar

import docker
import redis
from docker.models.containers import Container
from docker.types import Mount
from redis.backoff import NoBackoff
from redis.retry import Retry

from components import ReplicatedRedisSettings, config_files
from components.certificates import issue_certificate, make_authority
from components.config_files import CONFIG_FOLDER, DATA_FOLDER, REDIS_USERS, Listener
from components.formation import Access, Address, Member
from components.formation.replication import ReplicationTarget, SentinelSettings, form
from components.settings import MEBIBYTE, NodeSettings
from tests.ports import free_port

LABEL = "redis-production-node-test"
OWNER = f"{LABEL}-process"
_RESTART: Any = {"Name": "unless-stopped"}
ANSWERS_LATER = (redis.ConnectionError, redis.TimeoutError, redis.ResponseError)
Result = TypeVar("Result")
Settings = TypeVar("Settings", bound=NodeSettings)


def wait_until(condition: Callable[[], Result | None], what: str, seconds: float = 150) -> Result:
    """What ``condition`` returns as soon as that is true; a server that does not answer yet counts as false."""
    deadline = time.monotonic() + seconds
    last: object = None
    while time.monotonic() < deadline:
        try:
            last = found = condition()
            if found:
                return found
        except ANSWERS_LATER as error:
            last = error
        time.sleep(0.05)
    raise AssertionError(f"not within {seconds} s: {what} (last: {last!r})")


def wait_until_each(servers: Sequence[Server], condition: Callable[[Server], object], what: str) -> None:
    """Until ``condition`` is true of every server."""
    for server in servers:
        wait_until(functools.partial(condition, server), f"{server.name}: {what}")


@dataclass(frozen=True)
class Server:
    """A node: ``listener`` is what it announces; it is reached at the same port of loopback."""

    kind: str
    listener: Listener

    @property
    def name(self) -> str:
        """The name of its container."""
        return self.listener.host

    @property
    def address(self) -> str:
        return f"{self.listener.host}:{self.listener.port}"


class NodeContainers(abc.ABC, Generic[Settings]):
    """The containers of one deployment's nodes, under a name that is free."""

    servers: list[Server]
    health_check_seconds = 15
    """How often the engine checks each container, as deployed ones: a check takes a tenth of a second of a core."""

    def __init__(self, settings: Settings, users: Sequence[str]) -> None:
        self.name = f"hosttest-{secrets.token_hex(3)}"
        self.settings = settings
        self.engine = docker.from_env()
        self.passwords = {user: f"the-password-of-{user}-in-{self.name}" for user in users}
        self._authority = make_authority(self.name, 30)
        self.ca_certificate = self._authority.certificate
        self._labels = {LABEL: self.name, OWNER: str(os.getpid())}

    @abc.abstractmethod
    def files(self, server: Server, settings: Settings | None = None) -> dict[str, str]:
        """What a node's configuration folder holds, by name within it."""

    @abc.abstractmethod
    def form(self) -> None:
        """Make the nodes one deployment, as ``pulumi up`` does."""

    @abc.abstractmethod
    def wait_until_whole(self) -> object:
        """Until every node has its place, and all agree."""

    def memory(self, server: Server) -> int:
        """The memory limit of a node's container in bytes."""
        return self.settings.memory

    # Making and removing

    def start_all(self) -> None:
        """Make and start every node; none is formed."""
        self.engine.networks.create(self.name, labels=self._labels)
        self.each(self.servers, self.create)

    def create(self, server: Server) -> None:
        """Make and start one node on its volumes, which are made if they are missing."""
        volumes = [(f"{server.name}-data", DATA_FOLDER), (f"{server.name}-config", CONFIG_FOLDER)]
        for volume, _ in volumes:
            self.engine.volumes.create(volume, labels=self._labels)
        self.write_files(server, self.files(server))
        memory = self.memory(server)
        container = self.engine.containers.create(
            self.settings.image,
            name=server.name,
            hostname=server.name,
            entrypoint=["/bin/sh", f"{CONFIG_FOLDER}/start.sh"],
            user="999:999",
            init=True,
            read_only=True,
            cap_drop=["ALL"],
            security_opt=["no-new-privileges"],
            mem_limit=memory,
            memswap_limit=memory,
            network=self.name,
            dns_opt=["ndots:1", "timeout:1", "attempts:1"],
            ports={f"{server.listener.port}/tcp": ("127.0.0.1", server.listener.port)},
            mounts=[Mount(folder, volume) for volume, folder in volumes],
            tmpfs={"/tmp": "size=16m,mode=1777"},
            labels=self._labels,
            restart_policy=_RESTART,
            healthcheck={
                "test": ["CMD", "/bin/sh", f"{CONFIG_FOLDER}/health.sh"],
                "interval": self.health_check_seconds * 10**9,
            },
        )
        container.start()

    def access_files(self, server: Server) -> dict[str, str]:
        """The files that nodes of every kind need to be asked."""
        certificate = issue_certificate(self._authority, [server.name, "localhost", "127.0.0.1"], 20)
        return {
            "host.auth": config_files.host_auth(self.passwords["host"]),
            "health.sh": config_files.host_script("health.sh"),
            "tls/ca.crt": self.ca_certificate,
            "tls/node.crt": certificate.certificate,
            "tls/node.key": certificate.private_key,
        }

    def write_files(self, server: Server, files: Mapping[str, str]) -> None:
        """Put files on a node's configuration volume, as the platform does: a running node is not touched."""
        with self._helper(f"{server.name}-config", CONFIG_FOLDER, ["true"]) as container:
            assert container.put_archive("/", _archive(files))

    def wipe(self, server: Server) -> None:
        """Empty the data volume of a stopped node."""
        self._change_data(server, "find", DATA_FOLDER, "-mindepth", "1", "-delete")

    def lose_data(self, server: Server) -> None:
        """Remove what Redis keeps of the keys from a stopped node's volume; who it is stays."""
        self._change_data(server, "sh", "-c", f"rm -r {DATA_FOLDER}/appendonlydir; rm -f {DATA_FOLDER}/dump.rdb")

    def restart_host(self, server: Server) -> None:
        """Make a stopped node believe that its host was restarted, so that what the kernel had not written is lost."""
        self._change_data(server, "sh", "-c", f"echo of-another-start >{DATA_FOLDER}/boot")

    def _change_data(self, server: Server, *command: str) -> None:
        with self._helper(f"{server.name}-data", DATA_FOLDER, list(command)) as helper:
            helper.start()
            assert helper.wait()["StatusCode"] == 0

    @contextlib.contextmanager
    def _helper(self, volume: str, folder: str, command: list[str]) -> Iterator[Container]:
        container = self.engine.containers.create(
            self.settings.image,
            entrypoint=command,
            user="999:999",
            network_mode="none",
            mounts=[Mount(folder, volume)],
            labels=self._labels,
        )
        try:
            yield container
        finally:
            container.remove(force=True, v=True)

    def start_anew(self) -> None:
        """From whatever state, or none: a new, formed deployment."""
        self.remove()
        self.start_all()
        self.form()
        self.wait_until_whole()

    def remove(self) -> None:
        """Leave nothing on the engine."""
        _remove(self.engine, f"{LABEL}={self.name}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()
        self.engine.close()

    # What happens to nodes

    def container(self, server: Server) -> Container:
        return self.engine.containers.get(server.name)

    def kill(self, *servers: Server) -> None:
        """SIGKILL, as when the power goes: nothing is saved."""
        self.each(servers, lambda server: self.container(server).kill())
        self.each(servers, lambda server: self.container(server).wait())

    def start(self, *servers: Server) -> None:
        """Start stopped nodes, one after the other."""
        for server in servers:
            self.container(server).start()

    def replace(self, server: Server, settings: Settings) -> None:
        """Put a new container with other settings in a node's place, on the same volumes."""
        container = self.container(server)
        container.stop()
        container.remove()
        self.settings = settings
        self.create(server)

    def health(self, server: Server) -> str:
        """What the engine thinks of a node by its health check."""
        return str(self.container(server).attrs["State"]["Health"]["Status"])

    def processes(self, server: Server) -> list[str]:
        """The command lines that run in a node's container."""
        return [row[-1] for row in self.container(server).top(ps_args="-eo pid,args")["Processes"]]

    def run(self, server: Server, *command: str) -> tuple[int, str]:
        """Run a command in a node's container; its exit code and what it printed."""
        code, output = self.container(server).exec_run(list(command))
        assert isinstance(output, bytes)
        return int(code or 0), output.decode(errors="replace")

    def log(self, server: Server) -> str:
        text: bytes = self.container(server).logs()
        return text.decode(errors="replace")

    def each(self, servers: Sequence[Server], work: Callable[[Server], object]) -> None:
        """Do something to several nodes at once."""
        _at_once(work, servers)

    # Talking to nodes

    @contextlib.contextmanager
    def client(self, server: Server, user: str = "admin", **options: Any) -> Iterator[redis.Redis]:
        """A client that tries once and waits 5 s at most."""
        options = {
            "username": user,
            "password": self.passwords.get(user),
            "ssl": True,
            "ssl_ca_data": self.ca_certificate,
            "socket_timeout": 5,
            "socket_connect_timeout": 2,
            "decode_responses": True,
            "retry": Retry(NoBackoff(), 0),
            "protocol": 2,
            **options,
        }
        client = redis.Redis(host="127.0.0.1", port=server.listener.port, **options)
        try:
            yield client
        finally:
            client.close()

    def ask(self, server: Server, *words: str | int, user: str = "admin") -> Any:
        """Send one command on a connection of its own."""
        with self.client(server, user) as client:
            return client.execute_command(*words)  # type: ignore[no-untyped-call]

    def replication(self, server: Server) -> dict[str, Any]:
        """INFO replication."""
        with self.client(server) as client:
            found: dict[str, Any] = client.info("replication")
            return found

    def config(self, server: Server, name: str) -> str:
        """CONFIG GET of one directive."""
        with self.client(server) as client:
            return str(client.config_get(name)[name])

    def size(self, server: Server) -> int:
        """DBSIZE."""
        return int(self.ask(server, "DBSIZE"))


class Containers(NodeContainers[ReplicatedRedisSettings]):
    """Three small Redis nodes and three Sentinels, or what the settings given say, on ports that are free.

    Sentinels do nothing in the time of a test, unless it allows a failover.
    """

    def __init__(self, **values: Any) -> None:
        port = free_port(20)
        settings = ReplicatedRedisSettings(
            **{
                "memory": 64 * MEBIBYTE,
                "port": port,
                "sentinel_port": port + 10,
                "down_after_milliseconds": 60000,
                "failover_timeout": 5000,
                "min_replicas_to_write": 0,
                "app_key_pattern": "app:*",
                "app_channel_pattern": "app:*",
                **values,
            }
        )
        super().__init__(settings, REDIS_USERS)
        self.redis = [
            Server("redis", Listener(f"{self.name}-redis-{i}", settings.port + i)) for i in range(settings.replicas + 1)
        ]
        self.sentinels = [
            Server("sentinel", Listener(f"{self.name}-sentinel-{i}", settings.sentinel_port + i))
            for i in range(settings.sentinels)
        ]
        self.servers = [*self.redis, *self.sentinels]

    def memory(self, server: Server) -> int:
        return self.settings.memory if server.kind == "redis" else self.settings.sentinel_memory

    def files(self, server: Server, settings: ReplicatedRedisSettings | None = None) -> dict[str, str]:
        settings = settings or self.settings
        sentinels = [sentinel.listener for sentinel in self.sentinels]
        common = {
            "node.env": config_files.node_env(server.listener, self.name, sentinels),
            **self.access_files(server),
        }
        if server.kind == "sentinel":
            return {
                **common,
                "users.acl": config_files.users_acl(config_files.sentinel_acl_rules(), self.passwords),
                "sentinel.conf": config_files.sentinel_conf(settings, server.listener, self.passwords["sentinel"]),
                "start.sh": config_files.host_script("start_sentinel.sh"),
            }
        live = config_files.live_settings(settings, settings.effective_min_replicas_to_write)
        return {
            **common,
            "users.acl": config_files.users_acl(config_files.redis_acl_rules(settings), self.passwords),
            "redis.conf": config_files.redis_conf(settings, server.listener, self.passwords["replication"]),
            "live.conf": config_files.live_conf(live),
            **config_files.redis_scripts(),
        }

    # Forming

    @property
    def target(self) -> ReplicationTarget:
        settings = self.settings
        return ReplicationTarget(
            nodes=tuple(map(member_of, self.redis)),
            sentinels=tuple(map(member_of, self.sentinels)),
            sentinel=SentinelSettings(
                master_name=self.name,
                quorum=settings.quorum,
                down_after_milliseconds=settings.down_after_milliseconds,
                parallel_syncs=settings.parallel_syncs,
                failover_timeout_milliseconds=settings.failover_timeout,
                auth_user="sentinel",
                auth_password=self.passwords["sentinel"],
            ),
            live_settings=config_files.live_settings(settings, settings.effective_min_replicas_to_write),
        )

    def form(self, target: ReplicationTarget | None = None) -> None:
        access = Access("admin", self.passwords["admin"], self.ca_certificate)
        form(target or self.target, access, progress=print, timeout_seconds=150)

    def primary(self) -> Server:
        """The node that every Sentinel names as the primary; waits for it."""
        return wait_until(self.named_primary, "one primary that every Sentinel names")

    def replicas(self) -> list[Server]:
        primary = self.primary()
        return [server for server in self.redis if server != primary]

    def is_proven_replica_of(self, replica: Server, primary: Server) -> bool:
        """Whether a node is in sync and may be promoted."""
        found = self.replication(replica)
        return (
            found["role"] == "slave"
            and found["master_link_status"] == "up"
            and f"{found['master_host']}:{found['master_port']}" == primary.address
            and found["slave_priority"] == 100
            and self.config(replica, "replica-serve-stale-data") == "yes"
        )

    def wait_until_whole(self) -> Server:
        """Until one primary has every other node as a replica in sync, and the Sentinels agree; gives the primary."""
        return wait_until(self._primary_of_whole, "one primary, replicas in sync, Sentinels that agree")

    def _primary_of_whole(self) -> Server | None:
        primary = self.named_primary()
        if primary is None or self.replication(primary)["role"] != "master":
            return None
        replicas = [server for server in self.redis if server != primary]
        if not all(self.is_proven_replica_of(replica, primary) for replica in replicas):
            return None
        quorums = [str(self.ask(sentinel, "SENTINEL", "CKQUORUM", self.name)) for sentinel in self.sentinels]
        return primary if all(answer.startswith("OK") for answer in quorums) else None

    def named_primary(self) -> Server | None:
        """The node that every Sentinel names as the primary, or None as long as they do not agree."""
        named = {
            ":".join(self.ask(each, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.name) or []) for each in self.sentinels
        }
        found = [server for server in self.redis if named == {server.address}]
        return found[0] if found else None

    @contextlib.contextmanager
    def failover_allowed(self, down_after_milliseconds: int = 3000) -> Iterator[None]:
        """While it lasts, Sentinels act soon; to that end they also ask the nodes for INFO more often.

        A Sentinel promotes no replica that had been without its primary for ten times down-after when it noticed.
        """
        self._watch(down_after_milliseconds, 500)
        try:
            yield
        finally:
            self._watch(self.settings.down_after_milliseconds, 10_000)

    def _watch(self, down_after_milliseconds: int, info_period_milliseconds: int) -> None:
        for sentinel in self.sentinels:
            self.ask(sentinel, "SENTINEL", "SET", self.name, "down-after-milliseconds", down_after_milliseconds)
            self.ask(sentinel, "SENTINEL", "DEBUG", "INFO-PERIOD", info_period_milliseconds)

    def write(self, count: int, prefix: str = "app:") -> dict[str, str]:
        """Acknowledged writes of user ``app`` on the primary."""
        values = {f"{prefix}{i}": f"value-{i}" for i in range(count)}
        with self.client(self.primary(), "app") as client:
            for key, value in values.items():
                assert client.set(key, value)
        return values

    def read(self, server: Server, keys: Mapping[str, str]) -> dict[str, str]:
        """Those of ``keys`` that a node has, with the values it has."""
        with self.client(server, "app") as client:
            found: list[Any] = client.mget(list(keys))
        return {key: value for key, value in zip(keys, found, strict=True) if value is not None}


def remove_leftovers() -> None:
    """Remove what a run of these tests left that was killed."""
    engine = docker.from_env()
    for volume in engine.volumes.list(filters={"label": OWNER}):
        owner = str((volume.attrs or {})["Labels"][OWNER])
        if not Path("/proc", owner).exists():
            _remove(engine, f"{OWNER}={owner}")
    engine.close()


def _remove(engine: docker.DockerClient, label: str) -> None:
    mine: Any = {"label": label}

    def remove(container: Container) -> None:
        with contextlib.suppress(docker.errors.NotFound):
            container.remove(force=True, v=True)

    _at_once(remove, engine.containers.list(all=True, filters=mine, sparse=True))
    for volume in engine.volumes.list(filters=mine):
        volume.remove(force=True)
    for network in engine.networks.list(filters=mine):
        network.remove()


def _at_once(work: Callable[[Any], object], items: Sequence[Any]) -> None:
    with ThreadPoolExecutor(max_workers=max(len(items), 1)) as pool:
        list(pool.map(work, items))


def member_of(server: Server) -> Member:
    port = server.listener.port
    return Member(server.name, Address(server.listener.host, port), Address("127.0.0.1", port))


def _archive(files: Mapping[str, str]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(f"{CONFIG_FOLDER.strip('/')}/{name}")
            entry.size = len(content.encode())
            entry.mode = 0o444
            archive.addfile(entry, io.BytesIO(content.encode()))
    return buffer.getvalue()
