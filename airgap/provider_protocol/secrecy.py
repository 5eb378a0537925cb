"""Which outputs are secret, given which inputs are, and which inputs still are after a refresh."""

from collections.abc import Iterable, Mapping
from typing import Any

from airgap.provider_protocol.properties import Kind, Property
from airgap.provider_protocol.wire import Path


def output_secrets(paths: Iterable[Path], properties: Mapping[str, Property]) -> frozenset[Path]:
    """The output paths to mark as secret.

    Outputs may list a set in another order than the inputs, so a secret inside one makes the whole property secret;
    only a property whose entries are kept in place has secrets entry by entry.
    """
    marked = set()
    for path in paths:
        name = str(path[0])
        rule = properties.get(name)
        whole = rule is not None and rule.kind in (Kind.SET, Kind.OBJECTS) and not rule.kept_in_place
        marked.add((name,) if whole else path)
    return _outermost(marked)


def input_secrets(paths: Iterable[Path], old_inputs: Mapping[str, Any], inputs: Mapping[str, Any]) -> frozenset[Path]:
    """The input paths to mark as secret after a refresh: where the real state changed a value, all of that property."""
    return _outermost(path if inputs.get(str(path[0])) is old_inputs.get(str(path[0])) else path[:1] for path in paths)


def _outermost(paths: Iterable[Path]) -> frozenset[Path]:
    """The paths without those that lie inside another: a secret inside a secret would be marked twice."""
    found = frozenset(paths)
    return frozenset(path for path in found if not any(path[:length] in found for length in range(1, len(path))))
