"""Operations that run on a deployment's hosts: the real code, really shipped, forms real servers."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from components.formation import FormationError, FormationRefused
from components.formation.replication import form
from components.live_deployment import NO_PASSWORDS, LiveDeployment, live_deployment
from components.remote import archive, aws, runner
from components.remote_deployment import RemoteDeployment
from tests.processes.certificates import Authority
from tests.processes.cluster_servers import Cluster
from tests.processes.hosts import REGION, Hosts, ShellCommand, moto_server, ssm_that_runs, with_runner
from tests.processes.servers import PASSWORDS, Deployment, wait_for
from tests.processes.test_changes import PERSISTENT, with_data
from tests.processes.test_forming import TIMEOUT_SECONDS, Deploy, assert_formed, quiet

pytestmark = pytest.mark.long

StartCluster = Callable[..., Cluster]


@pytest.fixture(scope="session")
def endpoint() -> Iterator[str]:
    """One AWS for all tests; each finds it empty."""
    aws._aws_in.cache_clear()
    with moto_server() as url:
        yield url
    aws._aws_in.cache_clear()


@pytest.fixture
def hosts(tmp_path: Path, endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hosts]:
    with ssm_that_runs(monkeypatch.setattr), Hosts(tmp_path / "hosts", endpoint) as made:
        for name, value in made.environment.items():
            monkeypatch.setenv(name, value)
        yield made


@pytest.fixture
def deployed(deploy: Deploy, authority: Authority, hosts: Hosts) -> Callable[..., tuple[Deployment, LiveDeployment]]:
    """Bare processes, and the same as hosts on AWS."""

    def make(**options: Any) -> tuple[Deployment, LiveDeployment]:
        deployment = deploy(authority=authority, **options)
        nodes = [process.name for process in deployment.all_nodes + deployment.all_sentinels]
        hosts.deploy(deployment.name, nodes, authority.certificate)
        return deployment, live(deployment)

    return make


def live(deployment: Deployment) -> LiveDeployment:
    found = live_deployment(with_runner(deployment.target.to_dict(), deployment.name), NO_PASSWORDS, "")
    assert isinstance(found, RemoteDeployment)
    return found


Deployed = Callable[..., tuple[Deployment, LiveDeployment]]


def test_a_deployment_is_formed_looked_at_and_disbanded(deployed: Deployed, hosts: Hosts) -> None:
    deployment, remote = deployed()
    planned = remote.plan_for_new_nodes()
    assert not hosts.sent
    lines: list[str] = []

    results = remote.form({}, lines.append)

    assert_formed(deployment)
    primary, *replicas = deployment.nodes
    assert results == {
        "primary": str(primary.member.reach),
        "replicas": [str(process.member.reach) for process in replicas],
    }
    assert set(planned.lines) <= set(lines), lines
    assert len(lines) == len(set(lines)), "said twice"
    (formed,) = hosts.sent_for("form")
    assert formed.node in {process.name for process in deployment.sentinels}
    # Before that every host had fetched its files.
    fetched = hosts.sent[: hosts.sent.index(formed)]
    assert {command.node for command in fetched} == set(hosts.nodes)
    assert (hosts.folder / "systemctl.log").read_text().count("start redis-production-files.service") == 6
    assert "--reuid=65534" in (hosts.folder / "setpriv.log").read_text()

    forecast = remote.forecast(frozenset())
    assert (forecast.lines, forecast.primaries) == ((), frozenset({primary.name}))
    status = remote.status()
    assert status.healthy, status.reasons
    here = live_deployment(local_record(deployment), PASSWORDS, authority_of(deployment)).status()
    assert type(status) is type(here)
    assert [(row.name, row.role, row.link) for row in status.rows] == [
        (row.name, row.role, row.link) for row in here.rows
    ]
    assert "written through Sentinel as user app" in remote.verify()
    assert remote.next_to_stop([primary.name, replicas[0].name]) == replicas[0].name
    assert remote.is_needed(primary.name)

    remote.make_safe_to_stop(primary.name, [replicas[1].name], lines.append)
    assert deployment.primary is replicas[1]
    remote.wait_until_back(primary.name, quiet)

    remote.hand_over(primary.name, lines.append)
    assert deployment.primary is primary

    remote.disband()
    assert not remote.is_needed(primary.name)
    assert_nothing_left(hosts)
    assert_no_secret(hosts, lines)


def local_record(deployment: Deployment) -> dict[str, Any]:
    return {key: value for key, value in with_runner(deployment.target.to_dict(), "").items() if key != "runner"}


def authority_of(deployment: Deployment) -> str:
    assert deployment.authority is not None
    return deployment.authority.certificate


def assert_nothing_left(hosts: Hosts) -> None:
    """Only the code stays, for the next time."""
    (code,) = hosts.stored()
    assert code.startswith("formation/")
    assert code.endswith(".pyz")


def assert_no_secret(hosts: Hosts, lines: list[str]) -> None:
    stored = {key: content for key, content in hosts.ever_stored().items() if ".pyz" not in key}
    assert {key.split("/")[-1].split(" ")[0].split(".")[0] for key in stored} >= {"progress", "result"}
    shown = "\n".join(
        [*lines, *(content.decode() for content in stored.values())]
        + [command.script + command.said for command in hosts.sent]
    )
    for user, password in PASSWORDS.items():
        assert password not in shown, user


def test_a_cluster_is_formed(start_cluster: StartCluster, authority: Authority, hosts: Hosts) -> None:
    cluster = start_cluster(authority=authority)
    hosts.deploy(cluster.name, [process.name for process in cluster.nodes], authority.certificate)
    remote = live_deployment(with_runner(cluster.target.to_dict(), cluster.name), NO_PASSWORDS, "")
    lines: list[str] = []

    results = remote.form({}, lines.append)

    cluster.check()
    assert results == {
        "shards": [
            {
                "name": f"cache-test-{shard}",
                "slots": slots,
                "primary": str(processes[0].member.reach),
                "replicas": [str(processes[1].member.reach)],
            }
            for (shard, processes), slots in zip(
                cluster.shards.items(), ["0-5461", "5462-10922", "10923-16383"], strict=True
            )
        ]
    }
    assert remote.status().healthy
    assert "written through RedisCluster as user app" in remote.verify()
    assert remote.still_needed(cluster.nodes[0].name, "localhost", cluster.nodes[0].port) is None
    stranger = remote.still_needed("cache-test-redis-9-0", "localhost", cluster.nodes[0].port)
    assert stranger is not None
    assert "still has" in stranger
    assert_no_secret(hosts, lines)


def test_a_refusal_is_the_same_as_here(deployed: Deployed, hosts: Hosts) -> None:
    deployment, remote = deployed(settings=PERSISTENT)
    with_data(deployment.nodes[1], "one")
    with_data(deployment.nodes[2], "two")
    with pytest.raises(FormationRefused) as here:
        form(deployment.target, deployment.access, progress=quiet, timeout_seconds=TIMEOUT_SECONDS)

    with pytest.raises(FormationRefused) as there:
        remote.form({}, quiet)

    assert there.value.reasons == here.value.reasons
    assert str(there.value) == str(here.value)
    assert_nothing_left(hosts)


def test_a_failure_names_the_node_and_what_is_wrong(deployed: Deployed, hosts: Hosts) -> None:
    deployment, remote = deployed(nodes=1, sentinels=1)
    hosts.change_secret(deployment.name, acl={"admin": "reset on +@nothing"})

    with pytest.raises(FormationError, match=r"^cache-test-redis-0: its ACL users could not be set: .*Unknown command"):
        remote.form({}, quiet)


def test_a_secret_that_a_server_answers_with_is_not_shown(deployed: Deployed, hosts: Hosts) -> None:
    deployment, remote = deployed(nodes=1, sentinels=1)
    hosts.change_secret(deployment.name, acl={f"admin {PASSWORDS['admin']}": "reset on"})

    with pytest.raises(FormationError, match="could not be set") as caught:
        remote.form({}, quiet)
    assert PASSWORDS["admin"] not in str(caught.value)


def test_a_host_that_may_not_read_the_secret_says_so(deployed: Deployed, hosts: Hosts) -> None:
    deployment, remote = deployed(nodes=1, sentinels=1)
    hosts.client("secretsmanager").delete_secret(
        SecretId=f"{deployment.name}/formation", ForceDeleteWithoutRecovery=True
    )

    with pytest.raises(
        FormationError, match=r"it cannot get what it needs .*secret cache-test/formation\): .*NotFound"
    ):
        remote.status()


def interrupted(
    deployment: Deployment, remote: LiveDeployment, hosts: Hosts, end: Callable[[ShellCommand], None]
) -> list[str]:
    """Formation waits for a node that is paused; the command ends in the middle of that; the node goes on."""
    lines: list[str] = []
    waits = threading.Event()

    def progress(line: str) -> None:
        lines.append(line)
        if line.startswith("waiting: "):
            waits.set()

    deployment.nodes[2].pause()
    run = threading.Thread(target=remote.form, args=({}, progress))
    run.start()
    try:
        assert waits.wait(60), lines
        (command,) = hosts.sent_for("form")
        end(command)
        wait_for(lambda: len(hosts.sent_for("form")) == 2, "another attempt", 60)
    finally:
        deployment.nodes[2].resume()
        run.join()
    return lines


def test_another_host_goes_on_when_a_program_dies(deployed: Deployed, hosts: Hosts) -> None:
    deployment, remote = deployed()

    lines = interrupted(deployment, remote, hosts, lambda command: command.stop())

    assert_formed(deployment)
    first, second = hosts.sent_for("form")
    assert first.node != second.node
    assert f"{first.node}: SSM says Failed; trying again" in lines
    assert_nothing_left(hosts)


def test_another_host_goes_on_when_an_instance_is_terminated(
    deployed: Deployed, hosts: Hosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "_ASK_EC2_SECONDS", 1)
    deployment, remote = deployed()

    lines = interrupted(deployment, remote, hosts, lambda command: hosts.terminate(command.node))

    assert_formed(deployment)
    first, _ = hosts.sent_for("form")
    assert f"{first.node}: its instance was stopped; trying again" in lines
    assert first.status == "Failed", "it was not stopped, and may still change something"


def test_two_runs_go_one_after_the_other(deployed: Deployed, hosts: Hosts) -> None:
    deployment, remote = deployed()
    waits, lines = threading.Event(), []

    def progress(line: str) -> None:
        lines.append(line)
        if line.startswith("waiting for another run to end on "):
            waits.set()

    deployment.nodes[2].pause()
    first = threading.Thread(target=remote.form, args=({}, quiet))
    second = threading.Thread(target=live(deployment).form, args=({}, progress))
    first.start()
    wait_for(lambda: hosts.sent_for("form"), "the first run is at work")
    second.start()
    try:
        assert waits.wait(60), lines
    finally:
        deployment.nodes[2].resume()
        first.join()
        second.join()
    assert_formed(deployment)
    assert len(hosts.sent_for("form")) == 2


def test_code_that_is_not_what_was_sent_is_not_run(deployed: Deployed, hosts: Hosts) -> None:
    _, remote = deployed(nodes=1, sentinels=1)
    bucket = hosts.client("s3")
    remote.status()
    (code,) = hosts.stored()
    bucket.put_object(Bucket=hosts.bucket, Key=code, Body=archive.archive() + b"\0")

    with pytest.raises(FormationError, match=r"is not what was sent: its checksum is another one$"):
        remote.status()
    assert len(hosts.sent_for("status")) == 1 + runner._ATTEMPTS


def test_a_request_that_is_not_what_was_sent_is_not_carried_out(
    deployed: Deployed, hosts: Hosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, remote = deployed(nodes=1, sentinels=1)
    s3 = aws.aws_in(REGION).s3
    put = s3.put_object

    def tampering(**options: Any) -> Any:
        if "/requests/" in options["Key"]:
            options["Body"] = json.dumps({"operation": "disband"}).encode()
        return put(**options)

    monkeypatch.setattr(s3, "put_object", tampering)
    with pytest.raises(FormationError, match="is not what was sent: its checksum is another one"):
        remote.status()


def test_a_host_that_comes_up_is_waited_for(deployed: Deployed, hosts: Hosts) -> None:
    _, remote = deployed(nodes=1, sentinels=1)
    hosts.away.update(hosts.nodes.values())
    lines: list[str] = []

    def progress(line: str) -> None:
        lines.append(line)
        hosts.away.clear()

    remote.form({}, progress)

    assert lines[0] in {f"waiting for {node} to come up" for node in hosts.nodes}


def test_a_host_that_never_comes_up_is_named(deployed: Deployed, hosts: Hosts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "_COME_UP_SECONDS", 0)
    _, remote = deployed(nodes=1, sentinels=1)
    hosts.away.add(hosts.nodes["cache-test-redis-0"])

    with pytest.raises(FormationError, match=r"^cache-test-redis-0: did not come up within 0 s; see .*SSM agent"):
        remote.form({}, quiet)
    assert remote.status() is not None, "the other one can be asked"


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        (
            "no-boot",
            "its first boot failed; the end of what cloud-init said:\nE: Unable to locate package redis-server",
        ),
        (
            "no-files",
            "its files could not be fetched; the end of what redis-production-files.service said:\nthe secret",
        ),
    ],
)
def test_what_a_host_failed_at_is_shown(deployed: Deployed, hosts: Hosts, failure: str, said: str) -> None:
    _, remote = deployed(nodes=1, sentinels=1)
    (hosts.folder / failure).touch()

    with pytest.raises(FormationError) as caught:
        remote.form({}, quiet)
    assert f"cache-test-redis-0: {said}" in str(caught.value)
    assert not hosts.sent_for("form")


def test_nothing_is_needed_where_nothing_runs(deployed: Deployed, hosts: Hosts) -> None:
    _, remote = deployed(nodes=1, sentinels=1)
    hosts.terminate(*hosts.nodes)

    remote.disband()
    assert not remote.is_needed("cache-test-redis-0")
    assert remote.forecast(frozenset()).lines == ()
    with pytest.raises(FormationError, match="no instance of cache-test runs"):
        remote.form({}, quiet)
    assert not hosts.sent


def test_a_bucket_that_is_gone_is_named(deployed: Deployed, hosts: Hosts) -> None:
    _, remote = deployed(nodes=1, sentinels=1)
    hosts.client("s3").delete_bucket(Bucket=hosts.bucket)

    with pytest.raises(FormationError, match="run `pulumi refresh`, then `pulumi up`"):
        remote.status()
