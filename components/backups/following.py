"""Goes on with a shard's replication stream after its snapshot, up to a cut that is decided later."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator

from .replication_stream import ReplicationStream

_MOST_HELD_BYTES = 16 * 1024 * 1024
_PAUSE_SECONDS = 0.02


class Following:
    """Gives out the stream as far as it is certain that the cut is not before it; little is held back meanwhile.

    What is certain is what the primary was seen to have: the cut is read from it later. The stream, which comes from a
    replica, counts if it is of the same history: after a failover the replica goes on under another replication id, and
    then the bytes that it has given are of that history, too (:meth:`ReplicationStream.increments`).

    Attributes:
        offset: up to which bytes were given out.
    """

    def __init__(self, stream: ReplicationStream) -> None:
        """``stream``: of which the snapshot has come as a whole."""
        self.offset = stream.offset
        self._stream = stream
        self._limit = ("", 0)
        self._over = threading.Event()

    def allow(self, replication_id: str, offset: int) -> None:
        """Give out what comes up to an offset of a history."""
        self._limit = (replication_id, offset)

    def has_reached(self, replication_id: str, offset: int) -> bool:
        """Whether everything up to it was given out, and nothing after it."""
        return self._stream.replication_id == replication_id and self.offset == offset

    def finish(self) -> None:
        """End: nothing more is given out."""
        self._over.set()

    def pieces(self) -> Iterator[bytes]:
        """What is allowed, as it comes; now and then an empty piece. Raises SourceError as the stream does."""
        held: deque[bytes] = deque()
        held_bytes = 0
        increments = self._stream.increments()
        while not self._over.is_set():
            replication_id, limit = self._limit
            while held and replication_id == self._stream.replication_id and self.offset < limit:
                piece = held.popleft()
                ready, rest = piece[: limit - self.offset], piece[limit - self.offset :]
                if rest:
                    held.appendleft(rest)
                held_bytes -= len(ready)
                yield ready
                self.offset += len(ready)
            if held_bytes > _MOST_HELD_BYTES:
                # The node keeps the rest for us meanwhile, within its client-output-buffer-limit.
                time.sleep(_PAUSE_SECONDS)
                yield b""
                continue
            piece = next(increments)
            if piece:
                held.append(piece)
                held_bytes += len(piece)
            else:
                yield b""
