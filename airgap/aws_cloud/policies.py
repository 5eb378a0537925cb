"""Evaluation of AWS policies: identity and resource policies, wildcards, variables and conditions.

Only what AWS documents; what cannot be evaluated is an error, never a permission.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any


class Decision(Enum):
    """What the policies say: an explicit refusal outweighs every permission."""

    DENY = "deny"
    ALLOW = "allow"
    SILENT = "silent"


@dataclass(frozen=True)
class Request:
    """One call: ``secretsmanager:GetSecretValue`` on an ARN by one of these principals.

    ``principals`` are the names under which policies of resources may speak of the caller; the account's own is one of
    them where the question is whether the account has a say. ``context`` holds the values of condition keys, whose
    case does not matter.
    """

    action: str
    resource: str
    principals: tuple[str, ...] = ()
    context: Mapping[str, str] = field(default_factory=dict)


def decide(documents: Iterable[Mapping[str, Any]], request: Request) -> Decision:
    """What these policies say together about the request.

    Raises ValueError for a condition operator that is not implemented.
    """
    decision = Decision.SILENT
    context = {key.lower(): value for key, value in request.context.items()}
    for document in documents:
        for statement in _list(document.get("Statement", [])):
            if not _concerns(statement, request, context):
                continue
            if statement["Effect"] == "Deny":
                return Decision.DENY
            decision = Decision.ALLOW
    return decision


def _concerns(statement: Mapping[str, Any], request: Request, context: Mapping[str, str]) -> bool:
    def resources(key: str) -> list[str]:
        return [_with_variables(pattern, context) for pattern in _list(statement[key])]

    if "Action" in statement:
        if not _matches_any(statement["Action"], request.action, ignore_case=True):
            return False
    elif _matches_any(statement["NotAction"], request.action, ignore_case=True):
        return False
    if "Resource" in statement and not _matches_any(resources("Resource"), request.resource):
        return False
    if "NotResource" in statement and _matches_any(resources("NotResource"), request.resource):
        return False
    if "Principal" in statement and not _is_principal(statement["Principal"], request):
        return False
    if "NotPrincipal" in statement and _is_principal(statement["NotPrincipal"], request):
        return False
    return all(
        _holds(operator, key, [_with_variables(str(each), context) for each in _list(expected)], context)
        for operator, keys in statement.get("Condition", {}).items()
        for key, expected in keys.items()
    )


def _is_principal(principal: Any, request: Request) -> bool:
    if principal == "*":
        return True
    named = [name for kind in ("AWS", "Service", "Federated") for name in _list(principal.get(kind, []))]
    return any(name == "*" or name in request.principals for name in named)


def _holds(operator: str, key: str, expected: list[str], context: Mapping[str, str]) -> bool:
    actual = context.get(key.lower())
    quantifier, _, rest = operator.rpartition(":")
    if rest == "Null":
        return any((actual is None) == (each.lower() == "true") for each in expected)
    if_exists = rest.endswith("IfExists")
    name = rest.removesuffix("IfExists")
    negated = name in _NEGATED
    test = _TESTS.get(_NEGATED.get(name, name))
    if test is None:
        raise ValueError(f"the condition operator {operator} cannot be evaluated here")
    if actual is None:
        return if_exists or negated or quantifier == "ForAllValues"
    return any(test(each, actual) for each in expected) != negated


def _number(compare: Callable[[float, float], bool]) -> Callable[[str, str], bool]:
    return lambda expected, actual: compare(float(actual), float(expected))


def _like(expected: str, actual: str) -> bool:
    return _matches(expected, actual)


_TESTS: dict[str, Callable[[str, str], bool]] = {
    "StringEquals": lambda expected, actual: expected == actual,
    "StringEqualsIgnoreCase": lambda expected, actual: expected.lower() == actual.lower(),
    "StringLike": _like,
    "ArnEquals": _like,
    "ArnLike": _like,
    "Bool": lambda expected, actual: expected.lower() == actual.lower(),
    "IpAddress": lambda expected, actual: ipaddress.ip_address(actual) in ipaddress.ip_network(expected, strict=False),
    "NumericEquals": _number(lambda actual, expected: actual == expected),
    "NumericLessThan": _number(lambda actual, expected: actual < expected),
    "NumericLessThanEquals": _number(lambda actual, expected: actual <= expected),
    "NumericGreaterThan": _number(lambda actual, expected: actual > expected),
    "NumericGreaterThanEquals": _number(lambda actual, expected: actual >= expected),
}
_NEGATED = {
    "StringNotEquals": "StringEquals",
    "StringNotEqualsIgnoreCase": "StringEqualsIgnoreCase",
    "StringNotLike": "StringLike",
    "ArnNotEquals": "ArnEquals",
    "ArnNotLike": "ArnLike",
    "NotIpAddress": "IpAddress",
    "NumericNotEquals": "NumericEquals",
}


def _with_variables(text: str, context: Mapping[str, str]) -> str:
    """Policy variables replaced; one without a value stays as it is and matches nothing."""
    return re.sub(r"\$\{([^},]+)\}", lambda found: context.get(found[1].lower(), found[0]), text)


def _matches_any(patterns: Any, text: str, *, ignore_case: bool = False) -> bool:
    return any(_matches(pattern, text, ignore_case=ignore_case) for pattern in _list(patterns))


def _matches(pattern: str, text: str, *, ignore_case: bool = False) -> bool:
    parts = [".*" if part == "*" else "." if part == "?" else re.escape(part) for part in re.split(r"([*?])", pattern)]
    return re.fullmatch("".join(parts), text, re.DOTALL | (re.IGNORECASE if ignore_case else 0)) is not None


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
