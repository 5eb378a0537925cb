"""How backups of a deployment go: what the last runs came to. Kept in the store, and told by metrics and ``ops``."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass

from .errors import Damaged
from .manifest import Manifest

OBJECT = "status.json"
"""Name of its object within the deployment's folder, and of the copy that the service keeps beside its other files."""


@dataclass(frozen=True, kw_only=True)
class Status:
    """Times are seconds since 1970; None for what never was.

    Attributes:
        last_run_at: when the last run ended, however it did.
        last_run_failed: whether it did so by an error: in taking, proving or deleting.
        last_good: name of the newest backup that is whole.
        last_good_at: when it was stored.
        last_good_seconds: how long it took.
        keys: that it has.
        plain_bytes: of its pieces, as the nodes sent them.
        stored_bytes: of its pieces, in the store.
        last_proven: name of the newest backup that a throwaway server has loaded.
        last_proven_stored_at: when that backup was stored.
        last_proven_at: when it was loaded.
        last_proven_seconds: how long that took.
        last_failure_at: when a run failed last.
        last_failure: why, in one line.
        backups: how many good ones are kept.
        kept_bytes: of everything that is kept, in the store.
    """

    last_run_at: float | None = None
    last_run_failed: bool = False
    last_good: str | None = None
    last_good_at: float | None = None
    last_good_seconds: float | None = None
    keys: int | None = None
    plain_bytes: int | None = None
    stored_bytes: int | None = None
    last_proven: str | None = None
    last_proven_stored_at: float | None = None
    last_proven_at: float | None = None
    last_proven_seconds: float | None = None
    last_failure_at: float | None = None
    last_failure: str | None = None
    backups: int | None = None
    kept_bytes: int | None = None

    def after_backup(self, manifest: Manifest) -> Status:
        """One was taken."""
        return dataclasses.replace(
            self,
            last_run_at=manifest.finished_at,
            last_run_failed=False,
            last_good=manifest.backup,
            last_good_at=manifest.finished_at,
            last_good_seconds=manifest.finished_at - manifest.started_at,
            keys=manifest.keys,
            plain_bytes=manifest.plain_bytes,
            stored_bytes=manifest.stored_bytes,
        )

    def after_proof(self, manifest: Manifest, *, now: float, seconds: float) -> Status:
        """One was proven. An old one that is proven again is not the newest one."""
        ended = dataclasses.replace(self, last_run_at=now, last_run_failed=False)
        if manifest.backup < (self.last_proven or ""):
            return ended
        return dataclasses.replace(
            ended,
            last_proven=manifest.backup,
            last_proven_stored_at=manifest.finished_at,
            last_proven_at=now,
            last_proven_seconds=seconds,
        )

    def after_failure(self, reason: str, *, now: float) -> Status:
        """A run failed; ``reason`` without secrets. What was good and proven stays so."""
        return dataclasses.replace(
            self, last_run_at=now, last_run_failed=True, last_failure_at=now, last_failure=" ".join(reason.split())
        )

    def with_kept(self, backups: int, kept_bytes: int) -> Status:
        """After what need not be kept was deleted."""
        return dataclasses.replace(self, backups=backups, kept_bytes=kept_bytes)

    def to_json(self) -> bytes:
        """As it is stored."""
        return (json.dumps(dataclasses.asdict(self), indent=1, sort_keys=True) + "\n").encode()

    @classmethod
    def from_json(cls, content: bytes) -> Status:
        """The opposite; values that a later version added are left out. Raises Damaged for what is no status."""
        known = {field.name for field in dataclasses.fields(cls)}
        try:
            values = json.loads(content)
            return cls(**{name: value for name, value in values.items() if name in known})
        except (ValueError, TypeError, AttributeError) as error:
            raise Damaged(f"the status is no status: {type(error).__name__}") from error
