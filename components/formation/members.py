"""The servers of a deployment: where each one is, and how to log in. Plain, immutable data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

NO_PORT = 65_536
"""What a connection that copies a node gives as its own port: one that there cannot be. It is among the node's replicas
for as long as it lasts (INFO replication), and no replica."""


@dataclass(frozen=True, order=True)
class Address:
    """Where a server listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {"host": self.host, "port": self.port}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Address:
        """The opposite of `to_dict`."""
        return cls(str(values["host"]), int(values["port"]))


@dataclass(frozen=True)
class Member:
    """One server: `announced` is how deployment and clients know it, `reach` is where this program reaches it.

    `host` names what fails together with it (a machine, a zone); empty when that does not matter.
    """

    name: str
    announced: Address
    reach: Address
    host: str = ""

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        values = {"name": self.name, "announced": self.announced.to_dict(), "reach": self.reach.to_dict()}
        return {**values, "host": self.host} if self.host else values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Member:
        """The opposite of `to_dict`."""
        return cls(
            str(values["name"]),
            Address.from_dict(values["announced"]),
            Address.from_dict(values["reach"]),
            str(values.get("host", "")),
        )


@dataclass(frozen=True)
class Access:
    """How to log in: the user, the password, and the certificate authority in PEM (None: no TLS)."""

    username: str
    password: str = field(repr=False)
    ca_certificate: str | None = field(default=None, repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Contains the password: treat as a secret."""
        return {"username": self.username, "password": self.password, "ca_certificate": self.ca_certificate}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Access:
        """The opposite of `to_dict`."""
        return cls(str(values["username"]), str(values["password"]), values.get("ca_certificate"))
