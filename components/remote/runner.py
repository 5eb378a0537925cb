"""Has requests carried out on a deployment's instances, and follows what they say."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from tenacity import RetryError, Retrying, retry_if_result, stop_after_delay, stop_never, wait_exponential

from ..formation import FormationError
from ..formation.connection import in_parallel
from ..platforms.aws_names import bucket_name
from . import answers, scripts
from .aws import aws_in
from .bucket import Bucket, Request
from .commands import Command, Commands, Outcome
from .errors import NoInstance, RunnerDied
from .instances import Instance, in_order_of_choice, instances_of

Progress = Callable[[str], None]
Script = Callable[[Sequence[str]], str]
Result = TypeVar("Result")

_ATTEMPTS = 3
_COME_UP_SECONDS = 600
"""How long an instance may take from its start until its agent answers."""
_BOOT_SECONDS = 900
"""How long a host may take to finish its first boot and to fetch its files."""
_OTHERS_SECONDS = 300
_RESTORING = ("restore", "abandon")
"""Operations of backups that need the administrator's password."""
_CHANGING = (
    "form",
    "disband",
    "make_safe_to_stop",
    "wait_until_back",
    "hand_over",
    "promote",
    "rebalance",
    *_RESTORING,
)
"""Operations of which one runs at a time."""
_LONG = ("take", "prove")
"""Of backups: as long as the data take. All others only look."""
# AWS's own most: steps are not bounded, waiting is, and the operation does that itself.
_LONGEST_SECONDS = 172_800
_LOOKING_SECONDS = 1_800

# Answers are looked for this often, in seconds; SSM and EC2, which say less, allow fewer questions than S3.
_FOLLOW = wait_exponential(multiplier=0.25, exp_base=1.5, max=1)
_ASK_SSM_SECONDS = 3
_ASK_EC2_SECONDS = 15
_WAIT = wait_exponential(multiplier=1, exp_base=1.5, max=10)

# A host's memory is Redis's: so many programs of ours at most are started at once, whoever asks.
_at_once = threading.BoundedSemaphore(2)
_answered_last: dict[str, str] = {}
"""Deployment -> the instance that answered last."""
_done: set[str] = set()
"""Commands whose answers were read: they end at any moment."""


class Runner:
    """Of one deployment. ``prefer``: nodes whose hosts have the time, as Sentinels' do."""

    def __init__(self, deployment: str, region: str, prefer: Collection[str]) -> None:
        self._deployment = deployment
        self._prefer = prefer
        self._aws = aws_in(region)
        self._commands = Commands(self._aws)

    def run(
        self,
        request: Mapping[str, Any],
        progress: Progress,
        avoid: Collection[str] = (),
        script: Script = scripts.run_program,
        installed: Sequence[str] = (),
    ) -> Any:
        """The result of a request's ``operation``, or the error that it ended with, as if it had run here.

        Where an instance dies another one is asked: operations may be repeated. Raises NoInstance when none runs,
        FormationError when none can.

        Args:
            request: with its ``operation``.
            progress: gets each line that is said.
            avoid: nodes that are not asked if there are others.
            script: that runs :mod:`host` with its arguments.
            installed: see :meth:`bucket.Bucket.request`.
        """
        with _at_once:
            operation = str(request["operation"])
            if operation in _CHANGING:
                self._wait_for_others(progress)
            name = bucket_name(self._deployment, self._aws.account, self._aws.region)
            bucket = Bucket(self._aws, name, self._deployment)
            dead: set[str] = set()
            for attempts_left in reversed(range(_ATTEMPTS)):
                with bucket.request(request, installed, entrusted=operation in _RESTORING) as sent:
                    try:
                        text = script([self._aws.region, *sent.arguments])
                        answer = self._asked(bucket, sent, operation, text, progress, avoid, dead)
                        break
                    except RunnerDied as error:
                        if not attempts_left:
                            raise
                        progress(f"{error}; trying again")
            return answers.result_of(answer)

    def wait_until_ready(self, nodes: Collection[str], progress: Progress) -> None:
        """Until the first boot of these nodes' instances is over. Raises FormationError naming one that failed."""
        self._on_every([each for each in self._instances() if each.node in nodes], scripts.wait_until_ready(), progress)

    def fetch_files(self, progress: Progress) -> None:
        """Lets every instance fetch its files, so that what has changed is on its disk.

        Raises FormationError naming a node whose first boot failed, or that could not.
        """
        self._on_every(self._instances(), scripts.fetch_files(), progress)

    def _instances(self) -> list[Instance]:
        found = instances_of(self._aws, self._deployment)
        if not found:
            raise NoInstance(
                f"no instance of {self._deployment} runs; start them, or run `pulumi refresh` and `pulumi up`"
            )
        return found

    def _comment(self, operation: str) -> str:
        return f"redis-production {self._deployment} {operation}"

    def _asked(
        self,
        bucket: Bucket,
        request: Request,
        operation: str,
        script: str,
        progress: Progress,
        avoid: Collection[str],
        dead: set[str],
    ) -> Mapping[str, Any]:
        """The answer of the first instance that can be reached. One that dies is added to ``dead``."""
        seconds = _LONGEST_SECONDS if operation in (*_CHANGING, *_LONG) else _LOOKING_SECONDS

        def choices() -> list[Instance]:
            found = self._instances()
            alive = [each for each in found if each.identity not in dead] or found
            last = _answered_last.get(self._deployment)
            return in_order_of_choice(alive, prefer=self._prefer, last=last, avoid=avoid)

        command = self._send(choices, script, self._comment(operation), seconds, progress)
        with self._cancelled_on_error(command):
            try:
                answer = self._follow(command, bucket, request, progress)
            except RunnerDied:
                dead.add(command.instance.identity)
                raise
        _answered_last[self._deployment] = command.instance.identity
        _done.add(command.identity)
        return answer

    def _send(
        self, choices: Callable[[], Sequence[Instance]], script: str, comment: str, seconds: int, progress: Progress
    ) -> Command:
        """To the first of the instances whose agent answers; waits until one does."""
        told: set[str] = set()

        def attempt() -> Command | None:
            found = choices()
            for instance in found:
                command = self._commands.send(instance, script, comment, seconds)
                if command is not None:
                    return command
            awaited = found[0].node
            if awaited not in told:
                progress(f"waiting for {awaited} to come up")
                told.add(awaited)
            return None

        command = _until(attempt, _COME_UP_SECONDS)
        if command is None:
            raise FormationError(
                f"{', '.join(sorted(told))}: did not come up within {_COME_UP_SECONDS} s; "
                "see the instance's system log, and whether its SSM agent can reach AWS"
            )
        return command

    def _on_every(self, instances: Sequence[Instance], script: str, progress: Progress) -> None:
        def work(instance: Instance) -> str:
            command = self._send(lambda: [instance], script, self._comment("files"), _BOOT_SECONDS, progress)
            with self._cancelled_on_error(command):
                outcome = self._ended(command)
            return "" if outcome.succeeded else f"{instance.node}: {outcome.text}"

        failures = [text for text in in_parallel(instances, work).values() if text]
        if failures:
            raise FormationError("\n".join(failures))

    def _ended(self, command: Command) -> Outcome:
        alive = _Pace(_ASK_EC2_SECONDS)

        def look() -> Outcome | None:
            if alive.due() and not self._runs(command.instance):
                return Outcome(False, "its instance was stopped")
            return self._commands.outcome(command)

        outcome = _until(look, _BOOT_SECONDS + _COME_UP_SECONDS)
        return outcome or Outcome(False, "SSM does not say how its command ended")

    def _follow(self, command: Command, bucket: Bucket, request: Request, progress: Progress) -> Mapping[str, Any]:
        ask_ssm, ask_ec2 = _Pace(_ASK_SSM_SECONDS), _Pace(_ASK_EC2_SECONDS)
        shown = 0

        def look() -> Mapping[str, Any] | None:
            nonlocal shown
            # Asked before the bucket is looked at: what has ended has answered before, or will never.
            ended = self._commands.outcome(command) if ask_ssm.due() else None
            if ended is None and ask_ec2.due() and not self._runs(command.instance):
                ended = Outcome(False, "its instance was stopped")
            said = bucket.read(request.progress_key) or {"lines": [], "finished": False}
            for line in said["lines"][shown:]:
                progress(_printable(line))
            shown = max(shown, len(said["lines"]))
            answer: Mapping[str, Any] | None = None
            if ended or said["finished"]:
                answer = bucket.read(request.result_key)
            if ended and answer is None:
                raise RunnerDied(f"{command.instance.node}: {ended.text}")
            return answer

        answer = _until(look, None, _FOLLOW)
        assert answer is not None  # there is no limit
        return answer

    def _runs(self, instance: Instance) -> bool:
        return instance in instances_of(self._aws, self._deployment)

    def _wait_for_others(self, progress: Progress) -> None:
        """Until no other run changes the deployment: one whose caller was killed goes on by itself."""
        comments = tuple(self._comment(operation) for operation in _CHANGING)
        told: dict[str, str] = {}

        def look() -> bool | None:
            found = self._commands.under_way(comments)
            running = {each.identity: each.node for each in instances_of(self._aws, self._deployment)} if found else {}
            others = {each: running[identity] for each, identity in found if identity in running and each not in _done}
            for identity, node in others.items():
                if identity not in told:
                    progress(f"waiting for another run to end on {node}")
            told.clear()
            told.update(others)
            return None if others else True

        if _until(look, _OTHERS_SECONDS) is None:
            identity, node = next(iter(told.items()))
            raise FormationError(
                f"{node}: another run is still at work on it after {_OTHERS_SECONDS} s; wait for it, or stop it: "
                f"aws ssm cancel-command --command-id {identity}"
            )

    @contextmanager
    def _cancelled_on_error(self, command: Command) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self._commands.cancel(command)
            raise


@dataclass
class _Pace:
    """Says at most every so many seconds that something is due; not at once."""

    seconds: float

    def __post_init__(self) -> None:
        self._next = time.monotonic() + self.seconds

    def due(self) -> bool:
        if time.monotonic() < self._next:
            return False
        self._next = time.monotonic() + self.seconds
        return True


def _until(look: Callable[[], Result | None], seconds: float | None, wait: Any = _WAIT) -> Result | None:
    """The first answer that is not None, looked for again and again; None after so many seconds."""
    limit = stop_never if seconds is None else stop_after_delay(seconds)
    try:
        return Retrying(retry=retry_if_result(lambda answer: answer is None), wait=wait, stop=limit)(look)
    except RetryError:
        return None


def _printable(line: str) -> str:
    """A line from elsewhere, without what a terminal would take for a command."""
    return "".join(character for character in str(line) if character.isprintable())
