"""The resource type docker:index/remoteImage:RemoteImage, and finding the image of a container."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from airgap.docker_provider.engine import Engine, explain
from airgap.docker_provider.image_build import BUILD, build_image, split_name
from airgap.provider_protocol.errors import CheckError, ProviderError
from airgap.provider_protocol.properties import Kind, Property, flag, text
from airgap.provider_protocol.resource import Record, ResourceType


def find_image(engine: Engine, name: str, platform: str | None = None) -> dict[str, Any]:
    """The image of that name or id, pulled if it is not there yet.

    Raises ProviderError: it is neither on the engine nor can it be pulled.
    """
    from docker.errors import APIError, ImageNotFound

    client = engine.client()
    try:
        found: dict[str, Any] = client.inspect_image(name)  # type: ignore[no-untyped-call]
        return found
    except ImageNotFound:
        pass
    repository, tag = split_name(name)
    try:
        for progress in client.pull(repository, tag=tag, platform=platform, stream=True, decode=True):
            if "error" in progress:
                raise ProviderError(_not_pulled(name, progress["error"]))
        pulled: dict[str, Any] = client.inspect_image(name)  # type: ignore[no-untyped-call]
        return pulled
    except APIError as failure:
        raise ProviderError(_not_pulled(name, explain(failure))) from failure


def _not_pulled(name: str, cause: str) -> str:
    advice = "build or import it on this engine, or make its registry reachable"
    return f"unable to pull image {name}: {cause}: {advice}"


class RemoteImage(ResourceType[Engine]):
    """An image on the engine: pulled if missing, or built. Its id is the image id followed by the name."""

    type_name = "docker:index/remoteImage:RemoteImage"
    output_only: ClassVar[Mapping[str, Any]] = {"imageId": "", "repoDigest": ""}
    computed_outputs = frozenset({"imageId", "repoDigest"})
    properties: ClassVar[Mapping[str, Property]] = {
        "build": BUILD,
        "forceRemove": flag(),
        "keepLocally": flag(),
        "name": text(required=True, replaces=True),
        "platform": text(replaces=True),
        "pullTriggers": Property(Kind.SET, replaces=True),
        "triggers": Property(Kind.MAP, replaces=True),
    }

    def refusals(self, inputs: Mapping[str, Any]) -> Iterator[CheckError]:
        """An image is built or pulled."""
        if inputs.get("build") and inputs.get("pullTriggers"):
            yield CheckError("pullTriggers", f"{self.type_name}: 'pullTriggers' conflicts with 'build': leave out one")

    def create(self, engine: Engine, inputs: Mapping[str, Any], cancelled: threading.Event) -> Record:
        """Build the image; or accept the local one of that name; or pull it."""
        if inputs.get("build"):
            build_image(engine, inputs["name"], inputs["build"], cancelled)
        try:
            find_image(engine, inputs["name"], inputs.get("platform"))
        except ProviderError as failure:
            raise ProviderError(f"Unable to read Docker image into resource: {failure}") from failure
        record = self.read(engine, "", self.planned(inputs))
        if record is None:
            raise ProviderError(
                f"Unable to read Docker image into resource: {inputs['name']} vanished right after it was found"
            )
        return record

    def read(self, engine: Engine, identifier: str, outputs: Mapping[str, Any]) -> Record | None:
        """The image that the recorded name stands for now."""
        from docker.errors import ImageNotFound

        name = outputs.get("name")
        if not name:
            raise ProviderError(
                f"{self.type_name} cannot be imported (neither can it with the vendor's plugin): declare it instead"
            )
        try:
            facts = engine.client().inspect_image(name)  # type: ignore[no-untyped-call]
        except ImageNotFound:
            return None
        identifier = facts["Id"] + name
        read = {
            **self.absent_outputs(),
            **{key: outputs[key] for key in self.properties if key in outputs},
            "id": identifier,
            "imageId": facts["Id"],
            "repoDigest": _repository_digest(name, facts.get("RepoDigests") or []),
        }
        return Record(identifier, read)

    def delete(self, engine: Engine, identifier: str, outputs: Mapping[str, Any], cancelled: threading.Event) -> None:
        """Remove the image from the engine unless `keepLocally` is set."""
        from docker.errors import APIError, ImageNotFound

        if outputs.get("keepLocally"):
            return
        try:
            engine.client().remove_image(outputs["name"], force=bool(outputs.get("forceRemove")))
        except ImageNotFound:
            return
        except APIError as failure:
            raise ProviderError(
                f"Unable to remove Docker image: {explain(failure)}: set keepLocally to leave it on the engine"
            ) from failure


def _repository_digest(name: str, digests: list[str]) -> str:
    repository = split_name(name)[0]
    return next((digest for digest in digests if digest.partition("@")[0] == repository), "")
