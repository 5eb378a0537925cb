"""The operator's command line, the connection example, certificates and old clients, on one deployment each."""

from __future__ import annotations

import socket
import ssl
import subprocess
import sys
from pathlib import Path

import pytest
import redis
from cryptography import x509

from tests.docker.conftest import MakeStack
from tests.docker.stack import Live, PulumiStack
from tests.docker.test_failures import assert_no_changes, assert_nothing_to_do

pytestmark = [pytest.mark.docker, pytest.mark.pulumi]


def run_example(stack: PulumiStack, folder: Path) -> str:
    """The output `python_example`, run as a user would: a file, and a Python that has redis-py."""
    script = folder / "example.py"
    script.write_text(stack.outputs()["python_example"])
    answer = subprocess.run(
        [sys.executable, "-I", str(script)], capture_output=True, text=True, check=False, timeout=90
    )
    assert answer.returncode == 0, answer.stderr
    return answer.stdout.strip()


def test_command_line_and_example(shared_stack: PulumiStack, tmp_path: Path) -> None:
    live = shared_stack.live()
    verified = shared_stack.ops("verify")
    assert verified.code == 0, verified.text
    assert "verified" in verified.text
    assert run_example(shared_stack, tmp_path) == "world"

    assert shared_stack.ops("cli", "--", "SET", "greeting", "hello").text.strip() == "OK"
    assert shared_stack.ops("cli", "--", "GET", "greeting").text.strip() == "hello"
    assert "no permissions" in shared_stack.ops("cli", "--", "FLUSHALL").text
    assert "role:master" in shared_stack.ops("cli", "--user", "admin", "--", "INFO", "replication").text
    assert shared_stack.ops("cli", "--user", "root", "--", "PING").code == 1

    shown = shared_stack.ops("status")
    assert shown.code == 0, shown.text
    assert "healthy" in shown.text
    for name in ("cache-redis-0", "cache-redis-2", "cache-sentinel-0", "3 x primary", "follows cache-redis-0"):
        assert name in shown.text

    handed_over = shared_stack.ops("failover", "--node", "cache-redis-2")
    assert handed_over.code == 0, handed_over.text
    assert live.primary.name == "cache-redis-2"
    assert run_example(shared_stack, tmp_path) == "world"
    assert shared_stack.ops("cli", "--", "GET", "greeting").text.strip() == "hello"
    live.wait_until_healthy()
    assert_no_changes(shared_stack)

    live.container("cache-redis-0").kill()
    shown = shared_stack.ops("status")
    assert shown.code == 1
    assert "cache-redis-0" in shown.text
    assert "unreachable" in shown.text
    refused = shared_stack.ops("promote", "cache-redis-1", "--yes")
    assert refused.code == 1
    assert "is the primary and at work" in refused.text
    live.container("cache-redis-0").start()
    live.wait_until_healthy()
    live.container("cache-redis-2").kill()
    assert run_example(shared_stack, tmp_path) == "world"
    live.container("cache-redis-2").start()
    live.wait_until_healthy()


def served_certificate(live: Live, name: str) -> x509.Certificate:
    members = live.deployment.target.nodes + live.deployment.target.sentinels
    reach = next(member.reach for member in members if member.name == name)
    context = ssl.create_default_context(cadata=live.deployment.ca_certificate)
    with (
        socket.create_connection((reach.host, reach.port), timeout=5) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as secured,
    ):
        served = secured.getpeercert(binary_form=True)
    assert served is not None
    return x509.load_der_x509_certificate(served)


def test_new_certificates_reach_redis_without_a_restart(shared_stack: PulumiStack) -> None:
    live = shared_stack.live()
    names = [member.name for member in live.deployment.target.nodes + live.deployment.target.sentinels]
    before = {name: served_certificate(live, name).serial_number for name in names}
    at = live.started()
    shared_stack.config["certificate-lifetime-days"] = 200
    shared_stack.up()
    live.wait_until_healthy()
    for name in names:
        certificate = served_certificate(live, name)
        assert certificate.serial_number != before[name], name
        lifetime = certificate.not_valid_after_utc - certificate.not_valid_before_utc
        assert lifetime.days == 200
        if "redis" in name:
            assert live.started()[name] == at[name], "a Redis node was restarted"
    assert_no_changes(shared_stack)


@pytest.mark.long
def test_clients_without_acls(make_stack: MakeStack) -> None:
    stack = make_stack(
        **{
            "replicas": 0,
            "sentinels": 1,
            "quorum": 1,
            "default-user": True,
            "rename-commands": {"COPY": "", "SORT": "S"},
        }
    )
    stack.up()
    live = stack.live()
    reach = live.deployment.target.nodes[0].reach
    client = redis.Redis(
        host=reach.host,
        port=reach.port,
        password=live.deployment.passwords["default"],
        ssl=True,
        ssl_ca_data=live.deployment.ca_certificate,
        decode_responses=True,
    )
    assert client.set("key", "value")
    for command, why in (
        ("FLUSHALL", "no permissions"),
        ("COPY a b", "unknown command"),
        ("SORT a", "unknown command"),
    ):
        with pytest.raises(redis.RedisError, match=why):
            client.execute_command(*command.split())  # type: ignore[no-untyped-call]
    assert_nothing_to_do(stack)


@pytest.mark.long
def test_a_primary_that_is_cut_off_stops_acknowledging(make_stack: MakeStack) -> None:
    stack = make_stack(**{"min-replicas-max-lag": 2})
    stack.up()
    live = stack.live()
    client = live.client()
    client.set("key", "before")
    former = live.primary
    cut_off = live.container(former.name)
    network = live.engine.networks.get(stack.deployment_name)
    network.disconnect(cut_off)
    try:
        client.set("key", "after")  # retries until the Sentinels have promoted another
        refused = write_inside(live, former.name, former.address.port)
        assert "NOREPLICAS" in refused, refused
    finally:
        network.connect(cut_off, aliases=[former.address.host])
    live.wait_until_healthy()
    assert live.primary.name != former.name
    assert client.get("key") == "after"
    assert live.node_client(former.name, "app").get("key") == "after"


def write_inside(live: Live, name: str, port: int) -> str:
    """What a client gets that is cut off together with a node."""
    access = live.deployment.access("app")
    command = f"redis-cli --tls --cacert /etc/redis-production/tls/ca.crt -h 127.0.0.1 -p {port} --user app"
    return str(
        live.container(name).exec_run([*command.split(), "--pass", access.password, "SET", "key", "lost"]).output
    )
