"""How a cluster's node starts, whom it looks for, and whom it never lets in."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from components.config_files import Listener
from tests.host.cluster_containers import ClusterContainers
from tests.host.containers import Server, wait_until, wait_until_each


@pytest.fixture(scope="module")
def cluster() -> Iterator[ClusterContainers]:
    """A formed cluster; tests leave it as it is, or healed."""
    with ClusterContainers() as containers:
        containers.health_check_seconds = 1
        containers.start_all()
        wait_until_each(containers.servers, containers.itself, "started")
        for server in containers.servers:  # before formation: alone, and with no slot
            assert len(containers.known(server)) == 1
            assert not containers.itself(server).slots
            assert containers.state(server) == "fail"
        containers.form()
        containers.wait_until_whole()
        yield containers


def test_a_started_node_is_formed_by_formation_alone(cluster: ClusterContainers) -> None:
    assert cluster.owners() == [shard[0] for shard in cluster.shards]
    values = cluster.write(30)
    assert cluster.read(values) == values


def test_a_node_is_healthy(cluster: ClusterContainers) -> None:
    wait_until_each(cluster.servers, lambda server: cluster.health(server) == "healthy", "healthy")


def test_the_loop_ends_when_its_work_is_done(cluster: ClusterContainers) -> None:
    wait_until_each(
        cluster.servers,
        lambda server: not any("rejoin" in line for line in cluster.processes(server)),
        "its loop ended",
    )


def test_no_password_is_on_a_command_line_or_in_a_log(cluster: ClusterContainers) -> None:
    lost = cluster.primary_of(0)
    cluster.kill(lost)
    cluster.lose_data(lost)
    cluster.start(lost)
    seen: set[str] = set()
    whole = threading.Event()

    def look_at(server: Server) -> None:
        while not whole.is_set():
            seen.update(cluster.processes(server))

    with ThreadPoolExecutor(len(cluster.servers)) as pool:  # what waits may do so for moments only
        looking = [pool.submit(look_at, server) for server in cluster.servers]
        try:
            cluster.wait_until_whole()
        finally:
            whole.set()
        for each in looking:
            each.result()
    seen.update(cluster.log(server) for server in cluster.servers)
    assert any("redis-server" in text for text in seen)
    assert any("wait.sh" in text for text in seen)
    for password in cluster.passwords.values():
        assert not [text for text in seen if password in text]


def test_a_setting_changed_live_survives_a_restart(cluster: ClusterContainers) -> None:
    server = cluster.replica_of(1)
    cluster.ask(server, "CONFIG", "SET", "slowlog-max-len", 33, "save", "77 7 55 5")
    cluster.ask(server, "CONFIG", "REWRITE")
    cluster.kill(server)
    cluster.start(server)
    cluster.wait_until_whole()

    assert cluster.config(server, "slowlog-max-len") == "33"
    assert cluster.config(server, "save") == "77 7 55 5"


def test_another_deployment_at_a_members_name_and_address_is_not_let_in(cluster: ClusterContainers) -> None:
    gone = cluster.replica_of(2)
    others = [server for server in cluster.servers if server != gone]
    cluster.kill(gone)
    with ClusterContainers() as stranger:
        impostor = Server("redis", Listener(f"{stranger.name}-impostor", gone.listener.port))
        stranger.servers = [impostor]
        stranger.start_all()
        stranger.answers(impostor)
        cluster.join_network(stranger.container(impostor), gone.name)
        cluster.kill(*others)
        cluster.start(*others)
        wait_until_each(others, lambda server: cluster.state(server) == "ok", "the others serve")
        assert cluster.run(others[0], "getent", "hosts", gone.name)[1].split()[0] == cluster.address_on(
            stranger.container(impostor)
        )
        cluster.ask(others[0], "CLUSTER", "MEET", cluster.address_on(stranger.container(impostor)), gone.listener.port)
        wait_until(
            lambda: "handshake" not in {flag for each in cluster.known(others[0]).values() for flag in each.flags},
            "the handshake to fail",
        )

        for server in others:
            assert {each.host for each in cluster.known(server).values()} == {each.name for each in cluster.servers}
        assert len(stranger.known(impostor)) == 1
    cluster.start(gone)
    cluster.wait_until_whole()
