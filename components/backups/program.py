"""What the backup container and hosts run: ``service`` for ever, ``run`` for one request. Nothing secret leaves it."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..formation import FormationError
from ..remote import answers
from .errors import BackupError
from .names import name_of
from .service import Service

CONFIGURATION = Path("/etc/redis-production/backup.json")
_USAGE = "usage: backup.pyz service [CONFIGURATION] | run [CONFIGURATION]"
_LOOK_SECONDS = 30.0
_BEAT_SECONDS = 15.0
Progress = Callable[[str], None]


def main() -> int:
    """Returns the exit code."""
    match sys.argv[1:]:
        case ["service", *rest] if len(rest) < 2:
            return serve(Path(rest[0]) if rest else CONFIGURATION, threading.Event())
        case ["run", *rest] if len(rest) < 2:
            return run(Path(rest[0]) if rest else CONFIGURATION)
    print(_USAGE, file=sys.stderr)
    return 2


def serve(configuration: Path, stop: threading.Event) -> int:
    """Take backups when they are due, until ``stop`` is set; the age of the heartbeat file says that it still does."""
    service = Service.load(configuration)
    service.heartbeat.touch()
    threading.Thread(target=_beat, args=(service.heartbeat, stop), daemon=True).start()
    if service.point_in_time_recovery:
        threading.Thread(target=service.archiver(_log).run, args=(stop,), daemon=True).start()
    while not stop.is_set():
        try:
            service.run_if_due(_log)
        except BackupError as error:
            _log(f"error: {error}")
        stop.wait(_LOOK_SECONDS)
    return 0


def run(configuration: Path) -> int:
    """Carry out the request on standard input: lines of progress as JSON, the answer last, all on standard output."""
    request = json.load(sys.stdin)["request"]
    channel, sys.stdout = sys.stdout, sys.stderr

    def say(values: Mapping[str, Any]) -> None:
        print(json.dumps(values), file=channel, flush=True)

    try:
        result = _carried_out(Service.load(configuration), request, lambda line: say({"line": line}))
        answer = answers.of_result(result)
    except BackupError as error:
        answer = answers.of_error(FormationError(str(error)))
    say(answer)
    return 0


def _carried_out(service: Service, request: Mapping[str, Any], progress: Progress) -> Any:
    match request["operation"]:
        case "take":
            manifest = service.run(name_of(datetime.now(UTC)), progress)
            return None if manifest is None else manifest.backup
        case "prove":
            return service.prove(request["arguments"]["backup"], progress)
        case "list":
            return [
                {
                    "name": each.name,
                    "state": each.state.value,
                    "problem": each.problem,
                    "keys": each.manifest.keys if each.manifest else None,
                    "bytes": each.size,
                    "proven": each.proven,
                }
                for each in service.catalog.backups()
            ]
    raise BackupError(f"there is no operation {request['operation']}")


def _beat(heartbeat: Path, stop: threading.Event) -> None:
    while not stop.wait(_BEAT_SECONDS):
        heartbeat.touch()


def _log(line: str) -> None:
    print(f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} {line}", flush=True)
