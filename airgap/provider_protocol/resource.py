"""What every resource type of a provider offers to the server."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

from airgap.provider_protocol.difference import Difference, differences
from airgap.provider_protocol.errors import CheckError
from airgap.provider_protocol.properties import Property, shape_output
from airgap.provider_protocol.secrecy import output_secrets
from airgap.provider_protocol.wire import UNKNOWN, Path

Connection = TypeVar("Connection")


@dataclass(frozen=True)
class Record:
    """A resource as it is: its id and its outputs."""

    identifier: str
    outputs: dict[str, Any]


class ResourceType(ABC, Generic[Connection]):
    """One resource type. `inputs` are plain values, checked and without `__defaults`; outputs are plain values too."""

    type_name: ClassVar[str]
    properties: ClassVar[Mapping[str, Property]]
    output_only: ClassVar[Mapping[str, Any]]
    """Outputs that are no inputs, with what they show when nothing is known of them."""
    computed_outputs: ClassVar[frozenset[str]]
    """Those of `output_only` that a preview cannot know."""
    name_property: ClassVar[str] = ""
    """The property that is made up from the resource's logical name when it is missing; empty: none is."""
    longest_name: ClassVar[int] = 255
    """How many characters a made-up name may have."""
    deletes_before_replacing: ClassVar[bool] = False

    @abstractmethod
    def create(self, connection: Connection, inputs: Mapping[str, Any], cancelled: threading.Event) -> Record:
        """Make the resource.

        Raises ProviderError: it was not made.
        Raises InitializationError: it was made but did not come up.
        """

    @abstractmethod
    def read(self, connection: Connection, identifier: str, outputs: Mapping[str, Any]) -> Record | None:
        """The resource as it is, or None if it is gone. `outputs` are the recorded ones (empty for an import)."""

    @abstractmethod
    def delete(
        self, connection: Connection, identifier: str, outputs: Mapping[str, Any], cancelled: threading.Event
    ) -> None:
        """Remove the resource; one that is gone already is no error."""

    def update(
        self,
        connection: Connection,
        identifier: str,
        outputs: Mapping[str, Any],
        inputs: Mapping[str, Any],
        changed: frozenset[str],
        cancelled: threading.Event,
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
        name = self.name_property
        if not name or name in inputs.get("__defaults", []):
            return False
        return inputs.get(name) is not UNKNOWN and old_inputs.get(name) == inputs.get(name)

    def fit_name(self, name: str) -> str:
        """A made-up name in the form that this type's names must have."""
        return name

    def refusals(self, inputs: Mapping[str, Any]) -> Iterator[CheckError]:
        """What is wrong with inputs whose properties are each right on their own. Unknown values are not judged."""
        yield from ()

    def secret_outputs(self, paths: Iterable[Path]) -> frozenset[Path]:
        """The output paths to mark as secret, given those of the inputs."""
        return output_secrets(paths, self.properties)

    def planned(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """The outputs that a preview can foretell: the inputs, and UNKNOWN for what is supplied at creation."""
        outputs: dict[str, Any] = {"id": UNKNOWN, **self.output_only, **dict.fromkeys(self.computed_outputs, UNKNOWN)}
        for name, rule in self.properties.items():
            if name in inputs:
                outputs[name] = shape_output(inputs[name], rule)
            else:
                outputs[name] = UNKNOWN if rule.computed else rule.absent
        return outputs

    def absent_outputs(self) -> dict[str, Any]:
        """All outputs as they are when neither the program nor the service says anything."""
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


def in_recorded_order(objects: list[dict[str, Any]], recorded: Any, identity: tuple[str, ...]) -> list[dict[str, Any]]:
    """Objects of a set in the order the outputs had them, so that reading again changes nothing; new ones last."""
    known = [tuple(item.get(name) for name in identity) for item in recorded or [] if isinstance(item, Mapping)]

    def position(item: dict[str, Any]) -> int:
        key = tuple(item.get(name) for name in identity)
        return known.index(key) if key in known else len(known)

    return sorted(objects, key=position)
