"""Settings that are kept by CONFIG SET: compared with what CONFIG GET answers, written differently, and set."""

from __future__ import annotations

import re
from collections.abc import Mapping

from .connection import Connections, as_mapping
from .errors import FormationError
from .members import Member

_UNITS = {
    "": 1,
    "b": 1,
    "k": 1000,
    "kb": 1024,
    "m": 1000**2,
    "mb": 1024**2,
    "g": 1000**3,
    "gb": 1024**3,
}
_NUMBER = re.compile(r"(-?\d+)([a-z]*)")
# `A` stands for these classes of events (redis.io, "Redis keyspace notifications").
_ALL_EVENTS = "g$lshzxetd"


def equal(directive: str, wanted: str, found: str) -> bool:
    """Whether setting `wanted` on a node that answers `found` would change nothing."""
    mine, theirs = _canonical(directive, wanted), _canonical(directive, found)
    if isinstance(mine, frozenset) and isinstance(theirs, frozenset) and directive == "client-output-buffer-limit":
        return mine <= theirs  # classes that are not named keep what they have
    return mine == theirs


def differing(wanted: Mapping[str, str], found: Mapping[str, str]) -> dict[str, str]:
    """The directives to be changed -> the wanted value. A directive that `found` lacks counts as differing."""
    return {key: value for key, value in wanted.items() if key not in found or not equal(key, value, found[key])}


def change_live_settings(connections: Connections, member: Member, wanted: Mapping[str, str]) -> None:
    """CONFIG SET in one go, read back, and kept by CONFIG REWRITE. Raises FormationError if a value did not take."""
    connections.ask(member, "CONFIG", "SET", *(word for item in wanted.items() for word in item))
    wrong = differing(wanted, as_mapping(connections.ask(member, "CONFIG GET", *wanted)))
    if wrong:
        raise FormationError(f"{member.name}: {', '.join(wrong)} did not take the value that was set")
    connections.ask(member, "CONFIG", "REWRITE")


def shown(directive: str, value: str) -> str:
    """A value as it may be printed: a secret is not."""
    secret = any(part in directive.lower() for part in ("pass", "auth", "secret"))
    return "(secret)" if secret else (value or '""')


def _canonical(directive: str, value: str) -> object:
    directive = directive.lower()
    value = _unquoted(value)
    if directive == "notify-keyspace-events":
        return frozenset("".join(_ALL_EVENTS if each == "A" else each for each in value))
    words = [_word(word) for word in value.split()]
    if directive == "client-output-buffer-limit":
        # Classes come in any order, and "replica" is shown by its older name.
        groups = [words[start : start + 4] for start in range(0, len(words), 4)]
        return frozenset(tuple("slave" if word == "replica" else word for word in group) for group in groups)
    if directive == "save":
        return tuple(sorted(zip(words[::2], words[1::2], strict=False))) if len(words) % 2 == 0 else tuple(words)
    return tuple(words)


def _unquoted(value: str) -> str:
    value = value.strip()
    if len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'":
        return value[1:-1]
    return value


def _word(word: str) -> str:
    lower = word.lower()
    match = _NUMBER.fullmatch(lower)
    if match and match[2] in _UNITS:
        return str(int(match[1]) * _UNITS[match[2]])
    return lower
