"""The look-alike of AWS for the tests of this folder: started once, and removed without a trace."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec

import pytest

from airgap.aws_cloud import addresses, engine, folder
from tests.airgap.aws_cloud.launcher import launcher


@pytest.fixture(scope="session")
def is_ours() -> Iterator[bool]:
    """The look-alike runs. Whether the tests started it: one that ran already is used and left as it is."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("the look-alike of AWS needs Linux and root")
    if find_spec("moto") is None:
        pytest.skip("requirements-rehearsal.txt is not installed")
    ours = not folder.is_ready()
    launcher("start")
    yield ours
    if ours:
        launcher("stop")
        assert not engine.client().containers.list(all=True, filters={"label": engine.LABEL})
        assert not engine.client().networks.list(filters={"label": engine.LABEL})
        assert not folder.ROOT.exists()
        loopback = subprocess.run(["ip", "address", "show", "dev", "lo"], capture_output=True, text=True, check=True)
        assert addresses.METADATA not in loopback.stdout
