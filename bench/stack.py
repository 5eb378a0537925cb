"""A stack of the measurements' own, driven by the real Pulumi CLI, and when it did what."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.engine import remove_all, unique_name
from ops.deployment import Deployment, ReplicatedDeployment, replicated
from tests.ports import free_port

ROOT = Path(__file__).resolve().parents[1]
_SHARED = ("__main__.py", "components", ".venv")
_INTERRUPT_SECONDS = 20


class PulumiFailed(Exception):
    """The CLI ended with an error; the text is what it printed."""


@dataclass
class Run:
    """One run of the CLI: its length, and what it reported when. Seconds since its start."""

    seconds: float = 0.0
    events: list[tuple[float, dict[str, Any]]] = field(default_factory=list)

    @property
    def changes(self) -> dict[str, int]:
        """Resources by operation, without those that stayed as they were."""
        summary = next(event["summaryEvent"] for _, event in self.events if "summaryEvent" in event)
        return {name: count for name, count in (summary.get("resourceChanges") or {}).items() if name != "same"}

    def began(self, kind: str = "") -> float:
        """When the first event of this kind came (``preludeEvent``, ``resourcePreEvent``, ...)."""
        return next(seconds for seconds, event in self.events if kind in event)

    def done(self, type_ending: str) -> float:
        """When the last resource whose type ends so was done."""
        return max(
            seconds
            for seconds, event in self.events
            if event.get("resOutputsEvent", {}).get("metadata", {}).get("type", "").endswith(type_ending)
        )


class Stack:
    """A stack with a project folder, a backend, ports and a deployment name of its own."""

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        self.deployment_name = unique_name()
        component, self.name = self.deployment_name.split("-")
        self.folder = folder
        self._environment = {
            **os.environ,
            "PULUMI_BACKEND_URL": f"file://{folder / 'state'}",
            "PULUMI_CONFIG_PASSPHRASE": secrets.token_hex(8),
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            "PULUMI_DEBUG_COMMANDS": "true",  # for --event-log
            "VIRTUAL_ENV": str(ROOT / ".venv"),
            "PYTHONPATH": str(ROOT),
        }
        self._environment.pop("PULUMI_CONFIG_PASSPHRASE_FILE", None)
        (folder / "state").mkdir()
        (folder / "stacks").mkdir()
        shutil.copy(ROOT / "Pulumi.yaml", folder)
        for entry in _SHARED:
            (folder / entry).symlink_to(ROOT / entry)
        every = {"name": component, **_ports(settings), **settings}
        config = {f"redis-production:{key}": value for key, value in every.items()}
        # JSON is YAML too.
        (folder / "stacks" / f"Pulumi.{self.name}.yaml").write_text(json.dumps({"config": config}))
        self._run("pulumi", "stack", "init", self.name)

    def up(self) -> Run:
        """``pulumi up``, without the preview that it shows before."""
        return self._timed("up", "--yes", "--skip-preview")

    def preview(self) -> Run:
        """``pulumi preview``."""
        return self._timed("preview")

    def ops(self, *arguments: str) -> str:
        """One of the operator's commands; returns what it printed."""
        return self._run(sys.executable, "-m", "ops", *arguments, "--stack", self.name)

    def deployment(self) -> ReplicatedDeployment:
        """The deployment, of topology replicated, as the operator's commands see it."""
        return replicated(
            Deployment.from_state(
                json.loads(self._run("pulumi", "stack", "export", "--show-secrets", "--stack", self.name))
            )
        )

    def _timed(self, *arguments: str) -> Run:
        run = Run()
        # A pipe: the events' own times are whole seconds, so what counts is when they come.
        events = self.folder / f"events-{secrets.token_hex(3)}"
        os.mkfifo(events)

        def follow() -> None:
            with events.open() as lines:
                for line in lines:
                    run.events.append((time.monotonic() - started, json.loads(line)))

        started = time.monotonic()
        reader = threading.Thread(target=follow, daemon=True)
        reader.start()
        self._run("pulumi", *arguments, "--stack", self.name, "--event-log", str(events))
        run.seconds = time.monotonic() - started
        reader.join()
        return run

    def _run(self, *command: str) -> str:
        process = subprocess.Popen(
            [*command, *(["--non-interactive", "--color=never"] if command[0] == "pulumi" else [])],
            cwd=self.folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,  # Ctrl-C reaches it by way of this program, once
        )
        try:
            output, _ = process.communicate()
        except BaseException:
            process.send_signal(signal.SIGINT)
            try:
                process.communicate(timeout=_INTERRUPT_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
            raise
        if process.returncode:
            raise PulumiFailed(f"{' '.join(command)}:\n{output}")
        return output


def _ports(settings: Mapping[str, Any]) -> dict[str, int]:
    if settings.get("topology") == "cluster":
        return {"port": free_port(60)}
    port = free_port(20)
    return {"port": port, "sentinel-port": port + 10}


@contextmanager
def new_stack(**settings: Any) -> Iterator[Stack]:
    """A stack, not yet deployed, with these settings (``_`` stands for ``-``); removed at the end with all it made."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        stack = Stack(Path(folder), {name.replace("_", "-"): value for name, value in settings.items()})
        try:
            yield stack
        finally:
            remove_all(f"redis-production.deployment={stack.deployment_name}", stack.deployment_name)
