"""What every resource type of this provider offers to the server."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from airgap.docker_provider.difference import Difference, differences
from airgap.docker_provider.engine import Engine
from airgap.docker_provider.properties import Kind, Property, shape_output, text
from airgap.docker_provider.wire import UNKNOWN


@dataclass(frozen=True)
class Record:
    """A resource as it is: its id and its outputs."""

    identifier: str
    outputs: dict[str, Any]


class ResourceType(ABC):
    """One resource type. `inputs` are plain values, checked and without `__defaults`; outputs are plain values too."""

    type_name: ClassVar[str]
    properties: ClassVar[Mapping[str, Property]]
    output_only: ClassVar[Mapping[str, Any]]
    """Outputs that are no inputs, with what they show when the engine says nothing."""
    from_engine: ClassVar[frozenset[str]]
    """Those of `output_only` that a preview cannot know."""
    named_automatically: ClassVar[bool]
    """Whether a missing `name` is made up from the resource's logical name."""
    deletes_before_replacing: ClassVar[bool] = False

    @abstractmethod
    def create(self, engine: Engine, inputs: Mapping[str, Any], cancelled: threading.Event) -> Record:
        """Make the resource.

        Raises ProviderError: it was not made.
        Raises InitializationError: it was made but did not come up.
        """

    @abstractmethod
    def read(self, engine: Engine, identifier: str, outputs: Mapping[str, Any]) -> Record | None:
        """The resource as it is, or None if it is gone. `outputs` are the recorded ones (empty for an import)."""

    @abstractmethod
    def delete(self, engine: Engine, identifier: str, outputs: Mapping[str, Any]) -> None:
        """Remove the resource; one that is gone already is no error."""

    def update(
        self,
        engine: Engine,
        identifier: str,
        outputs: Mapping[str, Any],
        inputs: Mapping[str, Any],
        changed: frozenset[str],
    ) -> dict[str, Any]:
        """Change the resource; `changed` names the top-level properties that differ. Returns the new outputs."""
        return self.planned_update(outputs, inputs, changed)

    def difference(self, outputs: Mapping[str, Any], inputs: Mapping[str, Any]) -> list[Difference]:
        """What differs between the recorded outputs and new inputs."""
        return differences(outputs, inputs, self.properties)

    def deletes_first(self, old_inputs: Mapping[str, Any], inputs: Mapping[str, Any]) -> bool:
        """Whether a replacement must delete the old one first: two of the same explicit name cannot exist at once."""
        if self.deletes_before_replacing:
            return True
        if not self.named_automatically or "name" in inputs.get("__defaults", []):
            return False
        return inputs.get("name") is not UNKNOWN and old_inputs.get("name") == inputs.get("name")

    def planned(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """The outputs that a preview can foretell: the inputs, and UNKNOWN for what the engine will supply."""
        outputs: dict[str, Any] = {"id": UNKNOWN, **self.output_only, **dict.fromkeys(self.from_engine, UNKNOWN)}
        for name, rule in self.properties.items():
            if name in inputs:
                outputs[name] = shape_output(inputs[name], rule)
            else:
                outputs[name] = UNKNOWN if rule.computed else rule.absent
        return outputs

    def absent_outputs(self) -> dict[str, Any]:
        """All outputs as they are when neither the program nor the engine says anything."""
        return {**self.output_only, **{name: rule.absent for name, rule in self.properties.items()}}

    def planned_update(
        self, outputs: Mapping[str, Any], inputs: Mapping[str, Any], changed: frozenset[str]
    ) -> dict[str, Any]:
        """The recorded outputs with the changed properties taken from the inputs."""
        planned = dict(outputs)
        for name in changed & self.properties.keys():
            rule = self.properties[name]
            planned[name] = shape_output(inputs[name], rule) if name in inputs else rule.absent
        return planned


def labels_rule(**rules: Any) -> Property:
    """The property `labels`, a set of objects with `label` and `value`."""
    return Property(
        Kind.OBJECTS,
        replaces=True,
        fields={
            "label": text(required=True, replaces=True, absent=""),
            "value": text(required=True, replaces=True, absent=""),
        },
        identity=("label",),
        **rules,
    )


def labels_to_map(labels: list[Mapping[str, str]]) -> dict[str, str]:
    """The labels as the engine takes them."""
    return {entry["label"]: entry["value"] for entry in labels}


def labels_from_map(labels: Mapping[str, str] | None) -> list[dict[str, str]]:
    """The engine's labels as outputs show them, sorted by name."""
    return [{"label": name, "value": value} for name, value in sorted((labels or {}).items())]


def in_recorded_order(objects: list[dict[str, Any]], recorded: Any, identity: tuple[str, ...]) -> list[dict[str, Any]]:
    """Objects of a set in the order the outputs had them, so that reading again changes nothing; new ones last."""
    known = [tuple(item.get(name) for name in identity) for item in recorded or [] if isinstance(item, Mapping)]

    def position(item: dict[str, Any]) -> int:
        key = tuple(item.get(name) for name in identity)
        return known.index(key) if key in known else len(known)

    return sorted(objects, key=position)
