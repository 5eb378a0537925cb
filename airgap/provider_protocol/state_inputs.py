"""The inputs that correspond to a resource's real state, for a refresh or an import."""

from collections.abc import Mapping
from typing import Any

from airgap.provider_protocol.difference import differences, is_zero
from airgap.provider_protocol.properties import Kind, Property


def inputs_of_state(
    old_inputs: Mapping[str, Any], outputs: Mapping[str, Any], properties: Mapping[str, Property]
) -> dict[str, Any]:
    """The recorded inputs, with those that the real state contradicts taken from the outputs.

    Without recorded inputs (an import) every output that says something becomes an input.
    """
    if not old_inputs:
        found = {
            name: _as_input(outputs[name], rule) for name, rule in properties.items() if not is_zero(outputs.get(name))
        }
        return {**found, "__defaults": []}
    inputs: dict[str, Any] = {}
    for name, value in old_inputs.items():
        rule = properties.get(name)
        if rule is None or not differences(outputs, {name: value}, {name: rule}):
            inputs[name] = value
        elif outputs.get(name) is not None:
            inputs[name] = _as_input(outputs[name], rule)
    return inputs


def _as_input(value: Any, rule: Property) -> Any:
    if rule.kind is Kind.OBJECT and value is not None:
        return _object_as_input(value, rule)
    if rule.kind is Kind.OBJECTS:
        return [_object_as_input(item, rule) for item in value]
    return value


def _object_as_input(value: Mapping[str, Any], rule: Property) -> dict[str, Any]:
    said = {name: _as_input(value[name], inner) for name, inner in rule.fields.items() if not is_zero(value.get(name))}
    return {**said, "__defaults": []}
