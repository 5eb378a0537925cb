"""What formation can fail with. No message contains a secret."""

from __future__ import annotations

from collections.abc import Sequence


class FormationError(Exception):
    """A deployment could not be brought into, or kept in, the wanted topology."""


class FormationRefused(FormationError):
    """Going on could lose data or make a second primary; an operator has to decide. `reasons` has one line each."""

    def __init__(self, reasons: Sequence[str]) -> None:
        self.reasons = tuple(reasons)
        super().__init__("; ".join(self.reasons))


class FormationTimeout(FormationError):
    """The deadline passed; `waiting_for` names each node and the condition that was still missing."""

    def __init__(self, seconds: float, waiting_for: Sequence[str]) -> None:
        self.seconds = seconds
        self.waiting_for = tuple(waiting_for)
        super().__init__(f"not done after {seconds:.0f} s, still waiting for: {'; '.join(self.waiting_for)}")


class HandOverFailed(FormationError):
    """A planned failover did not happen; writes have been resumed on whichever node is the primary."""


class NodeUnreachable(FormationError):
    """A node that is needed for an operation does not answer."""
