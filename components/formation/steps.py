"""A plan and the single changes that it is made of, as plain data; what is particular to a topology is beside it.

A member is named as in the target, so that a step is readable and carries no secret.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Step:
    """A change of one member, `member` is its name in the target."""

    member: str

    def describe(self) -> str:
        """One line for a preview."""
        raise NotImplementedError


@dataclass(frozen=True)
class ChangeLiveSettings(Step):
    """CONFIG SET with read-back, then CONFIG REWRITE. `changes`: (directive, found, wanted), secrets masked."""

    changes: tuple[tuple[str, str, str], ...]

    def describe(self) -> str:
        """One line for a preview."""
        changes = ", ".join(f"{directive} {found} -> {wanted}" for directive, found, wanted in self.changes)
        return f"{self.member}: change live {changes}"


Stage = tuple[Step, ...]
"""Steps that are independent of each other."""


@dataclass(frozen=True)
class Plan:
    """`stages` come one after the other.

    `waits`: conditions that come true without a step, or that somebody has to see to (a node that is down). `refusals`:
    why nothing may be done, with what to do. All three empty: the deployment is as it should be.
    """

    stages: tuple[Stage, ...] = ()
    waits: tuple[str, ...] = ()
    refusals: tuple[str, ...] = ()

    @property
    def steps(self) -> tuple[Step, ...]:
        """All steps, in order."""
        return tuple(step for stage in self.stages for step in stage)

    @property
    def done(self) -> bool:
        """Whether there is nothing to do, to wait for or to decide."""
        return not (self.stages or self.waits or self.refusals)

    def describe(self) -> list[str]:
        """One line per step, for a preview."""
        return [step.describe() for step in self.steps]
