"""What the resource types of AWS have in common: regions, tags, reading again after each change, and waiting."""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from airgap.aws_provider.connection import Aws
from airgap.aws_provider.failures import describe_failure, is_gone
from airgap.aws_provider.tags import tag_refusal
from airgap.provider_protocol.difference import Change, Difference
from airgap.provider_protocol.errors import InitializationError, ProviderError
from airgap.provider_protocol.properties import Kind, Property, text
from airgap.provider_protocol.resource import Record, ResourceType
from airgap.provider_protocol.wire import UNKNOWN, Path

_UNFINISHED = "__unfinished"
"""In the outputs of a resource that was made but not set up to the end: it is to be replaced."""

REGION = text(replaces=True, computed=True)
TAGS = Property(Kind.MAP, refusal=tag_refusal)


class AwsResource(ResourceType[Aws]):
    """One resource type. Where it has tags, `tags` include the provider's default tags and `tagsAll` are the same."""

    service: ClassVar[str]
    """The name of its service in boto3."""
    output_only: ClassVar[Mapping[str, Any]] = {}

    @abstractmethod
    def make(self, aws: Aws, inputs: Mapping[str, Any], cancelled: threading.Event) -> str:
        """Make the resource and return its id."""

    def set_up(self, aws: Aws, identifier: str, inputs: Mapping[str, Any], cancelled: threading.Event) -> None:
        """Do what can only be done once the resource is there: wait for it, set attributes."""

    @abstractmethod
    def facts(self, aws: Aws, identifier: str, recorded: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """The outputs that the service knows, or None if the resource is gone; "not found" errors mean that, too."""

    def change(
        self,
        aws: Aws,
        identifier: str,
        outputs: Mapping[str, Any],
        inputs: Mapping[str, Any],
        changed: frozenset[str],
        cancelled: threading.Event,
    ) -> None:
        """Change the resource in place; tags are seen to already."""

    def retag(
        self, aws: Aws, identifier: str, outputs: Mapping[str, Any], put: Mapping[str, str], remove: list[str]
    ) -> None:
        """Put tags on the resource and take others off."""
        raise NotImplementedError(f"{self.type_name} has tags but no way to change them")

    @abstractmethod
    def remove(self, aws: Aws, identifier: str, outputs: Mapping[str, Any], cancelled: threading.Event) -> None:
        """Remove the resource; "not found" errors mean that it is gone already."""

    @property
    def computed_outputs(self) -> frozenset[str]:  # type: ignore[override]  # the same thing, made from output_only
        """All outputs that are no inputs, but `tagsAll`."""
        return frozenset(self.output_only) - {"tagsAll"}

    def client(self, aws: Aws, values: Mapping[str, Any]) -> Any:
        """The service's client in the region of a resource with these inputs or outputs."""
        return aws.client(self.service, str(values.get("region") or ""))

    def create(self, connection: Aws, inputs: Mapping[str, Any], cancelled: threading.Event) -> Record:
        """Make the resource, set it up, read it."""
        identifier = self.make(connection, inputs, cancelled)
        known = {name: value for name, value in self.planned(inputs).items() if value is not UNKNOWN}
        try:
            self.set_up(connection, identifier, inputs, cancelled)
            record = self.read(connection, identifier, known)
            if record is None:
                raise ProviderError(f"{self.type_name}: {identifier} vanished right after it was made")
        except Exception as failure:
            # Whatever went wrong, the resource is there, and Pulumi must know of it.
            outputs = {**known, "id": identifier, _UNFINISHED: True}
            raise InitializationError(identifier, outputs, describe_failure(failure)) from failure
        return record

    def read(self, connection: Aws, identifier: str, outputs: Mapping[str, Any]) -> Record | None:
        """The resource as it is. What only the program knows (`forceDestroy` and the like) is taken from the record."""
        recorded = {**self.absent_outputs(), **outputs}
        if "region" in self.properties and not recorded.get("region"):
            recorded["region"] = connection.region
        try:
            found = self.facts(connection, identifier, recorded)
        except Exception as failure:
            if not is_gone(failure):
                raise
            found = None
        if found is None:
            return None
        return Record(identifier, self._with_all_tags({**recorded, **found, "id": identifier}))

    def update(
        self,
        connection: Aws,
        identifier: str,
        outputs: Mapping[str, Any],
        inputs: Mapping[str, Any],
        changed: frozenset[str],
        cancelled: threading.Event,
    ) -> dict[str, Any]:
        """Change the tags, then the rest, and read the resource."""
        if "tags" in changed:
            old, new = outputs.get("tags") or {}, inputs.get("tags") or {}
            put = {key: value for key, value in new.items() if old.get(key) != value}
            self.retag(connection, identifier, outputs, put, sorted(old.keys() - new.keys()))
        self.change(connection, identifier, outputs, inputs, changed - {"tags"}, cancelled)
        record = self.read(connection, identifier, self.planned_update(outputs, inputs, changed))
        if record is None:
            raise ProviderError(f"{self.type_name}: {identifier} is gone: run pulumi refresh")
        return record.outputs

    def delete(self, connection: Aws, identifier: str, outputs: Mapping[str, Any], cancelled: threading.Event) -> None:
        """Remove the resource; one that is gone already is no error."""
        try:
            self.remove(connection, identifier, outputs, cancelled)
        except Exception as failure:
            if not is_gone(failure):
                raise

    def difference(self, outputs: Mapping[str, Any], inputs: Mapping[str, Any]) -> list[Difference]:
        """What differs. A resource that was not set up to the end is replaced in any case."""
        found = super().difference(outputs, inputs)
        if outputs.get(_UNFINISHED):
            return [Difference((next(iter(self.properties)),), Change.UPDATE, replaces=True), *found]
        return found

    def planned(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """The outputs that a preview can foretell."""
        return self._with_all_tags(super().planned(inputs))

    def planned_update(
        self, outputs: Mapping[str, Any], inputs: Mapping[str, Any], changed: frozenset[str]
    ) -> dict[str, Any]:
        """The recorded outputs with the changed properties taken from the inputs."""
        return self._with_all_tags(super().planned_update(outputs, inputs, changed))

    def secret_outputs(self, paths: Iterable[Path]) -> frozenset[Path]:
        """The output paths to mark as secret: `tagsAll` repeat the tags."""
        marked = super().secret_outputs(paths)
        return marked | {("tagsAll", *path[1:]) for path in marked if path[0] == "tags"}

    def _with_all_tags(self, outputs: dict[str, Any]) -> dict[str, Any]:
        if "tags" in self.properties:
            outputs["tagsAll"] = outputs.get("tags") or {}
        return outputs


def capital(name: str) -> str:
    """A property's name as most of AWS's services write it: `CidrBlock` for `cidrBlock`."""
    return name[:1].upper() + name[1:]


def request(inputs: Mapping[str, Any], *names: str, **others: str) -> dict[str, Any]:
    """The arguments of a call from those properties that are given. `others`: property = the argument's name."""
    wanted = {**{name: capital(name) for name in names}, **others}
    return {argument: inputs[name] for name, argument in wanted.items() if inputs.get(name) is not None}


def answer(found: Mapping[str, Any], *names: str, **others: str) -> dict[str, Any]:
    """Outputs from what a service answered. `others`: property = the name in the answer. What is missing is None."""
    wanted = {**{name: capital(name) for name in names}, **others}
    return {name: found.get(key) for name, key in wanted.items()}


def only(found: list[Any]) -> Any:
    """The one entry of a list, or None if it is empty."""
    return found[0] if found else None
