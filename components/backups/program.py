"""What the backup container and hosts run: ``service`` for ever, ``tick`` for one look by a timer, ``run`` for one
request. Nothing secret leaves it.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from prometheus_client import start_http_server

from ..formation import FormationError
from ..remote import answers
from .errors import BackupError
from .host import tick
from .metrics import registry_of
from .names import name_of
from .restore_request import RestoreRequest, abandon_restore, restore_into
from .service import Service
from .watch import Watch

CONFIGURATION = Path("/etc/redis-production/backup.json")
_USAGE = "usage: backup.pyz service [CONFIGURATION] | tick [CONFIGURATION] | run [CONFIGURATION]"
_STEP_SECONDS = 15.0
_BEAT_SECONDS = 15.0
Progress = Callable[[str], None]


def main() -> int:
    """Returns the exit code."""
    match sys.argv[1:]:
        case ["service", *rest] if len(rest) < 2:
            return serve(Path(rest[0]) if rest else CONFIGURATION, threading.Event())
        case ["tick", *rest] if len(rest) < 2:
            return look(Path(rest[0]) if rest else CONFIGURATION, os.environ["NODE"])
        case ["run", *rest] if len(rest) < 2:
            return run(Path(rest[0]) if rest else CONFIGURATION)
    print(_USAGE, file=sys.stderr)
    return 2


def serve(configuration: Path, stop: threading.Event) -> int:
    """Take backups when they are due, and serve metrics, until ``stop`` is set.

    The age of the heartbeat file says that it still does.
    """
    service = Service.load(configuration)
    service.heartbeat.touch()
    threading.Thread(target=_beat, args=(service.heartbeat, stop), daemon=True).start()
    if service.point_in_time_recovery:
        threading.Thread(target=service.archiver(_log).run, args=(stop,), daemon=True).start()
    watch = Watch(service)
    if service.metrics_port is not None:
        start_http_server(service.metrics_port, registry=registry_of(watch.view))
    while not stop.is_set():
        watch.step(_log)
        stop.wait(_STEP_SECONDS)
    return 0


def look(configuration: Path, node: str) -> int:
    """Take the backup that is due, unless another host does. Returns the exit code."""
    try:
        tick(Service.load(configuration), node, _log)
    except BackupError as error:
        _log(f"error: {error}")
        return 1
    return 0


def run(configuration: Path) -> int:
    """Carry out the request on standard input: lines of progress as JSON, the answer last, all on standard output."""
    orders = json.load(sys.stdin)
    request, secret = orders["request"], orders.get("secret") or {}
    clean = answers.cleaner([value for value in secret.values() if value])
    channel, sys.stdout = sys.stdout, sys.stderr

    def say(values: Mapping[str, Any]) -> None:
        with suppress(BrokenPipeError):  # whoever asked is gone; what was begun goes on
            print(clean(json.dumps(values)), file=channel, flush=True)

    try:
        result = _carried_out(Service.load(configuration), request, secret, lambda line: say({"line": line}))
        answer = answers.of_result(result)
    except BackupError as error:
        answer = answers.of_error(FormationError(str(error)))
    say(answer)
    return 0


def _carried_out(
    service: Service, request: Mapping[str, Any], secret: Mapping[str, str | None], progress: Progress
) -> Any:
    arguments = request["arguments"]
    match request["operation"]:
        case "take":
            manifest = service.run(name_of(datetime.now(UTC)), progress)
            return None if manifest is None else manifest.backup
        case "prove":
            return service.prove(arguments["backup"], progress)
        case "restore":
            wanted = RestoreRequest(
                backup=arguments["backup"],
                until=arguments["until"],
                pattern=arguments["pattern"],
                overwrite=arguments["overwrite"],
                admin_password=secret["admin"] or "",
                key=secret.get("encryption_key"),
            )
            return restore_into(service, wanted, progress)
        case "file_drill":
            return service.catalog.put_drill(arguments["report"], datetime.now(UTC))
        case "abandon":
            return abandon_restore(service, secret["admin"] or "", progress)
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
