"""AWS resources of a Pulumi program as a Terraform plan (JSON), the form in which scanners know resources of AWS.

The vendor's Pulumi provider is made from Terraform's, so that names and properties translate by rule.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.unit.resource_graph import Registered, Secret

Made = Mapping[tuple[str, str], Mapping[str, Any]]
"""(type, name) of a resource -> its outputs, with the id among them."""

_MAPS = frozenset({"tags", "dimensions"})
"""Objects with keys of the user's, which are no blocks."""
_IDENTIFIERS = ("id", "arn")
_WITHOUT_MODULE = "ec2"
"""Terraform has this service's resources without its name: aws_vpc."""


def terraform_plan(resources: Iterable[Registered], made: Made) -> dict[str, Any]:
    """The plan that creates ``resources``; those of other providers than AWS are left out.

    What another resource's creation decides (an id, an ARN) is unknown in a plan: there is a reference instead.
    """
    of_aws = [resource for resource in resources if resource.type.startswith("aws:")]
    planned, configured, changes = [], [], []
    for resource in of_aws:
        kind, name = terraform_type(resource.type), _name(resource.name)
        identity = {"address": f"{kind}.{name}", "mode": "managed", "type": kind, "name": name}
        part = _block(resource.inputs, _decided_by_others(resource, made))
        planned.append({**identity, "provider_name": "registry.terraform.io/hashicorp/aws", "values": part.known})
        configured.append({**identity, "provider_config_key": "aws", "expressions": part.expression})
        changes.append({**identity, "change": {"actions": ["create"], "before": None, "after": part.known}})
    return {
        "format_version": "1.2",
        "terraform_version": "1.9.0",
        "planned_values": {"root_module": {"resources": planned}},
        "resource_changes": changes,
        "configuration": {"root_module": {"resources": configured}},
    }


def terraform_type(token: str) -> str:
    """``aws:s3/bucketPolicy:BucketPolicy`` is called aws_s3_bucket_policy."""
    _, module, name = token.split(":")
    service = module.partition("/")[0]
    return "_".join(["aws", *([] if service == _WITHOUT_MODULE else [service]), _snake_case(name)])


@dataclass(frozen=True)
class _Part:
    """A part of a resource as a plan has it: what is known of it, and the expression with what is not."""

    known: Any
    expression: Any = None


def _block(fields: Mapping[str, Any], decided: Callable[[str], Mapping[str, str]]) -> _Part:
    """A block with its attributes and inner blocks. ``decided``: what other resources decide of a field."""
    parts = {_attribute(key, value): _part(key, value, decided(key)) for key, value in fields.items()}
    return _Part(
        {attribute: part.known for attribute, part in parts.items() if part.known is not None},
        {attribute: part.expression for attribute, part in parts.items() if part.expression},
    )


def _part(key: str, value: Any, decided: Mapping[str, str]) -> _Part:
    match value:
        case Secret():
            return _Part("secret")
        case str() if value in decided:
            resource = decided[value].rpartition(".")[0]
            return _Part(None, {"references": [decided[value], resource]})
        case dict() if key not in _MAPS:  # Pulumi's form of a block that there is at most one of
            return _blocks([value], decided)
        case list() if any(isinstance(each, dict) for each in value):
            return _blocks(value, decided)
        case list():
            parts = [_part(key, each, decided) for each in value]
            references = [path for part in parts if part.expression for path in part.expression["references"]]
            return _Part([part.known for part in parts], {"references": references} if references else None)
        case dict():
            return _Part({name: _part(name, each, decided).known for name, each in value.items()})
        case float() if value.is_integer():
            return _Part(int(value))
        case _:
            return _Part(value)


def _blocks(values: Sequence[Mapping[str, Any]], decided: Mapping[str, str]) -> _Part:
    blocks = [_block(each, lambda _key: decided) for each in values]
    return _Part([block.known for block in blocks], [block.expression for block in blocks])


def _decided_by_others(resource: Registered, made: Made) -> Callable[[str], Mapping[str, str]]:
    """What other resources decide of a property: text -> the path that it is referred to by."""

    def decided(key: str) -> Mapping[str, str]:
        dependencies = resource.request.propertyDependencies
        return dict(_outputs(dependencies[key].urns if key in dependencies else (), made))

    return decided


def _outputs(urns: Iterable[str], made: Made) -> Iterator[tuple[str, str]]:
    for urn in urns:
        qualified, _, name = urn.rpartition("::")
        token = qualified.rpartition("::")[2].rpartition("$")[2]
        outputs = made.get((token, name), {}) if token.startswith("aws:") else {}
        # Of outputs with the same text, the id or the ARN is meant: the last one counts.
        for output in sorted(outputs, key=lambda output: output in _IDENTIFIERS):
            if isinstance(outputs[output], str):
                yield outputs[output], f"{terraform_type(token)}.{_name(name)}.{_snake_case(output)}"


def _attribute(key: str, value: Any) -> str:
    """Blocks that there can be many of have a name in the singular: ``rules`` is called rule."""
    name = _snake_case(key)
    are_blocks = isinstance(value, list) and any(isinstance(each, dict) for each in value)
    return name.removesuffix("s") if are_blocks and not name.endswith("ss") else name


def _snake_case(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def _name(name: str) -> str:
    return re.sub(r"[^\w-]", "_", name)
