"""The single changes that formation makes to a cluster; `apply` and `slot_migration` carry them out."""

from __future__ import annotations

from dataclasses import dataclass

from ..steps import Step
from .slots import format_slots

_NAMED_AT_MOST = 3
_RANGES_AT_MOST = 60


@dataclass(frozen=True)
class TakeSlots(Step):
    """CLUSTER ADDSLOTSRANGE of slots that nobody claims. `epoch`: CLUSTER SET-CONFIG-EPOCH first; 0: as it is."""

    slots: tuple[int, ...]
    epoch: int = 0

    def describe(self) -> str:
        """One line for a preview."""
        return f"{self.member}: take {slots_in_words(self.slots)}, which nobody has"


@dataclass(frozen=True)
class SetEpoch(Step):
    """CLUSTER SET-CONFIG-EPOCH on a node that has met nobody, so that no two nodes have to settle who is newer."""

    epoch: int

    def describe(self) -> str:
        """One line for a preview."""
        return f"{self.member}: begin with configuration epoch {self.epoch}"


@dataclass(frozen=True)
class Release(Step):
    """Let a node that was found to have its place send its data to replicas; see `observation.SYNC_DELAY`."""

    def describe(self) -> str:
        """One line for a preview."""
        return f"{self.member}: has its place, may have replicas"


@dataclass(frozen=True)
class Meet(Step):
    """CLUSTER MEET with other members."""

    others: tuple[str, ...]

    def describe(self) -> str:
        """One line for a preview."""
        few = len(self.others) <= _NAMED_AT_MOST
        return f"{self.member}: meet {', '.join(self.others) if few else f'{len(self.others)} other nodes'}"


@dataclass(frozen=True)
class Replicate(Step):
    """CLUSTER REPLICATE the primary of its shard."""

    primary: str

    def describe(self) -> str:
        """One line for a preview."""
        return f"{self.member}: replicate {self.primary}"


# The steps that give a node its place, after which it may send its data to replicas (`observation.SYNC_DELAY`).
RELEASING = (TakeSlots, SetEpoch, Release, Replicate)


@dataclass(frozen=True)
class TakeOver(Step):
    """CLUSTER FAILOVER TAKEOVER on a replica whose primary is gone for good without having been seen to fail."""

    former_id: str

    def describe(self) -> str:
        """One line for a preview."""
        return f"{self.member}: take over from its primary, which has lost its data"


@dataclass(frozen=True)
class HandOver(Step):
    """CLUSTER FAILOVER on a replica that stays; no acknowledged write is lost."""

    primary: str

    def describe(self) -> str:
        """One line for a preview."""
        return f"{self.member}: take over from {self.primary}, which leaves (its writes pause for a moment)"


@dataclass(frozen=True)
class SettleSlots(Step):
    """Finish or roll back what an interrupted move of slots has left open on a node."""

    slots: tuple[int, ...]

    def describe(self) -> str:
        """One line for a preview."""
        return f"{self.member}: settle {slots_in_words(self.slots)}, left open by an interrupted move"


@dataclass(frozen=True)
class MoveSlots(Step):
    """Move slots with their keys from `member` to another primary. `keys` and `bytes` are estimates."""

    to: str
    slots: tuple[int, ...]
    keys: int
    bytes: int

    def describe(self) -> str:
        """One line for a preview."""
        return (
            f"{self.member}: move {len(self.slots)} slots with about {self.keys} keys "
            f"({in_mebibytes(self.bytes)}) to {self.to}"
        )


@dataclass(frozen=True)
class Reset(Step):
    """CLUSTER RESET HARD on a node that leaves; the server refuses it for a primary that holds keys."""

    def describe(self) -> str:
        """One line for a preview."""
        return f"{self.member}: leave the cluster"


@dataclass(frozen=True)
class Forget(Step):
    """CLUSTER FORGET of nodes that are gone. `gone`: (id, what it was) of each."""

    gone: tuple[tuple[str, str], ...]

    def describe(self) -> str:
        """One line for a preview."""
        few = len(self.gone) <= _NAMED_AT_MOST
        return f"{self.member}: forget {', '.join(what for _, what in self.gone) if few else f'{len(self.gone)} nodes'}"


def slots_in_words(slots: tuple[int, ...]) -> str:
    """Which slots, or when that would be too long to read, how many."""
    ranges = format_slots(slots)
    return f"slots {ranges}" if len(ranges) <= _RANGES_AT_MOST else f"{len(slots)} slots"


def in_mebibytes(count: int) -> str:
    """A number of bytes, easy to read."""
    return f"{count / 1024**2:.1f} MiB"
