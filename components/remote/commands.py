"""Shell scripts on instances, by SSM Run Command."""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass

from botocore.exceptions import BotoCoreError, ClientError

from .aws import Aws, code_of, one_clear_line
from .instances import Instance

_DOCUMENT = "AWS-RunShellScript"
_DELIVERY_SECONDS = 60
_RUNNING = ("Pending", "InProgress", "Delayed", "Cancelling")
_MOST_LINES = 20
# What the agent adds to what the script has said.
_AGENTS_LINE = re.compile(r"failed to run commands: exit status \d+")
# AWS: at most 100 characters.
_LONGEST_COMMENT = 100


@dataclass(frozen=True)
class Command:
    """A script that was sent to an instance."""

    identity: str
    instance: Instance


@dataclass(frozen=True)
class Outcome:
    """How it ended; ``text``: the end of what it wrote to standard error, or why it did not run."""

    succeeded: bool
    text: str


class Commands:
    """All raise FormationError."""

    def __init__(self, aws: Aws) -> None:
        self._ssm = aws.ssm

    def send(self, instance: Instance, script: str, comment: str, seconds: int) -> Command | None:
        """Let an instance run a script for at most so many seconds; None while its agent is not there yet."""
        with one_clear_line(instance.node):
            try:
                answer = self._ssm.send_command(
                    DocumentName=_DOCUMENT,
                    InstanceIds=[instance.identity],
                    Comment=comment[:_LONGEST_COMMENT],
                    TimeoutSeconds=_DELIVERY_SECONDS,
                    Parameters={"commands": script.splitlines(), "executionTimeout": [str(seconds)]},
                )
            except ClientError as error:
                if code_of(error) == "InvalidInstanceId":
                    return None
                raise
        return Command(str(answer["Command"]["CommandId"]), instance)

    def outcome(self, command: Command) -> Outcome | None:
        """None while it runs."""
        with one_clear_line(command.instance.node):
            try:
                found = self._ssm.get_command_invocation(
                    CommandId=command.identity, InstanceId=command.instance.identity
                )
            except ClientError as error:
                if code_of(error) == "InvocationDoesNotExist":  # it was sent a moment ago
                    return None
                raise
        if found["Status"] in _RUNNING:
            return None
        said = _AGENTS_LINE.sub("", found.get("StandardErrorContent", "")).strip().splitlines()[-_MOST_LINES:]
        return Outcome(
            found["Status"] == "Success",
            "\n".join(said) or f"SSM says {found.get('StatusDetails') or found['Status']}",
        )

    def cancel(self, command: Command) -> None:
        """Stop it if that is possible."""
        with contextlib.suppress(BotoCoreError, ClientError):
            self._ssm.cancel_command(CommandId=command.identity, InstanceIds=[command.instance.identity])

    def under_way(self, comments: tuple[str, ...]) -> list[tuple[str, str]]:
        """Commands with one of these comments that have not ended: their id and their instance's."""
        pages = self._ssm.get_paginator("list_commands").paginate(
            Filters=[{"key": "ExecutionStage", "value": "Executing"}]
        )
        wanted = {comment[:_LONGEST_COMMENT] for comment in comments}
        with one_clear_line():
            return [
                (each["CommandId"], identity)
                for page in pages
                for each in page["Commands"]
                if each["Status"] in _RUNNING and each.get("Comment") in wanted
                for identity in each["InstanceIds"]
            ]
