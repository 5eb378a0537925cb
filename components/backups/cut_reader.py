"""Asks primaries where they are; those of a cluster in the order that a cut needs: see :mod:`cut`."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import TracebackType
from typing import Any

import redis

from ..formation.cluster.observation import read_cluster_nodes, slots_of
from ..formation.connection import Connections, reason, without_errors
from ..formation.members import Access, Member
from ..topologies import CLUSTER, topology_of
from .cut import AskAgain, Move, Part, Reading, moves_between, parts_of, reading_order
from .errors import SourceError
from .sources import THE_SHARD, check_one_primary_each, look_at_cluster, primary_of_replication


def reader_of(record: Mapping[str, Any], access: Access, shards: Collection[str]) -> CutReader | PrimaryReader:
    """For either topology."""
    return CutReader(record, access, shards) if topology_of(record) == CLUSTER else PrimaryReader(record, access)


class PrimaryReader:
    """The same as :class:`CutReader` for a replicated deployment, where there is nothing to be cut."""

    def __init__(self, record: Mapping[str, Any], access: Access) -> None:
        self.readings: tuple[Reading, ...] = ()
        self._record = record
        self._connections = Connections(access)

    def __enter__(self) -> PrimaryReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connections.close()

    def read(self) -> dict[str, Part]:
        """Raises AskAgain when there is no primary at the moment."""
        try:
            info = primary_of_replication(self._connections, self._record).info
        except SourceError as error:
            raise AskAgain(str(error)) from error
        self.readings = (
            Reading(
                shard=THE_SHARD,
                node_id=str(info["run_id"]),
                replication_id=str(info["master_replid"]),
                offset=int(info["master_repl_offset"]),
                slots=frozenset(),
            ),
        )
        return {}


class CutReader:
    """Asks again and again, over the same connections; to be used in a ``with``.

    Attributes:
        readings: what the primaries said last, also when that makes no cut.
    """

    def __init__(self, record: Mapping[str, Any], access: Access, shards: Collection[str]) -> None:
        """``shards``: that are being copied."""
        self.readings: tuple[Reading, ...] = ()
        self._record = record
        self._shards = frozenset(shards)
        self._connections = Connections(access)
        self._moves: frozenset[Move] = frozenset()

    def __enter__(self) -> CutReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connections.close()

    def read(self) -> dict[str, Part]:
        """What each shard's copy counts for when it is cut where ``readings`` say.

        Raises AskAgain when there is no cut at the moment, and SourceError when there are other shards than those that
        are copied.
        """
        look = look_at_cluster(self._connections, self._record)
        primaries = {look.shard(answer.member.announced): answer.member for answer in look.primaries}
        try:
            check_one_primary_each(look.shard(answer.member.announced) for answer in look.primaries)
        except SourceError as error:
            raise AskAgain(str(error)) from error
        new = primaries.keys() - self._shards
        if new:
            raise SourceError(f"{', '.join(sorted(new))}: has got slots while the other shards were copied")
        gone = sorted(self._shards - primaries.keys())
        silent = f"; these do not answer: {'; '.join(look.silent)}" if look.silent else ""
        if gone:
            # A shard that has given everything away is still needed: what it had is what the others have got.
            primaries |= {
                shard: answer.member
                for answer in look.answers
                if answer.is_primary and (shard := look.shard(answer.member.announced)) in gone
            }
            missing = sorted(self._shards - primaries.keys())
            if missing:
                raise AskAgain(f"{', '.join(missing)}: has no primary that answers{silent}")
        order = reading_order(primaries, self._moves)
        before = self.readings
        self.readings = tuple(self._ask(shard, primaries[shard]) for shard in order or sorted(primaries))
        shard_of_node = look.shard_of_node
        self._moves = moves_between(before, self.readings, shard_of_node)
        try:
            return parts_of(self.readings, shard_of_node)
        except AskAgain as error:
            raise AskAgain(f"{error}{silent}") from error

    def _ask(self, shard: str, member: Member) -> Reading:
        """All of it at one moment: a node works off what came in one write before it turns to anybody else.

        The offset is asked for twice, so that it would be noticed if it did not.
        """
        info = ("INFO", "replication")
        try:
            before, nodes, after = without_errors(self._connections.ask_all(member, info, ("CLUSTER", "NODES"), info))
        except redis.RedisError as error:
            raise AskAgain(f"{member.name}: {reason(error)}") from error
        if before["role"] != "master" or before["master_repl_offset"] != after["master_repl_offset"]:
            raise AskAgain(f"{member.name}: is no primary any more, or did something else between two questions")
        view = read_cluster_nodes(str(nodes))
        return Reading(
            shard=shard,
            node_id=view.node_id,
            replication_id=str(before["master_replid"]),
            offset=int(before["master_repl_offset"]),
            slots=frozenset(slots_of(view.knowledge.nodes[view.node_id].slots)),
            migrating={each.slot: each.other_id for each in view.open_slots if each.migrating},
            importing={each.slot: each.other_id for each in view.open_slots if not each.migrating},
        )
