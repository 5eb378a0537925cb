"""The resource type docker:index/volume:Volume."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any, ClassVar

from airgap.docker_provider.engine import Engine, explain, remove_when_free
from airgap.docker_provider.labels import labels_from_map, labels_rule, labels_to_map
from airgap.provider_protocol.errors import ProviderError
from airgap.provider_protocol.properties import Kind, Property, text
from airgap.provider_protocol.resource import Record, ResourceType, in_recorded_order


class Volume(ResourceType[Engine]):
    """A Docker volume. Every change replaces it, and with that its data is gone."""

    type_name = "docker:index/volume:Volume"
    name_property = "name"
    output_only: ClassVar[Mapping[str, Any]] = {"cluster": None, "mountpoint": ""}
    computed_outputs = frozenset({"mountpoint"})
    properties: ClassVar[Mapping[str, Property]] = {
        "driver": text(replaces=True, computed=True),
        "driverOpts": Property(Kind.MAP, replaces=True),
        "labels": labels_rule(absent=[]),
        "name": text(replaces=True, computed=True),
    }

    def create(self, engine: Engine, inputs: Mapping[str, Any], cancelled: threading.Event) -> Record:
        """Make the volume. An existing one of the same name is taken over silently, as the engine and the vendor do."""
        from docker.errors import APIError

        try:
            answer = engine.client().create_volume(
                name=inputs["name"],
                driver=inputs.get("driver"),
                driver_opts=inputs.get("driverOpts"),
                labels=labels_to_map(inputs.get("labels", [])),
            )
        except APIError as failure:
            raise ProviderError(f"Unable to create volume: {explain(failure)}") from failure
        record = self.read(engine, answer["Name"], inputs)
        if record is None:
            raise ProviderError(f"Unable to create volume: {inputs['name']} vanished right after it was made")
        return record

    def read(self, engine: Engine, identifier: str, outputs: Mapping[str, Any]) -> Record | None:
        """The volume as the engine has it."""
        from docker.errors import NotFound

        try:
            facts = engine.client().inspect_volume(identifier)
        except NotFound:
            return None
        read = {
            **self.absent_outputs(),
            "driver": facts["Driver"],
            "driverOpts": facts.get("Options") or None,
            "id": facts["Name"],
            "labels": in_recorded_order(labels_from_map(facts.get("Labels")), outputs.get("labels"), ("label",)),
            "mountpoint": facts["Mountpoint"],
            "name": facts["Name"],
        }
        return Record(facts["Name"], read)

    def delete(self, engine: Engine, identifier: str, outputs: Mapping[str, Any], cancelled: threading.Event) -> None:
        """Remove the volume and its data; while a container still uses it, try again for up to 30 s."""
        client = engine.client()
        remove_when_free(lambda: client.remove_volume(identifier, force=True), busy="volume is in use", what="volume")
