"""Runs on a host, sent as text within a command: fetches a request, lets a program carry it out, and puts what it says
into the bucket. Of Python it needs 3.9 with boto3, of the host's role the secret with the passwords.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

PAUSE_SECONDS = 0.5
"""Between two times that progress is put into the bucket."""


class Bucket:
    """The deployment's bucket, as the host's role sees it."""

    def __init__(self, region: str, name: str) -> None:
        self._s3 = boto3.client("s3", region_name=region)
        self._name = name

    def get(self, key: str, checksum: str) -> bytes:
        """Ends the program when it is not what was sent."""
        content: bytes = self._s3.get_object(Bucket=self._name, Key=key)["Body"].read()
        if hashlib.sha256(content).hexdigest() != checksum:
            sys.exit(f"s3://{self._name}/{key} is not what was sent: its checksum is another one")
        return content

    def put(self, key: str, value: Any) -> None:
        """As JSON."""
        self._s3.put_object(Bucket=self._name, Key=key, Body=json.dumps(value).encode())


class Progress:
    """Puts lines into the bucket as they come but not more often than needed, without holding up who says them."""

    def __init__(self, bucket: Bucket, key: str) -> None:
        self._bucket = bucket
        self._key = key
        self._lines: list[str] = []
        self._said = threading.Event()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def add(self, line: str) -> None:
        """One more."""
        self._lines.append(line)
        self._said.set()

    def finish(self) -> None:
        """Put all of them, and that there are no more."""
        self._ended.set()
        self._said.set()
        self._thread.join()
        self._bucket.put(self._key, {"lines": self._lines, "finished": True})

    def _run(self) -> None:
        while True:
            self._said.wait()
            self._said.clear()
            if self._ended.is_set():
                return
            with contextlib.suppress(BotoCoreError, ClientError):  # they come with the next ones
                self._bucket.put(self._key, {"lines": list(self._lines), "finished": False})
            self._ended.wait(PAUSE_SECONDS)


def carry_out(command: list[str], orders: str, progress: Progress) -> tuple[Any, int]:
    """What the program answers, None if nothing, and its exit code. ``orders`` hold secrets: they go through a pipe."""
    answer = None
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdin is not None
        assert running.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            running.stdin.write(orders)
            running.stdin.close()
        for text in running.stdout:
            said = json.loads(text)
            if "line" in said:
                progress.add(said["line"])
            else:
                answer = said
    return answer, running.returncode


def secret_of(region: str, name: str) -> Any:
    """The deployment's, as Secrets Manager has it."""
    manager = boto3.client("secretsmanager", region_name=region)
    return json.loads(manager.get_secret_value(SecretId=name)["SecretString"])


def shipped(folder: Path, bucket: Bucket, region: str, key: str, checksum: str, secret: str) -> tuple[list[str], Any]:
    """The program that the bucket has, put into a folder, and the secret that it is given."""
    path = folder / "formation.pyz"
    path.write_bytes(bucket.get(key, checksum))
    return [str(path)], secret_of(region, secret)


def admin_password(region: str, secret: str) -> dict[str, str]:
    """What a restore is given of the deployment's secret."""
    return {"admin": secret_of(region, secret)["passwords"]["admin"]}


def main(
    python: str,
    region: str,
    bucket_name: str,
    request_key: str,
    request_checksum: str,
    progress_key: str,
    result_key: str,
    kind: str,
    *program: str,
) -> int:
    """``python``: one that is new enough for the program, which is ``installed`` (its path, and arguments),
    ``entrusted`` (the secret that has the administrator's password, and the same) or ``shipped`` (see there). Returns
    the exit code.
    """
    bucket = Bucket(region, bucket_name)
    with tempfile.TemporaryDirectory(prefix="redis-production-") as folder:
        try:
            orders = {"request": json.loads(bucket.get(request_key, request_checksum))}
            arguments = list(program)
            if kind == "shipped":
                arguments, orders["secret"] = shipped(Path(folder), bucket, region, *program)
            elif kind == "entrusted":
                secret, *arguments = program
                orders["secret"] = admin_password(region, secret)
        except (BotoCoreError, ClientError) as error:
            needed = f"{program[0]}, {request_key}, secret {program[2]}" if kind == "shipped" else request_key
            sys.exit(f"it cannot get what it needs ({needed}): {error}")
        progress = Progress(bucket, progress_key)
        answer, code_of_exit = carry_out([python, "-I", *arguments], json.dumps(orders), progress)
    if answer is not None:
        bucket.put(result_key, answer)
        progress.finish()
    return code_of_exit


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
