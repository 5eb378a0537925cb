"""What RedisCluster asks the engine for. Whether it then works is shown on real servers elsewhere."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pulumi
import pytest
from pulumi.runtime.config import set_all_config

from components import RedisCluster, RedisClusterSettings, SettingsError
from components.stack import deploy
from tests.unit.resource_graph import Graph, Registered, Secret, plain, run_program, shown

NODES = [f"cache-redis-{shard}-{copy}" for shard in range(3) for copy in range(2)]
PORTS = [7000, 7001, 7010, 7011, 7020, 7021]

VOLUMES_OF_BACKUPS = ["cache-backup-config", "cache-backup-scratch", "cache-backups"]


def graph(stack: str = "local", component: str = "cache", **settings: Any) -> Graph:
    def program() -> dict[str, pulumi.Output[Any]]:
        cluster = RedisCluster(component, RedisClusterSettings(**settings))
        return {output: getattr(cluster, output) for output in RedisCluster.OUTPUTS}

    return run_program(program, stack)


@functools.cache
def default_graph() -> Graph:
    return graph()


def nodes_of(made: Graph) -> list[str]:
    return made.nodes()


def target_of(made: Graph) -> Any:
    return made.of_type(":Formation")["cache-formation"].inputs["target"]


# What there is


def test_every_child_is_named_after_the_component() -> None:
    expected = {
        "RedisCluster": ["cache"],
        "Network": ["cache-network"],
        "RemoteImage": ["cache-backup-image", "cache-image"],
        "BackupKey": ["cache-backup-key"],
        "Credentials": ["cache-credentials"],
        "CertificateAuthority": ["cache-certificate-authority"],
        "NodeCertificate": [f"{name}-certificate" for name in NODES],
        "Volume": [*VOLUMES_OF_BACKUPS, *(f"{name}-{purpose}" for name in NODES for purpose in ("config", "data"))],
        "Container": [name + suffix for name in (*NODES, "cache-backup") for suffix in ("", "-files")],
        "Formation": ["cache-formation"],
        "Topology": ["cache-topology"],
    }

    for kind, names in expected.items():
        assert sorted(default_graph().of_type(f":{kind}")) == sorted(names), kind
    assert len(default_graph().resources) == sum(map(len, expected.values()))


def test_every_child_has_the_component_as_parent() -> None:
    for resource in default_graph().resources:
        assert resource.parent == ("redis-production-local" if resource.name == "cache" else "cache"), resource.name


def test_the_number_of_nodes_follows_the_settings() -> None:
    assert nodes_of(graph(shards=4, replicas_per_shard=2)) == [
        f"cache-redis-{shard}-{copy}" for shard in range(4) for copy in range(3)
    ]
    assert nodes_of(graph(replicas_per_shard=0)) == ["cache-redis-0-0", "cache-redis-1-0", "cache-redis-2-0"]


def test_a_node_that_stays_keeps_its_port_and_needs_no_restart_when_the_numbers_change() -> None:
    for settings in ({"shards": 5}, {"replicas_per_shard": 3}, {"shard_weights": (1, 3, 1)}):
        made = graph(**settings)
        for name in NODES:
            assert made.container(name).inputs["ports"] == default_graph().container(name).inputs["ports"]
            assert made.restart_files()[name] == default_graph().restart_files()[name]
            assert made.files(name)["node.env"] == default_graph().files(name)["node.env"]


def test_a_cluster_has_no_name_in_common_with_a_stack_beside_it() -> None:
    names = {each.inputs.get("name") for each in graph("local-cluster").resources if each.type.startswith("docker:")}

    own = ("cache-local-cluster-redis-", "cache-local-cluster-backup")
    assert names - {"redis:8.0.2"} == {
        name for name in names if name == "cache-local-cluster" or str(name).startswith(own)
    }


def test_data_volumes_outlive_destroy_unless_the_settings_say_otherwise() -> None:
    for name, volume in default_graph().of_type(":Volume").items():
        assert volume.request.retainOnDelete is name.endswith(("-data", "-backups")), name
    for volume in graph(retain_data=False).of_type(":Volume").values():
        assert not volume.request.retainOnDelete


# How a node runs


def test_ports_are_the_same_inside_and_outside_and_the_bus_is_not_published() -> None:
    for name, port in zip(NODES, PORTS, strict=True):
        assert default_graph().container(name).inputs["ports"] == [
            {"internal": port, "external": port, "ip": "127.0.0.1"}
        ]
        assert f"tls-port {port}\n" in plain(default_graph().files(name)["redis.conf"])


def test_a_node_announces_its_container_name() -> None:
    for name in NODES:
        host = f"cache-local-{name.removeprefix('cache-')}"
        assert default_graph().container(name).inputs["name"] == host
        assert f"NODE_HOST={host}\n" in default_graph().files(name)["node.env"]
        lines = plain(default_graph().files(name)["redis.conf"]).splitlines()
        assert f"cluster-announce-hostname {host}" in lines
        assert f"cluster-announce-human-nodename {name}" in lines


def test_a_node_has_every_file_it_needs() -> None:
    for name in NODES:
        assert set(default_graph().files(name)) == {
            "node.env", "users.acl", "host.auth", "redis.conf", "live.conf", "tls/ca.crt", "tls/node.crt",
            "tls/node.key", "start.sh", "wait.sh", "rejoin.sh", "data.sh", "members.sh", "ask.sh", "health.sh",
        }  # fmt: skip


def test_what_redis_takes_while_it_runs_replaces_no_node() -> None:
    changed = graph(
        cluster_node_timeout=5000,
        cluster_require_full_coverage=False,
        maxclients=5,
        app_key_pattern="app:*",
        certificate_lifetime_days=300,
    )

    assert changed.restart_files() == default_graph().restart_files()


def test_what_needs_a_restart_replaces_every_node() -> None:
    changed = graph(redis_directives={"tcp-backlog": "1024"}).restart_files()

    for name in NODES:
        assert changed[name] != default_graph().restart_files()[name]


def test_a_replacement_goes_through_the_gate() -> None:
    for name in NODES:
        request = default_graph().container(name).request
        assert list(request.hooks.before_delete) == ["cache-before-stop"]
        assert list(request.hooks.after_create) == ["cache-after-start"]
        assert request.deleteBeforeReplace


# Secrets

USERS = ("app", "replication", "monitor", "backup", "admin", "host")


def test_passwords_and_keys_reach_the_engine_only_as_secrets() -> None:
    for resource in default_graph().resources:
        for text in shown(resource.inputs):
            assert "PRIVATE KEY" not in text, resource.name
            assert not [user for user in USERS if f"password-of-{user}" in text], resource.name


def test_files_with_secrets_are_secret() -> None:
    for name in NODES:
        secret = {file for file, content in default_graph().files(name).items() if isinstance(content, Secret)}
        assert secret == {"users.acl", "host.auth", "tls/node.key", "redis.conf"}


def test_secret_outputs() -> None:
    assert default_graph().secret_outputs == {"credentials", "python_example"}


# Formation and outputs


def test_formation_waits_for_every_node_and_runs_again_when_one_is_new() -> None:
    formation = default_graph().of_type(":Formation")["cache-formation"]

    assert formation.inputs["generations"] == {name: f"id-of-{name}" for name in NODES}
    assert formation.inputs["files_generations"] == {name: f"id-of-{name}-files" for name in NODES}
    for name in NODES:
        assert any(urn.endswith(f"::{name}") for urn in formation.request.dependencies)


def test_formation_is_told_the_shards() -> None:
    target = target_of(graph(shard_weights=(1, 2)))

    assert target["topology"] == "cluster"
    assert [(shard["name"], shard["weight"]) for shard in target["shards"]] == [
        ("cache-redis-0", 1),
        ("cache-redis-1", 2),
        ("cache-redis-2", 1),
    ]
    assert target["shards"][1]["members"] == [
        {
            "name": f"cache-redis-1-{copy}",
            "announced": {"host": f"cache-local-redis-1-{copy}", "port": 7010 + copy},
            "reach": {"host": "127.0.0.1", "port": 7010 + copy},
        }
        for copy in range(2)
    ]


def test_live_settings_of_a_cluster() -> None:
    live = target_of(graph(cluster_node_timeout=5000, cluster_require_full_coverage=False))["live_settings"]

    assert live["cluster-node-timeout"] == "5000"
    assert live["cluster-require-full-coverage"] == "no"
    assert live["cluster-allow-replica-migration"] == "no"
    assert live["min-replicas-to-write"] == "0"


def test_outputs() -> None:
    outputs = default_graph().outputs

    assert outputs["nodes"] == [f"127.0.0.1:{port}" for port in PORTS]
    assert outputs["shards"][0]["primary"] == "127.0.0.1:7000"
    assert outputs["ca_certificate"].startswith("-----BEGIN CERTIFICATE-----")
    assert set(outputs["credentials"]) == {*USERS, "backup-encryption"}
    assert "password-of-app" in outputs["python_example"]
    assert "password-of-admin" not in outputs["python_example"]


# The program


@pytest.fixture
def configured() -> Any:
    """Give the program a stack's configuration, beside which stands the topology."""
    yield lambda values: set_all_config(
        {f"redis-production:{name}": value for name, value in {"topology": "cluster", **values}.items()}
    )
    set_all_config({})


Configured = Callable[[dict[str, str]], None]


def program_graph(registered: list[Registered] | None = None) -> Graph:
    def program() -> dict[str, pulumi.Output[Any]]:
        deploy()
        return {}

    return run_program(program, registered=registered)


def test_the_program_deploys_what_the_configuration_says(configured: Configured) -> None:
    # What Pulumi.yaml declares for the other topology is part of every stack's configuration.
    configured({"shards": "4", "replicas-per-shard": "0", "shard-weights": "[2]", "sentinels": "3", "quorum": "2"})
    made = program_graph()

    assert nodes_of(made) == [f"cache-redis-{shard}-0" for shard in range(4)]
    assert [shard["weight"] for shard in target_of(made)["shards"]] == [2, 1, 1, 1]


@pytest.mark.parametrize(
    ("values", "lines"),
    [
        (
            {"shards": "2"},
            [
                "shards: 2 cannot outlive the death of a primary, because a majority of the primaries has to promote "
                "its replica; use 3 to 100, or topology replicated"
            ],
        ),
        (
            {"sentinels": "5", "replicas": "3"},
            [
                "replicas: is a setting of topology replicated; leave it out, or choose that topology",
                "sentinels: is a setting of topology replicated; leave it out, or choose that topology",
            ],
        ),
        ({"shard": "4"}, ["shard: unknown setting; did you mean shards?"]),
        (
            {"port": "55530"},
            [
                "port: 55530 to 55551 are needed, but the cluster bus takes each port + 10000, so the highest is "
                "55535; use a lower one"
            ],
        ),
    ],
)
def test_a_mistake_is_refused_before_anything_is_planned(
    configured: Configured, values: dict[str, str], lines: list[str]
) -> None:
    configured(values)
    registered: list[Registered] = []

    with pytest.raises(pulumi.RunError) as caught:
        program_graph(registered)
    assert sorted(str(caught.value).splitlines()) == sorted(lines)
    assert registered == []


def test_a_name_that_is_no_host_name_is_refused_before_anything_is_planned() -> None:
    registered: list[Registered] = []

    def program() -> dict[str, pulumi.Output[Any]]:
        RedisCluster("my_cache", RedisClusterSettings())
        return {}

    with pytest.raises(SettingsError, match=r"^name: 'my_cache' must be"):
        run_program(program, registered=registered)
    assert registered == []
