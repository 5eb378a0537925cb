"""Ports on loopback for servers under test; tests that run side by side have each their own to choose from."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import socket
from collections.abc import Iterator

BUS_DISTANCE = 10_000
"""How far above its port a cluster's node listens for the others (Redis documentation, "Redis Cluster bus port")."""

# Ports, and above them their bus ports, are below those that the system gives to connections (32768 and up).
_FIRST, _END = 10_000, 20_000
_workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
_worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_share = (_END - _FIRST) // _workers
_mine = range(_FIRST + _worker * _share, _FIRST + (_worker + 1) * _share)
_begin = random.choice(_mine)
_ports: Iterator[int] = itertools.cycle([*range(_begin, _mine.stop), *range(_mine.start, _begin)])


def free_port(count: int = 1, *, with_bus: bool = False) -> int:
    """The first of ``count`` ports that nobody listens on, if ``with_bus`` nor `BUS_DISTANCE` above them.

    A port is given out again only after all others: whoever listens on it may be stopped and started meanwhile.
    """
    while True:
        ports = list(itertools.islice(_ports, count))
        if ports[-1] - ports[0] != count - 1:
            continue  # the last ones and the first
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
            for port in [*ports, *(port + BUS_DISTANCE for port in ports if with_bus)]:
                stack.enter_context(socket.socket()).bind(("127.0.0.1", port))
            return ports[0]
