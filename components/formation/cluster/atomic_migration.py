"""Moves slots where the servers do it by themselves: Valkey 9 and Redis 8.4 call it atomic slot migration.

The server copies the slots' keys as to a replica, sends on what is written meanwhile, and hands all slots of a job over
at once; clients see MOVED and nothing else. A job that fails or is cancelled is rolled back by the servers; one that
nobody watches any more goes on. Valkey is told on the source (documentation of CLUSTER MIGRATESLOTS and CLUSTER
GETSLOTMIGRATIONS), Redis on the target (documentation of CLUSTER MIGRATION).

Tested with Valkey 9.1. The commands of Redis 8.4 follow its documentation and have not met a server yet.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Sequence
from typing import Any, Protocol

from ..connection import Connections
from ..errors import FormationError
from ..members import Member
from .key_mover import Tally, described
from .slots import slot_ranges
from .wire import Wire, command

# What is rolled back when a job fails; each one costs its source a fork.
_SLOTS_AT_ONCE = 2048
_POLL_SECONDS = 0.05
_STARTED_SECONDS = 10.0
# A job that fails on Redis is tried again by the server, without end.
_FAILURES_SECONDS = 60.0


class _Server(Protocol):
    """What the commands are called, and what they answer."""

    def __init__(self, source: Wire, target: Wire, target_id: str) -> None: ...

    def start(self, slots: Collection[int]) -> None:
        """Begins a job."""

    def state(self) -> tuple[str, str]:
        """Of that job: `done`, `failed`, or anything else, and what went wrong."""

    def cancel(self) -> None:
        """Ends the jobs that are under way."""


class _Valkey:
    def __init__(self, source: Wire, target: Wire, target_id: str) -> None:
        self._source = source
        self._target_id = target_id
        self._job = b""

    def start(self, slots: Collection[int]) -> None:
        before = {job[b"name"] for job in self._exports()}
        ranges = [border for each in slot_ranges(slots) for border in each]
        self._source.ask(command("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", *ranges, "NODE", self._target_id))
        self._job = next(
            job[b"name"]
            for job in self._exports()
            if job[b"name"] not in before and job[b"target_node"].decode() == self._target_id
        )

    def state(self) -> tuple[str, str]:
        job = next((job for job in self._exports() if job[b"name"] == self._job), None)
        if job is None:
            return "failed", "the server has forgotten the job"
        state = job[b"state"].decode()
        return {"success": "done", "cancelled": "failed"}.get(state, state), job[b"message"].decode() or state

    def cancel(self) -> None:
        if any(job[b"state"] not in {b"success", b"failed", b"cancelled"} for job in self._exports()):
            self._source.ask(command("CLUSTER", "CANCELSLOTMIGRATIONS"))

    def _exports(self) -> list[dict[bytes, Any]]:
        (jobs,) = self._source.ask(command("CLUSTER", "GETSLOTMIGRATIONS"))
        return [job for job in map(_as_mapping, jobs) if job[b"operation"] == b"EXPORT"]


class _Redis:
    def __init__(self, source: Wire, target: Wire, target_id: str) -> None:
        self._target = target
        self._job = ""
        self._failing_since: float | None = None

    def start(self, slots: Collection[int]) -> None:
        ranges = [border for each in slot_ranges(slots) for border in each]
        (job,) = self._target.ask(command("CLUSTER", "MIGRATION", "IMPORT", *ranges))
        self._job = job.decode()
        self._failing_since = None

    def state(self) -> tuple[str, str]:
        ((job,),) = self._target.ask(command("CLUSTER", "MIGRATION", "STATUS", "ID", self._job))
        found = _as_mapping(job)
        state, error = found[b"state"].decode(), found[b"last_error"].decode()
        if state == "completed":
            return "done", ""
        self._failing_since = (self._failing_since or time.monotonic()) if error else None
        if self._failing_since is not None and time.monotonic() - self._failing_since > _FAILURES_SECONDS:
            self.cancel()
            return "failed", error
        return ("failed" if state == "canceled" else "under way"), error or state

    def cancel(self) -> None:
        self._target.ask(command("CLUSTER", "MIGRATION", "CANCEL", "ALL"))


_SERVERS: dict[str, type[_Server]] = {"CLUSTER|MIGRATESLOTS": _Valkey, "CLUSTER|MIGRATION": _Redis}


class AtomicMover:
    """Moves slots from one primary to another by what both servers have for it, where they have it.

    Raises FormationError naming both nodes and what the servers say about it.
    """

    def __init__(
        self, connections: Connections, source: Member, target: Member, *, target_id: str, tally: Tally
    ) -> None:
        self._tally = tally
        self._wires: list[Wire] = []
        try:
            for member in (source, target):
                self._wires.append(Wire(connections, member))
            self._source, self._target = self._wires
            kind = next((kind for name, kind in _SERVERS.items() if self._both_have(name)), None)
            self._server = kind(self._source, self._target, target_id) if kind else None
        except BaseException:
            self.close()
            raise

    @property
    def possible(self) -> bool:
        """Whether both servers can do it."""
        return self._server is not None

    def cancel(self) -> None:
        """Ends what somebody has begun who does not watch it any more; it is rolled back."""
        if self._server is not None:
            self._server.cancel()

    def move(self, slots: Sequence[int]) -> None:
        """Moves slots that the source owns, until done or until the tally says that everybody stops."""
        for part in _parts(sorted(slots)):
            if self._tally.stopped.is_set():
                return
            counts = self._source.ask(*(command("CLUSTER", "COUNTKEYSINSLOT", slot) for slot in part))
            if self._move(part):
                self._tally.add(slots=len(part), keys=sum(counts))

    def close(self) -> None:
        """Ends the connections."""
        for wire in self._wires:
            wire.close()

    def __enter__(self) -> AtomicMover:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _move(self, slots: Sequence[int]) -> bool:
        assert self._server is not None
        self._start(slots)
        while True:
            state, why = self._server.state()
            if state == "done":
                return True
            if self._tally.stopped.is_set():
                self._server.cancel()
                return False
            if state == "failed":
                names = self._source.member.name, self._target.member.name
                raise FormationError(f"{names[0]}: slots {described(slots)} do not get to {names[1]}: {why}")
            time.sleep(_POLL_SECONDS)

    def _start(self, slots: Sequence[int]) -> None:
        """A target that is still cleaning up after a job that was cancelled takes no other one at once."""
        assert self._server is not None
        deadline = time.monotonic() + _STARTED_SECONDS
        while True:
            try:
                return self._server.start(slots)
            except FormationError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(_POLL_SECONDS)

    def _both_have(self, name: str) -> bool:
        return all(wire.ask(command("COMMAND", "INFO", name))[0][0] is not None for wire in self._wires)


def _parts(slots: Sequence[int]) -> Iterator[Sequence[int]]:
    return (slots[start : start + _SLOTS_AT_ONCE] for start in range(0, len(slots), _SLOTS_AT_ONCE))


def _as_mapping(answer: Sequence[Any]) -> dict[bytes, Any]:
    return dict(zip(answer[::2], answer[1::2], strict=True))
