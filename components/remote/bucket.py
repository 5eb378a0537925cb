"""The deployment's bucket: code and requests go there, answers come from there."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from botocore.exceptions import BotoCoreError, ClientError

from ..platforms.aws_names import formation_secret_name
from .archive import archive
from .aws import Aws, code_of, one_clear_line

_ABSENT = ("NoSuchKey", "404", "NotFound")


@dataclass(frozen=True)
class Request:
    """One request as it lies in the bucket; where what is said to it will be, and the program that carries it out."""

    bucket: str
    key: str
    checksum: str
    progress_key: str
    result_key: str
    program: tuple[str, ...]

    @property
    def arguments(self) -> list[str]:
        """What the host is given after the region, see :func:`host.main`."""
        return [self.bucket, self.key, self.checksum, self.progress_key, self.result_key, *self.program]


class Bucket:
    """Of one deployment. All raise FormationError."""

    def __init__(self, aws: Aws, name: str, deployment: str) -> None:
        self._s3 = aws.s3
        self.name = name
        self._deployment = deployment
        self._secret = formation_secret_name(deployment)

    @contextmanager
    def request(
        self, content: Mapping[str, Any], installed: Sequence[str] = (), *, entrusted: bool = False
    ) -> Iterator[Request]:
        """Puts a request; removes it and its answers afterwards.

        ``installed``: the program on the host that carries it out, with its arguments; else formation's code does,
        which is put there if it is not yet. ``entrusted``: whether it gets the administrator's password.
        """
        if entrusted:
            program: tuple[str, ...] = ("entrusted", self._secret, *installed)
        elif installed:
            program = ("installed", *installed)
        else:
            program = ("shipped", *self._put_code(), self._secret)
        text = json.dumps(content).encode()
        identity = uuid4().hex
        answers = f"{self._deployment}/formation/{identity}"
        request = Request(
            bucket=self.name,
            key=f"formation/requests/{identity}.json",
            checksum=hashlib.sha256(text).hexdigest(),
            progress_key=f"{answers}/progress.json",
            result_key=f"{answers}/result.json",
            program=program,
        )
        self._put(request.key, text)
        try:
            yield request
        finally:
            for each in (request.key, request.progress_key, request.result_key):
                # What cannot be removed holds no secret, and must not hide how the request went.
                with contextlib.suppress(BotoCoreError, ClientError):
                    self._s3.delete_object(Bucket=self.name, Key=each)

    def read(self, key: str) -> Any:
        """The JSON of an object; None if there is none yet."""
        with one_clear_line(f"s3://{self.name}/{key}"):
            try:
                return json.loads(self._s3.get_object(Bucket=self.name, Key=key)["Body"].read())
            except ClientError as error:
                if code_of(error) in _ABSENT:
                    return None
                raise

    def _put_code(self) -> tuple[str, str]:
        checksum = hashlib.sha256(archive()).hexdigest()
        key = f"formation/{checksum}.pyz"
        with one_clear_line(f"s3://{self.name}"):
            try:
                self._s3.head_object(Bucket=self.name, Key=key)
            except ClientError as error:
                if code_of(error) not in _ABSENT:
                    raise
                self._put(key, archive())
        return key, checksum

    def _put(self, key: str, content: bytes) -> None:
        with one_clear_line(f"s3://{self.name}/{key}"):
            self._s3.put_object(Bucket=self.name, Key=key, Body=content)
