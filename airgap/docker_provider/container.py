"""The resource type docker:index/container:Container."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airgap.docker_provider.container_facts import container_outputs
from airgap.docker_provider.container_properties import FROM_ENGINE, OUTPUT_ONLY, PROPERTIES
from airgap.docker_provider.container_request import (
    MEBIBYTE,
    container_configuration,
    endpoint_configuration,
    restart_policy,
    swap_bytes,
    upload_archive,
)
from airgap.docker_provider.engine import Engine, describe_failure, explain
from airgap.docker_provider.remote_image import find_image
from airgap.provider_protocol.difference import Change, Difference, differences
from airgap.provider_protocol.errors import InitializationError, ProviderError
from airgap.provider_protocol.resource import Record, ResourceType
from airgap.provider_protocol.wire import UNKNOWN

if TYPE_CHECKING:
    from docker import APIClient

_POLL_SECONDS = 0.1
_CHANGED_IN_PLACE = frozenset(
    {"restart", "maxRetryCount", "cpuShares", "cpuSet", "memory", "memoryReservation", "memorySwap"}
)


class Container(ResourceType[Engine]):
    """A Docker container. Replacing deletes the old one first, because both would have the same name and ports."""

    type_name = "docker:index/container:Container"
    name_property = "name"
    deletes_before_replacing = True
    properties = PROPERTIES
    output_only = OUTPUT_ONLY
    computed_outputs = FROM_ENGINE

    def difference(self, outputs: Mapping[str, Any], inputs: Mapping[str, Any]) -> list[Difference]:
        """What differs. A container that never came up (its outputs were never read) is replaced in any case."""
        if "networkDatas" not in outputs:
            return [Difference(("wait",), Change.UPDATE, replaces=True), *differences(outputs, inputs, self.properties)]
        return differences(outputs, inputs, self.properties)

    def create(self, engine: Engine, inputs: Mapping[str, Any], cancelled: threading.Event) -> Record:
        """Make the container, attach its networks, copy its files in, start it, and wait for its health if asked to."""
        from docker.errors import APIError

        try:
            find_image(engine, inputs["image"])
        except ProviderError as failure:
            raise ProviderError(f"Unable to create container with image {inputs['image']}: {failure}") from failure
        client = engine.client()
        configuration = container_configuration(inputs, engine.api_version())
        try:
            answer = client.create_container_from_config(configuration, inputs["name"])  # type: ignore[no-untyped-call]
            identifier = str(answer["Id"])
        except APIError as failure:
            raise ProviderError(f"Unable to create container: {explain(failure)}") from failure
        try:
            _attach_networks(client, identifier, inputs)
            _upload(client, identifier, inputs)
            if inputs.get("start", True):
                _start(client, identifier)
                if inputs.get("wait"):
                    _wait_until_healthy(client, identifier, inputs["waitTimeout"], cancelled)
            facts = client.inspect_container(identifier)
        except Exception as failure:
            # Whatever went wrong, the container is there, and Pulumi must know of it. It is made, but not up:
            # without the engine's facts in its outputs, `difference` knows that it must be replaced.
            made = {**self.planned(inputs), "id": identifier}
            outputs = {name: value for name, value in made.items() if value is not UNKNOWN and name not in FROM_ENGINE}
            raise InitializationError(identifier, outputs, describe_failure(failure)) from failure
        if inputs.get("start", True) and inputs.get("mustRun", True):
            facts = self._running(engine, client, identifier, inputs, cancelled)
        known = {name: value for name, value in self.planned(inputs).items() if value is not UNKNOWN}
        return Record(identifier, container_outputs(facts, known, self.absent_outputs()))

    def _running(
        self, engine: Engine, client: APIClient, identifier: str, inputs: Mapping[str, Any], cancelled: threading.Event
    ) -> dict[str, Any]:
        """The engine's facts once the container runs; one that exited at once is removed again, as the vendor does."""
        deadline = time.monotonic() + inputs["containerReadRefreshTimeoutMilliseconds"] / 1000
        cancelled.wait(_POLL_SECONDS)  # a program that fails at once has had the time to do so
        while True:
            facts: dict[str, Any] = client.inspect_container(identifier)
            if facts["State"]["Running"]:
                return facts
            finished = datetime.fromisoformat(facts["State"]["FinishedAt"].partition(".")[0].rstrip("Z"))
            if finished.year > 1 or time.monotonic() > deadline or cancelled.is_set():
                self.delete(engine, identifier, inputs, cancelled)
                raise ProviderError(f"container exited immediately, with exit code {facts['State']['ExitCode']}")
            cancelled.wait(_POLL_SECONDS)

    def read(self, engine: Engine, identifier: str, outputs: Mapping[str, Any]) -> Record | None:
        """The container as the engine has it, found by its id (or, for an import, by its name)."""
        from docker.errors import NotFound

        try:
            facts = engine.client().inspect_container(identifier)
        except NotFound:
            return None
        return Record(facts["Id"], container_outputs(facts, outputs, self.absent_outputs()))

    def update(
        self,
        engine: Engine,
        identifier: str,
        outputs: Mapping[str, Any],
        inputs: Mapping[str, Any],
        changed: frozenset[str],
        cancelled: threading.Event,
    ) -> dict[str, Any]:
        """Change limits and the restart policy, start a container that should run; anything else is only recorded."""
        from docker.errors import APIError

        client = engine.client()
        try:
            if changed & _CHANGED_IN_PLACE:
                policy: Any = restart_policy(inputs)
                client.update_container(
                    identifier,
                    restart_policy=policy,
                    cpu_shares=inputs.get("cpuShares") or None,
                    cpuset_cpus=inputs.get("cpuSet") or None,
                    mem_limit=inputs.get("memory", 0) * MEBIBYTE or None,
                    mem_reservation=inputs.get("memoryReservation", 0) * MEBIBYTE or None,
                    memswap_limit=swap_bytes(inputs.get("memorySwap", 0)) or None,
                )
        except APIError as failure:
            raise ProviderError(f"Unable to update a container: {explain(failure)}") from failure
        planned = self.planned_update(outputs, inputs, changed)
        if changed & _CHANGED_IN_PLACE:
            # The engine has the last word on limits: memory without memorySwap always gets twice as much.
            facts = client.inspect_container(identifier)
            read = container_outputs(facts, planned, self.absent_outputs())
            planned |= {name: read[name] for name in ("memory", "memorySwap")}
        if "mustRun" in changed and inputs.get("mustRun"):
            _start(client, identifier)
            return container_outputs(client.inspect_container(identifier), planned, self.absent_outputs())
        return planned

    def delete(self, engine: Engine, identifier: str, outputs: Mapping[str, Any], cancelled: threading.Event) -> None:
        """Stop the container (without `destroyGraceSeconds` with no grace) and remove it with its anonymous volumes."""
        from docker.errors import APIError, NotFound

        client = engine.client()
        try:
            client.stop(identifier, timeout=outputs.get("destroyGraceSeconds") or 0)
            client.remove_container(identifier, v=outputs.get("removeVolumes") is not False, force=True)
        except NotFound:
            return
        except APIError as failure:
            if "is already in progress" not in explain(failure):
                raise ProviderError(f"Error deleting container {identifier}: {explain(failure)}") from failure


def _attach_networks(client: APIClient, identifier: str, inputs: Mapping[str, Any]) -> None:
    from docker.errors import APIError

    networks = inputs.get("networksAdvanced", [])
    if not networks:
        return
    try:
        client.disconnect_container_from_network(identifier, "bridge")
    except APIError as failure:
        if "is not connected to" not in explain(failure):
            raise ProviderError(f"Unable to disconnect the default network: {explain(failure)}") from failure
    for network in networks:
        try:
            client.connect_container_to_network(identifier, network["name"], **endpoint_configuration(network))
        except APIError as failure:
            raise ProviderError(f"Unable to connect to network '{network['name']}': {explain(failure)}") from failure


def _upload(client: APIClient, identifier: str, inputs: Mapping[str, Any]) -> None:
    from docker.errors import APIError

    uploads = inputs.get("uploads", [])
    if not uploads:
        return
    try:
        client.put_archive(identifier, "/", upload_archive(uploads))
    except APIError as failure:
        raise ProviderError(f"Unable to upload volume content: {explain(failure)}") from failure


def _start(client: APIClient, identifier: str) -> None:
    from docker.errors import APIError

    try:
        client.start(identifier)
    except APIError as failure:
        raise ProviderError(f"Unable to start container: {explain(failure)}") from failure


def _wait_until_healthy(client: APIClient, identifier: str, timeout_seconds: int, cancelled: threading.Event) -> None:
    deadline = time.monotonic() + timeout_seconds
    while time.monotonic() < deadline and not cancelled.is_set():
        health = client.inspect_container(identifier)["State"].get("Health")
        if health is None:
            raise ProviderError(
                "container failed to be in healthy state: it has no health check: set healthcheck, or leave out wait"
            )
        if health["Status"] == "healthy":
            return
        cancelled.wait(_POLL_SECONDS)
    cause = "the wait was cancelled" if cancelled.is_set() else f"it was not within {timeout_seconds} s"
    raise ProviderError(f"container failed to be in healthy state: {cause}")
