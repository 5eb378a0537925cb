"""What ReplicatedRedis asks the engine for. Whether it then works is shown on real servers elsewhere."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pulumi
import pytest
from pulumi.runtime.config import set_all_config

from components import ReplicatedRedis, ReplicatedRedisSettings, SettingsError
from components.settings import MEBIBYTE
from components.stack import deploy, stack_settings
from tests.unit.resource_graph import FOLDER, Graph, Registered, Secret, plain, run_program, shown

REDIS = ["cache-redis-0", "cache-redis-1", "cache-redis-2"]
SENTINELS = ["cache-sentinel-0", "cache-sentinel-1", "cache-sentinel-2"]
NODES = [*REDIS, *SENTINELS]
VOLUMES_OF_BACKUPS = ["cache-backup-config", "cache-backup-scratch", "cache-backups"]


def graph(stack: str = "local", component: str = "cache", **settings: Any) -> Graph:
    def program() -> dict[str, pulumi.Output[Any]]:
        redis = ReplicatedRedis(component, ReplicatedRedisSettings(**settings))
        return {output: getattr(redis, output) for output in ReplicatedRedis.OUTPUTS}

    return run_program(program, stack)


@functools.cache
def default_graph() -> Graph:
    return graph()


def node(name: str, made: Graph | None = None) -> Registered:
    return (made or default_graph()).container(name)


def files(name: str, made: Graph | None = None) -> dict[str, Any]:
    """File name -> content of a node."""
    return (made or default_graph()).files(name)


# What there is


def test_every_child_is_named_after_the_component() -> None:
    expected = {
        "ReplicatedRedis": ["cache"],
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
    made = graph(replicas=4, sentinels=5)

    assert made.nodes() == [*(f"cache-redis-{i}" for i in range(5)), *(f"cache-sentinel-{i}" for i in range(5))]


def test_a_primary_without_replicas_and_one_sentinel() -> None:
    made = graph(replicas=0, sentinels=1, quorum=1)

    assert made.nodes() == ["cache-redis-0", "cache-sentinel-0"]
    assert "min-replicas-to-write 0\n" in files("cache-redis-0", made)["live.conf"]


def test_two_stacks_have_no_name_and_no_label_in_common() -> None:
    def names(made: Graph) -> set[Any]:
        physical = {each.inputs.get("name") for each in made.resources if each.type.startswith("docker:")}
        labels = {label["value"] for each in made.resources for label in each.inputs.get("labels", [])}
        aliases = {
            alias
            for each in made.resources
            for network in each.inputs.get("networksAdvanced", [])
            for alias in (*network["aliases"], network["name"])
        }
        return physical | labels | aliases | {made.outputs["master_name"]}

    # The identity is random in reality; here it is made from the resource's name.
    assert names(graph("one")) & names(graph("two")) == {"redis:8.0.2", "id-of-cache-credentials"}


# Data


def test_every_node_has_a_data_volume_of_its_own() -> None:
    sources = {
        mount["source"]: name for name in NODES for mount in node(name).inputs["mounts"] if mount["target"] == "/data"
    }

    assert len(sources) == len(NODES)
    for name in NODES:
        assert default_graph().of_type(":Volume")[f"{name}-data"].inputs["name"] == f"cache-local-{name[6:]}-data"


def test_data_volumes_of_redis_and_backups_outlive_destroy() -> None:
    retained = {*(f"{name}-data" for name in REDIS), "cache-backups"}
    for name, volume in default_graph().of_type(":Volume").items():
        assert volume.request.retainOnDelete is (name in retained), name


def test_data_volumes_go_with_destroy_where_the_settings_say_so() -> None:
    for volume in graph(retain_data=False).of_type(":Volume").values():
        assert not volume.request.retainOnDelete


def test_nothing_replaces_a_volume() -> None:
    for volume in default_graph().of_type(":Volume").values():
        assert set(volume.request.ignoreChanges) == {"labels", "name", "driver"}
        assert not volume.request.deleteBeforeReplace


# How a node runs


@pytest.mark.parametrize("name", NODES)
def test_a_node_is_hardened(name: str) -> None:
    inputs = node(name).inputs

    assert inputs["user"] == "999:999"
    assert inputs["readOnly"] is True
    assert inputs["capabilities"] == {"drops": ["ALL"]}
    assert inputs["securityOpts"] == ["no-new-privileges"]
    assert inputs["memory"] == inputs["memorySwap"] > 0
    assert inputs["restart"] == "unless-stopped"
    assert inputs["init"] is True
    assert not inputs.get("privileged")
    assert not inputs.get("envs")


@pytest.mark.parametrize("name", NODES)
def test_a_node_is_checked_for_health(name: str) -> None:
    assert node(name).inputs["healthcheck"]["tests"] == ["CMD", "/bin/sh", f"{FOLDER}health.sh"]
    assert "health.sh" in files(name)


def test_ports_are_the_same_inside_and_outside_and_on_loopback_only() -> None:
    ports = {name: node(name).inputs["ports"] for name in NODES}
    expected = dict(zip(NODES, [6379, 6380, 6381, 26379, 26380, 26381], strict=True))

    assert ports == {name: [{"internal": port, "external": port, "ip": "127.0.0.1"}] for name, port in expected.items()}
    for name, port in expected.items():
        server = files(name)["redis.conf" if "redis" in name else "sentinel.conf"]
        assert f"tls-port {port}\n" in plain(server)


def test_ports_follow_the_settings() -> None:
    made = graph(port=7000, sentinel_port=27000)

    assert node("cache-redis-2", made).inputs["ports"][0]["external"] == 7002
    assert node("cache-sentinel-2", made).inputs["ports"][0]["external"] == 27002
    assert made.outputs["sentinels"] == ["127.0.0.1:27000", "127.0.0.1:27001", "127.0.0.1:27002"]


def test_a_node_announces_its_container_name() -> None:
    for name in NODES:
        inputs = node(name).inputs
        host = f"cache-local-{name.removeprefix('cache-')}"
        assert inputs["name"] == inputs["hostname"] == host
        assert inputs["networksAdvanced"] == [{"name": "cache-local", "aliases": [host]}]
        assert f"NODE_HOST={host}\n" in files(name)["node.env"]


def test_memory_limits_follow_the_settings() -> None:
    made = graph(memory=1024 * MEBIBYTE, sentinel_memory=96 * MEBIBYTE)

    assert node("cache-redis-0", made).inputs["memory"] == 1024
    assert node("cache-sentinel-0", made).inputs["memory"] == 96


def test_a_stopping_server_gets_its_time() -> None:
    assert node("cache-redis-0", graph(stop_grace_seconds=90)).inputs["destroyGraceSeconds"] == 90


def test_the_image_is_the_one_of_the_settings_and_stays_on_the_engine() -> None:
    made = graph(image="redis:8.0.3")
    image = made.of_type(":RemoteImage")["cache-image"].inputs

    assert image["name"] == "redis:8.0.3"
    assert image["keepLocally"] is True
    assert {made.container(name).inputs["image"] for name in NODES} == {"redis:8.0.3"}


# Files


def test_files_reach_a_node_read_only_through_its_configuration_volume() -> None:
    for name in NODES:
        filler = node(f"{name}-files").inputs
        volume = f"cache-local-{name.removeprefix('cache-')}-config"
        assert {upload["permissions"] for upload in filler["uploads"]} == {"0444"}
        assert [mount["source"] for mount in filler["mounts"]] == [volume]
        assert volume in [mount["source"] for mount in node(name).inputs["mounts"]]
        assert filler["start"] is False
        assert filler["networkMode"] == "none"
        assert any(urn.endswith(f"::{name}-files") for urn in node(name).request.dependencies)
        assert "uploads" not in node(name).inputs


def test_a_node_has_every_file_it_needs() -> None:
    common = {
        "node.env",
        "users.acl",
        "start.sh",
        "health.sh",
        "host.auth",
        "tls/ca.crt",
        "tls/node.crt",
        "tls/node.key",
    }

    for name in REDIS:
        assert set(files(name)) == common | {"redis.conf", "live.conf", "rejoin.sh", "ask.sh", "data.sh"}
    for name in SENTINELS:
        assert set(files(name)) == common | {"sentinel.conf"}


def changed(**settings: Any) -> set[str]:
    """The nodes whose containers these settings replace, beside the defaults."""
    # Certificates are made anew for every graph; Sentinels, which cannot load one while they run, depend on theirs.
    before, after = default_graph().restart_files(), graph(**settings).restart_files()
    return {name for name in REDIS if before[name] != after[name]}


def test_what_redis_takes_while_it_runs_replaces_no_node() -> None:
    assert changed(maxclients=5, persistence="rdb", redis_directives={"hz": "20"}, app_key_pattern="app:*") == set()


def test_what_needs_a_restart_replaces_every_redis_node() -> None:
    assert changed(redis_directives={"tcp-backlog": "1024"}) == set(REDIS)
    assert changed(rename_commands={"KEYS": ""}) == set(REDIS)


def test_a_replacement_goes_through_the_gate() -> None:
    for name in NODES:
        hooks = node(name).request.hooks
        assert list(hooks.before_delete) == ["cache-before-stop"]
        assert list(hooks.after_create) == ["cache-after-start"]
        assert node(name).request.deleteBeforeReplace


# Secrets

PASSWORDS = [f"password-of-{user}" for user in ("app", "replication", "sentinel", "monitor", "backup", "admin", "host")]


def test_passwords_and_keys_reach_the_engine_only_as_secrets() -> None:
    for resource in default_graph().resources:
        for text in shown(resource.inputs):
            assert "PRIVATE KEY" not in text, resource.name
            assert not [password for password in PASSWORDS if password in text], resource.name


def test_files_with_secrets_are_secret() -> None:
    for name in NODES:
        secret = {file for file, content in files(name).items() if isinstance(content, Secret)}
        own = "redis.conf" if name in REDIS else "sentinel.conf"
        assert secret == {"users.acl", "host.auth", "tls/node.key", own}


def test_secret_outputs() -> None:
    assert default_graph().secret_outputs == {"credentials", "python_example"}


def test_made_secrets_are_kept_as_secrets() -> None:
    marked = {each.name: set(each.request.additionalSecretOutputs) for each in default_graph().resources}

    assert "passwords" in marked["cache-credentials"]
    assert "private_key" in marked["cache-certificate-authority"]
    assert "private_key" in marked["cache-redis-0-certificate"]
    assert "authority_private_key" in marked["cache-redis-0-certificate"]
    assert {"passwords", "acl"} <= marked["cache-formation"]


# Formation and outputs


def test_formation_waits_for_every_node_and_runs_again_when_one_is_new() -> None:
    formation = default_graph().of_type(":Formation")["cache-formation"]

    assert formation.inputs["generations"] == {name: f"id-of-{name}" for name in NODES}
    assert formation.inputs["files_generations"] == {name: f"id-of-{name}-files" for name in REDIS}
    for name in NODES:
        assert any(urn.endswith(f"::{name}") for urn in formation.request.dependencies)


def test_formation_is_told_the_settings() -> None:
    made = graph(quorum=3, down_after_milliseconds=5000, parallel_syncs=2, failover_timeout=60000, master_name="mine")
    target = made.of_type(":Formation")["cache-formation"].inputs["target"]

    assert target["sentinel"] == {
        "master_name": "mine",
        "quorum": 3,
        "down_after_milliseconds": 5000,
        "parallel_syncs": 2,
        "failover_timeout_milliseconds": 60000,
        "auth_user": "sentinel",
    }
    assert [each["name"] for each in target["nodes"]] == REDIS
    assert target["nodes"][1]["announced"] == {"host": "cache-local-redis-1", "port": 6380}
    assert target["nodes"][1]["reach"] == {"host": "127.0.0.1", "port": 6380}
    assert [each["name"] for each in target["sentinels"]] == SENTINELS
    assert made.outputs["master_name"] == "mine"


def test_outputs() -> None:
    outputs = default_graph().outputs

    assert outputs["sentinels"] == ["127.0.0.1:26379", "127.0.0.1:26380", "127.0.0.1:26381"]
    assert outputs["master_name"] == "cache-local"
    assert outputs["primary"] == "127.0.0.1:6379"
    assert outputs["replicas"] == ["127.0.0.1:6380", "127.0.0.1:6381"]
    assert outputs["ca_certificate"].startswith("-----BEGIN CERTIFICATE-----")
    assert outputs["credentials"]["app"] == "password-of-app"
    assert "password-of-app" in outputs["python_example"]
    assert "password-of-admin" not in outputs["python_example"]


def test_a_default_user_gets_a_password_of_its_own() -> None:
    made = graph(default_user=True)

    assert made.outputs["credentials"]["default"] == "password-of-default"
    assert "user default reset on #" in plain(files("cache-redis-0", made)["users.acl"])
    assert "user default reset off" in plain(files("cache-sentinel-0", made)["users.acl"])


# The program


@pytest.fixture
def configured() -> Any:
    """Give the program a stack's configuration."""
    yield lambda values: set_all_config({f"redis-production:{name}": value for name, value in values.items()})
    set_all_config({})


Configured = Callable[[dict[str, str]], None]


def program_graph() -> Graph:
    def program() -> dict[str, pulumi.Output[Any]]:
        deploy()
        return {}

    return run_program(program)


def test_the_program_deploys_what_the_configuration_says(configured: Configured) -> None:
    configured({"name": "store", "replicas": "1", "memory": "128mb", "save-points": '["60 5"]'})
    made = program_graph()

    assert node("store-redis-1", made).inputs["memory"] == 128
    assert "store-redis-2" not in made.of_type(":Container")
    assert 'save "60 5"\n' in files("store-redis-0", made)["live.conf"]


@pytest.mark.parametrize(
    ("values", "lines"),
    [
        ({"sentinels": "4"}, ["sentinels: 4 is even, so a split can leave no majority; use 5 (or 3)"]),
        ({"shards": "5"}, ["shards: is a setting of topology cluster; leave it out, or choose that topology"]),
        ({"topology": "ring"}, ["topology: 'ring' is not one of replicated, cluster"]),
        (
            {"name": "Cache"},
            ["name: 'Cache' must be lower-case letters, digits and '-', start with a letter, at most 32 long"],
        ),
        (
            {"sentinels": "2", "qurum": "1"},
            [
                "qurum: unknown setting; did you mean quorum?",
                "sentinels: 2 is even, so a split can leave no majority; use 3 (or 1)",
            ],
        ),
    ],
)
def test_a_mistake_is_refused_before_anything_is_planned(
    configured: Configured, values: dict[str, str], lines: list[str]
) -> None:
    configured(values)
    registered: list[Registered] = []

    def program() -> dict[str, pulumi.Output[Any]]:
        deploy()
        return {}

    with pytest.raises(pulumi.RunError) as caught:
        run_program(program, registered=registered)
    assert sorted(str(caught.value).splitlines()) == sorted(lines)
    assert registered == []


def test_a_name_that_is_no_host_name_is_refused_before_anything_is_planned() -> None:
    registered: list[Registered] = []

    def program() -> dict[str, pulumi.Output[Any]]:
        ReplicatedRedis("my_cache", ReplicatedRedisSettings())
        return {}

    with pytest.raises(SettingsError, match=r"^name: 'my_cache' must be"):
        run_program(program, registered=registered)
    assert registered == []


def test_settings_are_what_is_configured_for_this_project_alone(configured: Configured) -> None:
    set_all_config(
        {
            "redis-production:name": "store",
            "redis-production:topology": "replicated",
            "redis-production:rename-commands": '{"KEYS": ""}',
            "redis-production:save-points": '["900 1"]',
            "redis-production:app-key-pattern": "{user}:*",
            "aws:region": "eu-central-1",
        }
    )

    assert stack_settings("redis-production") == {
        "rename-commands": {"KEYS": ""},
        "save-points": ["900 1"],
        "app-key-pattern": "{user}:*",
    }
