"""Keeps applications out of a deployment while its data are put in place, also across restarts (ACL SAVE).

The user named :data:`MARK` stands for it. It is off and has no password; its key patterns name the users that are let
in again. ACL users are not replicated, so that every node has its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import redis

from .connection import Connections, in_parallel, reason, without_errors
from .errors import FormationError
from .members import Access, Member

MARK = "restoring"
_OWN_USERS = frozenset({"replication", "sentinel", "monitor", "backup", "admin", "host", MARK})
"""Who is at work on the deployment itself. All others are applications."""


def closed(definitions: Mapping[str, str]) -> dict[str, str]:
    """The users of a deployment that begins closed; ``definitions`` as in :mod:`access_control`."""
    users = [user for user, definition in definitions.items() if "off" not in definition.split()]
    return kept_closed(definitions, _applications(users))


def kept_closed(definitions: Mapping[str, str], users: Iterable[str]) -> dict[str, str]:
    """The users of a node that is closed, of which ``users`` are let in again."""
    waiting = sorted(users)
    off = {user: f"{definition} off" if user in waiting else definition for user, definition in definitions.items()}
    return {**off, MARK: _mark(waiting)}


def waiting_users(acl_list: Iterable[str]) -> list[str] | None:
    """Who is let in again, by a node's answer to ACL LIST; None when it is not closed."""
    for line in acl_list:
        words = line.split()
        if words[:2] == ["user", MARK]:
            return sorted(word[1:] for word in words[2:] if word.startswith("~"))
    return None


def is_closed(nodes: Sequence[Member], access: Access) -> bool:
    """Whether any of the nodes is. Raises FormationError naming one that does not answer."""
    with Connections(access) as connections:
        return any(waiting_users(acl_list(connections, node)) is not None for node in nodes)


def close(nodes: Sequence[Member], access: Access) -> None:
    """Log applications out of every node, and let none in. May be repeated. Raises FormationError."""
    with Connections(access) as connections:

        def work(node: Member) -> None:
            lines = acl_list(connections, node)
            on = [words[1] for line in lines if "on" in (words := line.split())[2:3]]
            users = sorted({*_applications(on), *(waiting_users(lines) or ())})
            commands: list[tuple[str | int, ...]] = [
                # The mark first: whoever is off is known to be let in again.
                ("ACL", "SETUSER", MARK, *_mark(users).split()),
                *(("ACL", "SETUSER", user, "off") for user in users),
                ("ACL", "SAVE"),
                *(("CLIENT", "KILL", "USER", user) for user in users),
            ]
            _carry_out(connections, node, commands)

        in_parallel(nodes, work)


def open_again(nodes: Sequence[Member], access: Access) -> None:
    """Let in who was before, on every node. May be repeated. Raises FormationError."""
    with Connections(access) as connections:

        def work(node: Member) -> None:
            users = waiting_users(acl_list(connections, node))
            if users is not None:
                on: list[tuple[str | int, ...]] = [("ACL", "SETUSER", user, "on") for user in users]
                _carry_out(connections, node, [*on, ("ACL", "DELUSER", MARK), ("ACL", "SAVE")])

        in_parallel(nodes, work)


def acl_list(connections: Connections, node: Member) -> list[str]:
    """A line for each user, as in an ACL file. Raises FormationError naming the node."""
    try:
        return [str(line) for line in connections.ask(node, "ACL", "LIST")]
    except redis.RedisError as error:
        raise FormationError(f"{node.name}: its ACL users cannot be listed: {reason(error)}") from error


def _applications(users: Iterable[str]) -> list[str]:
    return sorted(set(users) - _OWN_USERS)


def _mark(users: Iterable[str]) -> str:
    return " ".join(["reset", "off", *(f"~{user}" for user in users)])


def _carry_out(connections: Connections, node: Member, commands: Sequence[tuple[str | int, ...]]) -> None:
    try:
        without_errors(connections.ask_all(node, *commands))
    except redis.RedisError as error:
        raise FormationError(f"{node.name}: its ACL users could not be set: {reason(error)}") from error
