"""The text of a node's files: no plaintext port, nobody without a password, no password where it does not belong."""

from __future__ import annotations

import hashlib
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components import RedisClusterSettings, ReplicatedRedisSettings, SavePoint
from components.config_files import (
    CLUSTER_USERS,
    REDIS_USERS,
    SENTINEL_USERS,
    Listener,
    acl_definition,
    cluster_acl_rules,
    cluster_live_settings,
    cluster_node_env,
    cluster_redis_conf,
    cluster_scripts,
    host_auth,
    host_script,
    live_conf,
    live_settings,
    node_env,
    redis_acl_rules,
    redis_conf,
    redis_scripts,
    sentinel_acl_rules,
    sentinel_conf,
    users_acl,
)
from components.redis_directives import GUARDED_DIRECTIVES, LIVE_DIRECTIVES, RESTART_DIRECTIVES
from components.settings import MEBIBYTE

NODE = Listener("cache-local-redis-1", 6380)
SENTINEL = Listener("cache-local-sentinel-2", 26381)
CLUSTER_NODE = Listener("cache-local-redis-1-0", 7010)
SCRIPTS = (
    "start.sh", "start_sentinel.sh", "start_cluster.sh", "wait_cluster.sh", "rejoin.sh", "rejoin_cluster.sh",
    "health.sh", "ask.sh", "data.sh", "members.sh",
)  # fmt: skip
PASSWORDS = {user: f"password-of-{user}" for user in (*REDIS_USERS, "default")}
DENIED_TO_ALL = ("flushall", "flushdb", "keys", "debug")


def settings(**values: Any) -> ReplicatedRedisSettings:
    return ReplicatedRedisSettings(**values)


def directives(text: str) -> dict[str, str]:
    """Directive -> rest of its line; a directive that comes twice would hide one of its values."""
    pairs = [line.partition(" ") for line in text.splitlines()]
    names = [name for name, _, _ in pairs if name not in ("sentinel", "rename-command")]
    assert len(names) == len(set(names))
    return {name: rest for name, _, rest in pairs}


def every_file(**values: Any) -> dict[str, str]:
    given_settings = settings(**values)
    return {
        "redis.conf": redis_conf(given_settings, NODE, PASSWORDS["replication"]),
        "live.conf": live_conf(live_settings(given_settings, 1)),
        "sentinel.conf": sentinel_conf(given_settings, SENTINEL, PASSWORDS["sentinel"]),
        "redis users.acl": users_acl(redis_acl_rules(given_settings), PASSWORDS),
        "sentinel users.acl": users_acl(sentinel_acl_rules(), PASSWORDS),
        "node.env": node_env(NODE, "cache-local", [SENTINEL]),
        "host.auth": host_auth(PASSWORDS["host"]),
        **{name: host_script(name) for name in SCRIPTS},
        **every_cluster_file(default_user=given_settings.default_user),
    }


def every_cluster_file(**values: Any) -> dict[str, str]:
    given_settings = RedisClusterSettings(**values)
    return {
        "cluster redis.conf": cluster_redis_conf(
            given_settings, CLUSTER_NODE, "cache-redis-1-0", PASSWORDS["replication"]
        ),
        "cluster live.conf": live_conf(cluster_live_settings(given_settings)),
        "cluster users.acl": users_acl(cluster_acl_rules(given_settings), PASSWORDS),
        "cluster node.env": cluster_node_env(CLUSTER_NODE),
    }


@pytest.mark.parametrize(
    ("file", "port"), [("redis.conf", 6380), ("sentinel.conf", 26381), ("cluster redis.conf", 7010)]
)
def test_only_tls_is_listened_to(file: str, port: int) -> None:
    found = directives(every_file()[file])

    assert found["port"] == "0"
    assert found["tls-port"] == str(port)
    assert found["tls-replication"] == "yes"
    assert found["tls-cert-file"] == "/etc/redis-production/tls/node.crt"
    assert found["tls-key-file"] == "/etc/redis-production/tls/node.key"
    assert found["tls-ca-cert-file"] == "/etc/redis-production/tls/ca.crt"


@pytest.mark.parametrize("file", ["live.conf", "sentinel.conf", "cluster live.conf"])
def test_old_versions_of_tls_are_not_spoken(file: str) -> None:
    assert directives(every_file()[file])["tls-protocols"] == '"TLSv1.2 TLSv1.3"'


def test_a_redis_node_announces_its_host_name_and_logs_in_as_replication() -> None:
    found = directives(every_file()["redis.conf"])

    assert found["replica-announce-ip"] == "cache-local-redis-1"
    assert found["replica-announce-port"] == "6380"
    assert found["masteruser"] == "replication"
    assert found["masterauth"] == PASSWORDS["replication"]


def test_a_sentinel_announces_its_host_name_and_logs_in_as_sentinel() -> None:
    lines = every_file()["sentinel.conf"].splitlines()

    assert "sentinel announce-ip cache-local-sentinel-2" in lines
    assert "sentinel announce-port 26381" in lines
    assert "sentinel resolve-hostnames yes" in lines
    assert "sentinel announce-hostnames yes" in lines
    assert "sentinel sentinel-user sentinel" in lines
    assert f"sentinel sentinel-pass {PASSWORDS['sentinel']}" in lines


def test_no_file_gives_a_role() -> None:
    for name, text in every_file().items():
        if not name.endswith(".sh"):
            assert not re.search(r"^(replicaof|slaveof|replica-priority|sentinel monitor)\b", text, re.MULTILINE), name


def test_a_password_stands_only_where_a_server_or_script_must_send_it() -> None:
    allowed = {
        "redis.conf": ["replication"],
        "cluster redis.conf": ["replication"],
        "sentinel.conf": ["sentinel"],
        "host.auth": ["host"],
    }
    for name, text in every_file(default_user=True).items():
        found = [user for user, password in PASSWORDS.items() if password in text]
        assert found == allowed.get(name, []), name


def test_users_have_hashed_passwords_and_default_is_off() -> None:
    for name, users in (
        ("redis users.acl", REDIS_USERS),
        ("sentinel users.acl", SENTINEL_USERS),
        ("cluster users.acl", CLUSTER_USERS),
    ):
        lines = {line.split()[1]: line for line in every_file()[name].splitlines()}
        assert lines.pop("default") == "user default reset off"
        assert set(lines) == set(users)
        for user, line in lines.items():
            digest = hashlib.sha256(PASSWORDS[user].encode()).hexdigest()
            assert line.startswith(f"user {user} reset on #{digest} "), user
            assert "nopass" not in line
            assert ">" not in line


@pytest.mark.parametrize(
    "every_rule",
    [redis_acl_rules(settings(default_user=True)), cluster_acl_rules(RedisClusterSettings(default_user=True))],
    ids=["replicated", "cluster"],
)
def test_dangerous_commands_are_denied_to_every_user(every_rule: dict[str, str]) -> None:
    for user, rules in every_rule.items():
        words = rules.split()
        granted = "+@all" in words
        for command in DENIED_TO_ALL:
            assert f"+{command}" not in words
            dangerous_denied = "-@dangerous" in words
            assert not granted or dangerous_denied or words.index(f"-{command}") > words.index("+@all"), (user, command)


def test_nothing_dangerous_is_granted_again_to_app() -> None:
    words = redis_acl_rules(settings())["app"].split()

    assert words.index("+@all") < words.index("-@admin") < words.index("-@dangerous")
    assert [word for word in words[words.index("-@dangerous") :] if word.startswith("+@")] == []


def test_app_is_kept_to_its_patterns() -> None:
    rules = redis_acl_rules(settings(app_key_pattern="app:*", app_channel_pattern="news:*"))["app"].split()

    assert [word for word in rules if word[0] in "~&%"] == ["~app:*", "&news:*"]
    assert "allkeys" not in rules
    assert "allchannels" not in rules


def test_users_of_the_component_see_no_key_but_admin() -> None:
    for user, rules in redis_acl_rules(settings()).items():
        if user not in ("app", "admin"):
            assert not [word for word in rules.split() if word[0] in "~%" or word in ("allkeys", "+@all")], user


def test_the_default_user_has_the_rights_of_app_when_turned_on() -> None:
    rules = redis_acl_rules(settings(default_user=True, app_key_pattern="app:*"))

    assert rules["default"] == rules["app"]
    assert acl_definition("default", rules, PASSWORDS).startswith("reset on #")
    assert acl_definition("default", redis_acl_rules(settings()), PASSWORDS) == "reset off"


def test_a_definition_forgets_what_was_granted_before() -> None:
    for user in REDIS_USERS:
        assert acl_definition(user, redis_acl_rules(settings()), PASSWORDS).startswith("reset ")


@pytest.mark.parametrize(
    ("persistence", "save", "appendonly"),
    [
        ("rdb", "900 1 300 10 60 10000", "no"),
        ("aof", "", "yes"),
        ("hybrid", "900 1 300 10 60 10000", "yes"),
        ("none", "", "no"),
    ],
)
def test_persistence(persistence: Any, save: str, appendonly: str) -> None:
    live = live_settings(settings(persistence=persistence), 1)

    assert live["save"] == save
    assert live["appendonly"] == appendonly
    assert live["appendfsync"] == "everysec"


def test_live_settings_have_the_settings_values() -> None:
    live = live_settings(
        settings(
            memory=512 * MEBIBYTE,
            maxmemory_policy="allkeys-lru",
            maxclients=500,
            save_points=(SavePoint(60, 5),),
            appendfsync="always",
            slowlog_log_slower_than=-1,
            slowlog_max_len=7,
            min_replicas_max_lag=3,
            redis_directives={"repl-diskless-sync-delay": "2", "tcp-backlog": "1024"},
        ),
        2,
    )

    assert live["maxmemory"] == str(288 * MEBIBYTE)
    assert live["maxmemory-policy"] == "allkeys-lru"
    assert live["maxclients"] == "500"
    assert live["save"] == "60 5"
    assert live["appendfsync"] == "always"
    assert live["slowlog-log-slower-than"] == "-1"
    assert live["slowlog-max-len"] == "7"
    assert live["min-replicas-to-write"] == "2"
    assert live["min-replicas-max-lag"] == "3"
    assert live["repl-diskless-sync-delay"] == "2"  # a pass-through goes before the component's own value
    assert set(live) <= LIVE_DIRECTIVES


def test_pass_through_directives_land_where_they_take_effect() -> None:
    given_settings = settings(redis_directives=dict.fromkeys(("tcp-backlog", "databases", "hz", "repl-timeout"), "1"))
    restart = directives(redis_conf(given_settings, NODE, "secret"))
    live = directives(live_conf(live_settings(given_settings, 1)))

    assert {"tcp-backlog", "databases"} <= set(restart)
    assert {"hz", "repl-timeout"} <= set(live)
    assert not set(restart) & set(live)


def test_every_line_of_redis_conf_is_guarded_or_needs_a_restart() -> None:
    given_settings = settings(redis_directives={"tcp-backlog": "1024"}, rename_commands={"KEYS": ""})
    names = set(directives(redis_conf(given_settings, NODE, "secret")))

    assert names <= GUARDED_DIRECTIVES | RESTART_DIRECTIVES


def test_rename_commands() -> None:
    lines = redis_conf(settings(rename_commands={"KEYS": "", "FLUSHALL": "really-flush"}), NODE, "secret").splitlines()

    assert [line for line in lines if line.startswith("rename-command")] == [
        'rename-command FLUSHALL "really-flush"',
        'rename-command KEYS ""',
    ]


@pytest.mark.parametrize(
    ("value", "written"),
    [("yes", "yes"), ("", '""'), ("900 1 300 10", '"900 1 300 10"'), ("TLSv1.2 TLSv1.3", '"TLSv1.2 TLSv1.3"')],
)
def test_a_value_is_quoted_when_it_is_empty_or_has_blanks(value: str, written: str) -> None:
    assert live_conf({"hz": value}) == f"hz {written}\n"


@given(st.dictionaries(st.sampled_from(sorted(LIVE_DIRECTIVES)), st.sampled_from(["", "a", "a b", "1 2 3"])))
def test_live_conf_has_one_line_per_directive(live: dict[str, str]) -> None:
    lines = live_conf(live).splitlines()

    assert [line.partition(" ")[0] for line in lines if line] == list(live)


def test_node_env_is_what_the_scripts_read() -> None:
    sentinels = [Listener("s-0", 26379), Listener("s-1", 26380)]

    assert node_env(NODE, "cache-local", sentinels) == (
        "NODE_HOST=cache-local-redis-1\nNODE_PORT=6380\nMASTER_NAME=cache-local\nSENTINELS='s-0:26379 s-1:26380'\n"
    )


def test_a_cluster_node_is_known_by_its_host_name_and_speaks_tls_to_the_others() -> None:
    found = directives(every_cluster_file()["cluster redis.conf"])

    assert found["cluster-enabled"] == "yes"
    assert found["cluster-config-file"] == "nodes.conf"
    assert found["cluster-announce-hostname"] == "cache-local-redis-1-0"
    assert found["cluster-announce-human-nodename"] == "cache-redis-1-0"
    assert found["cluster-preferred-endpoint-type"] == "hostname"
    assert found["tls-cluster"] == "yes"
    assert found["masteruser"] == "replication"
    assert set(found) <= GUARDED_DIRECTIVES | RESTART_DIRECTIVES


def test_live_settings_of_a_cluster() -> None:
    live = cluster_live_settings(RedisClusterSettings(cluster_node_timeout=5000, replicas_per_shard=2))

    assert live["cluster-node-timeout"] == "5000"
    assert live["cluster-require-full-coverage"] == "yes"
    assert live["cluster-allow-replica-migration"] == "no"
    assert live["min-replicas-to-write"] == "1"
    assert set(live) <= LIVE_DIRECTIVES
    assert (
        cluster_live_settings(RedisClusterSettings(cluster_require_full_coverage=False))[
            "cluster-require-full-coverage"
        ]
        == "no"
    )


def test_only_admin_changes_a_cluster_and_its_host_user_mends_links() -> None:
    rules = cluster_acl_rules(RedisClusterSettings())

    assert "sentinel" not in rules
    for user, rule in rules.items():
        granted = {word for word in rule.split() if word.startswith("+cluster|")}
        changing = granted & {
            "+cluster|setslot",
            "+cluster|meet",
            "+cluster|forget",
            "+cluster|reset",
            "+cluster|failover",
        }
        assert changing == ({"+cluster|meet", "+cluster|failover"} if user == "host" else set()), user
        assert "+cluster" not in rule.split()
    assert rules["admin"].split()[:3] == ["~*", "&*", "+@all"]


def test_cluster_node_env_is_what_the_scripts_read() -> None:
    assert cluster_node_env(CLUSTER_NODE) == "NODE_HOST=cache-local-redis-1-0\nNODE_PORT=7010\n"


def test_a_script_finds_the_scripts_that_it_uses_beside_it() -> None:
    for scripts in (redis_scripts(), cluster_scripts()):
        for text in scripts.values():
            used = {name for name in re.findall(r"\$config/([a-z]+\.sh)", text) if name != "health.sh"}
            assert used <= set(scripts)


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_sends_no_secret_through_a_command_line(name: str) -> None:
    script = host_script(name)

    assert script.startswith("#")
    assert not re.search(r"redis-cli[^|]*(\s-a\s|--pass|REDISCLI_AUTH)", script)
