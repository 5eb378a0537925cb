"""Which programs run: numbers of processes are used again, so that a number alone says nothing."""

from __future__ import annotations

import subprocess
from pathlib import Path


def program_of(pid: int) -> str:
    """The name of the program that runs as this process; empty when none does.

    A process that ended and was not yet collected by its parent (a zombie) does not run.
    """
    if Path("/proc/self/stat").exists():
        try:
            # pid (name) state ...: the name may itself hold spaces and parentheses.
            name, _, rest = Path(f"/proc/{pid}/stat").read_text().partition("(")[2].rpartition(")")
        except OSError:
            return ""
        return "" if rest.split()[0] in ("Z", "X") else name
    answer = subprocess.run(["ps", "-o", "stat=,comm=", "-p", str(pid)], capture_output=True, text=True, check=False)
    state, _, command = answer.stdout.strip().partition(" ")
    return "" if state.startswith("Z") else Path(command.strip()).name
