"""Puts a backup's data into a running deployment, of whatever topology and number of shards.

A throwaway server loads each shard's copy; from there keys go by MIGRATE to whichever primary has their slot. A whole
restore lets no application in before everything is there (:mod:`components.formation.closing`): one that is interrupted
leaves a deployment that serves nobody, and the next one empties it and begins anew. Some keys of a backup go into a
deployment at work.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..formation import FormationError
from ..formation.closing import close, is_closed, open_again
from ..formation.cluster.observation import slots_of
from ..formation.members import Access
from ..topologies import CLUSTER, topology_of
from .catalog import Catalog
from .copies import Copies
from .errors import BackupError, Refused, TargetError
from .key_transfer import KeyTransfer
from .manifest import Manifest
from .recovery import Recovery, ShardRecovery
from .sources import members_of
from .target import Target

Progress = Callable[[str], None]
_ATTEMPTS = 3


@dataclass(frozen=True, kw_only=True)
class RestoreOrder:
    """What to restore, and where to.

    Attributes:
        catalog: that has the backup.
        manifest: of it.
        recovery: up to which moment, see :mod:`recovery`.
        key: that it was sealed with, if it was.
        record: topology of the deployment to fill, members announced where they can be reached.
        access: as user ``admin``.
        pattern: only keys that match (as SCAN MATCH takes it), into a deployment at work; None: everything.
        overwrite: whether data that are there may be lost: all of them, or with ``pattern`` those under the same keys.
        scratch: a folder with room for the largest shard's RDB file; nothing is left in it.
        command: how to start a throwaway server, see :func:`throwaway_server.throwaway_server`.
    """

    catalog: Catalog
    manifest: Manifest
    recovery: Recovery
    key: bytes | None = field(repr=False)
    record: Mapping[str, Any]
    access: Access = field(repr=False)
    pattern: str | None = None
    overwrite: bool = False
    scratch: Path
    command: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class Restored:
    """``keys`` that were put there, libraries of ``functions``, and ``seconds`` that it took."""

    keys: int
    functions: int
    seconds: float


def restore(order: RestoreOrder, progress: Progress) -> Restored:
    """Put the backup's data into the deployment.

    Every checksum is verified before anything is touched. When the deployment has data, or with a pattern one of the
    keys, nothing is done unless ``overwrite`` says so; what an interrupted restore has left is no such data.

    Raises:
        Refused: there are data.
        Damaged: the backup is not what its manifest says.
        BackupError: it cannot be done; unless nothing was touched yet, applications are let in after the next restore.
    """
    started = time.monotonic()
    with Target(order.record, order.access) as target:
        copies = Copies(
            order.catalog,
            order.manifest,
            order.recovery,
            order.key if order.manifest.encryption else None,
            order.scratch,
            command=order.command,
            trusted=order.access.ca_certificate,
            progress=progress,
        )
        copies.verify()
        _check_databases(order, copies)
        if order.pattern is None:
            keys, functions = _everything(order, target, copies, progress)
        else:
            keys, functions = _matching(order, order.pattern, target, copies, progress), 0
    return Restored(keys=keys, functions=functions, seconds=time.monotonic() - started)


def abandon(record: Mapping[str, Any], access: Access, progress: Progress) -> None:
    """Empty a deployment that an interrupted restore has left, and let applications in. Raises BackupError."""
    with Target(record, access) as target:
        if not _is_closed(record, access):
            raise Refused("no restore was interrupted here: there is nothing to abandon")
        target.empty(progress)
        _open(record, access)


def _everything(order: RestoreOrder, target: Target, copies: Copies, progress: Progress) -> tuple[int, int]:
    if not order.overwrite and not _is_closed(order.record, order.access):
        keys = target.keys()
        if keys:
            raise Refused(
                f"the deployment has {keys} keys, which a restore would delete: say so with --overwrite, or restore "
                "into a new deployment"
            )
    _close(order.record, order.access)
    progress("applications are logged out until everything is there")
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            found = _filled(order, target, copies, progress)
            break
        except TargetError as error:
            if attempt == _ATTEMPTS:
                raise
            progress(f"{error}; beginning anew")
    _open(order.record, order.access)
    progress("applications are let in")
    return found


def _filled(order: RestoreOrder, target: Target, copies: Copies, progress: Progress) -> tuple[int, int]:
    """Make the deployment's data the backup's: keys and libraries of functions. Raises TargetError to begin anew."""
    target.look()
    target.empty(progress)
    transfer = _transfer(order, target, progress)
    functions = 0
    for each in copies.shards:
        with copies.loaded(each) as server:
            if not functions:
                functions = target.put_functions(server)  # every shard has the same
            transfer.move(server, slots=_own_slots(order, each))
    _move_arriving(order, copies, transfer)
    target.wait_for_replicas()
    transfer.check(target.keys())
    return transfer.keys, functions


def _transfer(order: RestoreOrder, target: Target, progress: Progress) -> KeyTransfer:
    arriving = [slot for each in order.recovery.shards for slot in each.place.importing]
    return KeyTransfer(target, order.manifest.keys, progress, arriving)


def _move_arriving(
    order: RestoreOrder,
    copies: Copies,
    transfer: KeyTransfer,
    pattern: str | None = None,
    *,
    replace: bool = True,
) -> None:
    """Keys that were on their way (:mod:`cut`): one that is in both copies is taken from its slot's owner."""
    for each in copies.shards:
        if each.place.importing:
            with copies.loaded(each) as server:
                slots = frozenset(each.place.importing)
                transfer.move(server, pattern=pattern, slots=slots, arriving=True, replace=replace)


def _matching(order: RestoreOrder, pattern: str, target: Target, copies: Copies, progress: Progress) -> int:
    if _is_closed(order.record, order.access):
        raise Refused("an interrupted restore has left this deployment: restore everything, or abandon that first")
    target.look()
    if not order.overwrite:
        for each in copies.shards:
            with copies.loaded(each) as server:
                there = KeyTransfer(target, 0, progress).count_existing(server, pattern)
            if there:
                raise Refused(
                    f"{there} of the keys that match '{pattern}' in {each.shard.name} exist: say --overwrite to "
                    "replace them, or choose a narrower pattern"
                )
    transfer = _transfer(order, target, progress)
    for each in copies.shards:
        with copies.loaded(each) as server:
            transfer.move(server, pattern=pattern, slots=_own_slots(order, each), replace=order.overwrite)
    _move_arriving(order, copies, transfer, pattern, replace=order.overwrite)
    target.wait_for_replicas()
    return transfer.keys


def _own_slots(order: RestoreOrder, each: ShardRecovery) -> frozenset[int] | None:
    """Slots that the shard's copy has all keys of; None for all that there are."""
    return frozenset(slots_of(each.place.slots)) if order.manifest.topology == CLUSTER else None


def _check_databases(order: RestoreOrder, copies: Copies) -> None:
    if topology_of(order.record) != CLUSTER or order.manifest.topology == CLUSTER:
        return
    for each in copies.shards:
        with copies.loaded(each) as server:
            further = sorted(server.loaded.databases.keys() - {0})
        if further:
            raise Refused(f"the backup has keys in database {further[0]}, and a cluster has database 0 alone")


def _is_closed(record: Mapping[str, Any], access: Access) -> bool:
    with _as_backup_errors():
        return is_closed(members_of(record), access)


def _close(record: Mapping[str, Any], access: Access) -> None:
    with _as_backup_errors():
        close(members_of(record), access)


def _open(record: Mapping[str, Any], access: Access) -> None:
    with _as_backup_errors():
        open_again(members_of(record), access)


@contextmanager
def _as_backup_errors() -> Iterator[None]:
    try:
        yield
    except FormationError as error:
        raise BackupError(str(error)) from error
