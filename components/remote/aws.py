"""AWS as the machine that runs Pulumi sees it: clients for one region, and errors in one clear line."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, cached_property
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

from ..formation.errors import FormationError

_making = threading.Lock()
_DENIED = ("AccessDenied", "AccessDeniedException", "UnauthorizedOperation")


class Aws:
    """Clients that may be used from several threads; they use the standard environment and wait when told to."""

    def __init__(self, region: str) -> None:
        session = boto3.session.Session(region_name=region)
        config = Config(
            retries={"mode": "standard", "max_attempts": 8},
            connect_timeout=10,
            read_timeout=30,
            max_pool_connections=32,
        )
        self.region = region
        self.ec2: Any = session.client("ec2", config=config)
        self.s3: Any = session.client("s3", config=config)
        self.ssm: Any = session.client("ssm", config=config)
        self.sts: Any = session.client("sts", config=config)

    @cached_property
    def account(self) -> str:
        """The account's id."""
        with one_clear_line():
            return str(self.sts.get_caller_identity()["Account"])


def aws_in(region: str) -> Aws:
    """The clients for a region, made once: that takes half a second."""
    with _making:
        return _aws_in(region)


@cache
def _aws_in(region: str) -> Aws:
    return Aws(region)


@contextmanager
def one_clear_line(about: str = "") -> Iterator[None]:
    """What boto3 raises becomes a FormationError; ``about``: what it was asked for, if its message does not say."""
    prefix = f"{about}: " if about else ""
    try:
        yield
    except ClientError as error:
        raise FormationError(prefix + _explained(error)) from error
    except NoCredentialsError as error:
        raise FormationError("AWS: there are no credentials; log in, or set AWS_PROFILE") from error
    except BotoCoreError as error:
        raise FormationError(f"{prefix}AWS: {error}") from error


def code_of(error: ClientError) -> str:
    """AWS's own name of the error."""
    return str(error.response.get("Error", {}).get("Code", ""))


def _explained(error: ClientError) -> str:
    code = code_of(error)
    message = error.response.get("Error", {}).get("Message", "").strip() or code
    if code in _DENIED:
        return f"AWS does not allow {error.operation_name}: {message}; whoever runs Pulumi needs this right"
    if code == "NoSuchBucket":
        return "the deployment's bucket does not exist; run `pulumi refresh`, then `pulumi up`"
    return f"AWS: {error.operation_name}: {code}: {message}"
