"""The connection to AWS, or to whatever AWS_ENDPOINT_URL names: boto3 clients, one for each service and region."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from airgap.provider_protocol.errors import ProviderError

_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 2.0
_CLOCK_STEP = 1.5


@dataclass(frozen=True)
class Credentials:
    """What the provider's settings say of credentials; empty: boto3 looks in its usual places."""

    access_key: str = ""
    secret_key: str = ""
    token: str = ""
    profile: str = ""


class Aws:
    """The services of one account. Clients are made at first use and shared by all threads, as boto3 allows.

    `region`: where resources lie that name no region of their own; empty: AWS_REGION, then boto3's usual places.
    """

    def __init__(self, region: str = "", credentials: Credentials | None = None, path_style: bool = False) -> None:
        self._region = region or os.environ.get("AWS_REGION", "") or os.environ.get("AWS_DEFAULT_REGION", "")
        self._credentials = credentials or Credentials()
        self._path_style = path_style or "AWS_ENDPOINT_URL" in os.environ or "AWS_ENDPOINT_URL_S3" in os.environ
        self._session: Any = None
        self._clients: dict[tuple[str, str], Any] = {}
        self._account = ""
        self._lock = threading.RLock()

    @property
    def region(self) -> str:
        """The region of resources that name none. Raises ProviderError: none is configured."""
        if not self._region:
            self._region = self._open_session().region_name or ""
        if not self._region:
            raise ProviderError("no region is configured: set aws:region or the environment variable AWS_REGION")
        return self._region

    def client(self, service: str, region: str = "") -> Any:
        """A client of a service in a region."""
        from botocore.config import Config

        key = (service, region or self.region)
        with self._lock:  # making clients is the one thing that sessions cannot do from two threads at once
            if key not in self._clients:
                self._clients[key] = self._open_session().client(
                    service,
                    region_name=key[1],
                    config=Config(
                        retries={"mode": "standard", "max_attempts": 5},
                        max_pool_connections=50,
                        s3={"addressing_style": "path"} if self._path_style else None,
                    ),
                )
            return self._clients[key]

    def account(self) -> str:
        """The account's id."""
        with self._lock:
            if not self._account:
                self._account = str(self.client("sts").get_caller_identity()["Account"])
            return self._account

    def partition(self, region: str = "") -> str:
        """The partition of a region: aws, aws-cn, ..."""
        return str(self._open_session().get_partition_for_region(region or self.region))

    def arn(self, service: str, path: str, region: str = "", account: str = "") -> str:
        """The ARN of a regional resource, as `arn:aws:ec2:eu-central-1:123456789012:vpc/vpc-1`."""
        where = region or self.region
        return f"arn:{self.partition(where)}:{service}:{where}:{account or self.account()}:{path}"

    def _open_session(self) -> Any:
        import boto3  # imported at first use: a preview without changes may never need it, and it costs 0.3 s

        with self._lock:
            if self._session is None:
                self._session = boto3.Session(
                    aws_access_key_id=self._credentials.access_key or None,
                    aws_secret_access_key=self._credentials.secret_key or None,
                    aws_session_token=self._credentials.token or None,
                    profile_name=self._credentials.profile or None,
                    region_name=self._region or None,
                )
            return self._session


def wait_until(reached: Callable[[], bool], what: str, cancelled: threading.Event, seconds: float = 600.0) -> None:
    """Ask again and again until `reached` says so.

    `what` names the wait in the error, for example "instance i-1 is running".

    Raises ProviderError: it is not reached within so many seconds, or Pulumi was told to stop.
    """
    pause = _FIRST_PAUSE_SECONDS
    waited = 0.0
    while not reached():
        if waited >= seconds:
            raise ProviderError(f"waited {seconds:.0f} s in vain until {what}: see what its service says of it")
        if cancelled.wait(pause):
            raise ProviderError(f"stopped while waiting until {what}")
        waited += pause
        pause = min(pause * _CLOCK_STEP, _LONGEST_PAUSE_SECONDS)
