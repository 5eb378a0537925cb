"""Proves a deployment from a client's side, and says how to connect."""

from __future__ import annotations

import secrets

import redis
from rich.console import Console
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

from components.examples import key_within
from components.formation.connection import Connections, as_mapping
from components.formation.members import Member
from components.formation.replication.observation import REPLICA, observe

from .clients import sentinel_client
from .deployment import Deployment, DeploymentError

_REPLICATION_TIMEOUT_SECONDS = 10


class _NotYetReplicated(Exception):
    pass


def verify_clients(deployment: Deployment, console: Console) -> None:
    """Write a key as user ``app`` through Sentinel, read it from a replica, delete it, and print how to connect.

    Raises DeploymentError naming what did not work.
    """
    access = deployment.access("app")
    value = secrets.token_hex(8)
    try:
        key = key_within(_key_pattern(deployment), f"verify:{secrets.token_hex(4)}")
        client = sentinel_client(deployment)
        client.set(key, value, ex=60)
        replicas = _replicas(deployment)
        with Connections(access) as connections:
            for replica in replicas[:1]:
                _read_from(replica, connections, key, value)
        client.delete(key)
    except redis.RedisError as error:
        raise DeploymentError(f"a client could not use the deployment: {error}") from None
    read = f", read from {replicas[0].name}" if replicas else ""
    console.print(f"verified: a key written through Sentinel as user app over TLS{read}", soft_wrap=True)
    _print_how_to_connect(deployment, console)


def _replicas(deployment: Deployment) -> list[Member]:
    observation = observe(deployment.target, deployment.access("admin"))
    names = {node.name for node in observation.nodes if node.role == REPLICA}
    return [member for member in deployment.target.nodes if member.name in names]


def _key_pattern(deployment: Deployment) -> str:
    """The keys that ``app`` may touch, as a node says (ACL GETUSER)."""
    with Connections(deployment.access("admin")) as connections:
        user = as_mapping(connections.ask(deployment.target.nodes[0], "ACL", "GETUSER", "app"))
    return str(user["keys"]).split()[0].removeprefix("~")


def _read_from(replica: Member, connections: Connections, key: str, value: str) -> None:
    @retry(
        retry=retry_if_exception_type(_NotYetReplicated),
        stop=stop_after_delay(_REPLICATION_TIMEOUT_SECONDS),
        wait=wait_fixed(0.05),
        reraise=True,
    )
    def read() -> None:
        if connections.client(replica).get(key) != value:
            raise _NotYetReplicated

    try:
        read()
    except _NotYetReplicated:
        raise DeploymentError(
            f"{replica.name} did not receive a written key within {_REPLICATION_TIMEOUT_SECONDS} s; "
            "see python -m ops status"
        ) from None


def _print_how_to_connect(deployment: Deployment, console: Console) -> None:
    sentinels = ", ".join(str(member.reach) for member in deployment.target.sentinels)
    console.print(
        f"""
Sentinels    {sentinels}
master name  {deployment.target.sentinel.master_name}
user         app (password and CA: pulumi stack output --show-secrets credentials, ca_certificate)
Python       pulumi stack output --show-secrets python_example > example.py && .venv/bin/python example.py
redis-cli    python -m ops cli
status       python -m ops status

in a shell of your own, first: eval "$(make -s env)"
""",
        highlight=False,
        soft_wrap=True,
    )
