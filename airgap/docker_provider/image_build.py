"""`build` of docker:index/remoteImage:RemoteImage: an image made by the engine's own (classic) builder."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from airgap.docker_provider.engine import Engine, explain
from airgap.provider_protocol.errors import ProviderError
from airgap.provider_protocol.properties import Kind, Property, flag, text

BUILD = Property(
    Kind.OBJECT,
    replaces=True,
    fields={
        "buildArgs": Property(Kind.MAP, replaces=True),
        "context": text(required=True, replaces=True),
        "dockerfile": text(replaces=True, default="Dockerfile"),
        "forceRemove": flag(replaces=True),
        "label": Property(Kind.MAP, replaces=True),
        "labels": Property(Kind.MAP, replaces=True),
        "networkMode": text(replaces=True),
        "noCache": flag(replaces=True),
        "platform": text(replaces=True),
        "pullParent": flag(replaces=True),
        "remove": flag(replaces=True, default=True),
        "tags": Property(Kind.LIST, replaces=True),
        "target": text(replaces=True),
    },
)
"""What of the vendor's `build` is covered. To the vendor it is a set of one: a change of any part replaces it all."""
_LAST_LINES = 20
_TERMINAL_CODES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


def build_image(engine: Engine, name: str, build: Mapping[str, Any], cancelled: threading.Event) -> None:
    """Build the image from a folder of this machine, and give it its names.

    Raises ProviderError: the folder or its Dockerfile is not there, a step fails (with the last lines that the build
    said), or the operation was cancelled.
    """
    from docker.errors import APIError

    folder, dockerfile = Path(build["context"]).expanduser(), build.get("dockerfile") or "Dockerfile"
    if not (folder / dockerfile).is_file():
        raise ProviderError(f"unable to build image {name}: there is no {dockerfile} in {folder.absolute()}")
    client = engine.client()
    # A label that the resource's `label` and `labels` both have is that of `labels`.
    labels = {**(build.get("label") or {}), **(build.get("labels") or {})}
    said: list[str] = []
    try:
        for message in client.build(
            path=str(folder),
            dockerfile=dockerfile,
            tag=name,
            buildargs=build.get("buildArgs"),
            labels=labels or None,
            rm=bool(build.get("remove", True)),
            forcerm=bool(build.get("forceRemove")),
            nocache=bool(build.get("noCache")),
            pull=bool(build.get("pullParent")),
            target=build.get("target"),
            platform=build.get("platform"),
            network_mode=build.get("networkMode"),
            decode=True,
        ):
            if "error" in message:
                raise ProviderError(_not_built(name, message["error"], said))
            said += _TERMINAL_CODES.sub("", message.get("stream", "")).splitlines()
            if cancelled.is_set():
                raise ProviderError(f"unable to build image {name}: cancelled")
        for other in build.get("tags") or []:
            client.tag(name, *split_name(other))
    except APIError as failure:
        raise ProviderError(_not_built(name, explain(failure), said)) from failure


def split_name(name: str) -> tuple[str, str]:
    """Repository, and tag or digest, of an image's name."""
    if "@" in name:
        repository, _, digest = name.partition("@")
        return repository, digest
    head, _, tail = name.rpartition(":")
    return (head, tail) if head and "/" not in tail else (name, "latest")


def _not_built(name: str, cause: str, said: list[str]) -> str:
    lines = [line.strip() for line in said if line.strip()][-_LAST_LINES:]
    return "\n".join([f"unable to build image {name}: {' '.join(cause.split())}", *(f"  {line}" for line in lines)])
