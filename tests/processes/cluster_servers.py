"""Bare redis-server processes of a cluster on loopback, configured as the nodes of a deployment are."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from redis.cluster import PRIMARY, ClusterNode, RedisCluster

from components.formation import Access, Member
from components.formation.cluster.observation import SYNC_DELAY, WITHHOLDING_SECONDS
from components.formation.cluster.target import ClusterTarget, Shard
from tests.ports import free_port
from tests.processes.certificates import Authority
from tests.processes.servers import PASSWORDS, Process, client_command, wait_for

NODE_TIMEOUT_MILLISECONDS = 2000
SLOTS = 16384


@dataclass
class ClusterProcess(Process):
    """One node of a cluster; `host` is what it is said to share with others that fail together with it."""

    port: int = field(default_factory=lambda: free_port(with_bus=True))
    host: str = ""

    @property
    def member(self) -> Member:
        plain = super().member
        return Member(plain.name, plain.announced, plain.reach, self.host)

    @property
    def node_id(self) -> str:
        return str(self.ask("CLUSTER", "MYID"))

    def cluster_info(self) -> dict[str, str]:
        text: str = self.ask("CLUSTER", "INFO")
        return dict(line.partition(":")[::2] for line in text.splitlines())

    def known(self) -> list[list[str]]:
        """Its CLUSTER NODES, split into words."""
        return [line.split(" ") for line in self.ask("CLUSTER", "NODES").splitlines()]

    def _knows_others(self) -> bool:
        """Whether it has been in a cluster, by what it remembers."""
        remembered = self.folder / "nodes.conf"
        lines = remembered.read_text().splitlines() if remembered.exists() else []
        return any("myself" not in line for line in lines if not line.startswith("vars"))

    def _node_lines(self) -> list[str]:
        delay = "0" if self._knows_others() else WITHHOLDING_SECONDS
        settings = {"save": '""', "appendonly": "no", SYNC_DELAY: delay, **self.settings}
        return [
            *self._common_lines(),
            "cluster-enabled yes",
            "cluster-config-file nodes.conf",
            f"cluster-node-timeout {NODE_TIMEOUT_MILLISECONDS}",
            "cluster-require-full-coverage yes",
            "cluster-allow-replica-migration no",
            "cluster-announce-hostname localhost",
            f"cluster-announce-human-nodename {self.name}",
            "cluster-preferred-endpoint-type hostname",
            *(["tls-cluster yes"] if self.authority else []),
            "masteruser replication",
            f"masterauth {PASSWORDS['replication']}",
            *(f"{name} {value}" for name, value in settings.items()),
        ]


class _Client(RedisCluster):
    """redis-py's client, but for this: it fails with AttributeError where ASK names a node that MOVED did not before.

    That is rare, since a slot needs ASK for milliseconds only: one in thousands of commands while slots move, and
    more where the processors are busy. The client of the example (components/cluster_client.py) does the same.
    """

    def get_node(self, host: Any = None, port: Any = None, node_name: Any = None) -> Any:
        node = super().get_node(host, port, node_name)  # type: ignore[no-untyped-call]
        if node is None and node_name:
            host, _, port = node_name.rpartition(":")
            return ClusterNode(host, int(port), PRIMARY)  # type: ignore[no-untyped-call]
        return node


class Cluster:
    """The processes of one cluster and its target. Nothing outlives `close`.

    `shards` is what should be: change it, and `target` changes; a process that is in no shard is leaving. `weights`:
    shard name -> weight, where it is not 1.
    """

    def __init__(
        self,
        folder: Path,
        command: list[str],
        *,
        name: str = "cache-test",
        shards: int = 3,
        replicas: int = 1,
        authority: Authority | None = None,
        settings: Mapping[str, str] | None = None,
        live_settings: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self.command = command
        self.name = name
        self.authority = authority
        self.settings = dict(settings or {})
        self.live_settings = dict(live_settings or {})
        self.weights: dict[str, int] = {}
        self.all_nodes: list[ClusterProcess] = []
        self.shards: dict[str, list[ClusterProcess]] = {}
        try:
            self.add_shards(shards, replicas)
        except BaseException:
            self.close()
            raise

    def add_shards(self, count: int = 1, replicas: int = 1) -> list[ClusterProcess]:
        """More shards, their processes started; they are part of the target."""
        new = []
        for _ in range(count):
            shard = str(next(number for number in range(len(self.shards) + 1) if str(number) not in self.shards))
            self.shards[shard] = [self._process(shard) for _ in range(replicas + 1)]
            new += self.shards[shard]
        self._start(new)
        return new

    def add_replicas(self, count: int = 1) -> list[ClusterProcess]:
        """So many more copies of every shard, started; they are part of the target."""
        new = []
        for shard, processes in self.shards.items():
            added = [self._process(shard) for _ in range(count)]
            processes.extend(added)
            new += added
        self._start(new)
        return new

    def _process(self, shard: str) -> ClusterProcess:
        taken = {process.name for process in self.all_nodes}
        copies = (f"{self.name}-redis-{shard}-{copy}" for copy in range(len(self.all_nodes) + 1))
        name = next(name for name in copies if name not in taken)
        process = ClusterProcess(name, self.folder / name, self.command, self.authority, settings=self.settings)
        self.all_nodes.append(process)
        return process

    def _start(self, processes: Sequence[ClusterProcess]) -> None:
        for process in processes:
            process.start()
        for process in processes:
            process.wait_until_up()

    @property
    def access(self) -> Access:
        return Access("admin", PASSWORDS["admin"], self.authority.certificate if self.authority else None)

    @property
    def nodes(self) -> list[ClusterProcess]:
        """The processes that are part of the target."""
        return [process for processes in self.shards.values() for process in processes]

    @property
    def target(self) -> ClusterTarget:
        staying = self.nodes
        return ClusterTarget(
            shards=tuple(
                Shard(
                    f"{self.name}-{shard}",
                    tuple(process.member for process in processes),
                    self.weights.get(shard, 1),
                )
                for shard, processes in self.shards.items()
            ),
            live_settings=self.live_settings,
            leaving=tuple(process.member for process in self.all_nodes if process not in staying),
        )

    def process(self, name: str) -> ClusterProcess:
        return next(process for process in self.all_nodes if process.name == name)

    def primary_of(self, shard: str) -> ClusterProcess:
        """The primary of a shard by the servers' own account."""
        (primary,) = [
            process for process in self.shards[shard] if process.running and process.info()["role"] == "master"
        ]
        return primary

    def replicas_of(self, shard: str) -> list[ClusterProcess]:
        primary = self.primary_of(shard)
        return [process for process in self.shards[shard] if process is not primary]

    def client(self, user: str = "app", **options: Any) -> RedisCluster:
        """A client of the whole cluster, with the defaults of redis-py."""
        return _Client(
            host="localhost",
            port=self.nodes[0].port,
            username=user,
            password=PASSWORDS[user],
            **{"decode_responses": True, **self.nodes[0].tls(), **options},
        )

    def check(self) -> str:
        """What `redis-cli --cluster check` says; it must find nothing to complain about."""
        tls = ["--tls", "--cacert", str(self.nodes[0].folder / "ca.crt")] if self.authority else []
        address = f"127.0.0.1:{next(process for process in self.nodes if process.running).port}"
        done = subprocess.run(
            [*client_command(), "--user", "admin", *tls, "--cluster", "check", address],
            env={**os.environ, "REDISCLI_AUTH": PASSWORDS["admin"]},
            capture_output=True,
            text=True,
            check=False,
        )
        said = done.stdout + done.stderr
        assert done.returncode == 0, said
        assert f"[OK] All {SLOTS} slots covered" in said, said
        assert "[OK] All nodes agree about slots configuration" in said, said
        assert "[ERR]" not in said, said
        assert "WARNING" not in said, said
        return said

    def form_by_hand(self) -> None:
        """Makes the cluster with the plainest commands there are, and waits until every node agrees.

        The slots are divided among the first nodes of the shards in order.
        """
        primaries = [processes[0] for processes in self.shards.values()]
        for ordinal, primary in enumerate(primaries):
            first, last = ordinal * SLOTS // len(primaries), (ordinal + 1) * SLOTS // len(primaries) - 1
            primary.ask("CLUSTER", "SET-CONFIG-EPOCH", ordinal + 1)
            primary.ask("CLUSTER", "ADDSLOTSRANGE", first, last)
        for number, process in enumerate(self.nodes):
            for other in self.nodes[number + 1 :]:
                process.ask("CLUSTER", "MEET", "127.0.0.1", other.port)
        ids = {process.node_id for process in self.nodes}
        wait_for(lambda: all({line[0] for line in each.known()} == ids for each in self.nodes), "all know each other")
        for primary, *replicas in self.shards.values():
            primary.ask("CONFIG", "SET", SYNC_DELAY, 0)
            for replica in replicas:
                replica.ask("CLUSTER", "REPLICATE", primary.node_id)
        wait_for(self.agreed, "all nodes agree")

    def agreed(self) -> bool:
        """Whether every node is well, sees the same slots with the same owners, and replicas are in sync."""
        maps = set()
        for process in self.nodes:
            lines = process.known()
            if process.cluster_info()["cluster_state"] != "ok" or len(lines) != len(self.nodes):
                return False
            if any({"fail", "fail?", "handshake"} & set(line[2].split(",")) for line in lines):
                return False
            if any(",localhost" not in line[1] for line in lines):
                return False
            info = process.info()
            if info["role"] == "slave" and info["master_link_status"] != "up":
                return False
            maps.add(tuple(sorted((line[0], line[3], *line[8:]) for line in lines)))
        return len(maps) == 1

    def close(self) -> None:
        for process in self.all_nodes:
            process.kill()


@contextlib.contextmanager
def cluster(folder: Path, command: list[str], **options: Any) -> Iterator[Cluster]:
    """Running processes, not yet a cluster; all of them are gone afterwards."""
    made = Cluster(folder, command, **options)
    try:
        yield made
    finally:
        made.close()


def restart(processes: Sequence[ClusterProcess]) -> None:
    """All at once, as after a power cut."""
    for process in processes:
        process.kill()
    for process in processes:
        process.start()
    for process in processes:
        process.wait_until_up()
