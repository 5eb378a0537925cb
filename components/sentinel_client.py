"""How a client follows the Sentinels: part of the connection example, and what ``python -m ops`` itself uses."""

from typing import Any

import redis
from redis.retry import Retry
from redis.sentinel import SentinelManagedSSLConnection


class FollowingConnection(SentinelManagedSSLConnection):
    """Asks the Sentinels before every attempt to connect; redis-py alone goes on trying a former primary."""

    def connect_check_health(self, check_health: bool = True, retry_socket_connect: bool = True) -> None:
        """As redis-py calls it to connect, unless it is connected (https://github.com/redis/redis-py/issues/3874)."""
        if not self._sock:
            self.host, self.port = self.connection_pool.get_master_address()
        super().connect_check_health(check_health, retry_socket_connect=False)


class FailoverRetry(Retry):
    """Retries through a failover: while no primary answers, and while a new one has no replica yet (NOREPLICAS)."""

    def call_with_retry(self, do: Any, fail: Any, *args: Any, **options: Any) -> Any:
        """As redis-py calls it."""

        def attempt() -> Any:
            try:
                return do()
            except redis.ResponseError as error:
                if str(error).startswith("NOREPLICAS"):  # nothing was written
                    raise redis.ConnectionError(str(error)) from error
                raise

        return super().call_with_retry(attempt, fail, *args, **options)
