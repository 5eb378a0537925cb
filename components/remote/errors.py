"""What running something on a host can fail with, besides what the operation itself fails with."""

from __future__ import annotations

from ..formation.errors import FormationError


class NoInstance(FormationError):
    """No instance of the deployment runs."""


class RunnerDied(FormationError):
    """An instance, or the program on it, ended before it answered."""
