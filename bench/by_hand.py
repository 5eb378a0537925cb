"""Makes the hand-made topology with ``by_hand.sh``, and says how long its parts took."""

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

from bench.engine import free_ports, remove_all, unique_name
from components.settings import ReplicatedRedisSettings

_SCRIPT = Path(__file__).with_name("by_hand.sh")


class HandMadeFailed(Exception):
    """The script ended with an error, which it has printed."""


@dataclass(frozen=True)
class HandMade:
    """Three Redis servers and three Sentinels without passwords; ``name`` is what the Sentinels call them.

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
        """From the last container's start to the Sentinels' agreement."""
        return self.seconds - self.containers_seconds


@contextmanager
def hand_made(*, down_after_milliseconds: int, failover_timeout_milliseconds: int, tls: bool) -> Iterator[HandMade]:
    """Make the topology with the image that the project uses; it is removed at the end. Raises HandMadeFailed."""
    name = unique_name()
    port, sentinel_port = free_ports(2)
    arguments = [
        name,
        ReplicatedRedisSettings.image,
        port,
        sentinel_port,
        down_after_milliseconds,
        failover_timeout_milliseconds,
    ]
    folder = Path(tempfile.mkdtemp(prefix="bench-"))
    folder.chmod(0o755)
    try:
        if tls:
            arguments.append(folder)
        started = time.monotonic()
        reached: dict[str, float] = {}
        command = ["bash", str(_SCRIPT), *map(str, arguments)]
        script = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
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
            raise HandMadeFailed(f"bench/by_hand.sh ended with exit code {script.returncode}")
        sentinel_ports = tuple(range(sentinel_port, sentinel_port + 3))
        certificate = (folder / "tls.crt").read_text() if tls else None
        yield HandMade(name, port, sentinel_ports, certificate, reached["containers"], reached["formed"])
    finally:
        shutil.rmtree(folder)
        remove_all(f"bench={name}", name)
