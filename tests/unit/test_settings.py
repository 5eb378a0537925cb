"""Settings: the seed's values as defaults, one clear line for each mistake, never another exception."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from components import (
    RedisClusterSettings,
    ReplicatedRedisSettings,
    SavePoint,
    SettingsError,
    settings_from_mapping,
)
from components.aws_settings import AwsSettings
from components.backup_settings import BackupSettings
from components.settings import (
    MEBIBYTE,
    NodeSettings,
    deployment_name,
    field_name,
    is_default,
    parse_memory,
    setting_name,
    setting_names,
)

DEFAULTS: dict[str, Any] = {
    # Values of the seed.
    "save_points": (SavePoint(900, 1), SavePoint(300, 10), SavePoint(60, 10000)),
    "persistence": "hybrid",
    "appendfsync": "everysec",
    "replicas": 2,
    "sentinels": 3,
    "quorum": 2,
    "down_after_milliseconds": 30000,
    "parallel_syncs": 1,
    "failover_timeout": 180000,
    "port": 6379,
    "sentinel_port": 26379,
    "rename_commands": {},
    # Safe where the seed names no value.
    "platform": "docker",
    "aws": dataclasses.asdict(AwsSettings()),
    "backup": dataclasses.asdict(BackupSettings()),
    "sentinel_instance_type": "t4g.micro",
    "image": "redis:8.0.2",
    "memory": 512 * MEBIBYTE,
    "maxmemory": None,
    "maxmemory_policy": "noeviction",
    "maxclients": 10000,
    "slowlog_log_slower_than": 10000,
    "slowlog_max_len": 128,
    "min_replicas_to_write": None,
    "min_replicas_max_lag": 10,
    "app_key_pattern": "*",
    "app_channel_pattern": "*",
    "default_user": False,
    "redis_directives": {},
    "certificate_lifetime_days": 365,
    "certificate_authority_lifetime_days": 3650,
    "retain_data": True,
    "stop_grace_seconds": 60,
    "sentinel_memory": 64 * MEBIBYTE,
    "master_name": None,
}


def test_every_default() -> None:
    assert dataclasses.asdict(ReplicatedRedisSettings()) == {
        **DEFAULTS,
        "save_points": tuple(dataclasses.asdict(point) for point in DEFAULTS["save_points"]),
    }


OF_REPLICATION = {
    "replicas", "sentinels", "sentinel_port", "sentinel_memory", "sentinel_instance_type", "quorum",
    "down_after_milliseconds", "parallel_syncs", "failover_timeout", "master_name",
}  # fmt: skip
CLUSTER_DEFAULTS: dict[str, Any] = {
    **{name: value for name, value in DEFAULTS.items() if name not in OF_REPLICATION},
    # Values of the seed.
    "shards": 3,
    "replicas_per_shard": 1,
    "cluster_node_timeout": 15000,
    "cluster_require_full_coverage": True,
    "port": 7000,
    # Safe where the seed names no value.
    "shard_weights": (),
}


def test_every_default_of_a_cluster() -> None:
    assert dataclasses.asdict(RedisClusterSettings()) == {
        **CLUSTER_DEFAULTS,
        "save_points": tuple(dataclasses.asdict(point) for point in CLUSTER_DEFAULTS["save_points"]),
    }


REFUSED_IN_A_CLUSTER: list[tuple[dict[str, Any], str]] = [
    (
        {"shards": 2},
        "shards: 2 cannot outlive the death of a primary, because a majority of the primaries has to promote its "
        "replica; use 3 to 100, or topology replicated",
    ),
    ({"shards": 0}, "shards: 0 is out of range; use 3 to 100"),
    ({"shards": 101}, "shards: 101 is out of range; use 3 to 100"),
    ({"replicas_per_shard": 9}, "replicas-per-shard: 9 is out of range; use 0 to 8"),
    ({"replicas_per_shard": -1}, "replicas-per-shard: -1 is out of range; use 0 to 8"),
    ({"shard_weights": (1, 1, 1, 1)}, "shard-weights: 4 weights for 3 shards; give fewer"),
    ({"shard_weights": (1, 0)}, "shard-weights: shard 1: 0 is out of range; use 1 to 100"),
    ({"cluster_node_timeout": 499}, "cluster-node-timeout: 499 is out of range; use 500 to 300000"),
    (
        {"port": 55530},
        "port: 55530 to 55551 are needed, but the cluster bus takes each port + 10000, so the highest is",
    ),
    ({"min_replicas_to_write": 2}, "min-replicas-to-write: 2 with 1 replica(s) would refuse every write; use 0 to 1"),
    ({"rename_commands": {"MIGRATE": ""}}, "rename-commands: MIGRATE is needed by replication and the cluster"),
    ({"redis_directives": {"databases": "2"}}, "redis-directives: databases has no effect, because a cluster has one"),
    (
        {"redis_directives": {"cluster-node-timeout": "2"}},
        "redis-directives: cluster-node-timeout has a setting of its own: use cluster-node-timeout",
    ),
    (
        {"redis_directives": {"cluster-allow-replica-migration": "yes"}},
        "redis-directives: cluster-allow-replica-migration is guarded by the component",
    ),
    ({"redis_directives": {"hzz": "1"}}, "redis-directives: Redis 8.0 has no directive hzz; did you mean hz?"),
]


@pytest.mark.parametrize(("values", "line"), REFUSED_IN_A_CLUSTER, ids=[line[:60] for _, line in REFUSED_IN_A_CLUSTER])
def test_a_mistake_in_a_cluster_is_refused_with_one_line(values: dict[str, Any], line: str) -> None:
    with pytest.raises(SettingsError) as caught:
        RedisClusterSettings(**values)

    assert len(caught.value.problems) == 1
    assert caught.value.problems[0].startswith(line)


@pytest.mark.parametrize(
    "values",
    [
        {"shards": 100, "replicas_per_shard": 8, "port": 54537},
        {"replicas_per_shard": 0},
        {"shard_weights": (100, 1, 1)},
        {"cluster_node_timeout": 500},
        {"redis_directives": {"cluster-link-sendbuf-limit": "64mb", "cluster-allow-reads-when-down": "yes"}},
    ],
)
def test_an_edge_of_a_cluster_is_accepted(values: dict[str, Any]) -> None:
    RedisClusterSettings(**values)


def test_ports_and_weights_of_a_cluster() -> None:
    settings = RedisClusterSettings(shards=4, shard_weights=(2, 3))

    assert [settings.port_of(shard, copy) for shard in (0, 3) for copy in (0, 1)] == [7000, 7001, 7030, 7031]
    assert [settings.weight_of(shard) for shard in range(4)] == [2, 3, 1, 1]


@pytest.mark.parametrize(
    ("setting", "value", "default"),
    [
        ("shard-weights", [], True),
        ("shard-weights", [1], False),
        ("shard-weights", "1", False),
        ("shards", "3", True),
        ("shards", "4", False),
        ("cluster-require-full-coverage", "true", True),
    ],
)
def test_what_says_no_more_than_the_default(setting: str, value: Any, default: bool) -> None:
    assert is_default(RedisClusterSettings, setting, value) is default


def test_every_setting_is_documented() -> None:
    for cls in (NodeSettings, ReplicatedRedisSettings, RedisClusterSettings):
        own = [name for name in setting_names(cls) if field_name(name) in cls.__annotations__]
        documented = cls.__doc__ or ""
        assert [name for name in own if f"    {field_name(name)}: " not in documented] == []


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"platform": "podman"}, "platform: 'podman' is not one of docker, aws"),
    ({"persistence": "both"}, "persistence: 'both' is not one of rdb, aof, hybrid, none"),
    ({"appendfsync": "never"}, "appendfsync: 'never' is not one of everysec, always, no"),
    ({"maxmemory_policy": "lru"}, "maxmemory-policy: 'lru' is not one of noeviction, allkeys-lru, "),
    ({"save_points": ()}, "save-points: persistence 'hybrid' needs at least one, such as '900 1'"),
    ({"save_points": (), "persistence": "rdb"}, "save-points: persistence 'rdb' needs at least one"),
    ({"image": "  "}, "image: '  ' is not an image name such as redis:8.0.2"),
    ({"image": "redis\n8"}, "image: 'redis 8' is not an image name such as redis:8.0.2"),
    ({"image": "redis 8"}, "image: 'redis 8' is not an image name such as redis:8.0.2"),
    ({"app_key_pattern": ""}, "app-key-pattern: '' must be one ACL pattern without blanks, such as app:*"),
    ({"app_key_pattern": "a* ~b*"}, "app-key-pattern: 'a* ~b*' must be one ACL pattern without blanks"),
    ({"app_channel_pattern": "a b"}, "app-channel-pattern: 'a b' must be one ACL pattern without blanks"),
    ({"maxclients": 0}, "maxclients: 0 is out of range; use 1 to 65000"),
    ({"maxclients": 65001}, "maxclients: 65001 is out of range; use 1 to 65000"),
    ({"slowlog_log_slower_than": -2}, "slowlog-log-slower-than: -2 is out of range; use -1 to 3600000000"),
    ({"slowlog_max_len": -1}, "slowlog-max-len: -1 is out of range; use 0 to 1000000"),
    ({"min_replicas_max_lag": 0}, "min-replicas-max-lag: 0 is out of range; use 1 to 3600"),
    ({"port": 80}, "port: 80 is out of range; use 1024 to 65535"),
    ({"certificate_lifetime_days": 1}, "certificate-lifetime-days: 1 is out of range; use 2 to 825"),
    ({"certificate_lifetime_days": 826}, "certificate-lifetime-days: 826 is out of range; use 2 to 825"),
    ({"stop_grace_seconds": 0}, "stop-grace-seconds: 0 is out of range; use 1 to 3600"),
    ({"memory": 64 * MEBIBYTE - 1}, "memory: 67108863 bytes is less than a Redis node needs; give at least 64mb"),
    (
        {"memory": 100 * MEBIBYTE, "maxmemory": 91 * MEBIBYTE},
        "maxmemory: 95420416 bytes leaves no head-room in memory 104857600; give at most 94371840 (90 %), or leave",
    ),
    ({"maxmemory": 0}, "maxmemory: 0 bytes leaves no head-room"),
    (
        {"certificate_lifetime_days": 365, "certificate_authority_lifetime_days": 365},
        "certificate-authority-lifetime-days: must be longer than certificate-lifetime-days",
    ),
    ({"redis_directives": {"maxmemory": "1gb"}}, "redis-directives: maxmemory has a setting of its own: use maxmemory"),
    ({"redis_directives": {"save": "1 1"}}, "redis-directives: save has a setting of its own: use save-points"),
    ({"redis_directives": {"replicaof": "a 1"}}, "redis-directives: replicaof is guarded by the component"),
    ({"redis_directives": {"port": "6379"}}, "redis-directives: port is guarded by the component"),
    ({"redis_directives": {"hzz": "10"}}, "redis-directives: Redis 8.0 has no directive hzz; did you mean hz?"),
    ({"redis_directives": {"qqqqqqqq": "10"}}, "redis-directives: Redis 8.0 has no directive qqqqqqqq"),
    ({"redis_directives": {"hz": "10\nport 1"}}, "redis-directives: hz must be one line of printable characters"),
    (
        {"redis_directives": {"syslog-ident": "a\0"}},
        "redis-directives: syslog-ident must be one line of printable characters",
    ),
    (
        {"redis_directives": {"tls-protocols": '"TLSv1.3"'}},
        "redis-directives: tls-protocols must be given without quotes; they are added where Redis needs them",
    ),
    ({"redis_directives": {"activedefrag": "true"}}, "redis-directives: activedefrag is 'yes' or 'no', not 'true'"),
    ({"redis_directives": {"hz": "fast"}}, "redis-directives: hz is a whole number, not 'fast'"),
    (
        {"redis_directives": {"repl-backlog-size": "1 tb"}},
        "redis-directives: repl-backlog-size: '1 tb' is not an amount",
    ),
    ({"rename_commands": {"PSYNC": ""}}, "rename-commands: PSYNC is needed by replication and Sentinel; leave it out"),
    (
        {"rename_commands": {"slaveof": "x"}},
        "rename-commands: slaveof is needed by replication and Sentinel; leave it out",
    ),
    (
        {"rename_commands": {"KEYS": "a b"}},
        "rename-commands: 'a b' cannot be the new name of KEYS; use letters, digits,",
    ),
    ({"rename_commands": {"KEYZ": ""}}, "rename-commands: Redis 8.0 has no command KEYZ; did you mean keys?"),
    ({"rename_commands": {"KEYS": "get"}}, "rename-commands: 'get' is taken; give KEYS a name of its own"),
    ({"rename_commands": {"KEYS": "", "keys": "x"}}, "rename-commands: keys is given twice"),
    ({"replicas": -1}, "replicas: -1 is out of range; use 0 to 15"),
    ({"replicas": 16}, "replicas: 16 is out of range; use 0 to 15"),
    ({"sentinels": 17}, "sentinels: 17 is out of range; use 1 to 15"),
    ({"sentinels": 4}, "sentinels: 4 is even, so a split can leave no majority; use 5 (or 3)"),
    ({"sentinel_port": 1023}, "sentinel-port: 1023 is out of range; use 1024 to 65535"),
    ({"down_after_milliseconds": 99}, "down-after-milliseconds: 99 is out of range; use 100 to 3600000"),
    ({"failover_timeout": 999}, "failover-timeout: 999 is out of range; use 1000 to 86400000"),
    ({"parallel_syncs": 0}, "parallel-syncs: 0 is out of range; use 1 to 15"),
    ({"quorum": 0}, "quorum: 0 cannot be reached by 3 Sentinel(s); use 1 to 3 (a majority is 2)"),
    ({"quorum": 4}, "quorum: 4 cannot be reached by 3 Sentinel(s); use 1 to 3 (a majority is 2)"),
    (
        {"min_replicas_to_write": 3},
        "min-replicas-to-write: 3 with 2 replica(s) would refuse every write; use 0 to 2",
    ),
    ({"sentinel_memory": 31 * MEBIBYTE}, "sentinel-memory: 32505856 bytes is too little; give at least 32mb"),
    ({"master_name": "my master"}, "master-name: 'my master' may hold letters, digits, '.', '_' and '-' only"),
    ({"port": 65534}, "port: 65534 to 65536 are needed, but a port ends at 65535; use a lower one"),
    ({"sentinel_port": 65534}, "sentinel-port: 65534 to 65536 are needed, but a port ends at 65535; use a lower one"),
    (
        {"sentinel_port": 6381},
        "sentinel-port: 6381 to 6383 overlap the nodes' ports 6379 to 6381; move one of them",
    ),
]


def test_two_commands_cannot_get_the_same_name() -> None:
    with pytest.raises(SettingsError) as caught:
        ReplicatedRedisSettings(rename_commands={"KEYS": "other", "FLUSHALL": "OTHER"})

    assert caught.value.problems == (
        "rename-commands: 'other' is taken; give KEYS a name of its own",
        "rename-commands: 'OTHER' is taken; give FLUSHALL a name of its own",
    )


@pytest.mark.parametrize(("values", "line"), REFUSED, ids=[line[:60] for _, line in REFUSED])
def test_a_mistake_is_refused_with_one_line(values: dict[str, Any], line: str) -> None:
    with pytest.raises(SettingsError) as caught:
        ReplicatedRedisSettings(**values)

    assert len(caught.value.problems) == 1
    assert caught.value.problems[0].startswith(line)
    assert str(caught.value) == caught.value.problems[0]
    assert "\n" not in caught.value.problems[0]


ACCEPTED: list[dict[str, Any]] = [
    {"replicas": 0},
    {"replicas": 15},
    {"sentinels": 1, "quorum": 1},
    {"sentinels": 15, "quorum": 15},
    {"persistence": "none", "save_points": ()},
    {"persistence": "aof", "save_points": ()},
    {"memory": 64 * MEBIBYTE},
    {"memory": 100 * MEBIBYTE, "maxmemory": 90 * MEBIBYTE},
    {"min_replicas_to_write": 2},
    {"min_replicas_to_write": 0},
    {"slowlog_log_slower_than": -1},
    {"rename_commands": {"FLUSHDB": "", "FLUSHALL": "", "KEYS": ""}},
    {"rename_commands": {"flushall": "secret-flush_all1"}},
    {"redis_directives": {"hz": "20", "activedefrag": "yes", "repl-backlog-size": "64mb", "maxmemory-clients": "5%"}},
    {"redis_directives": {"client-output-buffer-limit": "replica 512mb 128mb 60", "tcp-backlog": "1024"}},
    {
        "redis_directives": {
            "client-query-buffer-limit": "0",
            "notify-keyspace-events": "",
            "tls-protocols": "TLSv1.2 TLSv1.3",
        }
    },
]


@pytest.mark.parametrize("values", ACCEPTED, ids=[str(values)[:60] for values in ACCEPTED])
def test_an_edge_is_accepted(values: dict[str, Any]) -> None:
    ReplicatedRedisSettings(**values)


def test_the_seeds_values_can_be_said_as_pulumi_stores_them() -> None:
    settings = settings_from_mapping(
        ReplicatedRedisSettings,
        {
            "save-points": ["900 1", "300 10", "60 10000"],
            "appendfsync": "everysec",
            "quorum": "2",
            "down-after-milliseconds": "30000",
            "parallel-syncs": "1",
            "failover-timeout": "180000",
            "rename-commands": {"FLUSHDB": "", "FLUSHALL": "", "KEYS": ""},
        },
    )

    assert settings == ReplicatedRedisSettings(rename_commands={"FLUSHDB": "", "FLUSHALL": "", "KEYS": ""})


@pytest.mark.parametrize(
    ("setting", "value", "expected"),
    [
        ("replicas", "3", 3),
        ("replicas", " 3 ", 3),
        ("replicas", 3, 3),
        ("slowlog-log-slower-than", "-1", -1),
        ("min-replicas-to-write", "0", 0),
        ("memory", "1gb", 1024**3),
        ("memory", "1000m", 10**9),
        ("maxmemory", "100mb", 100 * MEBIBYTE),
        ("sentinel-memory", 33554432, 33554432),
        ("default-user", "true", True),
        ("default-user", "False", False),
        ("retain-data", False, False),
        ("save-points", ["900 1"], (SavePoint(900, 1),)),
        ("save-points", ("60 1", "1 2"), (SavePoint(60, 1), SavePoint(1, 2))),
        ("master-name", "mymaster", "mymaster"),
        ("app-key-pattern", "app:*", "app:*"),
        ("rename-commands", {"KEYS": ""}, {"KEYS": ""}),
        ("redis-directives", {"hz": 20, "activedefrag": True}, {"hz": "20", "activedefrag": "yes"}),
        ("redis-directives", {"activedefrag": False}, {"activedefrag": "no"}),
    ],
)
def test_a_value_is_converted(setting: str, value: Any, expected: Any) -> None:
    settings = settings_from_mapping(ReplicatedRedisSettings, {setting: value})

    assert getattr(settings, field_name(setting)) == expected
    assert type(getattr(settings, field_name(setting))) is type(expected)


@pytest.mark.parametrize(
    ("setting", "value", "line"),
    [
        ("replicas", "two", "replicas: 'two' is not a whole number"),
        ("replicas", "2.0", "replicas: '2.0' is not a whole number"),
        ("replicas", True, "replicas: 'True' is not a whole number"),
        ("replicas", None, "replicas: 'None' is not a whole number"),
        ("replicas", "9" * 5000, "replicas: '999"),
        ("memory", "much", "memory: 'much' is not an amount of memory such as 512mb or 2gb"),
        ("memory", "-1gb", "memory: '-1gb' is not an amount of memory"),
        ("default-user", "yes", "default-user: 'yes' is not true or false"),
        ("default-user", 1, "default-user: '1' is not true or false"),
        ("save-points", "900 1", "save-points: '900 1' is not a list such as ['900 1', '300 10']"),
        ("save-points", ["900"], "save-points: '900' is not '<seconds> <changes>' such as '900 1'"),
        ("save-points", ["900 0"], "save-points: '900 0' is not '<seconds> <changes>'"),
        ("save-points", ["900 ²"], "save-points: '900 ²' is not '<seconds> <changes>'"),
        ("save-points", [[900, 1]], "save-points: '[900, 1]' is not '<seconds> <changes>'"),
        ("rename-commands", ["KEYS"], "rename-commands: '['KEYS']' is not a map of names to values"),
        ("image", 8, "image: '8' is not a text"),
        ("down-after", "1", "down-after: unknown setting; did you mean down-after-milliseconds?"),
        (
            "down_after_milliseconds",
            "1",
            "down_after_milliseconds: unknown setting; did you mean down-after-milliseconds?",
        ),
        ("zzzzzzz", "1", "zzzzzzz: unknown setting"),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused_with_one_line(setting: str, value: Any, line: str) -> None:
    with pytest.raises(SettingsError) as caught:
        settings_from_mapping(ReplicatedRedisSettings, {setting: value})

    assert len(caught.value.problems) == 1
    assert caught.value.problems[0].startswith(line)


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(SettingsError) as caught:
        settings_from_mapping(
            ReplicatedRedisSettings, {"sentinels": "4", "memory": "much", "qurum": 2, "port": 80, "persistence": "all"}
        )

    assert sorted(problem.split(":")[0] for problem in caught.value.problems) == [
        "memory", "persistence", "port", "qurum", "sentinels",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1", 1), ("1b", 1), ("1k", 1000), ("1kb", 1024), ("1m", 1000**2), ("1mb", 1024**2), ("1g", 1000**3),
        ("1gb", 1024**3), ("1GB", 1024**3), (" 2 mb ", 2 * 1024**2), (7, 7),
    ],
)  # fmt: skip
def test_memory_units_are_those_of_redis_conf(text: str | int, size: int) -> None:
    assert parse_memory(text) == size


@pytest.mark.parametrize("text", ["", "0", "-1", "1tb", "mb", "1.5gb", "1 m b", "1mb\n2", "0x10", "01"])
def test_what_is_no_amount_of_memory(text: str) -> None:
    with pytest.raises(ValueError, match="is not an amount of memory"):
        parse_memory(text)


@pytest.mark.parametrize(
    ("values", "mebibytes"),
    [
        ({"memory": 512 * MEBIBYTE}, 288),
        ({"memory": 256 * MEBIBYTE}, 134),
        ({"memory": 64 * MEBIBYTE}, 19),
        ({"memory": 512 * MEBIBYTE, "persistence": "none"}, 360),
        ({"memory": 512 * MEBIBYTE, "maxmemory": 400 * MEBIBYTE}, 400),
    ],
)
def test_derived_maxmemory_leaves_head_room(values: dict[str, Any], mebibytes: int) -> None:
    assert ReplicatedRedisSettings(**values).effective_maxmemory == mebibytes * MEBIBYTE


@given(st.integers(64 * MEBIBYTE, 4096 * 1024 * MEBIBYTE), st.sampled_from(["rdb", "aof", "hybrid", "none"]))
def test_derived_maxmemory_always_passes_its_own_check(memory: int, persistence: Any) -> None:
    derived = ReplicatedRedisSettings(memory=memory, persistence=persistence).effective_maxmemory

    assert ReplicatedRedisSettings(memory=memory, maxmemory=derived).effective_maxmemory == derived


@pytest.mark.parametrize(
    ("replicas", "given_value", "effective"),
    [(0, None, 0), (1, None, 0), (2, None, 1), (15, None, 1), (2, 0, 0), (2, 2, 2)],
)
def test_derived_min_replicas_to_write(replicas: int, given_value: int | None, effective: int) -> None:
    settings = ReplicatedRedisSettings(replicas=replicas, min_replicas_to_write=given_value)

    assert settings.effective_min_replicas_to_write == effective


def test_setting_names_and_fields_are_the_same_words() -> None:
    for field in dataclasses.fields(ReplicatedRedisSettings):
        assert field_name(setting_name(field.name)) == field.name


@pytest.mark.parametrize(
    ("component", "stack"), [("cache", "local"), ("a", "1"), ("my-cache", "aws-prod"), ("a" * 32, "b" * 18)]
)
def test_a_deployment_is_named_by_component_and_stack(component: str, stack: str) -> None:
    assert deployment_name(component, stack) == f"{component}-{stack}"
    assert len(f"{deployment_name(component, stack)}-sentinel-14") <= 63


@pytest.mark.parametrize("name", ["", "1a", "Cache", "a-", "-a", "a_b", "a.b", "a" * 33, "a b"])
def test_a_component_name_that_is_no_host_name_is_refused(name: str) -> None:
    with pytest.raises(SettingsError, match=f"^name: '{name}' must be lower-case letters"):
        deployment_name(name, "local")


@pytest.mark.parametrize("stack", ["Local", "dev.me", "a_b", "-a", "a-"])
def test_a_stack_name_that_is_no_host_name_is_refused(stack: str) -> None:
    with pytest.raises(SettingsError, match=f"^stack: '{stack}' is part of host names"):
        deployment_name("cache", stack)


def test_names_that_are_too_long_together_are_refused() -> None:
    with pytest.raises(SettingsError, match="makes host names too long; use at most 51 characters"):
        deployment_name("a" * 32, "b" * 19)


_PLAIN = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.sampled_from(["1", "-1", "2gb", "true"])
)
_VALUES = st.recursive(
    _PLAIN, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
)
_SETTINGS = st.sampled_from([setting_name(field.name) for field in dataclasses.fields(ReplicatedRedisSettings)])


@given(st.dictionaries(_SETTINGS | st.text(), _VALUES, max_size=6))
@example({"replicas": 10**12})
def test_any_mapping_gives_settings_or_a_clear_refusal(mapping: dict[str, Any]) -> None:
    try:
        settings = settings_from_mapping(ReplicatedRedisSettings, mapping)
    except SettingsError as error:
        assert error.problems
        assert all(problem.strip() and len(problem.splitlines()) == 1 for problem in error.problems)
    else:
        assert isinstance(settings, ReplicatedRedisSettings)


_SAVE_POINT = st.tuples(st.integers(1, 10**6), st.integers(1, 10**6)).map(lambda pair: f"{pair[0]} {pair[1]}")
_VALID: dict[str, st.SearchStrategy[Any]] = {
    "replicas": st.integers(0, 15),
    "sentinels": st.integers(0, 7).map(lambda half: 2 * half + 1),
    "memory": st.integers(64, 100_000).map(lambda size: f"{size}mb"),
    "persistence": st.sampled_from(["rdb", "aof", "hybrid", "none"]),
    "save-points": st.lists(_SAVE_POINT, min_size=1, max_size=4),
    "down-after-milliseconds": st.integers(100, 3_600_000).map(str),
}


@given(st.fixed_dictionaries(_VALID))
def test_any_valid_mapping_is_accepted_whether_text_or_number(mapping: dict[str, Any]) -> None:
    settings = settings_from_mapping(ReplicatedRedisSettings, {**mapping, "quorum": 1})

    assert settings.replicas == mapping["replicas"]
    assert settings.sentinels == mapping["sentinels"]
    assert [f"{point.seconds} {point.changes}" for point in settings.save_points] == mapping["save-points"]
