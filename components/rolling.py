"""What the rolling gate asks and does on the live deployment; blocking calls, run in threads."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .formation.replication import observe
from .formation.replication.safety import is_formed, make_safe_to_stop, stop_order, wait_until_back
from .formation_lifecycle import admin_access, target_with_password

STOP_TIMEOUT_SECONDS = 300


class Rolling:
    """One deployment's nodes, seen from the gate. Failures are FormationErrors that name the node."""

    def __init__(
        self,
        target: Mapping[str, Any],
        passwords: Mapping[str, str],
        ca_certificate: str,
        progress: Callable[[str], None],
    ) -> None:
        self._target = target_with_password(target, passwords)
        self._access = admin_access(passwords, ca_certificate)
        self._progress = progress

    def is_needed(self, name: str) -> bool:
        """Whether others depend on this node: not before formation, after disbanding, or once it is retired."""
        return is_formed(self._target, self._access, name)

    def next_to_stop(self, names: Sequence[str]) -> str:
        """Which of these nodes to stop first: replicas, then the primary, then Sentinels."""
        return stop_order(self._target, observe(self._target, self._access), names)[0]

    def make_safe_to_stop(self, name: str, replaced: Sequence[str]) -> None:
        """Wait until the others can do without the node; hand a primary over, best to one that is already replaced."""
        make_safe_to_stop(
            self._target,
            self._access,
            name,
            prefer=replaced,
            progress=self._progress,
            timeout_seconds=STOP_TIMEOUT_SECONDS,
        )

    def wait_until_back(self, name: str) -> None:
        """Wait until the new node does its part again."""
        wait_until_back(self._target, self._access, name, progress=self._progress, timeout_seconds=STOP_TIMEOUT_SECONDS)
