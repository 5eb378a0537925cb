"""Formation of an empty deployment, complete or interrupted, on bare processes."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from components.formation import Access, FormationTimeout
from components.formation.connection import Connections
from components.formation.replication import form, plan, preview
from components.formation.replication.apply import apply_step
from components.formation.replication.observation import observe
from components.formation.replication.plan import plan_for_empty_deployment
from tests.processes.certificates import Authority
from tests.processes.servers import PASSWORDS, Deployment, Process

Deploy = Callable[..., Deployment]
TIMEOUT_SECONDS = 20


def quiet(_: str) -> None:
    """Progress of no interest."""


def assert_formed(deployment: Deployment) -> None:
    """What an operator would check by hand, asked of the servers themselves."""
    primary = deployment.primary
    address = ["localhost", str(primary.port)]
    info = primary.info()
    assert info["connected_slaves"] == len(deployment.nodes) - 1
    for node in deployment.nodes:
        proven = {"replica-priority": "100", "replica-serve-stale-data": "yes"}
        assert node.ask("CONFIG GET", *proven) == proven, node.name
        if node is not primary:
            found = node.info()
            assert found["master_link_status"] == "up", node.name
            assert [found["master_host"], str(found["master_port"])] == address, node.name
    ports = {str(node.port) for node in deployment.nodes if node is not primary}
    for sentinel in deployment.sentinels:
        name = deployment.name
        assert sentinel.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", name) == address
        state = as_dict(sentinel.ask("SENTINEL", "MASTER", name))
        assert state["flags"] == "master", sentinel.name
        assert int(state["num-other-sentinels"]) == len(deployment.sentinels) - 1, sentinel.name
        assert int(state["num-slaves"]) == len(ports), sentinel.name
        assert {as_dict(entry)["port"] for entry in sentinel.ask("SENTINEL", "REPLICAS", name)} == ports
        assert {as_dict(entry)["port"] for entry in sentinel.ask("SENTINEL", "SENTINELS", name)} == {
            str(other.port) for other in deployment.sentinels if other is not sentinel
        }
        assert sentinel.ask("SENTINEL", "CKQUORUM", name).startswith("OK")
    found_plan, _ = preview(deployment.target, deployment.access)
    assert found_plan.done, found_plan


def as_dict(flat: list[str]) -> dict[str, str]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


def formed(deployment: Deployment) -> Deployment:
    form(deployment.target, deployment.access, progress=quiet, timeout_seconds=TIMEOUT_SECONDS)
    return deployment


def test_forms_an_empty_deployment_as_the_preview_said(deploy: Deploy) -> None:
    deployment = deploy()
    said = plan_for_empty_deployment(deployment.target)
    found, _ = preview(deployment.target, deployment.access)
    assert found.describe() == said.describe()
    lines: list[str] = []
    report = form(deployment.target, deployment.access, progress=lines.append, timeout_seconds=TIMEOUT_SECONDS)
    assert_formed(deployment)
    assert report.primary == deployment.nodes[0].name
    assert set(report.replicas) == {node.name for node in deployment.nodes[1:]}
    assert set(said.describe()) <= set(lines)
    assert report.seconds < 3.8, "slower than by hand"


def test_a_formed_deployment_needs_nothing(deploy: Deploy) -> None:
    deployment = formed(deploy())
    report = form(deployment.target, deployment.access, progress=quiet, timeout_seconds=TIMEOUT_SECONDS)
    assert report.steps == ()


def test_forms_over_tls(deploy: Deploy, authority: Authority) -> None:
    deployment = formed(deploy(authority=authority))
    assert_formed(deployment)
    assert deployment.primary.ask("SET", "key", "value")


def test_trusts_only_the_given_authority(deploy: Deploy, authority: Authority) -> None:
    deployment = deploy(authority=authority, nodes=1, sentinels=1)
    stranger = Access("admin", PASSWORDS["admin"], Authority().certificate)
    with pytest.raises(FormationTimeout, match=r"cache-test-redis-0: not reachable .*CERTIFICATE_VERIFY_FAILED"):
        form(deployment.target, stranger, progress=quiet, timeout_seconds=0.5)


def test_a_certificate_must_name_the_host(deploy: Deploy, authority: Authority, tmp_path: object) -> None:
    deployment = deploy(authority=authority, nodes=1, sentinels=1)
    target = deployment.target
    view = observe(target, deployment.access).nodes[0]
    assert view.reachable, view.error
    values = target.to_dict()
    values["nodes"][0]["reach"]["host"] = "127.0.0.2"
    node = observe(type(target).from_dict(values), deployment.access).nodes[0]
    assert not node.reachable
    assert "certificate" in node.error or "refused" in node.error


def test_a_wrong_password_is_named_without_showing_it(deploy: Deploy) -> None:
    deployment = deploy(nodes=1, sentinels=1)
    with pytest.raises(FormationTimeout) as failure:
        form(deployment.target, Access("admin", "geheim-1"), progress=quiet, timeout_seconds=0.5)
    assert "cache-test-redis-0" in str(failure.value)
    assert "geheim-1" not in str(failure.value)


def test_does_not_depend_on_a_fast_first_synchronisation(deploy: Deploy) -> None:
    deployment = formed(deploy(nodes=2, sentinels=1, settings={"repl-diskless-sync-delay": "2"}))
    assert_formed(deployment)


@pytest.mark.parametrize(("nodes", "sentinels"), [(1, 1), (2, 3), (5, 5)])
def test_forms_other_sizes(deploy: Deploy, nodes: int, sentinels: int) -> None:
    assert_formed(formed(deploy(nodes=nodes, sentinels=sentinels)))


# One step more than the plan has: a replica is proven after it has synchronised.
@pytest.mark.parametrize("steps_before", range(14))
def test_interrupted_after_any_step_the_next_run_finishes(deploy: Deploy, steps_before: int) -> None:
    deployment = deploy()
    target = deployment.target
    with Connections(deployment.access) as connections:
        for _ in range(steps_before):
            observation = observe(target, deployment.access)
            steps = plan(target, observation).steps
            if steps:
                apply_step(steps[0], target, observation, connections)
    form(target, deployment.access, progress=quiet, timeout_seconds=TIMEOUT_SECONDS)
    assert_formed(deployment)
    assert deployment.primary is deployment.nodes[0]


@pytest.mark.parametrize("steps_before", [1, 2, 3, 6, 7])
def test_interrupted_by_a_restart_of_everything(deploy: Deploy, steps_before: int) -> None:
    deployment = deploy()
    target = deployment.target
    with Connections(deployment.access) as connections:
        for _ in range(steps_before):
            observation = observe(target, deployment.access)
            steps = plan(target, observation).steps
            if steps:
                apply_step(steps[0], target, observation, connections)
    restart(deployment.all_nodes + deployment.all_sentinels)
    form(target, deployment.access, progress=quiet, timeout_seconds=TIMEOUT_SECONDS)
    assert_formed(deployment)


def restart(processes: list[Process]) -> None:
    for process in processes:
        process.kill()
    for process in processes:
        process.start()
    for process in processes:
        process.wait_until_up()


def test_waits_for_a_node_that_is_missing_and_says_so(deploy: Deploy) -> None:
    deployment = deploy()
    missing = deployment.nodes[2]
    missing.kill()
    with pytest.raises(FormationTimeout, match="cache-test-redis-2: not reachable"):
        form(deployment.target, deployment.access, progress=quiet, timeout_seconds=0.3)
    assert deployment.primaries() == [], "nothing proves that the missing node is empty"
    missing.start()
    formed(deployment)
    assert_formed(deployment)


def test_two_deployments_never_mix(deploy: Deploy) -> None:
    one, other = formed(deploy(name="one")), deploy(name="other")
    formed(other)
    one.primary.ask("SET", "whose", "one")
    other.primary.ask("SET", "whose", "other")
    for deployment in (one, other):
        assert_formed(deployment)
        assert deployment.primary.ask("GET", "whose") == deployment.name
        for sentinel in deployment.sentinels:
            assert [as_dict(entry)["name"] for entry in sentinel.ask("SENTINEL", "MASTERS")] == [deployment.name]
