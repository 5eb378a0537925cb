"""The loop of every formation: observe, plan, apply the first stage, until nothing is left to do, then verify."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Generic, TypeVar

from .errors import FormationError, FormationRefused, FormationTimeout
from .steps import Plan, Stage, Step

Progress = Callable[[str], None]
"""Takes a line that says what is being done or waited for."""

Observed = TypeVar("Observed")

FIRST_PAUSE_SECONDS = 0.02
_LONGEST_PAUSE_SECONDS = 0.25
# How often the same step may be needed before it is clear that something undoes it.
_MOST_REPETITIONS = 5


class Convergence(Generic[Observed]):
    """What a topology does in the loop.

    Args:
        observe: reads the live topology.
        plan: the plan for what was observed; pure.
        apply_stage: carries out the steps of a stage; returns, one line each, what could not be reached.
        verify: what is not yet right though the plan is empty, one line each.
        while_waiting: called with what was observed whenever there is nothing to do but wait.
    """

    def __init__(
        self,
        *,
        observe: Callable[[], Observed],
        plan: Callable[[Observed], Plan],
        apply_stage: Callable[[Stage, Observed], tuple[str, ...]],
        verify: Callable[[Observed], tuple[str, ...]],
        while_waiting: Callable[[Observed], None] = lambda _: None,
    ) -> None:
        self._observe = observe
        self._plan = plan
        self._apply_stage = apply_stage
        self._verify = verify
        self._while_waiting = while_waiting

    def run(self, *, progress: Progress, timeout_seconds: float) -> tuple[Observed, tuple[Step, ...]]:
        """Returns the verified observation and the steps that were taken.

        ``progress`` gets a line for each condition waited for. ``timeout_seconds`` bounds the waiting, not the steps:
        it counts from the last stage that was carried out. Raises FormationRefused when an operator has to decide,
        FormationTimeout naming what was missing, FormationError when something undoes the steps.
        """
        taken: list[Step] = []
        repetitions: Counter[Step] = Counter()
        told: tuple[str, ...] = ()
        pause = FIRST_PAUSE_SECONDS
        waiting_since = time.monotonic()
        while True:
            observation = self._observe()
            current = self._plan(observation)
            if current.refusals:
                raise FormationRefused(current.refusals)
            failed: tuple[str, ...] = ()
            if current.stages:
                stage = current.stages[0]
                repetitions.update(stage)
                undone = [step.describe() for step in stage if repetitions[step] > _MOST_REPETITIONS]
                if undone:
                    raise FormationError(f"something undoes what formation does: {'; '.join(undone)}")
                failed = self._apply_stage(stage, observation)
                taken.extend(stage)
                if not failed:
                    pause = FIRST_PAUSE_SECONDS
                    waiting_since = time.monotonic()
                    continue
            waits = failed or current.waits or self._verify(observation)
            self._while_waiting(observation)
            if not waits:
                return observation, tuple(taken)
            if time.monotonic() - waiting_since > timeout_seconds:
                raise FormationTimeout(timeout_seconds, waits)
            if waits != told and pause > 5 * FIRST_PAUSE_SECONDS:  # not what is over in a moment
                progress(f"waiting: {'; '.join(waits)}")
                told = waits
            time.sleep(pause)
            pause = min(pause * 1.3, _LONGEST_PAUSE_SECONDS)
