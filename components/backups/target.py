"""The deployment that a restore fills: who has which slot, how many keys there are, how far its replicas are."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any

import redis

from ..formation.cluster.observation import slots_of
from ..formation.cluster.slots import SLOT_COUNT, format_slots, slot_of
from ..formation.connection import Connections, in_parallel, reason
from ..formation.members import Access, Member
from ..topologies import CLUSTER, topology_of
from .errors import BackupError, TargetError
from .sources import look_at_cluster, settled_survey
from .throwaway_server import ThrowawayServer

Progress = Callable[[str], None]
_SETTLE_SECONDS = 60.0
_ANSWER_SECONDS = 60.0
_REPLICA_SECONDS = 300.0
_MOST_BEHIND_BYTES = 64 * 1024 * 1024
"""Less than a primary keeps for a replica before it cuts it off (client-output-buffer-limit replica, 256mb)."""
_LOOK_AGAIN_SECONDS = 0.05
_SCAN_COUNT = 1000


class Target:
    """To be used in a ``with``. Raises SourceError while a failover or a restart is going on for a minute."""

    def __init__(self, record: Mapping[str, Any], access: Access) -> None:
        self.access = access
        self._record = record
        self._connections = Connections(access, answer_timeout_seconds=_ANSWER_SECONDS, decode=False)
        self._primaries: tuple[Member, ...] = ()
        self._owners: tuple[Member, ...] = ()
        self.look()

    def __enter__(self) -> Target:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connections.close()

    def look(self) -> None:
        """Find out who the primaries are now."""
        sources = settled_survey(self._record, self.access, _SETTLE_SECONDS).sources
        self._primaries = tuple(source.primary for source in sources)
        if topology_of(self._record) == CLUSTER:
            self._owners = self._owners_of_slots()

    def _owners_of_slots(self) -> tuple[Member, ...]:
        with Connections(self.access) as connections:
            found = look_at_cluster(connections, self._record)
        owners = {slot: answer.member for answer in found.primaries for slot in slots_of(found.itself(answer).slots)}
        missing = set(range(SLOT_COUNT)) - owners.keys()
        if missing:
            raise TargetError(f"slots {format_slots(missing)} have no primary that answers")
        return tuple(owners[slot] for slot in range(SLOT_COUNT))

    def owner(self, key: bytes) -> Member:
        """Who has the key, or would have it."""
        return self._owners[slot_of(key)] if self._owners else self._primaries[0]

    def client(self, member: Member) -> redis.Redis:
        """Answers are bytes."""
        return self._connections.client(member)

    def keys(self) -> int:
        """Of all primaries and databases. Raises BackupError naming a primary that does not answer."""
        return sum(sum(self._databases(member).values()) for member in self._primaries)

    def empty(self, progress: Progress) -> None:
        """Delete every key and function, in small steps, as FLUSHALL is denied to everybody. Raises TargetError."""
        keys = self.keys()
        if keys:
            progress(f"deleting the {keys} keys that are there")

        def work(member: Member) -> None:
            for database in self._databases(member):
                with in_database(self.client(member), database) as connection:
                    for batch in _scanned(connection):
                        self.for_each(member, database, "UNLINK", [(key,) for key in batch])
            self.client(member).execute_command("FUNCTION", "FLUSH")  # type: ignore[no-untyped-call]

        with _as_target_errors():
            in_parallel(self._primaries, work)

    def put_functions(self, server: ThrowawayServer) -> int:
        """Copy the libraries of functions to every primary; how many there are. Raises TargetError."""
        if not server.loaded.functions:
            return 0
        libraries = server.client.execute_command("FUNCTION", "DUMP")  # type: ignore[no-untyped-call]
        with _as_target_errors():
            for member in self._primaries:
                client = self.client(member)
                client.execute_command("FUNCTION", "RESTORE", libraries, "REPLACE")  # type: ignore[no-untyped-call]
        return len(server.loaded.functions)

    def for_each(
        self, member: Member, database: int, command: str, arguments: Sequence[tuple[bytes | int, ...]]
    ) -> list[int]:
        """Send the command with each of the arguments, in one write; the answers. Raises RedisError."""
        with self.client(member).pipeline(transaction=False) as pipeline:
            # Among the others, so that they are about this database on whatever connection they are sent.
            pipeline.execute_command("SELECT", database)  # type: ignore[no-untyped-call]
            for words in arguments:
                pipeline.execute_command(command, *words)  # type: ignore[no-untyped-call]
            pipeline.execute_command("SELECT", 0)  # type: ignore[no-untyped-call]
            return list(pipeline.execute()[1:-1])

    def hold_back(self, member: Member) -> None:
        """Wait while a replica of the primary is so far behind that it might be cut off. Raises TargetError."""
        self._wait(member, _MOST_BEHIND_BYTES)

    def wait_for_replicas(self) -> None:
        """Until every replica has everything. Raises TargetError."""
        in_parallel(self._primaries, lambda member: self._wait(member, 0))

    def _wait(self, member: Member, most_bytes: int) -> None:
        deadline = time.monotonic() + _REPLICA_SECONDS
        with _as_target_errors():
            while True:
                info: dict[str, Any] = self.client(member).info("replication")
                if info["role"] != "master":
                    raise TargetError(f"{member.name}: is no primary any more")
                behind = _most_behind(info)
                if behind <= most_bytes:
                    return
                if time.monotonic() > deadline:
                    raise TargetError(
                        f"{member.name}: a replica is {behind} bytes behind after {_REPLICA_SECONDS:.0f} s"
                    )
                time.sleep(_LOOK_AGAIN_SECONDS)

    def _databases(self, member: Member) -> dict[int, int]:
        try:
            info: dict[str, Any] = self.client(member).info("keyspace")
        except redis.RedisError as error:
            raise BackupError(f"{member.name}: does not say what keys it has: {reason(error)}") from error
        return {int(name.removeprefix("db")): int(values["keys"]) for name, values in info.items()}


def _most_behind(info: Mapping[str, Any]) -> int:
    """Bytes that the replica which has least is behind; one that is not in sync yet gets all of it anyway."""
    online = [value for name, value in info.items() if name.startswith("slave") and isinstance(value, Mapping)]
    offsets = [int(each["offset"]) for each in online if each["state"] == "online"]
    return max((int(info["master_repl_offset"]) - offset for offset in offsets), default=0)


@contextmanager
def in_database(client: redis.Redis, database: int) -> Iterator[Any]:
    """A connection of its own on which the database is selected."""
    with client.client() as connection:  # type: ignore[no-untyped-call]
        connection.execute_command("SELECT", database)
        try:
            yield connection
        finally:
            with suppress(redis.RedisError):  # it goes back to the others
                connection.execute_command("SELECT", 0)


def _scanned(connection: Any) -> Iterator[list[bytes]]:
    cursor = 0
    while True:
        cursor, keys = connection.scan(cursor, count=_SCAN_COUNT)
        if keys:
            yield keys
        if cursor == 0:
            return


@contextmanager
def _as_target_errors() -> Iterator[None]:
    try:
        yield
    except redis.RedisError as error:
        raise TargetError(f"the deployment does not take what is restored: {reason(error)}") from error
