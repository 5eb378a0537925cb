"""The Docker stand-in on a real engine, compared with what the vendor's plugin did (recordings/README.md)."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import docker
import docker.errors
import pytest

from tests.airgap.docker_types import CONTAINER, NETWORK, REMOTE_IMAGE, VOLUME
from tests.airgap.plugin import NO_DIFFERENCE, Made, NotUp, Plugin, Refused, running_plugin
from tests.airgap.pulumi_project import PulumiProject, install_stand_in

pytestmark = pytest.mark.docker
RECORDINGS = Path(__file__).parent / "recordings"
IMAGE = "redis:8.0.2"
RECORDED_IMAGE = "redis-trixie"
SLEEP = ["sleep", "300"]
HEALTHCHECK = {"tests": ["CMD", "true"], "interval": "200ms", "timeout": "1s", "retries": 3}
UNHEALTHY = {**HEALTHCHECK, "tests": ["CMD", "false"]}


@pytest.fixture(scope="module")
def engine() -> Iterator[docker.DockerClient]:
    try:
        client = docker.from_env()
        client.images.get(IMAGE)
    except docker.errors.ImageNotFound:
        pytest.skip(f"there is no image {IMAGE} on this engine")
    except docker.errors.DockerException:
        pytest.skip("no Docker engine answers")
    yield client
    client.close()


@pytest.fixture(scope="module")
def plugin(engine: docker.DockerClient) -> Iterator[Plugin]:
    with running_plugin("docker") as started:
        started.configure()
        yield started


@pytest.fixture
def prefix(engine: docker.DockerClient) -> Iterator[str]:
    """A name prefix of this test's own; what bears it is removed afterwards."""
    name = f"airgap-{uuid.uuid4().hex[:8]}"
    yield name
    for container in engine.containers.list(all=True, filters={"name": name}):
        container.remove(v=True, force=True)
    for network in engine.networks.list(names=[name]):
        network.remove()
    for volume in engine.volumes.list(filters={"name": name}):
        volume.remove(force=True)


def sleeper(name: str, **more: Any) -> dict[str, Any]:
    """A program's inputs for a container that only sleeps, by default without a network."""
    return {
        "name": name,
        "image": IMAGE,
        "command": SLEEP,
        "entrypoints": ["/usr/bin/env"],
        "networkMode": "none",
        **more,
    }


def output_of(engine: docker.DockerClient, container: str, *command: str) -> str:
    code, output = engine.containers.get(container).exec_run(list(command))
    assert code == 0, output
    assert isinstance(output, bytes)
    return output.decode()


# --- each operation by itself, over gRPC


def test_everything_the_project_uses_survives_a_round_trip(
    plugin: Plugin, engine: docker.DockerClient, prefix: str
) -> None:
    """Made once, nothing differs: not from what was recorded at creation, and not after a refresh."""
    network_inputs = {
        "name": prefix,
        "driver": "bridge",
        "internal": False,
        "attachable": True,
        "labels": [{"label": "b", "value": "2"}, {"label": "a", "value": "1"}],
        "options": {"com.docker.network.bridge.enable_icc": "true"},
        "ipamConfigs": [{"subnet": "10.215.77.0/24", "gateway": "10.215.77.1"}],
    }
    volume_inputs = {"name": prefix, "driver": "local", "labels": [{"label": "a", "value": "1"}]}
    inputs = sleeper(
        prefix,
        hostname="node-0",
        domainname="example.org",
        user="999:999",
        readOnly=False,
        workingDir="/data",
        capabilities={"drops": ["ALL"]},
        securityOpts=["no-new-privileges:true"],
        memory=64,
        memorySwap=64,
        memoryReservation=32,
        cpus="0.5",
        cpuShares=512,
        restart="on-failure",
        maxRetryCount=3,
        mounts=[
            {"target": "/data", "source": prefix, "type": "volume"},
            {"target": "/scratch", "type": "tmpfs", "tmpfsOptions": {"sizeBytes": 1048576, "mode": 0o1777}},
        ],
        tmpfs={"/run": "rw,noexec,size=1m"},
        networkMode="bridge",
        networksAdvanced=[{"name": prefix, "aliases": ["redis", "cache"], "ipv4Address": "10.215.77.10"}],
        ports=[{"internal": 6380}, {"internal": 6379, "external": 16398, "ip": "127.0.0.1"}],
        uploads=[{"file": "/etc/p/b", "content": "b"}, {"file": "/etc/p/a", "content": "a", "permissions": "0440"}],
        healthcheck={**HEALTHCHECK, "startPeriod": "1m30s"},
        wait=True,
        waitTimeout=30,
        sysctls={"net.core.somaxconn": "1024"},
        dns=["127.0.0.11"],
        dnsOpts=["ndots:1"],
        dnsSearches=["example.org"],
        hosts=[{"host": "other", "ip": "127.0.0.2"}],
        ulimits=[{"name": "nofile", "soft": 1024, "hard": 2048}],
        labels=[{"label": "b", "value": "2"}, {"label": "a", "value": "1"}],
        envs=["B=1", "A=2"],
        logDriver="json-file",
        logOpts={"max-size": "1m"},
        destroyGraceSeconds=5,
        stopTimeout=7,
        stopSignal="SIGTERM",
        mustRun=True,
        start=True,
        init=True,
        shmSize=32,
        groupAdds=["100"],
        ipcMode="private",
    )
    for type_name, given in ((NETWORK, network_inputs), (VOLUME, volume_inputs), (CONTAINER, inputs)):
        made = plugin.create(type_name, given)
        assert plugin.diff(made, given) == NO_DIFFERENCE
        refreshed = plugin.read(made)
        assert refreshed is not None
        assert refreshed.outputs == made.outputs
        assert refreshed.inputs == made.inputs
        assert plugin.diff(refreshed, given) == NO_DIFFERENCE
    facts = engine.containers.get(prefix).attrs
    assert facts["NetworkSettings"]["Networks"].keys() == {prefix}
    assert facts["HostConfig"]["ReadonlyRootfs"] is False
    assert facts["HostConfig"]["NanoCpus"] == 500_000_000


def test_a_bare_container_survives_a_round_trip(plugin: Plugin, prefix: str) -> None:
    inputs = {"name": prefix, "image": IMAGE, "command": SLEEP, "memory": 64, "memorySwap": 128}
    made = plugin.create(CONTAINER, inputs)
    refreshed = plugin.read(made)
    assert refreshed is not None
    assert refreshed.outputs == made.outputs
    assert plugin.diff(refreshed, inputs) == NO_DIFFERENCE


def test_a_read_only_container_without_uploads(plugin: Plugin, engine: docker.DockerClient, prefix: str) -> None:
    inputs = sleeper(prefix, readOnly=True, memory=64, memorySwap=64, tmpfs={"/run": "size=1m"})
    made = plugin.create(CONTAINER, inputs)
    assert plugin.diff(made, inputs) == NO_DIFFERENCE
    assert engine.containers.get(prefix).exec_run(["touch", "/x"]).exit_code != 0


def test_a_read_only_container_refuses_uploads(plugin: Plugin, prefix: str) -> None:
    """The files are copied to "/", which the engine refuses when the root file system is read-only."""
    with pytest.raises(NotUp, match=r"Unable to upload volume content: .*read-only"):
        plugin.create(CONTAINER, sleeper(prefix, readOnly=True, uploads=[{"file": "/etc/x", "content": "x"}]))


def test_uploads_are_there_before_the_start(plugin: Plugin, engine: docker.DockerClient, prefix: str) -> None:
    uploads: list[dict[str, Any]] = [
        {"file": "/new/folder/plain", "content": "plain\n"},
        {"file": "/new/binary", "contentBase64": "AAECAw=="},
        {"file": "/new/run.sh", "content": "#!/bin/sh\n", "executable": True},
        {"file": "/new/secret", "content": "hidden", "permissions": "0600", "executable": True},
    ]
    command = ["sh", "-c", "cp /new/folder/plain /seen-at-start; exec sleep 300"]
    plugin.create(CONTAINER, {**sleeper(prefix, uploads=uploads), "command": command})
    assert output_of(engine, prefix, "cat", "/seen-at-start") == "plain\n"
    assert output_of(engine, prefix, "od", "-An", "-tx1", "/new/binary").split() == ["00", "01", "02", "03"]
    files = [upload["file"] for upload in uploads]
    modes = output_of(engine, prefix, "stat", "-c", "%a %u:%g", *files).splitlines()
    assert modes == ["644 0:0", "644 0:0", "744 0:0", "600 0:0"]


@pytest.mark.parametrize(
    ("upload", "message"),
    [
        ({"file": "/x"}, "one of 'content', 'content_base64', or 'source' must be set"),
        (
            {"file": "/x", "content": "a", "contentBase64": "YQ=="},
            "only one of 'content', 'content_base64', or 'source'",
        ),
    ],
)
def test_an_upload_needs_exactly_one_content(plugin: Plugin, prefix: str, upload: dict[str, Any], message: str) -> None:
    with pytest.raises(NotUp, match=message):
        plugin.create(CONTAINER, sleeper(prefix, uploads=[upload]))


def test_wait_ends_when_healthy(plugin: Plugin, engine: docker.DockerClient, prefix: str) -> None:
    plugin.create(CONTAINER, sleeper(prefix, healthcheck=HEALTHCHECK, wait=True, waitTimeout=30))
    assert engine.containers.get(prefix).attrs["State"]["Health"]["Status"] == "healthy"


@pytest.mark.parametrize("health", [{"healthcheck": UNHEALTHY}, {}], ids=["never healthy", "no health check"])
def test_wait_that_fails_leaves_the_container_to_be_replaced(
    plugin: Plugin, engine: docker.DockerClient, prefix: str, health: dict[str, Any]
) -> None:
    inputs = sleeper(prefix, wait=True, waitTimeout=1, memory=64, memorySwap=64, **health)
    with pytest.raises(NotUp, match="container failed to be in healthy state") as failure:
        plugin.create(CONTAINER, inputs)
    assert engine.containers.get(prefix).id == failure.value.identifier
    checked, _ = plugin.check(CONTAINER, inputs)
    made = Made(CONTAINER, failure.value.identifier, checked, failure.value.outputs)
    assert plugin.diff(made, inputs).replaces == ("wait",)


def test_cancelling_ends_the_wait(engine: docker.DockerClient, prefix: str) -> None:
    from google.protobuf import empty_pb2

    with running_plugin("docker") as started:
        started.configure()
        begun = time.monotonic()
        timer = threading.Timer(1.0, lambda: started.stub.Cancel(empty_pb2.Empty()))
        timer.start()
        with pytest.raises(NotUp, match="the wait was cancelled"):
            started.create(CONTAINER, sleeper(prefix, healthcheck=UNHEALTHY, wait=True, waitTimeout=60))
        assert time.monotonic() - begun < 20


def test_a_container_that_exits_at_once_is_removed_again(
    plugin: Plugin, engine: docker.DockerClient, prefix: str
) -> None:
    message = ""
    for _ in range(10):  # a busy machine may take longer to end the container than the plugin looks at it
        try:
            plugin.delete(plugin.create(CONTAINER, {**sleeper(prefix), "command": ["sh", "-c", "exit 3"]}))
        except Refused as refusal:
            message = str(refusal)
            break
    assert message == "container exited immediately, with exit code 3"
    assert engine.containers.list(all=True, filters={"name": prefix}) == []


def test_one_that_need_not_run_may_exit(plugin: Plugin, prefix: str) -> None:
    inputs = {**sleeper(prefix, mustRun=False, memory=64, memorySwap=64), "command": ["true"]}
    made = plugin.create(CONTAINER, inputs)
    assert plugin.diff(made, inputs) == NO_DIFFERENCE


def test_without_start_nothing_runs(plugin: Plugin, engine: docker.DockerClient, prefix: str) -> None:
    inputs = sleeper(prefix, start=False, mustRun=False, memory=64, memorySwap=64)
    made = plugin.create(CONTAINER, inputs)
    assert engine.containers.get(prefix).status == "created"
    assert plugin.diff(made, inputs) == NO_DIFFERENCE


@pytest.mark.parametrize(("grace", "exit_code"), [({}, "137"), ({"destroyGraceSeconds": 20}, "3")])
def test_deleting_with_and_without_grace(
    plugin: Plugin, engine: docker.DockerClient, prefix: str, grace: dict[str, int], exit_code: str
) -> None:
    script = "trap 'sleep 0.3; exit 3' TERM; touch /ready; while :; do sleep 0.1; done"
    inputs = {**sleeper(prefix, **grace), "command": ["sh", "-c", script]}
    inputs |= {"healthcheck": {**HEALTHCHECK, "tests": ["CMD", "test", "-e", "/ready"]}, "wait": True}
    made = plugin.create(CONTAINER, inputs)
    since = int(time.time()) - 1
    plugin.delete(made)
    events = engine.events(since=since, until=int(time.time()) + 1, decode=True, filters={"event": "die"})
    codes = [one["Actor"]["Attributes"]["exitCode"] for one in events if one["Actor"]["ID"] == made.identifier]
    assert codes == [exit_code]
    plugin.delete(made)  # gone already: no error


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"command": ["redis-server", "--save", ""]}, "values for command may not be empty"),
        (
            {"image": "localhost:1/nowhere/nothing:1"},
            "Unable to create container with image localhost:1/nowhere/nothing:1: unable to pull image",
        ),
    ],
)
def test_what_fails_only_at_creation(plugin: Plugin, prefix: str, more: dict[str, Any], message: str) -> None:
    with pytest.raises(Refused, match=f"^{re.escape(message)}"):
        plugin.create(CONTAINER, {**sleeper(prefix), **more})


def test_options_that_an_old_engine_does_not_know(plugin: Plugin, engine: docker.DockerClient, prefix: str) -> None:
    major, minor = (int(part) for part in engine.version()["ApiVersion"].split("."))
    if (major, minor) >= (1, 44):
        pytest.skip("this engine is new enough for these options")
    mount = {"target": "/data", "type": "volume", "source": prefix, "volumeOptions": {"noCopy": True}}
    with pytest.raises(Refused, match=r"volumeOptions of the mount at /data needs Docker API 1\.45"):
        plugin.create(CONTAINER, sleeper(prefix, mounts=[mount]))
    with pytest.raises(Refused, match=r"healthcheck.startInterval needs Docker API 1\.44"):
        plugin.create(CONTAINER, sleeper(prefix, healthcheck={**HEALTHCHECK, "startInterval": "1s"}))


def test_a_start_that_fails_leaves_the_container_to_be_replaced(
    plugin: Plugin, engine: docker.DockerClient, prefix: str
) -> None:
    engine.networks.create(prefix)
    published = {"networkMode": prefix, "ports": [{"internal": 1, "external": 16397, "ip": "127.0.0.1"}]}
    plugin.create(CONTAINER, sleeper(f"{prefix}-0", **published))
    with pytest.raises(NotUp, match=r"Unable to start container: .*port is already allocated") as failure:
        plugin.create(CONTAINER, sleeper(f"{prefix}-1", **published))
    assert engine.containers.get(f"{prefix}-1").id == failure.value.identifier


def test_limits_and_the_restart_policy_are_updated_for_real(
    plugin: Plugin, engine: docker.DockerClient, prefix: str
) -> None:
    made = plugin.create(CONTAINER, sleeper(prefix, memory=64, memorySwap=64))
    inputs = sleeper(prefix, memory=96, memorySwap=128, restart="unless-stopped", cpuShares=512)
    assert plugin.diff(made, inputs).replaces == ()
    updated = plugin.update(made, inputs)
    host = engine.containers.get(prefix).attrs["HostConfig"]
    assert (host["Memory"], host["MemorySwap"]) == (96 * 1024**2, 128 * 1024**2)
    assert (host["RestartPolicy"]["Name"], host["CpuShares"]) == ("unless-stopped", 512)
    assert plugin.diff(updated, inputs) == NO_DIFFERENCE


def test_memory_without_memory_swap_stays_different(plugin: Plugin, prefix: str) -> None:
    inputs = sleeper(prefix, memory=64)
    made = plugin.create(CONTAINER, inputs)
    assert made.outputs["memorySwap"] == 128
    assert plugin.diff(made, inputs).updates == ("memorySwap",)
    assert plugin.diff(plugin.update(made, inputs), inputs).updates == ("memorySwap",)


@pytest.mark.parametrize(
    ("before", "after", "name"),
    [
        ({"healthcheck": HEALTHCHECK}, {"healthcheck": UNHEALTHY}, "healthcheck"),
        (
            {"mounts": [{"target": "/more", "type": "tmpfs"}]},
            {"mounts": [{"target": "/more", "type": "tmpfs", "readOnly": True}]},
            "mounts",
        ),
    ],
)
def test_what_is_reported_as_updated_but_is_not(
    plugin: Plugin,
    engine: docker.DockerClient,
    prefix: str,
    before: dict[str, Any],
    after: dict[str, Any],
    name: str,
) -> None:
    made = plugin.create(CONTAINER, sleeper(prefix, memory=64, memorySwap=64, **before))
    facts = engine.containers.get(prefix).attrs
    inputs = sleeper(prefix, memory=64, memorySwap=64, **after)
    updated = plugin.update(made, inputs)
    assert plugin.diff(updated, inputs) == NO_DIFFERENCE
    unchanged = engine.containers.get(prefix).attrs
    assert (unchanged["Config"], unchanged["HostConfig"]) == (facts["Config"], facts["HostConfig"])
    refreshed = plugin.read(updated)
    assert refreshed is not None
    assert plugin.diff(refreshed, inputs).updates == (name,), "a refresh shows the difference again"


PUBLISHED = [{"internal": 6379, "external": 16396, "ip": "127.0.0.1"}]


@pytest.mark.parametrize("ports", [[], PUBLISHED], ids=["bare", "ports"])
def test_a_stopped_container(
    plugin: Plugin, engine: docker.DockerClient, prefix: str, ports: list[dict[str, Any]]
) -> None:
    engine.networks.create(prefix)
    inputs = sleeper(prefix, memory=64, memorySwap=64, networkMode=prefix, ports=ports)
    made = plugin.create(CONTAINER, inputs)
    engine.containers.get(prefix).stop(timeout=0)
    refreshed = plugin.read(made)
    assert refreshed is not None
    assert (refreshed.outputs["mustRun"], refreshed.inputs["mustRun"]) == (False, False)
    assert refreshed.outputs["exitCode"] == 137
    difference = plugin.diff(refreshed, inputs)
    if ports:
        assert difference.replaces == ("ports",)
        return
    assert difference.updates == ("mustRun",)
    started = plugin.update(refreshed, inputs)
    assert engine.containers.get(prefix).status == "running"
    assert plugin.diff(started, inputs) == NO_DIFFERENCE
    assert started.outputs == made.outputs


def test_what_is_gone_is_read_as_gone(plugin: Plugin, prefix: str) -> None:
    made = [
        plugin.create(NETWORK, {"name": prefix}),
        plugin.create(VOLUME, {"name": prefix}),
        plugin.create(CONTAINER, sleeper(prefix)),
    ]
    for one in made:
        plugin.delete(one)
        assert plugin.read(one) is None
        plugin.delete(one)


def test_an_existing_volume_is_adopted_and_an_existing_network_is_not(
    plugin: Plugin, engine: docker.DockerClient, prefix: str
) -> None:
    engine.volumes.create(prefix)
    assert plugin.create(VOLUME, {"name": prefix}).identifier == prefix
    engine.networks.create(prefix)
    with pytest.raises(Refused, match=r"Unable to create network: .*already exists"):
        plugin.create(NETWORK, {"name": prefix})


def test_a_local_image(plugin: Plugin, engine: docker.DockerClient) -> None:
    name = f"airgap-{uuid.uuid4().hex[:8]}:1"
    image = engine.images.get(IMAGE)
    image.tag(name)
    made = plugin.create(REMOTE_IMAGE, {"name": name, "keepLocally": True})
    assert made.identifier == f"{image.id}{name}"
    assert (made.outputs["imageId"], made.outputs["repoDigest"]) == (image.id, "")
    assert plugin.diff(made, {"name": name, "keepLocally": True}) == NO_DIFFERENCE
    assert plugin.read(made) == made
    plugin.delete(made)
    assert engine.images.get(name).id == image.id, "keepLocally keeps it"
    forgotten = plugin.update(made, {"name": name})
    plugin.delete(forgotten)
    with pytest.raises(docker.errors.ImageNotFound):
        engine.images.get(name)
    assert plugin.read(made) is None
    plugin.delete(forgotten)


def build_folder(tmp_path: Path, *steps: str) -> Path:
    """What an image is built from: these steps, and a file."""
    (tmp_path / "Dockerfile").write_text("\n".join(["ARG BASE", "FROM ${BASE}", *steps]) + "\n")
    (tmp_path / "greeting").write_text("hello\n")
    return tmp_path


def test_an_image_is_built_with_arguments_labels_and_names(
    plugin: Plugin, engine: docker.DockerClient, prefix: str, tmp_path: Path
) -> None:
    folder = build_folder(tmp_path, "COPY greeting /greeting", "RUN cat /greeting > /said")
    build = {
        "context": str(folder),
        "buildArgs": {"BASE": IMAGE},
        "labels": {"made-by": prefix},
        "tags": [f"{prefix}:other"],
    }
    inputs = {"name": f"{prefix}:1", "build": build, "triggers": {"digest": "1"}, "forceRemove": True}
    made = plugin.create(REMOTE_IMAGE, inputs)
    try:
        image = engine.images.get(f"{prefix}:1")
        assert made.identifier == f"{image.id}{prefix}:1"
        assert image.labels["made-by"] == prefix
        assert engine.images.get(f"{prefix}:other").id == image.id
        assert plugin.diff(made, inputs) == NO_DIFFERENCE
        assert plugin.read(made) == made
        plugin.create(CONTAINER, sleeper(prefix, image=f"{prefix}:1"))
        assert output_of(engine, prefix, "cat", "/said") == "hello\n"
        assert not engine.containers.list(all=True, filters={"ancestor": str(image.id), "status": "exited"})
    finally:
        engine.images.remove(f"{prefix}:other")
        engine.containers.get(prefix).remove(v=True, force=True)
        plugin.delete(made)
    with pytest.raises(docker.errors.ImageNotFound):
        engine.images.get(f"{prefix}:1")


def test_an_image_that_is_built_again_is_the_new_one(
    plugin: Plugin, engine: docker.DockerClient, prefix: str, tmp_path: Path
) -> None:
    folder = build_folder(tmp_path, "COPY greeting /greeting")
    inputs = {"name": f"{prefix}:1", "build": {"context": str(folder), "buildArgs": {"BASE": IMAGE}}}
    first = plugin.create(REMOTE_IMAGE, inputs)
    (folder / "greeting").write_text("good morning\n")
    second = plugin.create(REMOTE_IMAGE, inputs)
    try:
        assert second.outputs["imageId"] == engine.images.get(f"{prefix}:1").id != first.outputs["imageId"]
    finally:
        plugin.delete(second)
        engine.images.remove(first.outputs["imageId"])


def test_a_build_that_fails_says_why(plugin: Plugin, prefix: str, tmp_path: Path) -> None:
    folder = build_folder(tmp_path, "RUN echo what went wrong >&2 && exit 3")
    build = {"context": str(folder), "buildArgs": {"BASE": IMAGE}, "forceRemove": True}

    with pytest.raises(Refused) as refusal:
        plugin.create(REMOTE_IMAGE, {"name": f"{prefix}:1", "build": build})

    assert f"unable to build image {prefix}:1: The command" in str(refusal.value)
    assert "returned a non-zero code: 3" in str(refusal.value)
    assert "\n  what went wrong" in str(refusal.value)


def test_an_image_is_not_built_from_a_folder_without_instructions(plugin: Plugin, prefix: str, tmp_path: Path) -> None:
    with pytest.raises(Refused, match=f"unable to build image {prefix}:1: there is no Dockerfile in"):
        plugin.create(REMOTE_IMAGE, {"name": f"{prefix}:1", "build": {"context": str(tmp_path)}})

    build = {"context": str(build_folder(tmp_path)), "dockerfile": "Other"}
    with pytest.raises(Refused, match=f"unable to build image {prefix}:1: there is no Other in"):
        plugin.create(REMOTE_IMAGE, {"name": f"{prefix}:1", "build": build})


def test_a_retargeted_tag_is_not_noticed(plugin: Plugin, engine: docker.DockerClient, prefix: str) -> None:
    image = engine.images.get(IMAGE)
    image.tag(prefix, "1")
    inputs = sleeper(prefix, image=f"{prefix}:1", memory=64, memorySwap=64)
    made = plugin.create(CONTAINER, inputs)
    other = engine.containers.get(prefix).commit(prefix, "1")
    try:
        refreshed = plugin.read(made)
        assert refreshed is not None
        assert refreshed.outputs["image"] == f"{prefix}:1"
        assert plugin.diff(refreshed, inputs) == NO_DIFFERENCE
        assert plugin.diff(refreshed, {**inputs, "image": image.id}).replaces == ("image",)
    finally:
        engine.images.remove(f"{prefix}:1")
        assert other.id not in [one.id for one in engine.images.list()]


def test_an_image_id_is_an_image_name(plugin: Plugin, engine: docker.DockerClient, prefix: str) -> None:
    inputs = sleeper(prefix, image=engine.images.get(IMAGE).id, memory=64, memorySwap=64)
    made = plugin.create(CONTAINER, inputs)
    assert plugin.diff(made, inputs) == NO_DIFFERENCE
    assert plugin.diff(made, {**inputs, "image": IMAGE}).replaces == ("image",)


def test_a_capability_without_its_prefix_replaces_again_and_again(plugin: Plugin, prefix: str) -> None:
    inputs = sleeper(prefix, memory=64, memorySwap=64, capabilities={"adds": ["SETUID"], "drops": ["ALL"]})
    made = plugin.create(CONTAINER, inputs)
    assert made.outputs["capabilities"] == {"adds": ["CAP_SETUID"], "drops": ["ALL"]}
    assert plugin.diff(made, inputs).replaces == ("capabilities",)
    prefixed = {**inputs, "capabilities": {"adds": ["CAP_SETUID"], "drops": ["ALL"]}}
    assert plugin.diff(made, prefixed) == NO_DIFFERENCE


def test_an_image_that_cannot_be_had(plugin: Plugin) -> None:
    name = "localhost:1/nowhere/nothing:1"
    with pytest.raises(Refused, match=f"Unable to read Docker image into resource: unable to pull image {name}: "):
        plugin.create(REMOTE_IMAGE, {"name": name})


def test_import(plugin: Plugin, prefix: str) -> None:
    """What the engine says becomes inputs; what it does not say in the program's terms (uploads, envs) does not."""
    network = plugin.create(NETWORK, {"name": prefix, "internal": True})
    container = plugin.create(CONTAINER, sleeper(prefix, hostname="node", memory=64, memorySwap=64))
    imported = plugin.read(Made(NETWORK, network.identifier, {}, {}))
    assert imported is not None
    assert imported.outputs == {**network.outputs, "ipamOptions": None}
    assert (imported.inputs["internal"], imported.inputs["name"]) == (True, prefix)
    imported = plugin.read(Made(CONTAINER, prefix, {}, {}))
    assert imported is not None
    assert imported.identifier == container.identifier
    assert imported.inputs["hostname"] == "node"
    assert imported.inputs["command"] == SLEEP
    assert "uploads" not in imported.inputs
    with pytest.raises(Refused, match="cannot be imported"):
        plugin.read(Made(REMOTE_IMAGE, "x", {}, {}))


def test_many_at_once(plugin: Plugin, engine: docker.DockerClient, prefix: str) -> None:
    plugin.create(NETWORK, {"name": prefix})
    given = [
        sleeper(
            f"{prefix}-{number}",
            networkMode="bridge",
            networksAdvanced=[{"name": prefix}],
            healthcheck=HEALTHCHECK,
            wait=True,
            uploads=[{"file": "/x", "content": str(number)}],
        )
        for number in range(6)
    ]
    create: Callable[[dict[str, Any]], Made] = lambda inputs: plugin.create(CONTAINER, inputs)  # noqa: E731
    with ThreadPoolExecutor(len(given)) as threads:
        made = list(threads.map(create, given))
        assert [output_of(engine, one.identifier, "cat", "/x") for one in made] == list("012345")
        list(threads.map(plugin.delete, made))


# --- the whole of it, with the real CLI and the unchanged vendor SDK


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("pulumi") is None:
        pytest.skip("there is no pulumi on PATH")
    folder = tmp_path_factory.mktemp("pulumi-home")
    install_stand_in(folder)
    return folder


@pytest.fixture
def project(engine: docker.DockerClient, home: Path, tmp_path: Path) -> Iterator[PulumiProject]:
    made = PulumiProject(tmp_path, home)
    yield made
    made.run("destroy", "--yes", "--skip-preview")


BY_THE_RUN = re.compile(
    r"^(docker:.*|pulumi:providers.*)\.(id|provider|hostname|ipAddress|ipPrefixLength|gateway|subnet|macAddress)$"
    # Written by the engine (of Pulumi), not by the plugin.
    r"|.*\.(created|modified|sourcePosition|stackTrace)$"
    # The vendor's run had another image, without a working folder; one recorded output is left over.
    r"|.*\.(workingDir|netName)$"
    r"|pulumi:pulumi:Stack\.outputs\..*"
)


def contradictions(recorded: Any, found: Any, place: str) -> Iterator[str]:
    """The places in which two values differ, apart from what differs with every run."""
    if isinstance(recorded, dict) and isinstance(found, dict):
        for name in sorted({*recorded, *found}):
            yield from contradictions(recorded.get(name, "absent"), found.get(name, "absent"), f"{place}.{name}")
    elif isinstance(recorded, list) and isinstance(found, list) and len(recorded) == len(found):
        for before, after in zip(recorded, found, strict=True):
            yield from contradictions(before, after, place)
    elif (recorded != found or type(recorded) is not type(found)) and not BY_THE_RUN.match(place):
        yield f"{place}: {recorded!r} was recorded, {found!r} was found"


def remove_what_a_killed_run_left(engine: docker.DockerClient) -> None:
    """The recorded program's names are its own and never change."""
    with contextlib.suppress(docker.errors.NotFound):
        engine.containers.get("rp-redis").remove(force=True, v=True)
    for network in engine.networks.list(names=["^rp-net$"]):
        network.remove()
    with contextlib.suppress(docker.errors.NotFound):
        engine.volumes.get("rp-data").remove()


@pytest.mark.pulumi
def test_the_recorded_program_leaves_the_recorded_state(project: PulumiProject, engine: docker.DockerClient) -> None:
    if not engine.images.list(RECORDED_IMAGE):
        engine.images.get(IMAGE).tag(RECORDED_IMAGE, "latest")
    remove_what_a_killed_run_left(engine)
    project.program((RECORDINGS / "docker_provider_program.py").read_text())
    project.up()
    recording = json.loads((RECORDINGS / "docker_provider_state.json").read_text())
    recorded = {one["urn"].rpartition("::")[2]: one for one in recording["deployment"]["resources"]}
    found = project.resources()
    assert found.keys() == recorded.keys()
    for one in (*recorded.values(), *found.values()):
        one.get("dependencies", []).sort()
    differing = [line for name, one in recorded.items() for line in contradictions(one, found[name], one["type"])]
    assert differing == []
    outputs = found["redis"]["outputs"]
    assert outputs["id"] == found["redis"]["id"] == engine.containers.get("rp-redis").id
    assert outputs["hostname"] == outputs["id"][:12]
    assert project.planned_operations() == {"redis": "update"}, "memory without memorySwap keeps the preview dirty"
    assert "memorySwap" in project.run("preview", "--diff").stdout
    project.run("refresh", "--yes", "--skip-preview")
    assert project.resources()["redis"]["outputs"] == outputs


@pytest.mark.pulumi
def test_secret_content_is_nowhere_in_the_clear(project: PulumiProject, prefix: str) -> None:
    canary = "canary-0815"
    program = f"""
secret = pulumi.Output.secret({canary!r}){{change}}
docker.Container(
    "c", name={prefix!r}, image={IMAGE!r}, command=["sleep", "300"], memory=64, memory_swap=64, network_mode="none",
    envs=[secret.apply(lambda text: "PASSWORD=" + text)],
    uploads=[docker.ContainerUploadArgs(file="/secret", content=secret), dict(file="/plain", content="plain")],
)
"""
    project.program(program.format(change=""))
    printed = [project.up()]
    resource = project.resources()["c"]
    assert canary not in json.dumps(resource)
    assert resource["outputs"]["uploads"][1]["content"] == "plain"
    ciphertexts = [resource[kind]["uploads"][0]["content"]["ciphertext"] for kind in ("inputs", "outputs")]
    assert all(ciphertexts)
    assert project.planned_operations() == {}
    project.program(program.format(change=".apply(lambda text: text + '-changed')"))
    printed.append(project.run("preview", "--diff").stdout)
    assert "[secret]" in printed[-1]
    assert "uploads" in printed[-1]
    project.run("refresh", "--yes", "--skip-preview")
    assert canary not in json.dumps(project.resources()["c"])
    printed.append(project.up())
    assert not [text for text in printed if canary in text]


@pytest.mark.long
@pytest.mark.pulumi
def test_a_container_that_did_not_come_up_is_replaced_by_the_next_up(
    project: PulumiProject, engine: docker.DockerClient, prefix: str
) -> None:
    program = f"""
docker.Container(
    "c", name={prefix!r}, image={IMAGE!r}, command=["sleep", "300"], memory=64, memory_swap=64, network_mode="none",
    wait=True, wait_timeout=2,
    healthcheck=dict(tests=["CMD", "{{test}}"], interval="200ms", timeout="1s", retries=3),
)
"""
    project.program(program.format(test="false"))
    assert "container failed to be in healthy state" in project.up(fails=True)
    left = engine.containers.get(prefix).id
    recorded = project.resources()["c"]
    assert recorded["id"] == left
    assert recorded["initErrors"] == ["container failed to be in healthy state: it was not within 2 s"]
    project.program(program.format(test="true"))
    assert "replaced" in project.up()
    assert engine.containers.get(prefix).id != left
    assert "initErrors" not in project.resources()["c"]
    assert project.planned_operations() == {}


@pytest.mark.long
@pytest.mark.pulumi
def test_a_changed_label_of_a_volume_or_network_replaces_it_and_its_container(
    project: PulumiProject, engine: docker.DockerClient, prefix: str
) -> None:
    program = f"""
net = docker.Network("net", name={prefix!r}, labels=[dict(label="a", value="{{net}}")])
vol = docker.Volume("vol", name={prefix!r}, labels=[dict(label="a", value="{{vol}}")])
docker.Container(
    "c", name={prefix!r}, image={IMAGE!r}, command=["sleep", "300"], memory=64, memory_swap=64,
    networks_advanced=[dict(name=net.name)], mounts=[dict(target="/data", source=vol.name, type="volume")],
)
"""
    project.program(program.format(net=1, vol=1))
    project.up()
    output_of(engine, prefix, "touch", "/data/kept")
    project.program(program.format(net=2, vol=1))
    assert project.planned_operations().keys() == {"net", "c"}
    project.up()
    assert output_of(engine, prefix, "ls", "/data") == "kept\n"
    project.program(program.format(net=2, vol=2))
    project.up()
    assert output_of(engine, prefix, "ls", "/data") == "", "a replaced volume is an empty one"
    assert project.planned_operations() == {}


@pytest.mark.long
@pytest.mark.pulumi
def test_drift_is_found_by_a_refresh(project: PulumiProject, engine: docker.DockerClient, prefix: str) -> None:
    project.program(f"""
net = docker.Network("net", name={prefix!r})
for name, ports in dict(bare=[], served=[dict(internal=1, external=16395, ip="127.0.0.1")], gone=[]).items():
    docker.Container(
        name, name={prefix!r} + "-" + name, image={IMAGE!r}, command=["sleep", "300"], memory=64, memory_swap=64,
        networks_advanced=[dict(name=net.name)], ports=ports,
    )
""")
    project.up()
    before = {name: engine.containers.get(f"{prefix}-{name}").id for name in ("bare", "served", "gone")}
    engine.containers.get(f"{prefix}-bare").stop(timeout=0)
    engine.containers.get(f"{prefix}-served").stop(timeout=0)
    engine.containers.get(f"{prefix}-gone").remove(force=True, v=True)
    project.run("refresh", "--yes", "--skip-preview")
    assert project.resources()["bare"]["outputs"]["mustRun"] is False
    planned = project.planned_operations()
    assert (planned["bare"], planned["gone"]) == ("update", "create")
    assert planned["served"] in {"replace", "create-replacement", "delete-replaced"}
    project.up()
    after = {name: engine.containers.get(f"{prefix}-{name}") for name in before}
    assert {container.status for container in after.values()} == {"running"}
    assert after["bare"].id == before["bare"]
    assert after["served"].id != before["served"]
    assert project.planned_operations() == {}


@pytest.mark.pulumi
def test_without_an_engine_the_error_is_clear(project: PulumiProject) -> None:
    project.program('docker.Network("net", name="never")')
    finished = project.run("preview", fails=True, environment={"DOCKER_HOST": "unix:///nonexistent/docker.sock"})
    assert "failed to connect to any docker daemon" in finished.stdout + finished.stderr


@pytest.mark.pulumi
def test_what_is_not_covered_is_refused_by_name(project: PulumiProject, prefix: str) -> None:
    project.program(f'docker.Container("c", name={prefix!r}, image={IMAGE!r}, gpus="all")')
    finished = project.run("preview", fails=True)
    assert "'gpus' is not covered" in finished.stdout + finished.stderr
    project.program('docker.Tag("t", source_image="a", target_image="b")')
    finished = project.run("preview", fails=True)
    assert "docker:index/tag:Tag is not covered" in finished.stdout + finished.stderr
