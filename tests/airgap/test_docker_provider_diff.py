"""What the Docker stand-in says of inputs and differences, without an engine. Most of it is in recordings/README.md."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from airgap.docker_provider.durations import format_duration, parse_duration
from airgap.provider_protocol.wire import UNKNOWN
from tests.airgap.docker_types import CONTAINER, NETWORK, REMOTE_IMAGE, VOLUME
from tests.airgap.plugin import NO_DIFFERENCE, Made, Plugin, Refused, running_plugin

RECORDING = json.loads((Path(__file__).parent / "recordings" / "docker_provider_state.json").read_text())
DELETE = None
"""In a table of changes: take this property out of the program."""


@pytest.fixture(scope="module")
def plugin() -> Iterator[Plugin]:
    with running_plugin("docker") as started:
        yield started


def recorded(type_name: str) -> Made:
    """A resource as the vendor's plugin left it."""
    entry = next(one for one in RECORDING["deployment"]["resources"] if one["type"] == type_name)
    return Made(type_name, entry["id"], deepcopy(entry["inputs"]), deepcopy(entry["outputs"]))


def program(made: Made, **changes: Any) -> dict[str, Any]:
    """The inputs that a program would give for a recorded resource: without defaults, and with some changes."""
    given: dict[str, Any] = {**_without_defaults(made.inputs), **changes}
    return {name: value for name, value in given.items() if value is not DELETE}


def _without_defaults(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_defaults(item) for item in value]
    if not isinstance(value, dict):
        return value
    left_out = {"__defaults", *value.get("__defaults", [])}
    return {name: _without_defaults(item) for name, item in value.items() if name not in left_out}


def container(**changes: Any) -> tuple[Made, dict[str, Any]]:
    """The recorded container, memorySwap set (else it always differs), with changes made to state and program alike."""
    made = recorded(CONTAINER)
    changes = {"memorySwap": 512, **changes}
    made.inputs.update(changes)
    made.outputs.update(changes)
    return made, program(made)


PORT = {"internal": 6379, "external": 16399, "ip": "127.0.0.1"}
EVERYWHERE = "0.0.0.0"  # noqa: S104 the default
MOUNT = {"target": "/data", "source": "rp-data", "type": "volume"}
UPLOAD = {"file": "/etc/redis-rp.conf", "content": "bind 0.0.0.0\nprotected-mode no\nappendonly yes\nmaxmemory 64mb\n"}
NETWORK_ENTRY = {"name": "rp-net", "aliases": ["cache", "redis"]}
HEALTHCHECK = {
    "tests": ["CMD", "redis-cli", "ping"],
    "interval": "2s",
    "timeout": "1s",
    "retries": 5,
    "startPeriod": "1s",
}

REPLACES: list[tuple[dict[str, Any], str]] = [
    ({"image": "redis-trixie"}, "image"),
    ({"image": "sha256:0123"}, "image"),
    ({"command": ["redis-server"]}, "command[1]"),
    ({"command": ["redis-server", "/etc/redis-rp.conf", "--dir", "/other"]}, "command[3]"),
    ({"entrypoints": ["/bin/sh"]}, "entrypoints"),
    ({"envs": ["RP=2"]}, "envs[0]"),
    ({"envs": ["RP=1", "OTHER=1"]}, "envs[1]"),
    ({"labels": [{"label": "app", "value": "other"}]}, "labels[0].value"),
    ({"labels": [{"label": "app", "value": "rp"}, {"label": "more", "value": "x"}]}, "labels[1]"),
    ({"ports": [{**PORT, "external": 16400}]}, "ports[0].external"),
    ({"ports": [{**PORT, "internal": 6380}]}, "ports[0]"),
    ({"ports": [{**PORT, "ip": "127.0.0.2"}]}, "ports[0]"),
    ({"ports": [{**PORT, "protocol": "udp"}]}, "ports[0]"),
    ({"ports": [PORT, {"internal": 1}]}, "ports[1]"),
    ({"ports": DELETE}, "ports[0]"),
    ({"uploads": [{**UPLOAD, "content": "maxmemory 65mb"}]}, "uploads[0].content"),
    ({"uploads": [{**UPLOAD, "permissions": "0600"}]}, "uploads[0].permissions"),
    ({"uploads": [{**UPLOAD, "executable": True}]}, "uploads[0].executable"),
    ({"uploads": [UPLOAD, {"file": "/x", "content": "x"}]}, "uploads[1]"),
    ({"uploads": DELETE}, "uploads[0]"),
    ({"networksAdvanced": [{**NETWORK_ENTRY, "aliases": ["cache"]}]}, "networksAdvanced[0].aliases[1]"),
    ({"networksAdvanced": [{**NETWORK_ENTRY, "ipv4Address": "172.19.0.9"}]}, "networksAdvanced[0].ipv4Address"),
    ({"networksAdvanced": [{**NETWORK_ENTRY, "name": "other"}]}, "networksAdvanced[0]"),
    ({"networksAdvanced": [NETWORK_ENTRY, {"name": "other"}]}, "networksAdvanced[1]"),
    ({"networkMode": "host"}, "networkMode"),
    ({"mounts": [MOUNT, {"target": "/more", "type": "tmpfs"}]}, "mounts[1]"),
    ({"mounts": [{**MOUNT, "source": "other"}]}, "mounts[0].source"),
    ({"mounts": DELETE}, "mounts[0]"),
    ({"user": "redis"}, "user"),
    ({"hostname": "node"}, "hostname"),
    ({"name": "other"}, "name"),
    ({"cpus": "0.5"}, "cpus"),
    ({"hosts": [{"host": "a", "ip": "127.0.0.1"}]}, "hosts[0]"),
    ({"ulimits": [{"name": "nofile", "soft": 1024, "hard": 1024}]}, "ulimits[0]"),
    ({"capabilities": {"drops": ["ALL"]}}, "capabilities"),
    ({"securityOpts": ["no-new-privileges:true"]}, "securityOpts"),
    ({"logOpts": {"max-size": "1m"}}, "logOpts"),
    ({"logDriver": "local"}, "logDriver"),
    ({"stopTimeout": 20}, "stopTimeout"),
    ({"stopSignal": "SIGINT"}, "stopSignal"),
    ({"readOnly": True}, "readOnly"),
    ({"sysctls": {"net.core.somaxconn": "1024"}}, "sysctls"),
    ({"shmSize": 128}, "shmSize"),
    ({"dns": ["127.0.0.1"]}, "dns"),
    ({"dnsOpts": ["ndots:1"]}, "dnsOpts"),
    ({"dnsSearches": ["example.org"]}, "dnsSearches"),
]


@pytest.mark.parametrize(
    ("change", "path"), REPLACES, ids=[f"{path} {index}" for index, (_, path) in enumerate(REPLACES)]
)
def test_a_change_replaces_the_container_and_deletes_the_old_one_first(
    plugin: Plugin, change: dict[str, Any], path: str
) -> None:
    made, given = container()
    difference = plugin.diff(made, program(made, **change))
    assert difference.replaces == (next(iter(change)),)
    assert difference.updates == ()
    assert difference.deletes_first
    assert difference.detail[path] in {"ADD_REPLACE", "UPDATE_REPLACE", "DELETE_REPLACE"}
    assert all(name.startswith(next(iter(change))) for name in difference.detail)
    assert given  # the unchanged program is covered by the next tests


UPDATES: list[tuple[dict[str, Any], str]] = [
    ({"restart": "always"}, "restart"),
    ({"memory": 300}, "memory"),
    ({"memorySwap": 600}, "memorySwap"),
    ({"memorySwap": DELETE}, "memorySwap"),
    ({"cpuShares": 512}, "cpuShares"),
    ({"healthcheck": {**HEALTHCHECK, "interval": "3s"}}, "healthcheck.interval"),
    ({"healthcheck": {**HEALTHCHECK, "tests": ["CMD", "true"]}}, "healthcheck.tests[1]"),
    ({"mounts": [{**MOUNT, "readOnly": True}]}, "mounts[0].readOnly"),
    ({"tmpfs": {"/run": "size=1m"}}, "tmpfs"),
    ({"init": True}, "init"),
    ({"destroyGraceSeconds": 10}, "destroyGraceSeconds"),
    ({"waitTimeout": 31}, "waitTimeout"),
    ({"mustRun": False}, "mustRun"),
]


@pytest.mark.parametrize(
    ("change", "path"), UPDATES, ids=[f"{path} {index}" for index, (_, path) in enumerate(UPDATES)]
)
def test_a_change_is_an_update_of_the_container(plugin: Plugin, change: dict[str, Any], path: str) -> None:
    made, _ = container()
    difference = plugin.diff(made, program(made, **change))
    assert difference.replaces == ()
    assert difference.updates == (next(iter(change)),)
    assert not difference.deletes_first
    assert difference.detail[path] in {"ADD", "UPDATE", "DELETE"}


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"labels": DELETE},
        {"labels": []},
        {"envs": DELETE},
        {"envs": []},
        {"healthcheck": DELETE},
        {"networksAdvanced": [{**NETWORK_ENTRY, "aliases": ["redis", "cache"]}]},
        {"command": DELETE},
        {"user": ""},
        {"readOnly": False},
        {"init": False},
        {"networkMode": "bridge"},
        {"mounts": [{**MOUNT, "readOnly": False}]},
        {"uploads": [{**UPLOAD, "executable": False}]},
        {"hosts": []},
        {"ports": [{**PORT, "protocol": "tcp"}]},
    ],
    ids=str,
)
def test_no_difference_is_seen(plugin: Plugin, change: dict[str, Any]) -> None:
    made, _ = container()
    assert plugin.diff(made, program(made, **change)) == NO_DIFFERENCE


def test_memory_without_memory_swap_always_differs(plugin: Plugin) -> None:
    made = recorded(CONTAINER)
    difference = plugin.diff(made, program(made))
    assert difference.updates == ("memorySwap",)
    assert difference.detail == {"memorySwap": "DELETE"}


def test_capabilities_read_back_with_their_prefix(plugin: Plugin) -> None:
    made, given = container(capabilities={"adds": ["CAP_SETUID"], "drops": []})
    assert plugin.diff(made, {**given, "capabilities": {"adds": ["SETUID"]}}).replaces == ("capabilities",)
    assert plugin.diff(made, {**given, "capabilities": {"adds": ["CAP_SETUID"]}}) == NO_DIFFERENCE


def test_a_port_chosen_by_the_engine_is_no_difference(plugin: Plugin) -> None:
    made, given = container()
    del given["ports"][0]["external"]
    assert plugin.diff(made, given) == NO_DIFFERENCE


def test_the_order_of_sets_is_no_difference(plugin: Plugin) -> None:
    made, given = container(
        uploads=[UPLOAD, {"file": "/x", "content": "x"}],
        ports=[{**PORT, "protocol": "tcp"}, {"internal": 1, "external": 2, "ip": "127.0.0.1", "protocol": "tcp"}],
        mounts=[MOUNT, {"target": "/more", "type": "tmpfs"}],
    )
    reordered = {**given, **{name: given[name][::-1] for name in ("uploads", "ports", "mounts")}}
    assert plugin.diff(made, reordered) == NO_DIFFERENCE


def test_a_duration_written_otherwise_than_go_does_differs(plugin: Plugin) -> None:
    """The engine's durations come back as Go prints them, so "60s" is never equal to what is read: write "1m0s"."""
    made, given = container(healthcheck={**HEALTHCHECK, "interval": "1m0s"})
    assert plugin.diff(made, {**given, "healthcheck": {**HEALTHCHECK, "interval": "60s"}}).updates == ("healthcheck",)
    assert plugin.diff(made, {**given, "healthcheck": {**HEALTHCHECK, "interval": "1m0s"}}) == NO_DIFFERENCE


@pytest.mark.parametrize("stopped", [True, False])
def test_a_stopped_container_is_replaced_only_when_it_has_ports(plugin: Plugin, stopped: bool) -> None:
    made, given = container()
    made.outputs["mustRun"] = made.inputs["mustRun"] = False
    if stopped:
        made.outputs["ports"] = []
        assert plugin.diff(made, given).replaces == ("ports",)
    else:
        assert plugin.diff(made, given).updates == ("mustRun",)


def test_a_container_that_never_came_up_is_replaced(plugin: Plugin) -> None:
    made, given = container()
    for name in ("networkDatas", "bridge", "exitCode"):
        del made.outputs[name]
    difference = plugin.diff(made, given)
    assert difference.replaces == ("wait",)
    assert difference.deletes_first


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"mounts": [{**MOUNT, "source": UNKNOWN}]}, "mounts"),
        ({"networksAdvanced": [{"name": UNKNOWN}]}, "networksAdvanced"),
        ({"uploads": [{**UPLOAD, "content": UNKNOWN}]}, "uploads"),
        ({"image": UNKNOWN}, "image"),
    ],
)
def test_a_value_unknown_in_the_preview_replaces_the_container(
    plugin: Plugin, change: dict[str, Any], path: str
) -> None:
    """By this a replaced volume or network takes its container with it."""
    made, _ = container()
    difference = plugin.diff(made, program(made, **change))
    assert difference.replaces == (path,)
    assert difference.deletes_first


@pytest.mark.parametrize(
    ("type_name", "change", "path"),
    [
        (NETWORK, {"labels": [{"label": "app", "value": "x"}]}, "labels"),
        (NETWORK, {"labels": DELETE}, "labels"),
        (NETWORK, {"internal": True}, "internal"),
        (NETWORK, {"options": {"com.docker.network.bridge.name": "x"}}, "options"),
        (NETWORK, {"ipamConfigs": [{"subnet": "172.30.0.0/24"}]}, "ipamConfigs"),
        (NETWORK, {"driver": "macvlan"}, "driver"),
        (NETWORK, {"ipv6": True}, "ipv6"),
        (NETWORK, {"attachable": True}, "attachable"),
        (VOLUME, {"labels": [{"label": "app", "value": "x"}]}, "labels"),
        (VOLUME, {"labels": DELETE}, "labels"),
        (VOLUME, {"driver": "other"}, "driver"),
        (VOLUME, {"driverOpts": {"type": "tmpfs"}}, "driverOpts"),
    ],
)
def test_any_change_replaces_networks_and_volumes(
    plugin: Plugin, type_name: str, change: dict[str, Any], path: str
) -> None:
    made = recorded(type_name)
    difference = plugin.diff(made, program(made, **change))
    assert difference.replaces == (path,)
    assert difference.deletes_first, "two of the same name cannot exist at once"


@pytest.mark.parametrize("type_name", [NETWORK, VOLUME])
def test_a_new_name_replaces_without_deleting_first(plugin: Plugin, type_name: str) -> None:
    made = recorded(type_name)
    difference = plugin.diff(made, program(made, name="other"))
    assert difference.replaces == ("name",)
    assert not difference.deletes_first


@pytest.mark.parametrize("type_name", [NETWORK, VOLUME, CONTAINER])
def test_recorded_resources_are_unchanged(plugin: Plugin, type_name: str) -> None:
    made = recorded(type_name) if type_name != CONTAINER else container()[0]
    assert plugin.diff(made, program(made)) == NO_DIFFERENCE


@pytest.mark.parametrize("type_name", [NETWORK, VOLUME, CONTAINER])
def test_check_fills_in_the_vendors_defaults(plugin: Plugin, type_name: str) -> None:
    made = recorded(type_name)
    checked, _ = plugin.check(type_name, program(made))
    assert checked == made.inputs


def test_check_fills_in_every_default_of_a_bare_container(plugin: Plugin) -> None:
    checked, _ = plugin.check(CONTAINER, {"image": "x", "name": "n", "ports": [{"internal": 1}], "healthcheck": {}})
    assert checked["__defaults"] == [
        "containerReadRefreshTimeoutMilliseconds",
        "mustRun",
        "networkMode",
        "removeVolumes",
        "restart",
        "start",
        "waitTimeout",
    ]
    assert (checked["restart"], checked["waitTimeout"]) == ("no", 60)
    assert checked["ports"] == [{"__defaults": ["ip", "protocol"], "internal": 1, "ip": EVERYWHERE, "protocol": "tcp"}]
    assert checked["healthcheck"]["__defaults"] == ["interval", "startInterval", "startPeriod", "timeout"]


@pytest.mark.parametrize("type_name", [NETWORK, VOLUME, CONTAINER])
def test_a_name_is_made_up_and_kept(plugin: Plugin, type_name: str) -> None:
    given = {"image": "x"} if type_name == CONTAINER else {}
    first, _ = plugin.check(type_name, given)
    assert first["name"].startswith("logical-")
    assert len(first["name"]) == len("logical-") + 7
    assert "name" in first["__defaults"]
    again, _ = plugin.check(type_name, given, old_inputs=first, seed=b"another")
    assert again["name"] == first["name"]
    other, _ = plugin.check(type_name, given, seed=b"another")
    assert other["name"] != first["name"]


def test_a_made_up_name_lets_a_network_be_replaced_without_deleting_first(plugin: Plugin) -> None:
    made = recorded(NETWORK)
    made.inputs["__defaults"].append("name")
    changed = program(made, internal=True)
    assert "name" not in changed
    difference = plugin.diff(made, changed)
    assert difference.replaces == ("internal",)
    assert not difference.deletes_first


def test_images(plugin: Plugin) -> None:
    inputs = {"name": "redis:8", "keepLocally": True, "__defaults": []}
    outputs = {"id": "sha256:1redis:8", "imageId": "sha256:1", "name": "redis:8", "keepLocally": True, "repoDigest": ""}
    made = Made(REMOTE_IMAGE, "sha256:1redis:8", inputs, outputs)
    assert plugin.diff(made, program(made)) == NO_DIFFERENCE
    assert plugin.diff(made, program(made, name="redis:9")).replaces == ("name",)
    assert plugin.diff(made, program(made, pullTriggers=["x"])).replaces == ("pullTriggers",)
    assert plugin.diff(made, program(made, triggers={"a": "b"})).replaces == ("triggers",)
    assert plugin.diff(made, program(made, keepLocally=False)).updates == ("keepLocally",)
    assert plugin.diff(made, program(made, forceRemove=True)).updates == ("forceRemove",)
    assert plugin.diff(made, program(made, build={"context": "."})).replaces == ("build",)


def test_a_change_of_how_an_image_is_built_replaces_it(plugin: Plugin) -> None:
    build = {"context": "image", "buildArgs": {"BASE": "redis:8"}, "labels": {"a": "b"}}
    inputs, _ = plugin.check(REMOTE_IMAGE, {"name": "x", "build": build, "triggers": {"digest": "1"}})
    assert inputs["build"] == {
        **build, "dockerfile": "Dockerfile", "remove": True, "__defaults": ["dockerfile", "remove"],
    }  # fmt: skip
    outputs = {"id": "sha256:1x", "imageId": "sha256:1", "repoDigest": "", **inputs}
    made = Made(REMOTE_IMAGE, "sha256:1x", inputs, outputs)
    assert plugin.diff(made, program(made)) == NO_DIFFERENCE
    assert plugin.diff(made, program(made, triggers={"digest": "2"})).replaces == ("triggers",)
    changed = {**build, "context": "elsewhere", "buildArgs": {"BASE": "redis:9"}}
    assert plugin.diff(made, program(made, build=changed)).replaces == ("build",)


@pytest.mark.parametrize(
    ("type_name", "inputs", "path"),
    [
        (CONTAINER, {"image": "x", "gpus": "all"}, "gpus"),
        (CONTAINER, {"image": "x", "attach": True}, "attach"),
        (CONTAINER, {"image": "x", "volumes": [{"containerPath": "/x"}]}, "volumes"),
        (CONTAINER, {"image": "x", "uploads": [{"file": "/x", "content": "x", "owner": "redis"}]}, "uploads[0].owner"),
        (CONTAINER, {"name": "x"}, "image"),
        (CONTAINER, {"image": "x", "memory": "much"}, "memory"),
        (CONTAINER, {"image": "x", "memory": -1}, "memory"),
        (CONTAINER, {"image": "x", "restart": "sometimes"}, "restart"),
        (CONTAINER, {"image": "x", "command": "redis-server"}, "command"),
        (CONTAINER, {"image": "x", "mounts": [{"target": "/x", "type": "npipe"}]}, "mounts[0].type"),
        (CONTAINER, {"image": "x", "mounts": [{"type": "tmpfs"}]}, "mounts[0].target"),
        (CONTAINER, {"image": "x", "healthcheck": {"interval": "soon"}}, "healthcheck.interval"),
        (
            CONTAINER,
            {"image": "x", "uploads": [{"file": "/x", "content": "x", "permissions": "640"}]},
            "uploads[0].permissions",
        ),
        (NETWORK, {"checkDuplicate": True}, "checkDuplicate"),
        (VOLUME, {"cluster": {}}, "cluster"),
        (REMOTE_IMAGE, {"name": "x", "build": {}}, "build.context"),
        (REMOTE_IMAGE, {"name": "x", "build": {"context": ".", "secrets": []}}, "build.secrets"),
        (REMOTE_IMAGE, {"name": "x", "build": {"context": "."}, "pullTriggers": ["y"]}, "pullTriggers"),
        (REMOTE_IMAGE, {}, "name"),
    ],
)
def test_what_is_not_covered_or_wrong_is_refused_by_name(
    plugin: Plugin, type_name: str, inputs: dict[str, Any], path: str
) -> None:
    with pytest.raises(Refused) as refusal:
        plugin.check(type_name, inputs)
    assert refusal.value.properties == (path,)
    assert type_name in str(refusal.value)
    assert f"'{path}'" in str(refusal.value)


def test_another_resource_type_is_refused_by_name(plugin: Plugin) -> None:
    with pytest.raises(Refused, match="docker:index/service:Service is not covered"):
        plugin.check("docker:index/service:Service", {})


def test_refusals_quote_no_value(plugin: Plugin) -> None:
    canary = "canary-4711"
    upload = {"file": "/x", "content": canary, "permissions": canary}
    with pytest.raises(Refused) as refusal:
        plugin.check(CONTAINER, {"image": "x", "uploads": [upload]})
    assert canary not in str(refusal.value)


def test_secrets_stay_secret_in_inputs_and_outputs(plugin: Plugin) -> None:
    given = {"image": "x", "name": "n", "envs": ["B=1", "A=2"], "uploads": [UPLOAD, {"file": "/s", "content": "s"}]}
    secrets = frozenset({("uploads", 1, "content"), ("envs", 0)})
    _, still_secret = plugin.check(CONTAINER, given, secrets=secrets)
    assert still_secret == secrets
    planned = plugin.create(CONTAINER, given, secrets=secrets, preview=True)
    assert planned.secrets == {("uploads", 1, "content"), ("envs",)}, "a set's order may change: all of it is secret"


def test_a_preview_foretells_what_it_can(plugin: Plugin) -> None:
    made = recorded(CONTAINER)
    planned = plugin.create(CONTAINER, program(made), preview=True).outputs
    assert planned["networkDatas"] is UNKNOWN
    assert planned["hostname"] is UNKNOWN
    assert planned["id"] is UNKNOWN
    known = {name: value for name, value in planned.items() if value is not UNKNOWN}
    recorded_known = {name: made.outputs[name] for name in known}
    assert known == {**recorded_known, "memorySwap": 0}, (
        "everything foretold comes true, but for the swap the engine adds"
    )
    assert planned.keys() == made.outputs.keys()


def test_unknown_inputs_are_accepted_in_a_preview(plugin: Plugin) -> None:
    given = {"image": UNKNOWN, "mounts": [{**MOUNT, "source": UNKNOWN}], "uploads": UNKNOWN, "envs": [UNKNOWN, "A=1"]}
    planned = plugin.create(CONTAINER, given, preview=True).outputs
    assert planned["uploads"] is UNKNOWN
    assert planned["mounts"][0]["source"] is UNKNOWN


@pytest.mark.parametrize(
    ("written", "printed"),
    [
        ("0", "0s"),
        ("2s", "2s"),
        ("60s", "1m0s"),
        ("90s", "1m30s"),
        ("1.5s", "1.5s"),
        ("500ms", "500ms"),
        ("1500us", "1.5ms"),
        ("3600s", "1h0m0s"),
        ("1h30m", "1h30m0s"),
        ("100s", "1m40s"),
        ("10ns", "10ns"),
    ],
)
def test_durations_are_printed_as_go_prints_them(written: str, printed: str) -> None:
    assert format_duration(parse_duration(written)) == printed
    assert format_duration(parse_duration(printed)) == printed


def test_it_says_which_version_it_stands_in_for(plugin: Plugin) -> None:
    assert plugin.version() == "5.2.0"


@pytest.mark.parametrize(
    "settings", [{"host": "ssh://user@host"}, {"registryAuth": []}, {"context": "other"}, {"certPath": "/x"}]
)
def test_settings_that_are_not_covered_are_refused_by_name(plugin: Plugin, settings: dict[str, Any]) -> None:
    with pytest.raises(Refused, match=next(iter(settings))) as refusal:
        plugin.check_settings(settings)
    assert refusal.value.properties == tuple(settings)


def test_an_engine_that_is_not_there(plugin: Plugin) -> None:
    host = "unix:///nonexistent/docker.sock"
    with pytest.raises(Refused, match=r"^failed to connect to any docker daemon: unix:///nonexistent/docker\.sock"):
        plugin.configure({"host": host})
    plugin.configure({"host": host, "disableDockerDaemonCheck": True})
    with pytest.raises(Refused, match=r"^failed to connect to any docker daemon"):
        plugin.create(VOLUME, {"name": "x"})


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_on_a_signal(number: signal.Signals) -> None:
    with running_plugin("docker") as started:
        assert started.version() == "5.2.0"
        started.process.send_signal(number)
        assert started.process.wait(timeout=10) == 0


def test_it_ends_with_the_engine() -> None:
    with running_plugin("docker") as started:
        assert started.process.stdin is not None
        started.process.stdin.close()
        assert started.process.wait(timeout=10) == 0
