"""Brings keys from a throwaway server to their places in a deployment, by MIGRATE."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import redis

from ..formation.cluster.slots import slot_of
from ..formation.connection import reason
from ..formation.members import Member
from .errors import BackupError, Refused, TargetError
from .target import Target, in_database
from .throwaway_server import ThrowawayServer

Progress = Callable[[str], None]
_MOST_KEYS = 500
_MOST_BYTES = 16 * 1024 * 1024
"""Of a MIGRATE, which has all of its keys in memory at once."""
_HOLD_BACK_BYTES = 32 * 1024 * 1024
_MIGRATE_MILLISECONDS = 60_000
_GONE = -2
_RETRY_SECONDS = 60.0
_LOOK_AGAIN_SECONDS = 0.5
_SAY_SECONDS = 5.0
_PASSING = ("IOERR", "MOVED", "ASK ", "READONLY", "NOREPLICAS", "LOADING", "CLUSTERDOWN", "TRYAGAIN", "MASTERDOWN")
"""What a failover or a restart makes servers answer."""

# One round trip for many keys: their names, when they expire, and about how large they are.
_LOOK = """
local pattern = ARGV[3] ~= '' and {'MATCH', ARGV[3]} or {}
local found = redis.call('SCAN', ARGV[1], 'COUNT', ARGV[2], unpack(pattern))
local times, sizes = {}, {}
for index, key in ipairs(found[2]) do
  times[index] = redis.call('PEXPIRETIME', key)
  sizes[index] = redis.call('MEMORY', 'USAGE', key, 'SAMPLES', '3') or 0
end
return {found[1], found[2], times, sizes}
"""


@dataclass(frozen=True)
class _Key:
    name: bytes
    expires_at: int
    """Milliseconds since 1970; negative: never."""
    size: int


class KeyTransfer:
    """One restore's transfers, and how far they are. ``arriving``: slots that were on their way to another shard.

    Attributes:
        keys: that were brought so far.
        expiring: how many of them have a time to live.
    """

    def __init__(self, target: Target, expected_keys: int, progress: Progress, arriving: Collection[int] = ()) -> None:
        self.keys = 0
        self.expiring = 0
        self._target = target
        self._arriving = frozenset(arriving)
        self._of_arriving: set[bytes] = set()
        self._expected = expected_keys
        self._progress = progress
        self._started = self._said = time.monotonic()
        self._bytes: dict[Member, int] = defaultdict(int)

    def move(
        self,
        server: ThrowawayServer,
        *,
        pattern: str | None = None,
        slots: frozenset[int] | None = None,
        arriving: bool = False,
        replace: bool = True,
    ) -> None:
        """Bring the server's keys to the deployment; they are gone from the server then.

        Args:
            server: not started with ``cluster``, of which one MIGRATE takes keys of one slot only.
            pattern: only keys that match.
            slots: only keys of these; None: of all.
            arriving: none that was brought before.
            replace: whether a key that is there already is overwritten; else raises Refused.

        Times to live end when they would have ended. Raises TargetError when the deployment does not take them within
        a minute.
        """
        for source, database, member, found in self._by_owner(server, pattern):
            keys = [key for key in found if slots is None or slot_of(key.name) in slots]
            if arriving:
                keys = [key for key in keys if key.name not in self._of_arriving]
            if keys:
                self._migrate(source, database, member, keys, replace)
                self._of_arriving.update(
                    key.name for key in keys if self._arriving and slot_of(key.name) in self._arriving
                )
                self.keys += len(keys)
                self.expiring += sum(key.expires_at >= 0 for key in keys)
                self._hold_back(member, keys)
                self._say()

    def count_existing(self, server: ThrowawayServer, pattern: str) -> int:
        """How many of the server's keys that match are in the deployment."""
        return sum(
            self._count_existing(member, database, keys)
            for _, database, member, keys in self._by_owner(server, pattern)
        )

    def check(self, there: int) -> None:
        """Whether as many keys are there as were brought. Raises TargetError."""
        if not self.keys - self.expiring <= there <= self.keys:
            raise TargetError(
                f"{self.keys} keys were brought, and {there} are there: a primary has lost some, by a failover or by "
                "evicting them (maxmemory-policy)"
            )

    def _by_owner(self, server: ThrowawayServer, pattern: str | None) -> Iterator[tuple[Any, int, Member, list[_Key]]]:
        """Some keys at a time that have the same database and the same owner, and a connection to where they are."""
        for database in server.loaded.databases:
            with in_database(server.client, database) as source:
                for found in _batches(source, pattern):
                    by_owner: dict[Member, list[_Key]] = defaultdict(list)
                    for key in found:
                        by_owner[self._target.owner(key.name)].append(key)
                    for member, keys in by_owner.items():
                        yield source, database, member, keys

    def _migrate(self, source: Any, database: int, member: Member, keys: Sequence[_Key], replace: bool) -> None:
        access = self._target.access
        words = [
            *("MIGRATE", member.reach.host, member.reach.port, "", database, _MIGRATE_MILLISECONDS),
            *(("REPLACE",) if replace else ()),
            *("AUTH2", access.username, access.password, "KEYS"),
            *(key.name for key in keys),
        ]
        deadline = time.monotonic() + _RETRY_SECONDS
        while True:
            try:
                self._brought(source, words)
                self._set_times(database, member, keys)
                return
            except redis.RedisError as error:
                why = reason(error)
                if "BUSYKEY" in why:
                    raise Refused(
                        f"{member.name}: a key that is being restored has appeared there: say --overwrite to replace it"
                    ) from error
                if isinstance(error, redis.ResponseError) and not any(word in why for word in _PASSING):
                    raise TargetError(f"{member.name}: does not take what is restored: {why}") from error
                if time.monotonic() > deadline:
                    raise TargetError(f"{member.name}: does not take keys for {_RETRY_SECONDS:.0f} s: {why}") from error
                time.sleep(_LOOK_AGAIN_SECONDS)
                self._target.look()
                if {self._target.owner(key.name) for key in keys} != {member}:
                    raise TargetError(f"{member.name}: is no primary of these keys any more") from error

    def _brought(self, source: Any, words: Sequence[str | bytes | int]) -> None:
        """What the target answers, or that it does not, is an error that the source answers with."""
        try:
            source.execute_command(*words)
        except (redis.ConnectionError, redis.TimeoutError) as error:
            raise BackupError(f"the throwaway server does not answer any more: {reason(error)}") from error

    def _set_times(self, database: int, member: Member, keys: Sequence[_Key]) -> None:
        """MIGRATE tells how long a key has to live, not until when."""
        expiring = [(key.name, key.expires_at) for key in keys if key.expires_at >= 0]
        if expiring:
            self._target.for_each(member, database, "PEXPIREAT", expiring)

    def _count_existing(self, member: Member, database: int, keys: Sequence[_Key]) -> int:
        try:
            answers = self._target.for_each(member, database, "EXISTS", [(key.name,) for key in keys])
        except redis.RedisError as error:
            raise TargetError(f"{member.name}: does not say which keys it has: {reason(error)}") from error
        return sum(answers)

    def _hold_back(self, member: Member, keys: Sequence[_Key]) -> None:
        self._bytes[member] += sum(key.size for key in keys)
        if self._bytes[member] > _HOLD_BACK_BYTES:
            self._bytes[member] = 0
            self._target.hold_back(member)

    def _say(self) -> None:
        now = time.monotonic()
        if now - self._said < _SAY_SECONDS or not self.keys:
            return
        self._said = now
        left = max(self._expected - self.keys, 0) * (now - self._started) / self.keys
        self._progress(f"restored {self.keys} of {self._expected} keys, about {left:.0f} s to go")


def _batches(source: Any, pattern: str | None) -> Iterator[list[_Key]]:
    """All keys, as many at once as a MIGRATE should have."""
    look = source.register_script(_LOOK)
    cursor = b"0"
    batch: dict[bytes, _Key] = {}  # as keys leave, SCAN may name one again that waits here
    size = 0
    while True:
        cursor, names, times, sizes = look(args=[cursor, _MOST_KEYS, pattern or ""])
        for key in map(_Key, names, times, sizes):
            if key.expires_at == _GONE:
                continue
            if batch and (len(batch) == _MOST_KEYS or size + key.size > _MOST_BYTES):
                yield list(batch.values())
                batch, size = {}, 0
            batch[key.name] = key
            size += key.size
        if cursor == b"0":
            break
    if batch:
        yield list(batch.values())
