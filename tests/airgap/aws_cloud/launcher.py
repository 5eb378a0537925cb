"""The launcher's command line, and the look-alike for as long as tests need it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from airgap.aws_cloud import addresses, engine, folder

PROJECT = Path(__file__).parents[3]


def launcher(*arguments: str) -> str:
    """Run one of its commands; what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "airgap.aws_cloud", *arguments], cwd=PROJECT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@contextlib.contextmanager
def running() -> Iterator[bool]:
    """The look-alike runs, for one user of it at a time. Whether it is ours: one that ran already is left as it is."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("the look-alike of AWS needs Linux and root")
    if find_spec("moto") is None:
        pytest.skip("requirements-rehearsal.txt is not installed")
    with (Path(tempfile.gettempdir()) / "redis-production-look-alike.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        ours = not folder.is_ready()
        launcher("start")
        try:
            yield ours
        finally:
            if ours:
                launcher("stop")
                assert_nothing_left()


def assert_nothing_left() -> None:
    """No container, network, file or address of the look-alike is there."""
    assert not engine.client().containers.list(all=True, filters={"label": engine.LABEL})
    assert not engine.client().networks.list(filters={"label": engine.LABEL})
    assert not folder.ROOT.exists()
    loopback = subprocess.run(["ip", "address", "show", "dev", "lo"], capture_output=True, text=True, check=True)
    assert addresses.METADATA not in loopback.stdout
