"""Typed, validated settings with production defaults. Nothing here knows of Pulumi.

A settings object is plain and frozen: it exists only when every value is valid, so whoever holds one need not check
again. :func:`settings_from_mapping` makes one from a stack's configuration, whose keys are the field names with ``-``
for ``_``.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, TypeVar, get_args

from .aws_settings import FEWEST_ZONES, SMALLEST_DATA_VOLUME, AwsSettings
from .backup_settings import BackupSettings
from .instance_types import find_instance_type
from .ranges import range_problem
from .redis_directives import (
    BOOLEAN_DIRECTIVES,
    CLUSTER_DIRECTIVES,
    COMMANDS_THE_CLUSTER_NEEDS,
    COMMANDS_THE_COMPONENT_NEEDS,
    DIRECTIVES_WITH_A_SETTING,
    GUARDED_DIRECTIVES,
    INTEGER_DIRECTIVES,
    LIVE_DIRECTIVES,
    MEMORY_DIRECTIVES,
    REDIS_COMMANDS,
    RESTART_DIRECTIVES,
)

PlatformName = Literal["docker", "aws"]
Persistence = Literal["rdb", "aof", "hybrid", "none"]
AppendFsync = Literal["everysec", "always", "no"]
MaxmemoryPolicy = Literal[
    "noeviction",
    "allkeys-lru",
    "allkeys-lfu",
    "allkeys-random",
    "volatile-lru",
    "volatile-lfu",
    "volatile-random",
    "volatile-ttl",
]

MEBIBYTE = 1024 * 1024
GIBIBYTE = 1024 * MEBIBYTE
SMALLEST_MEMORY = 64 * MEBIBYTE
MEMORY_OF_A_BACKUP = 256 * MEBIBYTE
"""What taking and proving one needs besides the server that holds a node's data."""
_NAME_PATTERN = re.compile(r"[a-z]([a-z0-9-]{0,30}[a-z0-9])?")
_STACK_PATTERN = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
_LONGEST_DEPLOYMENT_NAME = 63 - len("-sentinel-14")
_SAVE_POINT_PATTERN = re.compile(r"\s*([1-9][0-9]{0,17})\s+([1-9][0-9]{0,17})\s*")
_INTEGER_PATTERN = re.compile(r"-?[0-9]{1,18}")
_MEMORY_PATTERN = re.compile(r"([1-9][0-9]{0,17})\s*(b|k|kb|m|mb|g|gb)?", re.IGNORECASE)
_MEMORY_UNITS = {"b": 1, "k": 1000, "kb": 1024, "m": 1000**2, "mb": 1024**2, "g": 1000**3, "gb": 1024**3}


class SettingsError(ValueError):
    """One or more settings are invalid.

    ``problems`` holds one line for each, naming the setting, what is wrong and what to do.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(" ".join(problem.splitlines()) for problem in problems)
        super().__init__("\n".join(self.problems))


def parse_memory(text: str | int) -> int:
    """Return the number of bytes that ``text`` names, in the units of redis.conf (``1k`` = 1000, ``1kb`` = 1024).

    Raises ValueError for anything else than a positive number with an optional unit.
    """
    match = _MEMORY_PATTERN.fullmatch(str(text).strip())
    if match is None:
        raise ValueError(f"'{text}' is not an amount of memory such as 512mb or 2gb")
    return int(match[1]) * _MEMORY_UNITS[(match[2] or "b").lower()]


@dataclass(frozen=True)
class SavePoint:
    """Write an RDB snapshot when at least ``changes`` keys changed within ``seconds`` (redis.conf ``save``)."""

    seconds: int
    changes: int

    @classmethod
    def parse(cls, text: str) -> SavePoint:
        """Make a save point from ``"<seconds> <changes>"``; ValueError unless both are positive whole numbers."""
        match = _SAVE_POINT_PATTERN.fullmatch(str(text))
        if match is None:
            raise ValueError(f"'{text}' is not '<seconds> <changes>' such as '900 1'")
        return cls(int(match[1]), int(match[2]))


@dataclass(frozen=True, kw_only=True)
class NodeSettings:
    """What every Redis node needs to know, whatever the topology.

    Attributes:
        platform: where nodes run.
        aws: what only platform ``aws`` has.
        backup: when backups are taken and where they go, and what a new deployment starts from.
        image: the container image of every node (platform ``docker``).
        memory: memory limit of one Redis node, bytes; at least 64 MiB (platform ``docker``, see :attr:`node_memory`).
        maxmemory: redis.conf ``maxmemory`` in bytes; None derives it (see :attr:`effective_maxmemory`).
        maxmemory_policy: what happens at ``maxmemory``; the default refuses writes rather than dropping keys.
        maxclients: most client connections of a node, 1 to 65000.
        persistence: ``rdb`` snapshots, ``aof`` log, ``hybrid`` both, ``none``.
        save_points: when a snapshot is made (``rdb`` and ``hybrid``).
        appendfsync: when the append-only file reaches the disk (``aof`` and ``hybrid``).
        slowlog_log_slower_than: microseconds; -1 turns the slow log off, 0 logs every command.
        slowlog_max_len: entries that the slow log keeps.
        min_replicas_to_write: replicas in sync without which the primary refuses writes; None: 1 with at least two
            replicas, else 0, so that an isolated primary stops acknowledging and a failover of two nodes stays
            writable.
        min_replicas_max_lag: seconds after which a silent replica no longer counts as in sync.
        port: of node 0; node i listens on ``port + i``, and on ``port`` where every node has a host of its own (aws).
        app_key_pattern: the keys that user ``app`` may touch (ACL pattern).
        app_channel_pattern: the Pub/Sub channels that user ``app`` may touch (ACL pattern).
        default_user: turns on Redis's ``default`` user, with the rights of ``app``, for clients that know no ACLs.
        rename_commands: redis.conf ``rename-command``: command -> new name, ``""`` disables it. For the same clients.
        redis_directives: further redis.conf directives, name -> value.
        certificate_lifetime_days: of each node's certificate; 2 to 825.
        certificate_authority_lifetime_days: longer than a node's certificate.
        retain_data: whether data volumes outlive ``destroy``.
        stop_grace_seconds: time a stopping Redis has to write its data before it is killed.
    """

    platform: PlatformName = "docker"
    aws: AwsSettings = field(default_factory=AwsSettings)
    backup: BackupSettings = field(default_factory=BackupSettings)
    image: str = "redis:8.0.2"
    memory: int = 512 * MEBIBYTE
    maxmemory: int | None = None
    maxmemory_policy: MaxmemoryPolicy = "noeviction"
    maxclients: int = 10000
    persistence: Persistence = "hybrid"
    save_points: tuple[SavePoint, ...] = (SavePoint(900, 1), SavePoint(300, 10), SavePoint(60, 10000))
    appendfsync: AppendFsync = "everysec"
    slowlog_log_slower_than: int = 10000
    slowlog_max_len: int = 128
    min_replicas_to_write: int | None = None
    min_replicas_max_lag: int = 10
    port: int = 6379
    app_key_pattern: str = "*"
    app_channel_pattern: str = "*"
    default_user: bool = False
    rename_commands: Mapping[str, str] = field(default_factory=dict)
    redis_directives: Mapping[str, str] = field(default_factory=dict)
    certificate_lifetime_days: int = 365
    certificate_authority_lifetime_days: int = 3650
    retain_data: bool = True
    stop_grace_seconds: int = 60

    _commands_needed: ClassVar = COMMANDS_THE_COMPONENT_NEEDS
    _needed_by: ClassVar = "replication and Sentinel"
    _replicas_setting: ClassVar = "replicas"

    def __post_init__(self) -> None:
        problems = self._problems()
        if problems:
            raise SettingsError(problems)

    @property
    def replicas_of_a_primary(self) -> int:
        """How many replicas each primary has."""
        raise NotImplementedError

    @property
    def node_count(self) -> int:
        """How many nodes there are, Sentinels included."""
        raise NotImplementedError

    @property
    def on_aws(self) -> bool:
        """Whether nodes run on AWS: each on a host of its own, so that all of a kind listen on the same port."""
        return self.platform == "aws"

    @property
    def node_memory(self) -> int:
        """Bytes that one Redis node may have: ``memory``, or on AWS what the instance has for it."""
        return self.aws.redis_instance.node_memory if self.on_aws else self.memory

    @property
    def backup_memory(self) -> int:
        """Bytes that the backup container may have: ``backup-memory``, or a node's and what a backup takes besides."""
        return self.backup.backup_memory or self.node_memory + MEMORY_OF_A_BACKUP

    @property
    def effective_min_replicas_to_write(self) -> int:
        """``min-replicas-to-write``, given or derived from the number of replicas."""
        if self.min_replicas_to_write is not None:
            return self.min_replicas_to_write
        return 1 if self.replicas_of_a_primary > 1 else 0

    @property
    def effective_maxmemory(self) -> int:
        """``maxmemory`` in bytes, given or derived.

        Derived: the node's memory less a fixed 32 MiB for the process, of which 60 % hold data. The rest is head-room
        for the pages that change during a fork (snapshot, AOF rewrite, full sync), replication backlog and client
        buffers (Redis documentation: "Redis administration", memory). Without persistence 75 %: only full syncs fork.
        """
        if self.maxmemory is not None:
            return self.maxmemory
        share = 75 if self.persistence == "none" else 60
        return (self.node_memory - 32 * MEBIBYTE) * share // 100 // MEBIBYTE * MEBIBYTE

    def _problems(self) -> list[str]:
        return [
            *self._choice_problems(),
            *self._number_problems(),
            *self._memory_problems(),
            *self._aws_problems(),
            *self.backup.problems(on_aws=self.on_aws),
            *self._directive_problems(),
            *self._rename_problems(),
            *self._min_replicas_problems(),
        ]

    def _choice_problems(self) -> list[str]:
        choices = {
            "platform": get_args(PlatformName),
            "persistence": get_args(Persistence),
            "appendfsync": get_args(AppendFsync),
            "maxmemory-policy": get_args(MaxmemoryPolicy),
        }
        problems = [
            f"{setting}: '{value}' is not one of {', '.join(allowed)}"
            for setting, allowed in choices.items()
            if (value := getattr(self, field_name(setting))) not in allowed
        ]
        if self.persistence in ("rdb", "hybrid") and not self.save_points:
            problems.append(f"save-points: persistence '{self.persistence}' needs at least one, such as '900 1'")
        if not self.image.strip() or any(character.isspace() for character in self.image):
            problems.append(f"image: '{self.image}' is not an image name such as redis:8.0.2")
        for setting in ("app-key-pattern", "app-channel-pattern"):
            value = getattr(self, field_name(setting))
            if not value or any(character.isspace() for character in value):
                problems.append(f"{setting}: '{value}' must be one ACL pattern without blanks, such as app:*")
        return problems

    def _number_problems(self) -> list[str]:
        problems = [
            *range_problem("maxclients", self.maxclients, 1, 65000),
            *range_problem("slowlog-log-slower-than", self.slowlog_log_slower_than, -1, 3_600_000_000),
            *range_problem("slowlog-max-len", self.slowlog_max_len, 0, 1_000_000),
            *range_problem("min-replicas-max-lag", self.min_replicas_max_lag, 1, 3600),
            *range_problem("port", self.port, 1024, 65535),
            *range_problem("certificate-lifetime-days", self.certificate_lifetime_days, 2, 825),
            *range_problem("stop-grace-seconds", self.stop_grace_seconds, 1, 3600),
        ]
        if self.certificate_authority_lifetime_days <= self.certificate_lifetime_days:
            problems.append("certificate-authority-lifetime-days: must be longer than certificate-lifetime-days")
        return problems

    def _memory_problems(self) -> list[str]:
        try:
            memory = self.node_memory
        except ValueError:
            return []  # the instance type is unknown, which is told elsewhere
        if memory < SMALLEST_MEMORY:
            return [f"memory: {memory} bytes is less than a Redis node needs; give at least 64mb"]
        if self.backup.backup_memory is not None and self.backup_memory < SMALLEST_MEMORY:
            return [f"backup-memory: {self.backup_memory} bytes is less than a backup needs; give at least 64mb"]
        if self.maxmemory is not None and not 0 < self.maxmemory <= memory * 9 // 10:
            return [
                f"maxmemory: {self.maxmemory} bytes leaves no head-room in memory {memory}; "
                f"give at most {memory * 9 // 10} (90 %), or leave it out to derive it"
            ]
        # The append-only file and the one that replaces it are on the disk together, or a snapshot and the next.
        needed = -(-2 * self.effective_maxmemory // GIBIBYTE) + 1
        size = self.aws.data_volume_size
        if self.on_aws and self.persistence != "none" and SMALLEST_DATA_VOLUME <= size < needed:
            return [
                f"data-volume-size: {size} GiB cannot hold {self.effective_maxmemory} bytes of "
                f"data (maxmemory) twice, as a rewrite needs; give at least {needed}"
            ]
        return []

    def _aws_problems(self) -> list[str]:
        if not self.on_aws:
            return []
        problems = self.aws.problems(nodes=self.node_count)
        copies = self.replicas_of_a_primary + 1
        if copies > self.aws.zones >= FEWEST_ZONES:
            problems.append(
                f"{self._replicas_setting}: {copies} copies of the same data need {copies} zones, but nodes are in "
                f"{self.aws.zones}; use at most {self.aws.zones - 1}, or give more zones (subnet-ids, "
                "availability-zones)"
            )
        return problems

    def _min_replicas_problems(self) -> list[str]:
        replicas = self.replicas_of_a_primary
        if self.min_replicas_to_write is None or 0 <= self.min_replicas_to_write <= replicas:
            return []
        return [
            f"min-replicas-to-write: {self.min_replicas_to_write} with {replicas} replica(s) would refuse "
            f"every write; use 0 to {replicas}"
        ]

    def _directive_problems(self) -> list[str]:
        problems = (directive_problem(name, value) for name, value in self.redis_directives.items())
        return [f"redis-directives: {problem}" for problem in problems if problem]

    def _rename_problems(self) -> list[str]:
        problems = []
        new_names = Counter(new_name.lower() for new_name in self.rename_commands.values())
        for command, new_name in self.rename_commands.items():
            if command.lower() in self._commands_needed:
                problems.append(f"rename-commands: {command} is needed by {self._needed_by}; leave it out")
            elif command.lower() not in REDIS_COMMANDS:
                hint = _did_you_mean(command.lower(), REDIS_COMMANDS)
                problems.append(f"rename-commands: Redis 8.0 has no command {command}{hint}")
            elif new_name and not re.fullmatch(r"[A-Za-z0-9_-]+", new_name):
                problems.append(
                    f"rename-commands: '{new_name}' cannot be the new name of {command}; "
                    "use letters, digits, '_' and '-', or nothing to disable it"
                )
            elif new_name and (new_name.lower() in REDIS_COMMANDS or new_names[new_name.lower()] > 1):
                problems.append(f"rename-commands: '{new_name}' is taken; give {command} a name of its own")
        commands = Counter(command.lower() for command in self.rename_commands)
        problems += [f"rename-commands: {name} is given twice" for name, count in commands.items() if count > 1]
        return problems


@dataclass(frozen=True, kw_only=True)
class ReplicatedRedisSettings(NodeSettings):
    """A primary, its replicas, and the Sentinels that watch them.

    Attributes:
        replicas: copies beside the primary, 0 to 15.
        sentinels: an odd number, 1 to 15, so that a split always has a majority on one side.
        sentinel_port: of Sentinel 0; Sentinel i listens on ``sentinel_port + i``, and on ``sentinel_port`` where every
            node has a host of its own (aws).
        sentinel_memory: memory limit of one Sentinel, bytes (platform ``docker``).
        sentinel_instance_type: of every Sentinel (platform ``aws``).
        quorum: Sentinels that must agree that the primary is down; 1 to ``sentinels``.
        down_after_milliseconds: silence after which a Sentinel takes a node for down.
        parallel_syncs: replicas that resync with a new primary at the same time.
        failover_timeout: milliseconds after which a failover that has not finished is tried again.
        master_name: the name under which clients ask Sentinels; None: the deployment's name, unique per stack.
    """

    replicas: int = 2
    sentinels: int = 3
    sentinel_port: int = 26379
    sentinel_memory: int = 64 * MEBIBYTE
    sentinel_instance_type: str = "t4g.micro"
    quorum: int = 2
    down_after_milliseconds: int = 30000
    parallel_syncs: int = 1
    failover_timeout: int = 180000
    master_name: str | None = None

    @property
    def replicas_of_a_primary(self) -> int:
        """``replicas``: there is one primary."""
        return self.replicas

    @property
    def node_count(self) -> int:
        """Primary, replicas and Sentinels."""
        return 1 + self.replicas + self.sentinels

    @property
    def sentinel_node_memory(self) -> int:
        """Bytes that one Sentinel may have: ``sentinel_memory``, or on AWS what the instance has for it."""
        return find_instance_type(self.sentinel_instance_type).node_memory if self.on_aws else self.sentinel_memory

    def _problems(self) -> list[str]:
        problems = [
            *super()._problems(),
            *range_problem("replicas", self.replicas, 0, 15),
            *range_problem("sentinels", self.sentinels, 1, 15),
            *range_problem("sentinel-port", self.sentinel_port, 1024, 65535),
            *range_problem("down-after-milliseconds", self.down_after_milliseconds, 100, 3_600_000),
            *range_problem("failover-timeout", self.failover_timeout, 1000, 86_400_000),
            *range_problem("parallel-syncs", self.parallel_syncs, 1, 15),
        ]
        if self.sentinels % 2 == 0:
            problems.append(
                f"sentinels: {self.sentinels} is even, so a split can leave no majority; "
                f"use {self.sentinels + 1} (or {max(self.sentinels - 1, 1)})"
            )
        if not 1 <= self.quorum <= self.sentinels:
            problems.append(
                f"quorum: {self.quorum} cannot be reached by {self.sentinels} Sentinel(s); "
                f"use 1 to {self.sentinels} (a majority is {self.sentinels // 2 + 1})"
            )
        if self.sentinel_memory < 32 * MEBIBYTE:
            problems.append(f"sentinel-memory: {self.sentinel_memory} bytes is too little; give at least 32mb")
        if self.master_name is not None and not re.fullmatch(r"[A-Za-z0-9._-]{1,63}", self.master_name):
            problems.append(f"master-name: '{self.master_name}' may hold letters, digits, '.', '_' and '-' only")
        problems.extend([] if self.on_aws else self._port_problems())
        return problems

    def _aws_problems(self) -> list[str]:
        problems = super()._aws_problems()
        if not self.on_aws:
            return problems
        if self.sentinels == 1:
            problems.append("sentinels: 1 would have their majority in one zone; use 3 or more")
        try:
            architecture = find_instance_type(self.sentinel_instance_type).architecture
        except ValueError as error:
            return [*problems, f"sentinel-instance-type: {error}"]
        if self.aws.ami_id is not None and not problems and architecture != self.aws.redis_instance.architecture:
            problems.append(
                f"sentinel-instance-type: {self.sentinel_instance_type} is {architecture} and {self.aws.instance_type} "
                f"is not, but both start from {self.aws.ami_id} (ami-id); use one architecture"
            )
        return problems

    def _port_problems(self) -> list[str]:
        redis_ports = range(self.port, self.port + self.replicas + 1)
        sentinel_ports = range(self.sentinel_port, self.sentinel_port + self.sentinels)
        problems = [
            f"{setting}: {ports[0]} to {ports[-1]} are needed, but a port ends at 65535; use a lower one"
            for setting, ports in (("port", redis_ports), ("sentinel-port", sentinel_ports))
            if ports and ports[-1] > 65535
        ]
        overlap = range(max(redis_ports.start, sentinel_ports.start), min(redis_ports.stop, sentinel_ports.stop))
        if redis_ports and sentinel_ports and overlap:
            problems.append(
                f"sentinel-port: {sentinel_ports[0]} to {sentinel_ports[-1]} overlap the nodes' ports "
                f"{redis_ports[0]} to {redis_ports[-1]}; move one of them"
            )
        return problems


LARGEST_SHARD_WEIGHT = 100
HIGHEST_CLUSTER_PORT = 65535 - 10000
"""Every node listens for the others (cluster bus) on its port + 10000."""


@dataclass(frozen=True, kw_only=True)
class RedisClusterSettings(NodeSettings):
    """Shards, each a primary and its replicas, which have the cluster's 16384 hash slots among them.

    Attributes:
        shards: 3 to 100. With fewer, no majority of the primaries is left to promote a replica when one dies.
        replicas_per_shard: copies beside each primary, 0 to 8.
        shard_weights: 1 to 100 for each shard from shard 0 on; 1 for those that are not named. A shard gets slots in
            proportion to its weight.
        cluster_node_timeout: milliseconds of silence after which the others take a node for down, 500 to 300000.
        cluster_require_full_coverage: whether the whole cluster stops serving while any slot has no primary.
        port: of copy 0 of shard 0; copy c of shard s listens on ``port + 10 * s + c``, so that a port never changes
            when the numbers do. The highest of them must not pass 55535. On AWS all listen on ``port``.
    """

    shards: int = 3
    replicas_per_shard: int = 1
    shard_weights: tuple[int, ...] = ()
    cluster_node_timeout: int = 15000
    cluster_require_full_coverage: bool = True
    port: int = 7000

    _commands_needed: ClassVar = COMMANDS_THE_COMPONENT_NEEDS | COMMANDS_THE_CLUSTER_NEEDS
    _needed_by: ClassVar = "replication and the cluster"
    _replicas_setting: ClassVar = "replicas-per-shard"

    @property
    def replicas_of_a_primary(self) -> int:
        """``replicas-per-shard``."""
        return self.replicas_per_shard

    @property
    def node_count(self) -> int:
        """Every copy of every shard."""
        return self.shards * (self.replicas_per_shard + 1)

    def port_of(self, shard: int, copy: int) -> int:
        """Where copy ``copy`` of shard ``shard`` listens, where nodes share a host."""
        return self.port + self.ordinal_of(shard, copy)

    @staticmethod
    def ordinal_of(shard: int, copy: int) -> int:
        """A number for copy ``copy`` of shard ``shard`` that stays when there are more or fewer of either."""
        return 10 * shard + copy

    def weight_of(self, shard: int) -> int:
        """The weight of shard ``shard``."""
        return self.shard_weights[shard] if shard < len(self.shard_weights) else 1

    def _problems(self) -> list[str]:
        problems = [
            *super()._problems(),
            *range_problem("replicas-per-shard", self.replicas_per_shard, 0, 8),
            *range_problem("cluster-node-timeout", self.cluster_node_timeout, 500, 300_000),
        ]
        if 0 < self.shards < 3:
            problems.append(
                f"shards: {self.shards} cannot outlive the death of a primary, because a majority of the primaries "
                "has to promote its replica; use 3 to 100, or topology replicated"
            )
        else:
            problems += range_problem("shards", self.shards, 3, 100)
        if len(self.shard_weights) > max(self.shards, 0):
            problems.append(f"shard-weights: {len(self.shard_weights)} weights for {self.shards} shards; give fewer")
        for shard, weight in enumerate(self.shard_weights):
            problems += range_problem(f"shard-weights: shard {shard}", weight, 1, LARGEST_SHARD_WEIGHT)
        highest = self.port if self.on_aws else self.port_of(self.shards - 1, self.replicas_per_shard)
        if not problems and highest > HIGHEST_CLUSTER_PORT:
            problems.append(
                f"port: {self.port} to {highest} are needed, but the cluster bus takes each port + 10000, so the "
                f"highest is {HIGHEST_CLUSTER_PORT}; use a lower one"
            )
        return problems

    def _directive_problems(self) -> list[str]:
        problems = []
        for name in self.redis_directives:
            if name in _CLUSTER_DIRECTIVES_WITH_A_SETTING:
                problems.append(f"redis-directives: {name} has a setting of its own: use {name}")
            elif name in CLUSTER_DIRECTIVES:
                problems.append(f"redis-directives: {name} {CLUSTER_DIRECTIVES[name]}; leave it out")
        own = {*_CLUSTER_DIRECTIVES_WITH_A_SETTING, *CLUSTER_DIRECTIVES}
        others = (directive_problem(name, value) for name, value in self.redis_directives.items() if name not in own)
        return [*problems, *(f"redis-directives: {problem}" for problem in others if problem)]


_CLUSTER_DIRECTIVES_WITH_A_SETTING = ("cluster-node-timeout", "cluster-require-full-coverage")


def directive_problem(name: str, value: str) -> str | None:
    """Say in one line what is wrong with a pass-through redis.conf directive, or None when it may be used."""
    if name in DIRECTIVES_WITH_A_SETTING:
        return f"{name} has a setting of its own: use {DIRECTIVES_WITH_A_SETTING[name]}"
    if name in GUARDED_DIRECTIVES:
        return f"{name} is guarded by the component (roles, addresses, access or files depend on it); leave it out"
    known = LIVE_DIRECTIVES | RESTART_DIRECTIVES
    if name not in known:
        return f"Redis 8.0 has no directive {name}{_did_you_mean(name, known)}"
    if not value.isprintable():
        return f"{name} must be one line of printable characters"
    if '"' in value or "'" in value:
        return f"{name} must be given without quotes; they are added where Redis needs them"
    if name in BOOLEAN_DIRECTIVES and value not in ("yes", "no"):
        return f"{name} is 'yes' or 'no', not '{value}'"
    if name in INTEGER_DIRECTIVES and not _INTEGER_PATTERN.fullmatch(value):
        return f"{name} is a whole number, not '{value}'"
    if name in MEMORY_DIRECTIVES:
        if value == "0":
            return None
        try:
            parse_memory(value)
        except ValueError as error:
            return f"{name}: {error}"
    return None


def deployment_name(component: str, stack: str) -> str:
    """``<component>-<stack>``: what every host name of a deployment begins with.

    Raises SettingsError when a host name would not be one (RFC 1123: letters, digits and ``-``, 63 characters at most).
    """
    problems = []
    if not _NAME_PATTERN.fullmatch(component):
        problems.append(
            f"name: '{component}' must be lower-case letters, digits and '-', start with a letter, at most 32 long"
        )
    if not _STACK_PATTERN.fullmatch(stack):
        problems.append(
            f"stack: '{stack}' is part of host names; name it with lower-case letters, digits and '-' "
            "(pulumi stack rename)"
        )
    deployment = f"{component}-{stack}"
    if not problems and len(deployment) > _LONGEST_DEPLOYMENT_NAME:
        problems.append(
            f"name: '{deployment}' (name and stack) makes host names too long; "
            f"use at most {_LONGEST_DEPLOYMENT_NAME} characters"
        )
    if problems:
        raise SettingsError(problems)
    return deployment


def field_name(setting: str) -> str:
    """The Python field of a setting: ``down-after-milliseconds`` -> ``down_after_milliseconds``."""
    return setting.replace("-", "_")


def setting_name(field: str) -> str:
    """The setting of a Python field: ``down_after_milliseconds`` -> ``down-after-milliseconds``."""
    return field.replace("_", "-")


def setting_names(cls: type[NodeSettings]) -> frozenset[str]:
    """The settings that a class of settings has, those of every platform included."""
    return frozenset(setting_name(field) for field in _fields(cls))


def other_platform_of(setting: str, platform: str) -> str | None:
    """The platform that has this setting, if ``platform`` has it not."""
    owner = next((owner for owner, settings in PLATFORM_SETTINGS.items() if setting in settings), platform)
    return None if owner == platform else owner


def is_default(cls: type[NodeSettings], setting: str, value: Any) -> bool:
    """Whether a configuration value of a setting of ``cls`` says no more than its default."""
    of_setting = _fields(cls)[field_name(setting)]
    try:
        return bool(_convert(of_setting.name, str(of_setting.type), value) == of_setting.default)
    except ValueError:
        return False


_GROUPS: Mapping[str, type[AwsSettings] | type[BackupSettings]] = {"aws": AwsSettings, "backup": BackupSettings}
_GROUP_FIELDS = {group: {each.name: each for each in dataclasses.fields(cls)} for group, cls in _GROUPS.items()}
PLATFORM_SETTINGS: Mapping[PlatformName, frozenset[str]] = {
    "docker": frozenset({"image", "memory", "sentinel-memory", "backup-memory"}),
    "aws": frozenset({"sentinel-instance-type", *map(setting_name, _GROUP_FIELDS["aws"])}),
}
"""The settings that only one platform has."""


def _fields(cls: type[NodeSettings]) -> dict[str, dataclasses.Field[Any]]:
    own = {each.name: each for each in dataclasses.fields(cls) if each.name not in _GROUPS}
    return {**own, **_GROUP_FIELDS["aws"], **_GROUP_FIELDS["backup"]}


SettingsType = TypeVar("SettingsType", bound=NodeSettings)


def settings_from_mapping(cls: type[SettingsType], mapping: Mapping[str, Any]) -> SettingsType:
    """Make validated settings from configuration values.

    ``mapping`` holds plain values by setting name: numbers, booleans, strings (numbers and booleans may be strings, as
    Pulumi's configuration stores them), lists and objects. What is absent keeps its default.
    Raises SettingsError naming every setting that is unknown, of the wrong kind or out of range.
    """
    fields = _fields(cls)
    values: dict[str, Any] = {}
    problems: list[str] = []
    for setting, value in mapping.items():
        name = field_name(setting)
        if name not in fields or setting != setting_name(name):
            problems.append(f"{setting}: unknown setting{_did_you_mean(setting, map(setting_name, fields))}")
            continue
        try:
            values[name] = _convert(name, str(fields[name].type), value)
        except ValueError as error:
            problems.append(f"{setting}: {error}")
    for group, group_fields in _GROUP_FIELDS.items():
        values[group] = _GROUPS[group](**{name: values.pop(name) for name in group_fields if name in values})
    if problems:
        try:
            cls(**values)
        except SettingsError as error:
            problems.extend(error.problems)
        raise SettingsError(problems)
    return cls(**values)


MEMORY_FIELDS = frozenset({"memory", "maxmemory", "sentinel_memory", "backup_memory"})


def _convert(name: str, kind: str, value: Any) -> Any:
    if kind.startswith("tuple[SavePoint"):
        if not isinstance(value, Sequence) or isinstance(value, str):
            raise ValueError(f"'{value}' is not a list such as ['900 1', '300 10']")
        return tuple(SavePoint.parse(item) for item in value)
    if kind.startswith("tuple[str"):
        if not isinstance(value, Sequence) or isinstance(value, str):
            raise ValueError(f"'{value}' is not a list")
        return tuple(str(item) for item in value)
    if kind.startswith("tuple[int"):
        if not isinstance(value, Sequence) or isinstance(value, str):
            raise ValueError(f"'{value}' is not a list such as [1, 2, 1]")
        return tuple(_whole_number(item) for item in value)
    if kind.startswith("Mapping"):
        if not isinstance(value, Mapping):
            raise ValueError(f"'{value}' is not a map of names to values")
        return {str(key): _plain_text(item) for key, item in value.items()}
    if kind.startswith("bool"):
        if str(value).lower() not in ("true", "false"):
            raise ValueError(f"'{value}' is not true or false")
        return str(value).lower() == "true"
    if kind.startswith("int"):
        if name in MEMORY_FIELDS:
            return parse_memory(str(value).strip())
        return _whole_number(value)
    if not isinstance(value, str):
        raise ValueError("is not a text" if name in BackupSettings.SECRETS else f"'{value}' is not a text")
    return value


def _whole_number(value: Any) -> int:
    text = str(value).strip()
    if not _INTEGER_PATTERN.fullmatch(text):
        raise ValueError(f"'{value}' is not a whole number")
    return int(text)


def _plain_text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def _did_you_mean(word: str, known: Any) -> str:
    close = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {close[0]}?" if close else ""
