"""The retry policy of clients: part of the connection example, and what ``python -m ops`` itself uses."""

from typing import Any

import redis
from redis.retry import Retry


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
