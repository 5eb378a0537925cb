"""What a property is: its kind, its default, what a change of it means; and checking inputs against that."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

from airgap.provider_protocol.errors import CheckError
from airgap.provider_protocol.wire import UNKNOWN, Path, render_path


class Kind(Enum):
    """The shape of a property's value. The order means nothing in SET and OBJECTS."""

    STRING = "a string"
    INTEGER = "a whole number"
    NUMBER = "a number"
    BOOLEAN = "true or false"
    LIST = "a list of strings"
    SET = "a list of strings (order does not matter)"
    MAP = "a map of strings"
    OBJECT = "an object"
    OBJECTS = "a list of objects (order does not matter)"


@dataclass(frozen=True)
class Property:
    """One input property.

    `replaces`: a change needs a new resource; otherwise it is an update.
    `computed`: the service supplies a value when none is given, so taking the property out of a program is no
    difference.
    `default`: filled into the inputs when absent and listed in `__defaults`, as the vendor does with every default that
    is not zero.
    `absent`: what the outputs show when neither the program nor the service says anything.
    `identity`: names of the fields by which an object of a set is found again (with one field changed it is still the
    same object); without any, all fields are.
    `kept_in_place`: the outputs list the objects in the very order of the inputs.
    `maximum`, `minimum`: the bounds of a number, both included.
    `choices`: the only values there are.
    `refusal`: says what is wrong with a value, or nothing; it must not quote what may be secret.
    `meaning`: turns values that mean the same into the same (JSON, for example, whatever its spaces).
    """

    kind: Kind
    replaces: bool = False
    computed: bool = False
    required: bool = False
    default: str | int | bool | None = None
    absent: Any = None
    fields: Mapping[str, "Property"] = field(default_factory=dict)
    identity: tuple[str, ...] = ()
    pattern: str = ""
    minimum: int | None = None
    maximum: int | None = None
    choices: frozenset[str] = frozenset()
    kept_in_place: bool = False
    refusal: Callable[[Any], str] | None = None
    meaning: Callable[[Any], Any] | None = None


def text(**rules: Any) -> Property:
    """A string property."""
    return Property(Kind.STRING, **rules)


def number(**rules: Any) -> Property:
    """A property that is a whole number."""
    return Property(Kind.INTEGER, **rules)


def fraction(**rules: Any) -> Property:
    """A property that is a number, whole or not."""
    return Property(Kind.NUMBER, **rules)


def flag(**rules: Any) -> Property:
    """A property that is true or false."""
    return Property(Kind.BOOLEAN, **rules)


def check_inputs(inputs: Mapping[str, Any], properties: Mapping[str, Property], resource_type: str) -> dict[str, Any]:
    """The inputs with defaults filled in and `__defaults` listing them, at every level of objects.

    Raises CheckError: a property is unknown, missing, or has a value of the wrong kind. No value is ever quoted.
    """
    return _check_object(inputs, properties, resource_type, ())


def _check_object(
    values: Mapping[str, Any], properties: Mapping[str, Property], resource_type: str, path: Path
) -> dict[str, Any]:
    checked: dict[str, Any] = {}
    for name, value in values.items():
        if name == "__defaults" or value is None:
            continue
        if name not in properties:
            raise CheckError(
                render_path((*path, name)),
                f"{resource_type}: the property '{render_path((*path, name))}' is not covered by this stand-in for "
                "the vendor's plugin; leave it out or install the vendor's plugin",
            )
        checked[name] = _check_value(value, properties[name], resource_type, (*path, name))
    defaulted = []
    for name, rule in properties.items():
        if name in checked:
            continue
        if rule.required:
            raise CheckError(
                render_path((*path, name)),
                f"{resource_type}: the property '{render_path((*path, name))}' is missing: set it",
            )
        if rule.default is not None:
            checked[name] = rule.default
            defaulted.append(name)
    checked["__defaults"] = sorted(defaulted)
    return checked


def _check_value(value: Any, rule: Property, resource_type: str, path: Path) -> Any:
    if value is UNKNOWN:
        return value
    match rule.kind:
        case Kind.STRING:
            return _check_scalar(_as_text(value), rule, resource_type, path)
        case Kind.INTEGER | Kind.NUMBER | Kind.BOOLEAN:
            return _check_scalar(value, rule, resource_type, path)
        case Kind.LIST | Kind.SET:
            items = _require(value, list, rule, resource_type, path)
            return [_check_text(item, rule, resource_type, (*path, index)) for index, item in enumerate(items)]
        case Kind.MAP:
            entries = _require(value, dict, rule, resource_type, path)
            return {
                key: _check_text(item, rule, resource_type, (*path, key))
                for key, item in entries.items()
                if key != "__defaults"
            }
        case Kind.OBJECT:
            return _check_object(_require(value, dict, rule, resource_type, path), rule.fields, resource_type, path)
        case Kind.OBJECTS:
            checked: list[Any] = []
            for index, item in enumerate(_require(value, list, rule, resource_type, path)):
                if item is UNKNOWN:
                    checked.append(item)
                    continue
                entry = _require(item, dict, rule, resource_type, (*path, index))
                checked.append(_check_object(entry, rule.fields, resource_type, (*path, index)))
            return checked


def _check_text(value: Any, rule: Property, resource_type: str, path: Path) -> Any:
    """Check one string of a list or map: what the rule says of values holds for each of them."""
    each = replace(rule, kind=Kind.STRING)
    return value if value is UNKNOWN else _check_scalar(_as_text(value), each, resource_type, path)


def _as_text(value: Any) -> Any:
    """Numbers and truth values given where a string is meant become that string, as with the vendor."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int | float) else value


def _check_scalar(value: Any, rule: Property, resource_type: str, path: Path) -> Any:
    right_types: dict[Kind, tuple[type[Any], ...]] = {
        Kind.STRING: (str,),
        Kind.INTEGER: (int,),
        Kind.NUMBER: (int, float),
        Kind.BOOLEAN: (bool,),
    }
    if not isinstance(value, right_types[rule.kind]) or (isinstance(value, bool) and rule.kind is not Kind.BOOLEAN):
        raise _wrong_kind(rule, resource_type, path)
    if reason := _wrong_value(value, rule):
        name = render_path(path)
        raise CheckError(name, f"{resource_type}: the property '{name}' {reason}")
    return value


def _wrong_value(value: Any, rule: Property) -> str:
    if rule.pattern and not re.fullmatch(rule.pattern, value):
        return f"does not match {rule.pattern}"
    if rule.minimum is not None and value < rule.minimum:
        return f"must be at least {rule.minimum}"
    if rule.maximum is not None and value > rule.maximum:
        return f"must be at most {rule.maximum}"
    if rule.choices and value not in rule.choices:
        return f"must be one of: {', '.join(sorted(rule.choices))}"
    return rule.refusal(value) if rule.refusal else ""


def _require(value: Any, right_type: type, rule: Property, resource_type: str, path: Path) -> Any:
    if not isinstance(value, right_type):
        raise _wrong_kind(rule, resource_type, path)
    return value


def _wrong_kind(rule: Property, resource_type: str, path: Path) -> CheckError:
    name = render_path(path)
    return CheckError(name, f"{resource_type}: the property '{name}' must be {rule.kind.value}")


def without_defaults_lists(value: Any) -> Any:
    """The value without the `__defaults` entries, which are bookkeeping of the inputs and never in outputs."""
    if isinstance(value, Mapping):
        return {name: without_defaults_lists(item) for name, item in value.items() if name != "__defaults"}
    if isinstance(value, list):
        return [without_defaults_lists(item) for item in value]
    return value


def shape_output(value: Any, rule: Property) -> Any:
    """A value as the outputs show it: objects have all their fields, sets of strings are sorted."""
    if value is UNKNOWN or value is None:
        return value
    if rule.kind is Kind.SET and UNKNOWN not in value:
        return sorted(value)
    if rule.kind is Kind.OBJECT:
        return _shape_object(value, rule.fields)
    if rule.kind is Kind.OBJECTS:
        return [_shape_object(item, rule.fields) for item in value]
    return value


def _shape_object(value: Any, fields: Mapping[str, Property]) -> Any:
    if value is UNKNOWN:
        return value
    return {
        name: shape_output(value[name], rule) if name in value else rule.absent for name, rule in sorted(fields.items())
    }
