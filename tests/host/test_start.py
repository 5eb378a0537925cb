"""How a node starts: with no role, with its settings, and where it goes from there without Pulumi."""

from __future__ import annotations

import dataclasses

import pytest
import redis

from components.config_files import host_script
from components.formation.replication import ReplicationTarget
from tests.host.conftest import MakeContainers
from tests.host.containers import Containers, Server, wait_until, wait_until_each


def unformed(containers: Containers, server: Server) -> bool:
    found = containers.replication(server)
    return (found["role"], found["master_host"], found["master_port"]) == ("slave", "127.0.0.1", 1)


def test_every_node_starts_unformed_and_unproven(make: MakeContainers) -> None:
    containers = make()
    wait_until_each(containers.redis, lambda server: unformed(containers, server), "started")
    for server in containers.redis:
        assert containers.config(server, "replica-priority") == "0"
        assert containers.config(server, "replica-serve-stale-data") == "no"
        for command in (("GET", "app:key"), ("SET", "app:key", "value")):
            with pytest.raises(redis.ResponseError, match=r"Link with MASTER is down|read only replica"):
                containers.ask(server, *command, user="app")
    wait_until_each(containers.sentinels, lambda server: containers.ask(server, "PING"), "started")
    for server in containers.sentinels:
        assert containers.ask(server, "SENTINEL", "MASTERS") == []


def test_an_unformed_node_is_alive_for_its_health_check() -> None:
    with Containers() as containers:
        containers.health_check_seconds = 1
        containers.start_all()
        wait_until_each(containers.servers, lambda server: containers.health(server) == "healthy", "healthy")


def test_a_server_that_does_not_answer_is_not_healthy(formed: Containers) -> None:
    replica = formed.replicas()[0]
    server = "$(cd /proc && grep -lx redis-server [0-9]*/comm | cut -d / -f 1)"
    assert formed.run(replica, "sh", "-c", f"kill -STOP {server}")[0] == 0
    code, _ = formed.run(replica, "/bin/sh", "/etc/redis-production/health.sh")
    assert formed.run(replica, "sh", "-c", f"kill -CONT {server}")[0] == 0

    assert code != 0
    assert formed.run(replica, "/bin/sh", "/etc/redis-production/health.sh")[0] == 0


def test_an_unformed_node_joins_what_the_sentinels_name(make: MakeContainers) -> None:
    containers = make()
    whole = containers.target
    containers.form(ReplicationTarget(whole.nodes[:2], whole.sentinels, whole.sentinel, whole.live_settings))
    newcomer = containers.redis[2]

    wait_until(
        lambda: containers.is_proven_replica_of(newcomer, containers.redis[0]), "the third node in sync by itself"
    )


def test_a_retired_node_stays_alone(make: MakeContainers) -> None:
    containers = make()
    retired = containers.redis[2]
    wait_until(lambda: unformed(containers, retired), "started")
    containers.ask(retired, "REPLICAOF", "127.0.0.1", 2)
    wait_until(
        lambda: not any("rejoin.sh" in line for line in containers.processes(retired)), "its loop to leave it alone"
    )
    whole = containers.target
    containers.form(ReplicationTarget(whole.nodes[:2], whole.sentinels, whole.sentinel, whole.live_settings))

    found = containers.replication(retired)
    assert (found["role"], found["master_host"], found["master_port"]) == ("slave", "127.0.0.1", 2)
    assert containers.config(retired, "replica-priority") == "0"


def test_the_loop_ends_when_its_work_is_done(formed: Containers) -> None:
    wait_until_each(
        formed.redis, lambda server: not any("rejoin" in line for line in formed.processes(server)), "its loop ended"
    )


def test_no_password_is_on_a_command_line_or_in_a_log(formed: Containers) -> None:
    replica = formed.replicas()[0]
    formed.kill(replica)
    formed.start(replica)
    seen: set[str] = set()

    def in_sync() -> bool:
        seen.update(formed.processes(replica))
        return formed.is_proven_replica_of(replica, formed.primary())

    wait_until(in_sync, "the replica back in sync")
    seen.update([*formed.processes(replica), formed.log(replica)])
    assert any("redis-server" in text for text in seen)
    for password in formed.passwords.values():
        assert not [text for text in seen if password in text]


def test_the_servers_take_the_settings_values(make: MakeContainers) -> None:
    containers = make(
        replicas=0,
        sentinels=1,
        quorum=1,
        maxclients=321,
        slowlog_max_len=7,
        maxmemory_policy="allkeys-lfu",
        persistence="rdb",
        redis_directives={
            "tcp-backlog": "100",
            "databases": "3",
            "client-output-buffer-limit": "replica 512mb 128mb 60",
            "tls-protocols": "TLSv1.3",
            "notify-keyspace-events": "",
            "latency-tracking-info-percentiles": "50 99",
        },
        rename_commands={"FLUSHDB": "", "FLUSHALL": "", "KEYS": "list-keys"},
    )
    (server,) = containers.redis
    expected = {
        "maxclients": "321",
        "slowlog-max-len": "7",
        "maxmemory-policy": "allkeys-lfu",
        "maxmemory": str(containers.settings.effective_maxmemory),
        "save": "900 1 300 10 60 10000",
        "appendonly": "no",
        "tcp-backlog": "100",
        "databases": "3",
        "client-output-buffer-limit": "normal 0 0 0 slave 536870912 134217728 60 pubsub 33554432 8388608 60",
        "tls-protocols": "TLSv1.3",
        "latency-tracking-info-percentiles": "50 99",
    }
    wait_until(lambda: unformed(containers, server), "started")

    assert {name: containers.config(server, name) for name in expected} == expected
    for command in ("FLUSHALL", "KEYS"):
        with pytest.raises(redis.ResponseError, match="unknown command"):
            containers.ask(server, command, "*")


# Seeds


def test_a_setting_changed_live_survives_a_restart(formed: Containers) -> None:
    replica = formed.replicas()[0]
    formed.ask(replica, "CONFIG", "SET", "slowlog-max-len", 33, "save", "77 7 55 5")
    formed.ask(replica, "CONFIG", "REWRITE")
    formed.kill(replica)
    formed.start(replica)

    wait_until(lambda: formed.is_proven_replica_of(replica, formed.primary()), "the replica back in sync")
    assert formed.config(replica, "slowlog-max-len") == "33"
    assert formed.config(replica, "save") == "77 7 55 5"


def test_a_user_changed_live_survives_a_restart(formed: Containers) -> None:
    replica = formed.replicas()[0]
    formed.ask(replica, "ACL", "SETUSER", "app", "+keys")
    formed.ask(replica, "ACL", "SAVE")
    formed.kill(replica)
    formed.start(replica)
    wait_until(lambda: formed.is_proven_replica_of(replica, formed.primary()), "the replica back in sync")

    rules = formed.ask(replica, "ACL", "LIST")
    formed.ask(replica, "ACL", "SETUSER", "app", "-keys")
    formed.ask(replica, "ACL", "SAVE")
    assert [rule for rule in rules if rule.startswith("user app ") and " +keys" in rule]


def test_a_changed_seed_wins_over_what_was_changed_live(make: MakeContainers) -> None:
    containers = make()
    containers.form()
    containers.wait_until_whole()
    replica = containers.replicas()[0]
    containers.ask(replica, "CONFIG", "SET", "slowlog-max-len", 33)
    containers.ask(replica, "CONFIG", "REWRITE")
    containers.replace(replica, dataclasses.replace(containers.settings, slowlog_max_len=44))

    wait_until(lambda: containers.is_proven_replica_of(replica, containers.primary()), "the new container in sync")
    assert containers.config(replica, "slowlog-max-len") == "44"


def test_changed_files_are_used_by_the_next_start_and_touch_nothing_before(formed: Containers) -> None:
    replica = formed.replicas()[0]
    before = formed.files(replica)
    formed.write_files(replica, formed.files(replica, dataclasses.replace(formed.settings, slowlog_max_len=55)))
    untouched = formed.config(replica, "slowlog-max-len")
    formed.kill(replica)
    formed.start(replica)
    wait_until(lambda: formed.is_proven_replica_of(replica, formed.primary()), "the replica back in sync")
    changed = formed.config(replica, "slowlog-max-len")
    formed.write_files(replica, before)

    assert (untouched, changed) == ("128", "55")


def test_a_server_cannot_change_its_deployed_files(formed: Containers) -> None:
    replica = formed.replicas()[0]
    for path in ("/etc/redis-production/redis.conf", "/etc/redis-production/new", "/new"):
        assert formed.run(replica, "sh", "-c", f"echo x >>{path}")[0] != 0
    assert formed.run(replica, "id", "-u") == (0, "999\n")


def test_a_script_of_the_host_is_what_is_deployed(formed: Containers) -> None:
    assert formed.run(formed.redis[0], "cat", "/etc/redis-production/rejoin.sh") == (0, host_script("rejoin.sh"))
