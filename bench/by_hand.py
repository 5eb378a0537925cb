"""Makes the hand-made topologies with ``by_hand.sh`` and ``by_hand_cluster.sh``; says how long their parts took."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.engine import remove_all, unique_name
from components.settings import ReplicatedRedisSettings
from tests.ports import free_port


class HandMadeFailed(Exception):
    """The script ended with an error, which it has printed."""


@dataclass(frozen=True)
class HandMade:
    """Servers without passwords; ``name`` is what the Sentinels call them, of which a cluster has none.

    ``certificate`` is None in plain text. Seconds since the script's start: when ``docker run`` had returned for all of
    them, and when all was formed.
    """

    name: str
    port: int
    sentinel_ports: tuple[int, ...]
    certificate: str | None
    containers_seconds: float
    seconds: float

    @property
    def formation_seconds(self) -> float:
        """From the last container's start until all is formed."""
        return self.seconds - self.containers_seconds


@contextmanager
def hand_made(*, down_after_milliseconds: int, failover_timeout_milliseconds: int, tls: bool) -> Iterator[HandMade]:
    """Three Redis servers and three Sentinels, of the image that the project uses; removed at the end.

    Raises HandMadeFailed.
    """
    port = free_port(20)
    sentinel_port = port + 10
    arguments = [port, sentinel_port, down_after_milliseconds, failover_timeout_milliseconds]
    with _made_by("by_hand.sh", arguments, port, tuple(range(sentinel_port, sentinel_port + 3)), tls) as made:
        yield made


@contextmanager
def hand_made_cluster(
    *, node_timeout_milliseconds: int, sync_delay_seconds: int = 5, tls: bool = False
) -> Iterator[HandMade]:
    """Six Redis servers, three shards with a replica each; removed at the end.

    ``sync_delay_seconds``: how long a primary waits for further replicas before it sends its data; Redis's default.
    Raises HandMadeFailed.
    """
    port = free_port(10)
    arguments = [port, node_timeout_milliseconds, sync_delay_seconds]
    with _made_by("by_hand_cluster.sh", arguments, port, (), tls) as made:
        yield made


@contextmanager
def _made_by(
    script_name: str, arguments: list[int], port: int, sentinel_ports: tuple[int, ...], tls: bool
) -> Iterator[HandMade]:
    name = unique_name()
    folder = Path(tempfile.mkdtemp(prefix="bench-"))
    folder.chmod(0o755)
    path = Path(__file__).with_name(script_name)
    command = ["bash", str(path), name, ReplicatedRedisSettings.image, *map(str, arguments)]
    try:
        started = time.monotonic()
        reached: dict[str, float] = {}
        script = subprocess.Popen(
            [*command, *([str(folder)] if tls else [])], stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        try:
            assert script.stdout is not None
            for line in script.stdout:
                reached[line.strip()] = time.monotonic() - started
            script.wait()
        except BaseException:
            os.killpg(script.pid, signal.SIGKILL)
            script.wait()
            raise
        if script.returncode:
            raise HandMadeFailed(f"bench/{script_name} ended with exit code {script.returncode}")
        certificate = (folder / "tls.crt").read_text() if tls else None
        yield HandMade(name, port, sentinel_ports, certificate, reached["containers"], reached["formed"])
    finally:
        shutil.rmtree(folder)
        remove_all(f"bench={name}", name)
