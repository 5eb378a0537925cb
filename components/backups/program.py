"""What the backup container and hosts run: ``service`` for ever, ``run`` for one request. Nothing secret leaves it."""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path
from typing import Any

from ..formation import FormationError
from ..remote import answers

CONFIGURATION = Path("/etc/redis-production/backup.json")
_USAGE = "usage: backup.pyz service [CONFIGURATION] | run"
_LOOK_SECONDS = 30.0


def main() -> int:
    """Returns the exit code."""
    match sys.argv[1:]:
        case ["service"]:
            return serve(CONFIGURATION, threading.Event())
        case ["service", path]:
            return serve(Path(path), threading.Event())
        case ["run"]:
            return run()
    print(_USAGE, file=sys.stderr)
    return 2


def serve(configuration: Path, stop: threading.Event) -> int:
    """Look again and again whether a backup is due, until ``stop`` is set; say so by the age of the heartbeat file."""
    settings: dict[str, Any] = json.loads(configuration.read_text())
    heartbeat = Path(settings["heartbeat"])
    while True:
        heartbeat.touch()
        if stop.wait(_LOOK_SECONDS):
            return 0


def run() -> int:
    """Carry out the request on standard input; the answer is the last line of JSON on standard output."""
    request = json.load(sys.stdin)["request"]
    error = FormationError(f"there is no operation {request['operation']}")
    print(json.dumps(answers.of_error(error)), flush=True)
    return 0
