"""Brings keys from a throwaway server to their places in a deployment: DUMP there, RESTORE here."""

from __future__ import annotations

import itertools
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import redis

from ..formation.cluster.slots import slot_of
from ..formation.connection import reason
from ..formation.members import Member
from .errors import BackupError, Refused, TargetError
from .restore_pipe import PipeBroken, RestorePipe
from .target import Target, in_database
from .throwaway_server import ThrowawayServer

Progress = Callable[[str], None]
_SCAN_COUNT = 2000
_MOST_KEYS = 1000
_MOST_BYTES = 8 * 1024 * 1024
"""Of what is under way to a primary; a single key may be larger."""
_HOLD_BACK_BYTES = 32 * 1024 * 1024
_RETRY_SECONDS = 60.0
_LOOK_AGAIN_SECONDS = 0.5
_SAY_SECONDS = 5.0
_PASSING = ("MOVED", "ASK", "READONLY", "NOREPLICAS", "LOADING", "CLUSTERDOWN", "TRYAGAIN", "MASTERDOWN")
"""What a failover or a restart makes servers answer."""

# The names of some keys, in one answer: their lengths, and all of them in a row.
_NAMES = """
local pattern = ARGV[3] ~= '' and {'MATCH', ARGV[3]} or {}
local found = redis.call('SCAN', ARGV[1], 'COUNT', ARGV[2], unpack(pattern))
local lengths = {}
for index, key in ipairs(found[2]) do
  lengths[index] = #key
end
return {found[1], table.concat(lengths, ' '), table.concat(found[2])}
"""
# Takes keys out of the server, and makes the commands of them that bring them back, as they are sent; of as many of the
# keys as make so many bytes. Also tells how many it has looked at, how many there were, and how many expire.
_COMMANDS = """
local most, replace = tonumber(ARGV[1]), ARGV[2]
local commands, size, expiring, looked = {}, 0, 0, 0
local words = replace ~= '' and '*6' or '*5'
for index = 3, #ARGV do
  if size >= most then break end
  looked = looked + 1
  local key = ARGV[index]
  local value = redis.call('DUMP', key)
  if value then
    local expires = redis.call('PEXPIRETIME', key)
    if expires < 0 then expires = 0 else expiring = expiring + 1 end
    local time = string.format('%.0f', expires)
    local made = table.concat({
      words, '\\r\\n$7\\r\\nRESTORE\\r\\n$', #key, '\\r\\n', key, '\\r\\n$', #time, '\\r\\n', time,
      '\\r\\n$', #value, '\\r\\n', value, '\\r\\n$6\\r\\nABSTTL\\r\\n', replace
    })
    commands[#commands + 1] = made
    size = size + #made
    redis.call('UNLINK', key)
  end
end
return {looked, #commands, expiring, table.concat(commands)}
"""
_REPLACE = "$7\r\nREPLACE\r\n"


@dataclass(frozen=True)
class _Load:
    """Commands for one primary."""

    member: Member
    database: int
    commands: bytes
    count: int


class KeyTransfer:
    """One restore's transfers, and how far they are; to be used in a ``with``.

    ``arriving``: slots that were on their way to another shard.

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
        self._pipes: dict[Member, RestorePipe] = {}
        self._under_way: dict[Member, _Load] = {}

    def __enter__(self) -> KeyTransfer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for pipe in self._pipes.values():
            pipe.close()

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
            server: not started with ``cluster``.
            pattern: only keys that match.
            slots: only keys of these; None: of all.
            arriving: none that was brought before.
            replace: whether a key that is there already is overwritten; else raises Refused.

        Times to live end when they would have ended. Raises TargetError when the deployment does not take them within
        a minute.
        """
        for source, database, member, found in self._by_owner(server, pattern):
            names = [name for name in found if slots is None or slot_of(name) in slots]
            if arriving:
                names = [name for name in names if name not in self._of_arriving]
            elif self._arriving:
                self._of_arriving.update(name for name in names if slot_of(name) in self._arriving)
            self._bring(source, database, member, names, replace)
            self._say()
        for member in list(self._under_way):
            self._settle(member, replace)

    def count_existing(self, server: ThrowawayServer, pattern: str) -> int:
        """How many of the server's keys that match are in the deployment."""
        return sum(
            self._count_existing(member, database, names)
            for _, database, member, names in self._by_owner(server, pattern)
        )  # fmt: skip

    def check(self, there: int) -> None:
        """Whether as many keys are there as were brought. Raises TargetError."""
        if not self.keys - self.expiring <= there <= self.keys:
            raise TargetError(
                f"{self.keys} keys were brought, and {there} are there: a primary has lost some, by a failover or by "
                "evicting them (maxmemory-policy)"
            )

    def _by_owner(self, server: ThrowawayServer, pattern: str | None) -> Iterator[tuple[Any, int, Member, list[bytes]]]:
        """Some keys at a time that have the same database and the same owner, and a connection to where they are."""
        for database in server.loaded.databases:
            with in_database(server.client, database) as source, _as_backup_errors():
                waiting: dict[Member, list[bytes]] = defaultdict(list)
                for names in _scanned(source, pattern):
                    for name in names:
                        waiting[self._target.owner(name)].append(name)
                    for member in [each for each, some in waiting.items() if len(some) >= _MOST_KEYS]:
                        yield source, database, member, waiting.pop(member)
                for member, some in waiting.items():
                    yield source, database, member, some

    def _bring(self, source: Any, database: int, member: Member, names: Sequence[bytes], replace: bool) -> None:
        make = source.register_script(_COMMANDS)
        while names:
            looked, count, expiring, commands = make(args=[_MOST_BYTES, _REPLACE if replace else "", *names])
            names = names[looked:]
            if count:
                self.keys += count
                self.expiring += expiring
                self._settle(member, replace)
                load = self._under_way[member] = _Load(member, database, commands, count)
                try:
                    self._pipe(member).put(database, commands, count)
                except PipeBroken as error:
                    self._retry(load, str(error), replace)

    def _settle(self, member: Member, replace: bool) -> None:
        """Wait until what is under way to the primary has been taken."""
        load = self._under_way.get(member)
        if load is None:
            return
        try:
            errors = self._pipe(member).answers()
        except PipeBroken as error:
            self._retry(load, str(error), replace)
            return
        if errors:
            self._refused(load, errors[0], replace)
            return
        del self._under_way[member]
        self._bytes[member] += len(load.commands)
        if self._bytes[member] > _HOLD_BACK_BYTES:
            self._bytes[member] = 0
            self._target.hold_back(member)

    def _refused(self, load: _Load, why: str, replace: bool) -> None:
        if why.startswith("BUSYKEY"):
            raise Refused(
                f"{load.member.name}: a key that is being restored has appeared there: say --overwrite to replace it"
            )
        if not why.startswith(_PASSING):
            raise TargetError(f"{load.member.name}: does not take what is restored: {why}")
        self._retry(load, why, replace)

    def _retry(self, load: _Load, why: str, replace: bool) -> None:
        """Again from its begin: with REPLACE it does not matter what was taken already."""
        member = load.member
        if not replace:
            raise TargetError(f"{member.name}: {why}; some keys are there already: restore again, with --overwrite")
        deadline = time.monotonic() + _RETRY_SECONDS
        while True:
            if member in self._pipes:
                self._pipes.pop(member).close()
            time.sleep(_LOOK_AGAIN_SECONDS)
            self._target.look()
            if member not in self._target.primaries:
                raise TargetError(f"{member.name}: is no primary any more")
            try:
                self._pipe(member).put(load.database, load.commands, load.count)
                errors = self._pipe(member).answers()
            except PipeBroken as error:
                errors = [str(error)]
            if not errors:
                del self._under_way[member]
                return
            if time.monotonic() > deadline:
                raise TargetError(f"{member.name}: does not take keys for {_RETRY_SECONDS:.0f} s: {errors[0]}")

    def _pipe(self, member: Member) -> RestorePipe:
        if member not in self._pipes:
            self._pipes[member] = RestorePipe(member, self._target.access)
        return self._pipes[member]

    def _count_existing(self, member: Member, database: int, names: Sequence[bytes]) -> int:
        try:
            answers = self._target.for_each(member, database, "EXISTS", [(name,) for name in names])
        except redis.RedisError as error:
            raise TargetError(f"{member.name}: does not say which keys it has: {reason(error)}") from error
        return sum(answers)

    def _say(self) -> None:
        now = time.monotonic()
        if now - self._said < _SAY_SECONDS or not self.keys:
            return
        self._said = now
        left = max(self._expected - self.keys, 0) * (now - self._started) / self.keys
        self._progress(f"restored {self.keys} of {self._expected} keys, about {left:.0f} s to go")


@contextmanager
def _as_backup_errors() -> Iterator[None]:
    try:
        yield
    except redis.RedisError as error:
        raise BackupError(f"the throwaway server does not answer any more: {reason(error)}") from error


def _scanned(source: Any, pattern: str | None) -> Iterator[list[bytes]]:
    """Names of all keys; as keys are taken out meanwhile, some may come twice."""
    look = source.register_script(_NAMES)
    cursor = b"0"
    while True:
        cursor, lengths, names = look(args=[cursor, _SCAN_COUNT, pattern or ""])
        ends = list(itertools.accumulate(map(int, lengths.split())))
        if ends:
            yield [names[start:end] for start, end in zip([0, *ends[:-1]], ends, strict=True)]
        if cursor == b"0":
            return
