from __future__ import annotations

import subprocess
import time

from airgap.processes import program_of


def test_running_program_is_named() -> None:
    process = subprocess.Popen(["sleep", "60"])
    try:
        assert program_of(process.pid) == "sleep"
    finally:
        process.kill()
        process.wait()


def test_ended_program_is_gone_even_before_its_parent_noticed() -> None:
    process = subprocess.Popen(["sleep", "60"])
    process.kill()
    for _ in range(500):
        if program_of(process.pid) == "":
            break
        time.sleep(0.01)
    assert program_of(process.pid) == ""
    process.wait()
    assert program_of(process.pid) == ""
