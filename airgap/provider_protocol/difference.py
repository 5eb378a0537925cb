"""Finds what differs between a resource's recorded outputs and a program's inputs, and what each difference means."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from airgap.provider_protocol.properties import Kind, Property
from airgap.provider_protocol.wire import UNKNOWN, Path, has_unknown


class Change(Enum):
    """What happens to the value at a path."""

    ADD = "add"
    DELETE = "delete"
    UPDATE = "update"


@dataclass(frozen=True)
class Difference:
    """One changed value. `replaces`: it cannot be changed in the existing resource."""

    path: Path
    change: Change
    replaces: bool


def differences(
    outputs: Mapping[str, Any], inputs: Mapping[str, Any], properties: Mapping[str, Property]
) -> list[Difference]:
    """All differences between the recorded `outputs` and the checked `inputs`, in the order of `properties`.

    Zero values ("", 0, false, empty lists and maps) and absence are the same, except that an explicit number or truth
    value for a property which the service would otherwise supply counts as said.
    """
    found: list[Difference] = []
    for name, rule in properties.items():
        found.extend(_top_level(outputs.get(name), inputs.get(name), rule, name))
    return found


def _top_level(old: Any, new: Any, rule: Property, name: str) -> Iterator[Difference]:
    if has_unknown(new):
        change = Change.ADD if is_zero(old) else Change.UPDATE
        yield Difference((name,), change, rule.replaces)
        return
    if rule.computed and (new is None or (is_zero(new) and not isinstance(new, bool | int))):
        return
    if canonical(old, rule) == canonical(new, rule):
        return
    yield from _inside(old, new, rule, (name,))


def _inside(old: Any, new: Any, rule: Property, path: Path) -> Iterator[Difference]:
    if rule.kind is Kind.OBJECTS:
        yield from _objects(old or [], new or [], rule, path)
    elif is_zero(old):
        yield Difference(path, Change.ADD, rule.replaces)
    elif is_zero(new) and not isinstance(new, bool | int):
        yield Difference(path, Change.DELETE, rule.replaces)
    elif rule.kind is Kind.LIST:
        yield from _list(old, new, rule, path)
    elif rule.kind is Kind.SET:
        yield from _set(old, new, rule, path)
    elif rule.kind is Kind.MAP:
        yield from _map(old, new, rule, path)
    elif rule.kind is Kind.OBJECT:
        yield from _fields(old, new, rule.fields, path)
    else:
        yield Difference(path, Change.UPDATE, rule.replaces)


def _list(old: list[str], new: list[str], rule: Property, path: Path) -> Iterator[Difference]:
    for index in range(max(len(old), len(new))):
        if index >= len(old):
            yield Difference((*path, index), Change.ADD, rule.replaces)
        elif index >= len(new):
            yield Difference((*path, index), Change.DELETE, rule.replaces)
        elif old[index] != new[index]:
            yield Difference((*path, index), Change.UPDATE, rule.replaces)


def _set(old: list[str], new: list[str], rule: Property, path: Path) -> Iterator[Difference]:
    removed = {index for index, item in enumerate(old) if item not in new}
    added = {index for index, item in enumerate(new) if item not in old}
    for index in sorted(removed | added):
        change = (
            Change.UPDATE if index in removed and index in added else Change.ADD if index in added else Change.DELETE
        )
        yield Difference((*path, index), change, rule.replaces)


def _map(old: Mapping[str, str], new: Mapping[str, str], rule: Property, path: Path) -> Iterator[Difference]:
    for key in sorted({*old, *new}):
        if key not in old:
            yield Difference((*path, key), Change.ADD, rule.replaces)
        elif key not in new:
            yield Difference((*path, key), Change.DELETE, rule.replaces)
        elif old[key] != new[key]:
            yield Difference((*path, key), Change.UPDATE, rule.replaces)


def _fields(
    old: Mapping[str, Any], new: Mapping[str, Any], fields: Mapping[str, Property], path: Path
) -> Iterator[Difference]:
    for name, rule in fields.items():
        if name in new or not rule.computed:
            old_value, new_value = old.get(name), new.get(name)
            if canonical(old_value, rule) != canonical(new_value, rule):
                yield from _inside(old_value, new_value, rule, (*path, name))


def _objects(old: list[Any], new: list[Any], rule: Property, path: Path) -> Iterator[Difference]:
    remaining = {_identity(item, rule): index for index, item in enumerate(old)}
    for index, item in enumerate(new):
        old_index = remaining.pop(_identity(item, rule), None)
        if old_index is None:
            yield Difference((*path, index), Change.ADD, rule.replaces)
        else:
            yield from _fields(old[old_index], item, rule.fields, (*path, index))
    for old_index in sorted(remaining.values()):
        yield Difference((*path, old_index), Change.DELETE, rule.replaces)


def _identity(item: Mapping[str, Any], rule: Property) -> str:
    names = rule.identity or rule.fields
    return json.dumps([canonical(item.get(name), rule.fields[name]) for name in names])


def is_zero(value: Any) -> bool:
    """Whether a value is absent or says nothing: None, "", 0, false, an empty list or map."""
    return value is not UNKNOWN and not value


def canonical(value: Any, rule: Property) -> Any:
    """A form in which two values are equal if they mean the same: no zero values, sets sorted, defaults filled in."""
    if value is None and rule.default is not None:
        value = rule.default
    if value is UNKNOWN:
        return value
    if is_zero(value):
        return None
    if rule.meaning:
        return rule.meaning(value)
    if rule.kind is Kind.SET:
        return sorted(set(value))
    if rule.kind is Kind.OBJECT:
        said = _canonical_object(value, rule.fields)
        return None if all(item is None for item in said.values()) else said
    if rule.kind is Kind.OBJECTS:
        return sorted(
            (_canonical_object(item, rule.fields) for item in value), key=lambda item: json.dumps(item, sort_keys=True)
        )
    return value


def _canonical_object(value: Mapping[str, Any], fields: Mapping[str, Property]) -> dict[str, Any]:
    return {name: canonical(value.get(name), rule) for name, rule in fields.items()}
