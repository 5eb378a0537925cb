"""The single changes that formation makes to a primary, its replicas and Sentinels; `apply` carries them out."""

from __future__ import annotations

from dataclasses import dataclass

from ..members import Address
from ..steps import Step


@dataclass(frozen=True)
class MakePrimary(Step):
    """REPLICAOF NO ONE. Only ever planned where no node can hold other data or a Sentinel majority names the node."""

    because: str

    def describe(self) -> str:
        """One line for a preview."""
        return f"{self.member}: become the primary ({self.because})"


@dataclass(frozen=True)
class Follow(Step):
    """REPLICAOF the primary."""

    primary: str
    address: Address

    def describe(self) -> str:
        """One line for a preview."""
        return f"{self.member}: follow the primary {self.primary}"


@dataclass(frozen=True)
class Prove(Step):
    """Let a node that holds the data serve and be promoted (replica-priority, replica-serve-stale-data)."""

    priority: int

    def describe(self) -> str:
        """One line for a preview."""
        return f"{self.member}: in sync, may be promoted (replica-priority {self.priority})"


@dataclass(frozen=True)
class Monitor(Step):
    """SENTINEL MONITOR and SET. `instead_of`: what the Sentinel monitors wrongly and must forget first."""

    primary: str
    address: Address
    instead_of: Address | None = None

    def describe(self) -> str:
        """One line for a preview."""
        instead = f" instead of {self.instead_of}" if self.instead_of else ""
        return f"{self.member}: monitor the primary {self.primary}{instead}"


@dataclass(frozen=True)
class ChangeSentinelSettings(Step):
    """SENTINEL SET. `changes`: (setting, found, wanted)."""

    changes: tuple[tuple[str, int, int], ...]

    def describe(self) -> str:
        """One line for a preview."""
        return (
            f"{self.member}: change {', '.join(f'{name} {found} -> {wanted}' for name, found, wanted in self.changes)}"
        )


@dataclass(frozen=True)
class GiveAccess(Step):
    """SENTINEL SET auth-user and auth-pass, for a Sentinel that cannot log in to the primary."""

    def describe(self) -> str:
        """One line for a preview."""
        return f"{self.member}: set the user and password for the Redis nodes again"


@dataclass(frozen=True)
class Introduce(Step):
    """Tell a Sentinel of the other Sentinels now, which it would hear of within 2 s anyway."""

    others: tuple[str, ...]

    def describe(self) -> str:
        """One line for a preview."""
        return f"{self.member}: introduce to {', '.join(self.others)}"


@dataclass(frozen=True)
class HandOver(Step):
    """A planned failover away from a primary that leaves, with writes paused until a replica has them all."""

    def describe(self) -> str:
        """One line for a preview."""
        return f"{self.member}: hand over to a replica that stays (writes pause for a few seconds)"


@dataclass(frozen=True)
class Retire(Step):
    """Take a replica that leaves out of replication; it keeps what it has, and is left alone from then on."""

    def describe(self) -> str:
        """One line for a preview."""
        return f"{self.member}: leave the deployment"


@dataclass(frozen=True)
class StopMonitoring(Step):
    """SENTINEL REMOVE on a Sentinel that leaves."""

    def describe(self) -> str:
        """One line for a preview."""
        return f"{self.member}: stop monitoring"


@dataclass(frozen=True)
class Forget(Step):
    """SENTINEL RESET: a Sentinel forgets members that are gone and learns the present ones again. One at a time."""

    gone: tuple[str, ...]

    def describe(self) -> str:
        """One line for a preview."""
        return f"{self.member}: forget {', '.join(self.gone)}"
