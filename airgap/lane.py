"""Lines of work that run side by side: what they print carries their name, and no step is silent for long."""

from __future__ import annotations

import contextlib
import os
import queue
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from pathlib import Path

from airgap.problem import Problem

SILENCE_SECONDS = 10.0
"""The longest time without a line while a command runs."""

_LINES_SHOWN_ON_FAILURE = 20
_printing = threading.Lock()
_commands = threading.Lock()
_stopping = threading.Event()
_running: dict[int, subprocess.Popen[str]] = {}


class Lane:
    """A named line of work.

    Every line goes to stderr: stdout belongs to the commands whose output is read by a shell (``airgap env``).
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def say(self, text: str) -> None:
        """Print one line under the lane's name."""
        with _printing:
            print(f"[{self.name}] {text}", file=sys.stderr, flush=True)

    def run(
        self,
        command: Sequence[str | Path],
        doing: str,
        *,
        advice: str,
        progress: Callable[[str], str | None] = lambda _line: None,
        interruptible: bool = True,
        folder: Path | None = None,
        environment: Mapping[str, str] | None = None,
        first_line_within_seconds: float | None = None,
    ) -> None:
        """Run a command, showing that it is alive.

        ``doing`` is what the command does, in words ("building the Pulumi CLI"). ``progress`` sees every line of its
        output (stdout and stderr) and returns what to print, or None for nothing; after ten silent seconds the lane
        says itself that the command still runs. An uninterruptible command (apt-get) is waited for, not killed,
        when another lane fails or the user interrupts.
        ``first_line_within_seconds`` gives up on a command that says nothing at all: its server cannot be reached.

        Raises Problem with the end of the output and ``advice`` when the command is missing, fails or was given up.
        """
        started = time.monotonic()
        with _commands:
            if _stopping.is_set():
                raise Problem(f"{doing}: not started, because another step failed")
            try:
                process = subprocess.Popen(
                    [str(part) for part in command],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                    errors="replace",
                    cwd=folder,
                    env=None if environment is None else dict(environment),
                    start_new_session=True,
                )
            except OSError as error:
                raise Problem(f"{doing}: cannot run {command[0]} ({error.strerror}). {advice}") from error
            if interruptible:
                _running[process.pid] = process
        lines = _lines_of(process)
        last_lines: deque[str] = deque(maxlen=_LINES_SHOWN_ON_FAILURE)
        spoke = time.monotonic()
        try:
            while True:
                try:
                    line = lines.get(timeout=0.5)
                except queue.Empty:
                    now = time.monotonic()
                    if first_line_within_seconds and not last_lines and now - started > first_line_within_seconds:
                        _terminate(process)
                        no_answer = f"no answer within {first_line_within_seconds:.0f} s"
                        raise Problem(f"{doing}: {no_answer}. {advice}", reason=no_answer) from None
                    if now - spoke >= SILENCE_SECONDS:
                        self.say(f"... still {doing} ({spell_seconds(now - started)})")
                        spoke = now
                    continue
                if line is None:
                    break
                last_lines.append(line)
                if text := progress(line):
                    self.say(text)
                    spoke = time.monotonic()
            exit_code = process.wait()
        finally:
            with _commands:
                _running.pop(process.pid, None)
        if exit_code != 0:
            if _stopping.is_set():
                raise Problem(f"{doing}: stopped; the next run continues")
            output = "\n".join(f"    {line}" for line in last_lines)
            raise Problem(
                f"{doing} failed (exit code {exit_code}): {shlex.join(map(str, command))}\n{output}\n{advice}",
                reason=last_lines[-1].strip() if last_lines else f"exit code {exit_code}",
            )

    def wait_until(self, is_over: Callable[[], bool], doing: str) -> None:
        """Wait for something that other programs do, showing that the wait goes on.

        Raises Problem when another step has failed or the user interrupts.
        """
        started = spoke = time.monotonic()
        while not is_over():
            if _stopping.wait(0.2):
                raise Problem(f"{doing}: stopped, because another step failed")
            now = time.monotonic()
            if now - spoke >= SILENCE_SECONDS:
                self.say(f"... still {doing} ({spell_seconds(now - started)})")
                spoke = now


def run_side_by_side(works: Mapping[Lane, Callable[[Lane], None]]) -> None:
    """Run every work in a thread of its own; the first failure stops the others and is raised."""
    with ThreadPoolExecutor(max_workers=len(works)) as pool:
        futures = [pool.submit(work, lane) for lane, work in works.items()]
        try:
            done, _ = wait(futures, return_when=FIRST_EXCEPTION)
            failure = next((future.exception() for future in futures if future in done and future.exception()), None)
            if failure is not None:
                _stop_all()
                raise failure
        except KeyboardInterrupt:
            _stop_all()
            raise


def spell_seconds(seconds: float) -> str:
    """A duration for people: ``42 s``, ``3 min 5 s``."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _lines_of(process: subprocess.Popen[str]) -> queue.Queue[str | None]:
    """The command's lines as they come; None at the end."""
    lines: queue.Queue[str | None] = queue.Queue()

    def read() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            lines.put(line.rstrip())
        lines.put(None)

    threading.Thread(target=read, daemon=True).start()
    return lines


def _stop_all() -> None:
    with _commands:
        _stopping.set()
        for process in _running.values():
            _terminate(process)


def _terminate(process: subprocess.Popen[str]) -> None:
    # The process leads a session of its own: its children (compilers, say) end with it.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGTERM)
