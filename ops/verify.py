"""Proves a deployment from a client's side, and says how to connect."""

from __future__ import annotations

import secrets

import redis
from rich.console import Console
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

from components.examples import key_within
from components.formation.cluster.observation import observe as observe_cluster
from components.formation.cluster.slots import slot_of
from components.formation.connection import Connections, as_mapping, without_errors
from components.formation.members import Member
from components.formation.replication.observation import REPLICA, observe

from .clients import client_of
from .deployment import ClusterDeployment, Deployment, DeploymentError, ReplicatedDeployment, replicated

_REPLICATION_TIMEOUT_SECONDS = 10


class _NotYetReplicated(Exception):
    pass


def verify_clients(deployment: Deployment, stack: str | None, console: Console) -> None:
    """Write a key as user ``app`` through Sentinel or the cluster, read it from a replica, delete it, and print how to
    connect. ``stack``: its name, None for the selected one.

    Raises DeploymentError naming what did not work.
    """
    value = secrets.token_hex(8)
    try:
        key = key_within(_key_pattern(deployment), f"verify:{secrets.token_hex(4)}")
        through = "RedisCluster" if isinstance(deployment, ClusterDeployment) else "Sentinel"
        client = client_of(deployment)
        client.set(key, value, ex=60)
        replica = _replica_of(deployment, key)
        if replica:
            _read_from(deployment, replica, key, value)
        client.delete(key)
    except (redis.RedisError, redis.RedisClusterException) as error:
        raise DeploymentError(f"a client could not use the deployment: {error}") from None
    read = f", read from {replica.name}" if replica else ""
    console.print(f"verified: a key written through {through} as user app over TLS{read}", soft_wrap=True)
    _print_how_to_connect(deployment, stack, console)


def _replica_of(deployment: Deployment, key: str) -> Member | None:
    """A replica that has the key, if there is one."""
    access = deployment.access("admin")
    if isinstance(deployment, ClusterDeployment):
        slot = slot_of(key)
        nodes = observe_cluster(deployment.target, access).nodes
        owners = {node.node_id for node in nodes if any(first <= slot <= last for first, last in node.slots)}
        names = {node.name for node in nodes if node.reachable and node.primary_id in owners}
    else:
        observation = observe(replicated(deployment).target, access)
        names = {node.name for node in observation.nodes if node.role == REPLICA}
    return next((member for member in deployment.redis_nodes if member.name in names), None)


def _key_pattern(deployment: Deployment) -> str:
    """The keys that ``app`` may touch, as a node says (ACL GETUSER)."""
    with Connections(deployment.access("admin")) as connections:
        user = as_mapping(connections.ask(deployment.redis_nodes[0], "ACL", "GETUSER", "app"))
    return str(user["keys"]).split()[0].removeprefix("~")


def _read_from(deployment: Deployment, replica: Member, key: str, value: str) -> None:
    # A replica of a cluster sends clients to its primary unless they say that they are content with what it has.
    before: list[tuple[str | int, ...]] = [("READONLY",)] if isinstance(deployment, ClusterDeployment) else []
    with Connections(deployment.access("app")) as connections:
        _wait_until_read(replica, connections, before, key, value)


def _wait_until_read(
    replica: Member, connections: Connections, before: list[tuple[str | int, ...]], key: str, value: str
) -> None:
    @retry(
        retry=retry_if_exception_type(_NotYetReplicated),
        stop=stop_after_delay(_REPLICATION_TIMEOUT_SECONDS),
        wait=wait_fixed(0.05),
        reraise=True,
    )
    def read() -> None:
        if without_errors(connections.ask_all(replica, *before, ("GET", key)))[-1] != value:
            raise _NotYetReplicated

    try:
        read()
    except _NotYetReplicated:
        raise DeploymentError(
            f"{replica.name} did not receive a written key within {_REPLICATION_TIMEOUT_SECONDS} s; "
            "see python -m ops status"
        ) from None


def _print_how_to_connect(deployment: Deployment, stack: str | None, console: Console) -> None:
    if isinstance(deployment, ClusterDeployment):
        where = f"nodes        {', '.join(str(member.reach) for member in deployment.redis_nodes)}"
    else:
        where = _where_sentinels_are(replicated(deployment))
    chosen = f" STACK={stack}" if stack else ""
    console.print(
        f"""
{where}
user         app (password and CA: pulumi stack output --show-secrets credentials, ca_certificate)
Python       pulumi stack output --show-secrets python_example > example.py && .venv/bin/python example.py
redis-cli    python -m ops cli
status       python -m ops status

in a shell of your own, first: eval "$(make -s env{chosen})"
""",
        highlight=False,
        soft_wrap=True,
    )


def _where_sentinels_are(deployment: ReplicatedDeployment) -> str:
    sentinels = ", ".join(str(member.reach) for member in deployment.target.sentinels)
    return f"Sentinels    {sentinels}\nmaster name  {deployment.target.sentinel.master_name}"
