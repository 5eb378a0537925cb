"""Labels: a set of objects in the program, a map on the Docker engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airgap.provider_protocol.properties import Kind, Property, text


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
