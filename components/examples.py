"""The connection examples that a deployment gives to its users."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .config_files import Listener
from .key_patterns import key_within


def python_example(
    sentinels: Sequence[Listener],
    master_name: str,
    ca_certificate: str,
    app_password: str,
    app_key_pattern: str = "*",
    published_on: str | None = None,
) -> str:
    """A redis-py script that defines ``client`` (Sentinel's ``master_for``). Holds a secret.

    ``published_on``: where nodes announce names that only their own network knows, the host on which their ports are
    published under the same number. Then the script keeps the port that Sentinel answers and connects to that host
    (redis-py's ``force_master_ip``).
    """
    elsewhere = f'    force_master_ip="{published_on}",\n' if published_on else ""
    key = key_within(app_key_pattern, "hello")
    addresses = ", ".join(f'("{sentinel.host}", {sentinel.port})' for sentinel in sentinels)
    return f'''\
{_source("sentinel_client.py")}

from redis.backoff import ExponentialWithJitterBackoff
from redis.sentinel import Sentinel

CA_CERTIFICATE = """\\
{ca_certificate.strip()}
"""

access = {{
    "username": "app",
    "password": "{app_password}",
    "ssl": True,
    "ssl_ca_data": CA_CERTIFICATE,
    "socket_timeout": 5,
}}
sentinel = Sentinel(
    [{addresses}],
    sentinel_kwargs=access,
{elsewhere}    **access,
)
client: redis.Redis = sentinel.master_for(
    "{master_name}",
    decode_responses=True,
    connection_class=FollowingConnection,
    retry=FailoverRetry(ExponentialWithJitterBackoff(base=0.05, cap=1), retries=150),
)

if __name__ == "__main__":
    client.set({key!r}, "world")
    print(client.get({key!r}))
'''


def cluster_python_example(
    nodes: Sequence[Listener],
    ca_certificate: str,
    app_password: str,
    app_key_pattern: str = "*",
    published_on: str | None = None,
) -> str:
    """A redis-py script that defines ``client``, a RedisCluster. Holds a secret.

    ``published_on``: as for :func:`python_example`; the script keeps the port of every address (``address_remap``).
    """
    elsewhere = f'    address_remap=lambda announced: ("{published_on}", announced[1]),\n' if published_on else ""
    key = key_within(app_key_pattern, "hello")
    addresses = "\n".join(f'    ClusterNode("{node.host}", {node.port}),' for node in nodes)
    return f'''\
{_source("cluster_client.py")}

from redis.cluster import ClusterNode

CA_CERTIFICATE = """\\
{ca_certificate.strip()}
"""

nodes = [
{addresses}
]
client = FollowingCluster(
    startup_nodes=nodes,
{elsewhere}    username="app",
    password="{app_password}",
    ssl=True,
    ssl_ca_data=CA_CERTIFICATE,
    socket_timeout=5,
    decode_responses=True,
)

if __name__ == "__main__":
    client.set({key!r}, "world")
    print(client.get({key!r}))
'''


def _source(module: str) -> str:
    """The source of what follows Sentinels or the cluster, without its docstring."""
    return Path(__file__).with_name(module).read_text().split('"""', 2)[2].strip()
