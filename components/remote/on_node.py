"""Carries out one request on a host of the deployment; run by what :mod:`fetch` has fetched.

The passwords come from the deployment's secret, which the host's role may read, and go nowhere else.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from ..formation import FormationError
from ..live_deployment import LiveDeployment, Progress, live_deployment
from . import answers

_PAUSE_SECONDS = 0.5
"""Between two times that progress is put into the bucket."""


def main(arguments: Sequence[str]) -> int:
    """``arguments``: region, bucket, key and SHA-256 of the request, prefix of the answers. Returns an exit code."""
    import boto3

    region, bucket, key, checksum, prefix = arguments
    s3 = boto3.client("s3", region_name=region)
    text = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    if hashlib.sha256(text).hexdigest() != checksum:
        print(f"s3://{bucket}/{key} is not the request that was sent", file=sys.stderr)
        return 1
    request = json.loads(text)
    clean: Callable[[str], str] = str

    def put(where: str, value: Mapping[str, Any]) -> None:
        body = clean(json.dumps(value)).encode()
        s3.put_object(Bucket=bucket, Key=where, Body=body, ContentType="application/json")

    lines = _Lines(lambda said: put(answers.progress_key(prefix), said))
    try:
        secret = _secret(boto3.client("secretsmanager", region_name=region), request["record"]["runner"]["deployment"])
        clean = _cleaner(secret["passwords"])
        answer = answers.of_result(_carried_out(request, secret, lines.add))
    except FormationError as error:
        answer = answers.of_error(error)
    except Exception as error:  # whatever it is, the caller has to hear of it
        answer = answers.of_error(FormationError(f"{type(error).__name__}: {error}"))
    put(answers.result_key(prefix), answer)
    lines.finish()
    return 0


def _carried_out(request: Mapping[str, Any], secret: Mapping[str, Any], progress: Progress) -> Any:
    record = {key: value for key, value in request["record"].items() if key != "runner"}
    live = live_deployment(record, secret["passwords"], secret["ca_certificate"])
    if request["earlier"]:
        live = live.after(request["earlier"])
    return carry_out(live, request["operation"], request["arguments"], secret["acl"], progress)


def carry_out(
    live: LiveDeployment, operation: str, arguments: Mapping[str, Any], acl: Mapping[str, str], progress: Progress
) -> Any:
    """The operation's result, JSON-able. Raises FormationError."""
    match operation:
        case "forecast":
            return live.forecast(frozenset(arguments["joining"])).to_dict()
        case "form":
            return live.form(acl, progress)
        case "disband":
            return live.disband()
        case "is_needed":
            return live.is_needed(arguments["name"])
        case "still_needed":
            return live.still_needed(arguments["name"], arguments["host"], int(arguments["port"]))
        case "next_to_stop":
            return live.next_to_stop(arguments["names"])
        case "make_safe_to_stop":
            return live.make_safe_to_stop(arguments["name"], arguments["replaced"], progress)
        case "wait_until_back":
            return live.wait_until_back(arguments["name"], progress)
        case "status":
            return asdict(live.status())
        case "verify":
            return live.verify()
    raise FormationError(f"there is no operation {operation}")


def _secret(secrets_manager: Any, deployment: str) -> dict[str, Any]:
    from botocore.exceptions import BotoCoreError, ClientError

    name = f"{deployment}/formation"
    try:
        text = secrets_manager.get_secret_value(SecretId=name)["SecretString"]
    except (BotoCoreError, ClientError) as error:
        raise FormationError(f"this host could not read the secret {name}: {error}") from error
    secret: dict[str, Any] = json.loads(text)
    return secret


def _cleaner(passwords: Mapping[str, str]) -> Callable[[str], str]:
    """Takes passwords out of a text: messages hold none, but servers answer what they like."""

    def clean(text: str) -> str:
        for password in passwords.values():
            text = text.replace(password, "(secret)") if password else text
        return text

    return clean


class _Lines:
    """What is said, put into the bucket as it comes but not more often than needed, without holding up who says it."""

    def __init__(self, put: Callable[[Mapping[str, Any]], None]) -> None:
        self._put = put
        self._lines: list[str] = []
        self._said = threading.Event()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def add(self, line: str) -> None:
        self._lines.append(line)
        self._said.set()

    def finish(self) -> None:
        """All of them, and that there are no more."""
        self._ended.set()
        self._said.set()
        self._thread.join()
        self._put({"lines": self._lines, "finished": True})

    def _run(self) -> None:
        from botocore.exceptions import BotoCoreError, ClientError

        while True:
            self._said.wait()
            self._said.clear()
            if self._ended.is_set():
                return
            with contextlib.suppress(BotoCoreError, ClientError):  # they come with the next ones
                self._put({"lines": list(self._lines), "finished": False})
            self._ended.wait(_PAUSE_SECONDS)
