"""Renders the files of a node: redis.conf, live.conf, sentinel.conf, users.acl. Pure text from plain values.

A Redis node's configuration is in two parts. ``redis.conf`` holds what only a start can change; it is immutable, and a
change of it replaces the node. ``live.conf`` holds what ``CONFIG SET`` changes; it is only the seed for the first
start, later values are set on the running server and kept in its data volume.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from .redis_directives import RESTART_DIRECTIVES
from .settings import NodeSettings, RedisClusterSettings, ReplicatedRedisSettings

CONFIG_FOLDER = "/etc/redis-production"
DATA_FOLDER = "/data"
REDIS_USERS = ("app", "replication", "sentinel", "monitor", "backup", "admin", "host")
"""ACL users of a Redis node, by what they are for; ``host`` is the node's own health check and rejoin loop."""
CLUSTER_USERS = tuple(user for user in REDIS_USERS if user != "sentinel")
"""ACL users of a cluster's node."""
SENTINEL_USERS = ("app", "sentinel", "monitor", "backup", "admin", "host")
"""ACL users of a Sentinel."""

_TLS_PROTOCOLS = "TLSv1.2 TLSv1.3"
_DENIED_TO_ALL = "-flushall -flushdb -keys -debug"
_APP_COMMANDS = (
    "+@all -@admin -@dangerous -function|flush -function|delete -function|load -function|restore "
    "-script|flush -script|kill +info +role +cluster|slots +cluster|shards +cluster|nodes "
    "+cluster|info +cluster|myid +cluster|keyslot +cluster|countkeysinslot +cluster|links +readonly +readwrite"
)
_CLUSTER_HOST_COMMANDS = (
    "+ping +info +config|set +config|rewrite +cluster|myid +cluster|nodes +cluster|meet +cluster|failover"
)


@dataclass(frozen=True)
class Listener:
    """Where a node listens and what it calls itself: ``host`` is announced to other nodes and clients."""

    host: str
    port: int


def host_script(name: str) -> str:
    """The text of a script that every node carries (``start.sh``, ``rejoin.sh``, ...)."""
    return Path(__file__).with_name("host").joinpath(name).read_text()


def redis_scripts() -> dict[str, str]:
    """The scripts of a Redis node, by the names that they have there."""
    return {name: host_script(name) for name in ("start.sh", "data.sh", "rejoin.sh", "ask.sh")}


def cluster_scripts() -> dict[str, str]:
    """The same for a cluster's node."""
    own = {name: host_script(f"{name}_cluster.sh") for name in ("start", "wait", "rejoin")}
    shared = {name: host_script(name) for name in ("data.sh", "members.sh", "ask.sh")}
    return {**{f"{name}.sh": text for name, text in own.items()}, **shared}


def redis_conf(settings: NodeSettings, listener: Listener, replication_password: str) -> str:
    """redis.conf: addresses, TLS, access and every directive that needs a restart. Holds a secret."""
    lines = [
        *_tls_lines(listener.port),
        "protected-mode no",
        "daemonize no",
        f"dir {DATA_FOLDER}",
        f"aclfile {DATA_FOLDER}/users.acl",
        "acl-pubsub-default resetchannels",
        "masteruser replication",
        f"masterauth {replication_password}",
        f"replica-announce-ip {listener.host}",
        f"replica-announce-port {listener.port}",
        "replica-read-only yes",
    ]
    lines += [f"rename-command {name} {_quoted(new)}" for name, new in sorted(settings.rename_commands.items())]
    lines += [
        f"{name} {_value(value)}"
        for name, value in sorted(settings.redis_directives.items())
        if name in RESTART_DIRECTIVES
    ]
    return _text(lines)


def cluster_redis_conf(
    settings: RedisClusterSettings, listener: Listener, node_name: str, replication_password: str
) -> str:
    """redis.conf of a cluster's node, which the others know by its host name, on a bus of its own with TLS.

    The hostname is what clients are told (Redis documentation: "Redis cluster specification", client redirection), as
    addresses change when containers restart. Holds a secret.
    """
    return redis_conf(settings, listener, replication_password) + _text(
        [
            "cluster-enabled yes",
            "cluster-config-file nodes.conf",
            f"cluster-announce-hostname {listener.host}",
            f"cluster-announce-human-nodename {node_name}",
            "cluster-preferred-endpoint-type hostname",
            "tls-cluster yes",
        ]
    )


def live_settings(settings: NodeSettings, min_replicas_to_write: int) -> dict[str, str]:
    """The redis.conf directives that are kept by ``CONFIG SET``, with their values as CONFIG SET takes them."""
    snapshots = settings.persistence in ("rdb", "hybrid")
    append_only = settings.persistence in ("aof", "hybrid")
    return {
        "maxmemory": str(settings.effective_maxmemory),
        "maxmemory-policy": settings.maxmemory_policy,
        "maxclients": str(settings.maxclients),
        "save": " ".join(f"{point.seconds} {point.changes}" for point in settings.save_points) if snapshots else "",
        "appendonly": "yes" if append_only else "no",
        "appendfsync": settings.appendfsync,
        "slowlog-log-slower-than": str(settings.slowlog_log_slower_than),
        "slowlog-max-len": str(settings.slowlog_max_len),
        "min-replicas-to-write": str(min_replicas_to_write),
        "min-replicas-max-lag": str(settings.min_replicas_max_lag),
        "repl-diskless-sync": "yes",
        "repl-diskless-sync-delay": "0",
        "latency-monitor-threshold": "100",
        "tls-protocols": _TLS_PROTOCOLS,
        **{name: value for name, value in settings.redis_directives.items() if name not in RESTART_DIRECTIVES},
    }


def cluster_live_settings(settings: RedisClusterSettings) -> dict[str, str]:
    """The same for a cluster's node. No replica moves to another shard by itself: a node's name says where it is."""
    return {
        **live_settings(settings, settings.effective_min_replicas_to_write),
        "cluster-node-timeout": str(settings.cluster_node_timeout),
        "cluster-require-full-coverage": "yes" if settings.cluster_require_full_coverage else "no",
        "cluster-allow-replica-migration": "no",
    }


def live_conf(live: Mapping[str, str]) -> str:
    """live.conf, the seed of the live settings for a node's first start."""
    return _text(f"{name} {_value(value)}" for name, value in live.items())


def sentinel_conf(settings: ReplicatedRedisSettings, listener: Listener, sentinel_password: str) -> str:
    """sentinel.conf: addresses, TLS and access; what to monitor is given by formation. Holds a secret."""
    return _text(
        [
            *_tls_lines(listener.port),
            f"tls-protocols {_quoted(_TLS_PROTOCOLS)}",
            "protected-mode no",
            "daemonize no",
            f"dir {DATA_FOLDER}",
            f"aclfile {CONFIG_FOLDER}/users.acl",
            "sentinel resolve-hostnames yes",
            "sentinel announce-hostnames yes",
            f"sentinel announce-ip {listener.host}",
            f"sentinel announce-port {listener.port}",
            "sentinel sentinel-user sentinel",
            f"sentinel sentinel-pass {sentinel_password}",
        ]
    )


def redis_acl_rules(settings: NodeSettings) -> dict[str, str]:
    """ACL rules of a Redis node by user, without passwords: least privilege, dangerous commands denied to all.

    Sources: Redis documentation "ACL", "Replication" (ACL rules for replicas), "Sentinel" (ACL rules for Sentinel).
    """
    app = f"~{settings.app_key_pattern} &{settings.app_channel_pattern} {_APP_COMMANDS}"
    return {
        "default": app if settings.default_user else "",
        "app": app,
        "replication": "+psync +replconf +ping",
        "sentinel": (
            "allchannels +multi +slaveof +replicaof +ping +exec +subscribe +config|rewrite +role +publish +info "
            "+client|setname +client|kill +script|kill"
        ),
        "monitor": (
            "+ping +info +role +dbsize +time +slowlog|get +slowlog|len +latency|latest +latency|history "
            "+latency|histogram +client|list +client|setname +client|setinfo +client|id +memory|stats "
            "+cluster|info +cluster|nodes +cluster|slots +cluster|shards +cluster|myid +lastsave +command +hello "
        ),
        "backup": "+ping +psync +sync +replconf +bgsave +lastsave +info +role +dbsize +cluster|nodes +client|setname "
        "+client|setinfo +acl|list",
        "admin": f"~* &* +@all {_DENIED_TO_ALL}",
        "host": "+ping +info +replicaof +config|set +config|rewrite",
    }


def cluster_acl_rules(settings: NodeSettings) -> dict[str, str]:
    """The same for a cluster's node: nobody is Sentinel. ``admin`` moves slots (CLUSTER, MIGRATE)."""
    rules = {user: rule for user, rule in redis_acl_rules(settings).items() if user != "sentinel"}
    return {**rules, "host": _CLUSTER_HOST_COMMANDS}


def sentinel_acl_rules() -> dict[str, str]:
    """ACL rules of a Sentinel by user: clients may ask, only ``sentinel`` and ``admin`` may change."""
    discovery = (
        "+sentinel|get-master-addr-by-name +sentinel|master +sentinel|masters +sentinel|replicas +sentinel|slaves "
        "+sentinel|sentinels +sentinel|ckquorum +sentinel|myid "
    )
    clients = "+ping +info +role +hello +client|setname +client|setinfo +client|id "
    return {
        "default": "",
        "app": f"allchannels {clients} {discovery} +subscribe +psubscribe +unsubscribe +punsubscribe",
        "sentinel": "allchannels +@all",
        "monitor": f"allchannels {clients} {discovery} +subscribe",
        "backup": f"{clients} {discovery}",
        "admin": "allchannels +@all",
        "host": f"+ping {discovery}",
    }


def users_acl(rules: Mapping[str, str], passwords: Mapping[str, str]) -> str:
    """users.acl: a line for each user that has rules and a password, as a hash; ``default`` stays off without."""
    return _text(f"user {name} {acl_definition(name, rules, passwords)}" for name in rules)


def acl_definition(name: str, rules: Mapping[str, str], passwords: Mapping[str, str]) -> str:
    """What follows ``ACL SETUSER <name>``: starts with ``reset``, so that nothing granted earlier stays."""
    if not rules[name]:
        return "reset off"
    password_hash = hashlib.sha256(passwords[name].encode()).hexdigest()
    return f"reset on #{password_hash} {' '.join(rules[name].split())}"


def node_env(listener: Listener, master_name: str, sentinels: Iterable[Listener]) -> str:
    """node.env: what the node's own scripts know, as shell variables. ``sentinels`` are the first ones to ask."""
    addresses = " ".join(f"{sentinel.host}:{sentinel.port}" for sentinel in sentinels)
    return _text(
        [
            *_itself(listener),
            f"MASTER_NAME={master_name}",
            f"SENTINELS='{addresses}'",
        ]
    )


def cluster_node_env(listener: Listener) -> str:
    """node.env of a cluster's node; where the others are, it knows from the cluster itself (nodes.conf)."""
    return _text(_itself(listener))


def host_auth(password: str) -> str:
    """host.auth: the AUTH command that the node's own scripts send. Holds a secret."""
    return f"AUTH host {password}\n"


def _itself(listener: Listener) -> list[str]:
    return [f"NODE_HOST={listener.host}", f"NODE_PORT={listener.port}"]


def _tls_lines(port: int) -> list[str]:
    tls = f"{CONFIG_FOLDER}/tls"
    return [
        "port 0",
        f"tls-port {port}",
        f"tls-cert-file {tls}/node.crt",
        f"tls-key-file {tls}/node.key",
        f"tls-ca-cert-file {tls}/ca.crt",
        "tls-auth-clients no",
        "tls-replication yes",
    ]


def _value(value: str) -> str:
    """A value as redis.conf takes it: with blanks it is quoted, which every directive understands."""
    return _quoted(value) if not value or " " in value else value


def _quoted(value: str) -> str:
    return f'"{value}"'


def _text(lines: Iterable[str]) -> str:
    return "\n".join(lines) + "\n"
