"""A Redis Cluster's nodes as containers with the project's own files, made without Pulumi."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from docker.models.containers import Container
from redis.cluster import RedisCluster

from components import config_files
from components.config_files import CLUSTER_USERS, Listener
from components.formation import Access
from components.formation.cluster import ClusterTarget, Shard, form
from components.settings import MEBIBYTE, RedisClusterSettings
from tests.host.containers import ANSWERS_LATER, NodeContainers, Server, member_of, wait_until
from tests.ports import free_port

NODE_TIMEOUT_SECONDS = 2


@dataclass(frozen=True)
class Known:
    """A line of CLUSTER NODES: what one node knows of another, or of itself."""

    node_id: str
    host: str
    address: str
    flags: frozenset[str]
    primary: str
    linked: bool
    slots: tuple[str, ...]

    @property
    def is_primary(self) -> bool:
        return "master" in self.flags


class ClusterContainers(NodeContainers[RedisClusterSettings]):
    """Three shards of two small nodes, or what the settings given say, on ports that are free.

    Port of copy ``c`` of shard ``s``: first port + 10 s + c; its bus stays inside the network.
    """

    def __init__(self, **values: Any) -> None:
        settings = RedisClusterSettings(
            **{
                "memory": 64 * MEBIBYTE,
                "port": free_port(10 * values.get("shards", 3)),
                "cluster_node_timeout": NODE_TIMEOUT_SECONDS * 1000,
                "min_replicas_to_write": 0,
                "app_key_pattern": "app:*",
                "app_channel_pattern": "app:*",
                **values,
            }
        )
        super().__init__(settings, CLUSTER_USERS)
        self.shards = [
            [
                Server("redis", Listener(f"{self.name}-redis-{shard}-{copy}", settings.port_of(shard, copy)))
                for copy in range(settings.replicas_per_shard + 1)
            ]
            for shard in range(settings.shards)
        ]
        self.servers = [server for shard in self.shards for server in shard]

    def files(self, server: Server, settings: RedisClusterSettings | None = None) -> dict[str, str]:
        settings = settings or self.settings
        return {
            **self.access_files(server),
            **config_files.cluster_scripts(),
            "node.env": config_files.cluster_node_env(server.listener),
            "users.acl": config_files.users_acl(config_files.cluster_acl_rules(settings), self.passwords),
            "redis.conf": config_files.cluster_redis_conf(
                settings, server.listener, server.name, self.passwords["replication"]
            ),
            "live.conf": config_files.live_conf(config_files.cluster_live_settings(settings)),
        }

    # Forming

    @property
    def target(self) -> ClusterTarget:
        """What formation is asked for."""
        return ClusterTarget(
            tuple(Shard(f"{self.name}-redis-{i}", tuple(map(member_of, shard))) for i, shard in enumerate(self.shards)),
            config_files.cluster_live_settings(self.settings),
        )

    def form(self) -> None:
        access = Access("admin", self.passwords["admin"], self.ca_certificate)
        form(self.target, access, progress=print, timeout_seconds=150)

    def answers(self, server: Server) -> None:
        """Waits until a node answers."""
        wait_until(lambda: self.ask(server, "PING"), f"{server.name} answers")

    def address_of(self, server: Server) -> str:
        """The address that the engine gave to a node's container for now."""
        return self.address_on(self.container(server))

    def address_on(self, container: Container) -> str:
        """The address that a container has on this cluster's network."""
        container.reload()
        return str((container.attrs or {})["NetworkSettings"]["Networks"][self.name]["IPAddress"])

    def join_network(self, container: Container, alias: str) -> None:
        """Let a container of another deployment be found under a name on this cluster's network."""
        self.engine.networks.get(self.name).connect(container, aliases=[alias])

    def set_node_timeout(self, seconds: float) -> None:
        """Change cluster-node-timeout on every node, for its next starts too."""
        for server in self.servers:
            self.ask(server, "CONFIG", "SET", "cluster-node-timeout", int(seconds * 1000))
            self.ask(server, "CONFIG", "REWRITE")

    def kill_all(self) -> None:
        """Kill every node at one moment: none sees another die while the engine is at it.

        They come back within the default cluster-node-timeout, which is longer than that of these tests.
        """
        self.set_node_timeout(15)
        self.kill(*self.servers)

    def wait_until_ready(self) -> None:
        """Until a test can begin: the cluster is whole, and notices soon when a node dies."""
        self.wait_until_whole(30)
        self.set_node_timeout(NODE_TIMEOUT_SECONDS)

    def change(self, **values: Any) -> None:
        """Give every node files with other settings, and restart all at once: nothing else holds the data."""
        changed = dataclasses.replace(self.settings, **values)
        for server in self.servers:
            self.write_files(server, self.files(server, changed))
        self.kill_all()
        self.start(*self.servers)

    def start_anew(self) -> None:
        """From whatever state, or none: a new, formed cluster."""
        self.remove()
        self.start_all()
        self.form()
        self.wait_until_whole()

    # What nodes know

    def known(self, server: Server) -> dict[str, Known]:
        """What a node knows (CLUSTER NODES), itself included, by node id."""
        lines = [line.split(" ") for line in self.ask(server, "CLUSTER", "NODES").splitlines()]
        return {
            words[0]: Known(
                words[0],
                ",".join(words[1].split(",")[1:2]),
                words[1].split(":")[0],
                frozenset(words[2].split(",")),
                words[3],
                words[7] == "connected",
                tuple(words[8:]),
            )
            for words in lines
        }

    def itself(self, server: Server) -> Known:
        """What a node knows of itself."""
        return next(each for each in self.known(server).values() if "myself" in each.flags)

    def state(self, server: Server) -> str:
        """``cluster_state`` of CLUSTER INFO."""
        lines = self.ask(server, "CLUSTER", "INFO").splitlines()
        return str(dict(line.split(":", 1) for line in lines if line)["cluster_state"])

    def keys(self, server: Server) -> int:
        """How many keys a node holds, be it linked with its primary or not."""
        with self.client(server) as client:
            return int(client.info("keyspace").get("db0", {}).get("keys", 0))

    def owns(self, server: Server, key: str) -> bool:
        """Whether a node takes the slot of a key for its own."""
        slot = int(self.ask(server, "CLUSTER", "KEYSLOT", key))
        ranges = [slots.partition("-")[::2] for slots in self.itself(server).slots]
        return any(int(first) <= slot <= int(last or first) for first, last in ranges)

    def primary_of(self, shard: int) -> Server:
        """The one node of a shard that is a primary with slots; waits until there is one."""
        return wait_until(lambda: self._primary_of(shard), f"one primary of shard {shard}")

    def _primary_of(self, shard: int) -> Server | None:
        running = [server for server in self.shards[shard] if self.container(server).status == "running"]
        owners = []
        for server in running:
            with contextlib.suppress(*ANSWERS_LATER):
                own = self.itself(server)
                owners += [server] if own.is_primary and own.slots else []
        return owners[0] if len(owners) == 1 else None

    def replica_of(self, shard: int) -> Server:
        """The first node of a shard that is not its primary."""
        primary = self.primary_of(shard)
        return next(server for server in self.shards[shard] if server != primary)

    def owners(self) -> list[Server]:
        """The primary of each shard, in order."""
        return [self.primary_of(shard) for shard in range(len(self.shards))]

    def wait_until_whole(self, seconds: float = 150) -> None:
        """Until every node agrees with every other, each shard has one primary, and replicas are in sync and proven."""
        wait_until(self.whole, "every node agrees, and replicas are in sync", seconds)

    def whole(self) -> bool:
        """Whether it is so now."""
        seen = set()
        for server in self.servers:
            known = self.known(server)
            replication = self.replication(server)
            if (
                self.state(server) != "ok"
                or {each.host for each in known.values()} != {each.name for each in self.servers}
                or len(known) != len(self.servers)
                or not all(each.linked for each in known.values())
                or any(each.flags & {"fail", "fail?", "handshake", "noaddr"} for each in known.values())
                or (replication["role"] == "slave" and replication["master_link_status"] != "up")
                or self.config(server, "replica-serve-stale-data") != "yes"
            ):
                return False
            seen.add(frozenset((each.node_id, each.primary, each.slots) for each in known.values()))
        return len(seen) == 1

    # Data

    @contextlib.contextmanager
    def cluster_client(self, user: str = "app") -> Iterator[RedisCluster]:
        """A client of the whole cluster from the machine outside."""
        client = RedisCluster(
            host="127.0.0.1",
            port=next(each for each in self.servers if self.container(each).status == "running").listener.port,
            username=user,
            password=self.passwords[user],
            ssl=True,
            ssl_ca_data=self.ca_certificate,
            socket_timeout=5,
            decode_responses=True,
            address_remap=lambda address: ("127.0.0.1", address[1]),
        )
        try:
            yield client
        finally:
            client.close()

    def write(self, count: int, prefix: str = "app:") -> dict[str, str]:
        """Acknowledged writes of user ``app``, spread over the shards."""
        values = {f"{prefix}{i}": f"value-{i}" for i in range(count)}
        with self.cluster_client() as client:
            for key, value in values.items():
                assert client.set(key, value)
        return values

    def read(self, values: Mapping[str, str]) -> dict[str, str]:
        """What the primaries have of these keys."""
        with self.cluster_client() as client:
            return {key: str(client.get(key)) for key in values}

    def wait_until_copied(self) -> None:
        """Until every replica has what its primary has."""
        for primary, *others in self.shards:
            expected = self.keys(primary)
            for other in others:
                wait_until(lambda: self.keys(other) == expected, f"{other.name} has every key")  # noqa: B023
