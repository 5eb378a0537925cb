"""Tags: a map in the program, lists of keys and values in most services."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

_LONGEST_VALUE = 256


def tag_refusal(value: str) -> str:
    """What is wrong with a tag's value."""
    return f"is longer than the {_LONGEST_VALUE} characters that a tag may have" if len(value) > _LONGEST_VALUE else ""


def tag_list(tags: Mapping[str, str] | None, key: str = "Key", value: str = "Value") -> list[dict[str, str]]:
    """Tags as services take them."""
    return [{key: name, value: content} for name, content in sorted((tags or {}).items())]


def tag_map(tags: Iterable[Mapping[str, Any]] | None, key: str = "Key", value: str = "Value") -> dict[str, str]:
    """Tags as outputs show them. Those that AWS itself puts are left out."""
    return {str(tag[key]): str(tag[value]) for tag in tags or [] if not str(tag[key]).startswith("aws:")}


def without_aws(tags: Mapping[str, str] | None) -> dict[str, str]:
    """A service's map of tags without those that AWS itself puts."""
    return {name: value for name, value in (tags or {}).items() if not name.startswith("aws:")}
