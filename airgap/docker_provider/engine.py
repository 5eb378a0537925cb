"""The connection to the Docker engine."""

from __future__ import annotations

import os
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from airgap.provider_protocol.errors import CheckError, ProviderError

if TYPE_CHECKING:
    from docker import APIClient
    from docker.errors import APIError

_NOT_REACHABLE = "failed to connect to any docker daemon"
_REMOVAL_TIMEOUT_SECONDS = 30.0
_REMOVAL_RETRY_SECONDS = 0.2


class Engine:
    """One Docker engine, found by `host` (`unix://...` or `tcp://...`), else by DOCKER_HOST, else by the usual sockets.

    Connecting happens at first use, and every thread has a client of its own, because `docker.APIClient` is not made to
    be shared.
    """

    def __init__(self, host: str = "") -> None:
        self._host = host
        self._version = ""
        self._lock = threading.Lock()
        self._clients = threading.local()

    def client(self) -> APIClient:
        """A client for the calling thread.

        Raises ProviderError: the engine does not answer; the text begins as the vendor's does.
        """
        with self._lock:
            if not self._version:
                self._host, self._version = _connect(self._host)
        if not hasattr(self._clients, "client"):
            self._clients.client = _new_client(self._host, self._version)
        client: APIClient = self._clients.client
        return client

    def api_version(self) -> tuple[int, int]:
        """The API version spoken with this engine, for example (1, 41)."""
        self.client()
        major, _, minor = self._version.partition(".")
        return int(major), int(minor)


def _candidate_hosts(host: str) -> list[str]:
    if host or os.environ.get("DOCKER_HOST"):
        return [host or os.environ["DOCKER_HOST"]]
    return ["unix:///var/run/docker.sock", f"unix://{Path.home()}/.docker/run/docker.sock"]


def _connect(host: str) -> tuple[str, str]:
    failures = []
    for candidate in _candidate_hosts(host):
        if candidate.startswith("ssh://"):
            raise ProviderError(
                f"provider setting 'host': ssh is not covered by this stand-in ({candidate}); use unix:// or tcp://"
            )
        try:
            return candidate, _new_client(candidate, "auto").api_version
        except Exception as failure:  # whatever docker, requests or the operating system raise, it means: not reachable
            failures.append(f"{candidate}: {type(failure).__name__}")
    raise ProviderError(f"{_NOT_REACHABLE}: {'; '.join(failures)}: start the engine or set the provider setting 'host'")


def _new_client(host: str, version: str) -> APIClient:
    from docker import APIClient  # imported at first use: a preview without changes never needs it, and it costs 0.15 s

    return APIClient(base_url=host, version=version, timeout=120)


def explain(failure: APIError) -> str:
    """The engine's own words about a failed request, as the vendor's plugin shows them."""
    return f"Error response from daemon: {failure.explanation or failure}"


def remove_when_free(remove: Callable[[], None], busy: str, what: str) -> None:
    """Call `remove` until it succeeds, as long as the engine answers `busy`, for up to 30 s; what is gone is no error.

    Raises ProviderError: it could not be removed.
    """
    from docker.errors import APIError, NotFound

    deadline = time.monotonic() + _REMOVAL_TIMEOUT_SECONDS
    while True:
        try:
            remove()
            return
        except NotFound:
            return
        except APIError as failure:
            if busy not in explain(failure) or time.monotonic() > deadline:
                raise ProviderError(f"Unable to remove {what}: {explain(failure)}") from failure
        time.sleep(_REMOVAL_RETRY_SECONDS)  # the engine has nothing to wait for here: it only refuses


def describe_failure(failure: Exception) -> str:
    """One line for the user about any failure of an operation.

    Of an unexpected one it says where it happened and not its own text, which may quote a secret input.
    """
    from docker.errors import APIError
    from requests.exceptions import RequestException

    if isinstance(failure, ProviderError | CheckError):
        return str(failure)
    if isinstance(failure, APIError):
        return explain(failure)
    if isinstance(failure, RequestException):
        return f"{_NOT_REACHABLE}: the connection broke ({type(failure).__name__})"
    place = traceback.extract_tb(failure.__traceback__)[-1]
    where = f"{place.name}, {place.filename}:{place.lineno}"
    return f"internal error of the Docker stand-in: {type(failure).__name__} in {where}"
