"""What a host answers to a request, as JSON: the result, or the error that the operation ended with."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from ..formation.errors import FormationError, FormationRefused, FormationTimeout, HandOverFailed, NodeUnreachable

_PLAIN: tuple[type[FormationError], ...] = (HandOverFailed, NodeUnreachable)


def of_result(result: Any) -> dict[str, Any]:
    """The answer of an operation that was carried out; ``result`` is JSON-able."""
    return {"result": result}


def of_error(error: FormationError) -> dict[str, Any]:
    """The answer of one that failed."""
    details: dict[str, Any] = {"kind": type(error).__name__, "message": str(error)}
    if isinstance(error, FormationRefused):
        details["reasons"] = list(error.reasons)
    if isinstance(error, FormationTimeout):
        details |= {"seconds": error.seconds, "waiting_for": list(error.waiting_for)}
    return {"error": details}


def cleaner(secrets: Collection[str]) -> Callable[[str], str]:
    """Takes secrets out of a text: messages hold none, but servers answer what they like."""

    def clean(text: str) -> str:
        for secret in secrets:
            text = text.replace(secret, "(secret)") if secret else text
        return text

    return clean


def result_of(answer: Mapping[str, Any]) -> Any:
    """The result; raises the error, as the operation itself would have here."""
    error = answer.get("error")
    if error is None:
        return answer["result"]
    if error["kind"] == FormationRefused.__name__:
        raise FormationRefused(error["reasons"])
    if error["kind"] == FormationTimeout.__name__:
        raise FormationTimeout(error["seconds"], error["waiting_for"])
    kind = next((each for each in _PLAIN if each.__name__ == error["kind"]), FormationError)
    raise kind(error["message"])
