"""How a client follows a cluster: part of the connection example, and what ``python -m ops`` itself uses."""

import time
from typing import Any

import redis
from redis.backoff import ExponentialWithJitterBackoff
from redis.cluster import PRIMARY, ClusterNode, RedisCluster
from redis.retry import Retry

PAUSE_SECONDS = 0.2


class FollowingCluster(RedisCluster):
    """Follows slots to where they are, and waits through a failover, for a minute.

    redis-py alone uses up its retries at once while a primary is down, and forgets ``address_remap`` when a node
    answers with MOVED or ASK.
    """

    def __init__(self, **options: Any) -> None:
        """As RedisCluster. After MOVED it asks a node that it knows for the whole map."""
        retry = Retry(ExponentialWithJitterBackoff(base=0.05, cap=1), retries=round(60 / PAUSE_SECONDS))
        super().__init__(**{"retry": retry, "reinitialize_steps": 1, **options})

    def get_node(self, host: Any = None, port: Any = None, node_name: Any = None) -> Any:
        """As redis-py calls it, also for the node that ASK names: one that has no slot yet is known to nobody."""
        if node_name:
            host, _, port = node_name.rpartition(":")
        reach = self.nodes_manager.remap_host_port(host, int(port))
        node = super().get_node(*reach)  # type: ignore[no-untyped-call]
        if node is None and (node_name or reach != (host, int(port))):
            return ClusterNode(*reach, PRIMARY)  # type: ignore[no-untyped-call]
        return node

    def _execute_command(self, target_node: Any, *args: Any, **options: Any) -> Any:
        try:
            return super()._execute_command(target_node, *args, **options)  # type: ignore[no-untyped-call]
        except redis.AuthenticationError:
            raise
        except (redis.ConnectionError, redis.TimeoutError, redis.RedisClusterException) as error:
            failure: Exception = error
        except redis.ResponseError as error:
            # In a failover: nobody serves the slot, or the new primary has no replica yet. Nothing was written.
            if not isinstance(error, redis.exceptions.ClusterError) and not str(error).startswith("NOREPLICAS"):
                raise
            failure = error
        time.sleep(PAUSE_SECONDS)
        raise redis.ConnectionError(str(failure)) from failure
