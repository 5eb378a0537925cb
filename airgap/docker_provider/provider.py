"""The provider: its resource types, its settings and its connection to the Docker engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airgap.docker_provider import VERSION
from airgap.docker_provider.configuration import check_settings, daemon_check_wanted
from airgap.docker_provider.container import Container
from airgap.docker_provider.engine import Engine, describe_failure
from airgap.docker_provider.network import Network
from airgap.docker_provider.remote_image import RemoteImage
from airgap.docker_provider.volume import Volume
from airgap.provider_protocol.server import Provider


class DockerProvider(Provider[Engine]):
    """Keeps nothing but the connection to the Docker engine. Functions (getNetwork and the like) are not covered."""

    def __init__(self) -> None:
        super().__init__("docker", VERSION, (Network(), Volume(), Container(), RemoteImage()))
        self._engine = Engine()

    @property
    def connection(self) -> Engine:
        """The engine."""
        return self._engine

    def check_settings(self, settings: Mapping[str, Any]) -> None:
        """Refuse what is not covered."""
        check_settings(settings)

    def connect(self, settings: Mapping[str, Any]) -> None:
        """Take the settings and, as the vendor does, find out at once whether the Docker engine answers."""
        host = settings.get("host")
        self._engine = Engine(host if isinstance(host, str) else "")
        if daemon_check_wanted(settings):
            self._engine.client()

    def describe_failure(self, failure: Exception) -> str:
        """One line without secrets."""
        return describe_failure(failure)
