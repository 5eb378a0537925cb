"""Keeps ACL users and certificates as wanted on running servers (ACL SETUSER, ACL SAVE, CONFIG SET tls-cert-file)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import redis

from .closing import kept_closed, waiting_users
from .connection import Connections, as_mapping, in_parallel, reason
from .errors import FormationError
from .members import Access, Member


def put_in_force(nodes: Sequence[Member], access: Access, definitions: Mapping[str, str]) -> None:
    """Both, see below: what a formed deployment needs when users or certificates may have changed."""
    apply_access_control(nodes, access, definitions)
    reload_certificates(nodes, access)


def apply_access_control(nodes: Sequence[Member], access: Access, definitions: Mapping[str, str]) -> None:
    """Give every node exactly the users of ``definitions``, and save them to its ACL file.

    A node that is closed (:mod:`closing`) stays so.

    ``definitions``: user -> what follows ``ACL SETUSER <user>``, starting with ``reset``, passwords as hashes only. A
    user that is not in it is deleted. Connections that are logged in stay. Raises FormationError naming the node that
    refused.
    """
    with Connections(access) as connections:

        def apply(node: Member) -> None:
            try:
                lines = [str(line) for line in connections.ask(node, "ACL", "LIST")]
                waiting = waiting_users(lines)
                wanted = definitions if waiting is None else kept_closed(definitions, waiting)
                superfluous = sorted({line.split()[1] for line in lines} - set(wanted))
                commands: list[tuple[str | int, ...]] = [
                    ("ACL", "SETUSER", user, *definition.split()) for user, definition in wanted.items()
                ]
                if superfluous:
                    commands.append(("ACL", "DELUSER", *superfluous))
                for answer in connections.ask_all(node, *commands, ("ACL", "SAVE")):
                    if isinstance(answer, Exception):
                        raise answer
            except redis.RedisError as error:
                raise FormationError(f"{node.name}: its ACL users could not be set: {reason(error)}") from error

        in_parallel(nodes, apply)


def reload_certificates(nodes: Sequence[Member], access: Access) -> None:
    """Let every node read its certificate files again (``CONFIG SET`` of their names, even unchanged, loads them).

    Connections that are open stay. Raises FormationError naming the node that could not use its files.
    """
    names = ("tls-cert-file", "tls-key-file", "tls-ca-cert-file")
    with Connections(access) as connections:

        def reload(node: Member) -> None:
            try:
                found = as_mapping(connections.ask(node, "CONFIG", "GET", *names))
                connections.ask(node, "CONFIG", "SET", *(word for name in names for word in (name, found[name])))
            except redis.RedisError as error:
                raise FormationError(f"{node.name}: its certificate could not be loaded: {reason(error)}") from error

        in_parallel(nodes, reload)
