"""Backups in a bucket of S3, or of anything that speaks its protocol."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import uuid
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from .errors import AlreadyThere, StoreError
from .store import Entry, Upload

_MIB = 1 << 20
_PARTS_IN_FLIGHT = 2
_MOST_PARTS = 10_000
_CHUNK_BYTES = _MIB
_CONFLICTS = 3
"""How often a conditional write is tried while others are at the same object."""
_WRITER = "written-by"
"""In an object's metadata: which write it comes from, for answers that were lost on the way."""
_REFUSED_CREDENTIALS = frozenset(
    "InvalidAccessKeyId SignatureDoesNotMatch ExpiredToken InvalidToken TokenRefreshRequired AuthFailure".split()
)
_OVERLOADED = frozenset("SlowDown ServiceUnavailable InternalError RequestTimeout Throttling 500 502 503 504".split())


def part_bytes(number: int) -> int:
    """Size of an upload's part, the first of which is 0.

    10,000 parts, the most that S3 takes, are 5 TiB, and 16 GiB take no more than 8 MiB each (then 64 MiB up to about
    200 GiB, then 1 GiB): three parts are in memory at a time.
    """
    return (8 if number < 2000 else 64 if number < 5000 else 1024) * _MIB


class S3Store:
    """See :class:`store.Store`.

    The credentials need s3:PutObject, s3:GetObject, s3:DeleteObject and s3:AbortMultipartUpload on the objects and
    s3:ListBucket on the bucket (without it a missing object is told as one that is denied); with ``kms_key_id``
    kms:GenerateDataKey and kms:Decrypt on the key; with ``object_lock_days`` s3:PutObjectRetention. A lifecycle rule of
    the bucket (AbortIncompleteMultipartUpload) should remove what killed writers leave.

    Works with endpoints that know conditional writes (If-None-Match). What is sent carries its MD5, which all check.

    Args:
        bucket: that exists.
        prefix: before every key; empty for the whole bucket.
        region: of the bucket; None for what the environment says.
        endpoint_url: of another than AWS.
        access_key_id: None for what the environment says: an instance's role, variables, a profile.
        secret_access_key: belongs to it.
        session_token: belongs to temporary ones.
        kms_key_id: objects are encrypted with it by S3; None for what the bucket does by default.
        object_lock_days: so long no version of an object can be deleted (mode GOVERNANCE), in a bucket that has
            Object Lock. None for what the bucket does by default.
        timeout_seconds: without any progress of a connection.
        attempts: of each request, with growing pauses of 20 seconds at most.

    Raises StoreError when boto3 is missing or a setting cannot be.
    """

    def __init__(
        self,
        bucket: str,
        prefix: str = "",
        *,
        region: str | None = None,
        endpoint_url: str | None = None,
        access_key_id: str | None = None,
        secret_access_key: str | None = None,
        session_token: str | None = None,
        kms_key_id: str | None = None,
        object_lock_days: int | None = None,
        timeout_seconds: float = 60,
        attempts: int = 5,
    ) -> None:
        self._bucket = bucket
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        # Without a user and password, which nobody should write there.
        self._host = urlsplit(endpoint_url).netloc.rpartition("@")[2] if endpoint_url else None
        self._region = region
        self._secrets = [secret for secret in (access_key_id, secret_access_key, session_token) if secret]
        self._object_lock_days = object_lock_days
        self._attempts = attempts
        self._encryption = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": kms_key_id} if kms_key_id else {}
        try:
            import boto3
            import botocore.config
            import botocore.exceptions
            import urllib3
        except ImportError as error:
            raise StoreError(f"{self.place}: boto3 is missing: install requirements-aws.txt") from error
        self._errors = botocore.exceptions
        self._failures = (botocore.exceptions.BotoCoreError, urllib3.exceptions.HTTPError, OSError, ValueError)
        config = botocore.config.Config(
            connect_timeout=min(timeout_seconds, 10),
            read_timeout=timeout_seconds,
            retries={"mode": "standard", "total_max_attempts": attempts},
            # Checksums in trailers are not known to every endpoint.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            s3={"addressing_style": "path"} if endpoint_url else {},
        )
        with self._problems("use", ""):
            self._client: Any = boto3.client(
                "s3",
                region_name=region or ("us-east-1" if endpoint_url else None),
                endpoint_url=endpoint_url,
                aws_access_key_id=access_key_id,
                aws_secret_access_key=secret_access_key,
                aws_session_token=session_token,
                config=config,
            )

    @property
    def place(self) -> str:
        """Such as ``s3://bucket/prefix``, with the host if it is not AWS."""
        place = f"s3://{self._bucket}/{self._prefix}".rstrip("/")
        return f"{place} at {self._host}" if self._host else place

    @contextmanager
    def upload(self, key: str) -> Iterator[Upload]:
        """See :meth:`store.Store.upload`."""
        with ThreadPoolExecutor(_PARTS_IN_FLIGHT, thread_name_prefix="upload") as pool:
            upload = _Parts(self, key, pool)
            try:
                yield upload
                upload.finish()
            except BaseException:
                # A part that arrives after the rest was given up would stay.
                pool.shutdown(wait=True, cancel_futures=True)
                upload.give_up()
                raise

    def put(self, key: str, content: bytes, *, only_if_absent: bool = False) -> None:
        """See :meth:`store.Store.put`."""
        if not only_if_absent:
            self._put(key, content)
            return
        writer = str(uuid.uuid4())
        for attempt in range(1, _CONFLICTS + 1):
            try:
                self._put(key, content, writer, IfNoneMatch="*")
            except _Refused as refusal:
                if refusal.code == "NotImplemented":
                    raise StoreError(
                        f"{self.place}: the endpoint knows no conditional writes: use another"
                    ) from refusal
                if refusal.status not in {409, 412}:
                    raise
                # It may have been ours, with the answer lost.
                if self._writer_of(key) == writer:
                    return
                # 409: another write or deletion is going on, which may leave nothing there.
                if refusal.status == 412 or attempt == _CONFLICTS:
                    raise AlreadyThere(f"{self.place} has {key} already") from refusal
            else:
                return

    def get(self, key: str) -> bytes | None:
        """See :meth:`store.Store.get`."""
        try:
            with self.read(key) as chunks:
                return b"".join(chunks)
        except _Missing:
            return None

    @contextmanager
    def read(self, key: str) -> Iterator[Iterator[bytes]]:
        """See :meth:`store.Store.read`. A connection that breaks is made anew where it broke."""
        with contextlib.closing(_Download(self, key)) as download:
            yield iter(download)

    def entries(self, prefix: str = "") -> Iterator[Entry]:
        """See :meth:`store.Store.entries`."""
        pages = iter(self._client.get_paginator("list_objects_v2").paginate(**self._named(prefix, "Prefix")))
        while True:
            with self._problems("s3:ListBucket", prefix):
                page = next(pages, None)
            if page is None:
                return
            for each in page.get("Contents", ()):
                yield Entry(each["Key"].removeprefix(self._prefix), each["Size"], each["LastModified"].timestamp())

    def delete(self, keys: list[str]) -> None:
        """See :meth:`store.Store.delete`."""
        # One by one: which checksum a request for many has to carry is not the same everywhere.
        for key in keys:
            with self._problems("s3:DeleteObject", key):
                self._client.delete_object(**self._named(key))

    def _put(self, key: str, content: bytes | bytearray, writer: str = "", **headers: str) -> None:
        with self._problems("s3:PutObject", key):
            self._client.put_object(
                **self._named(key), **self._object_headers(writer), **headers, Body=content, ContentMD5=_md5(content)
            )

    def _writer_of(self, key: str) -> str | None:
        try:
            with self._problems("s3:GetObject", key):
                facts = self._client.head_object(**self._named(key))
        except _Missing:
            return None
        writer: str | None = facts["Metadata"].get(_WRITER)
        return writer

    def _named(self, key: str, what: str = "Key") -> dict[str, str]:
        return {"Bucket": self._bucket, what: self._prefix + key}

    def _object_headers(self, writer: str = "") -> dict[str, Any]:
        """Of an object as a whole, however it is written."""
        headers: dict[str, Any] = {**self._encryption}
        if writer:
            headers["Metadata"] = {_WRITER: writer}
        if self._object_lock_days is not None:
            headers["ObjectLockMode"] = "GOVERNANCE"
            headers["ObjectLockRetainUntilDate"] = datetime.now(UTC) + timedelta(days=self._object_lock_days)
        return headers

    @contextmanager
    def _problems(self, action: str, key: str) -> Iterator[None]:
        """Tell what boto3 raises as a StoreError. ``action``: what a policy would have to allow."""
        try:
            yield
        except self._errors.ClientError as error:
            raise self._refused(error.response, action, key) from None
        except self._failures as error:
            # Without its text, which may have the endpoint's user and password.
            raise StoreError(f"{self.place}: {self._failure(error)}") from None

    def _refused(self, response: Any, action: str, key: str) -> _Refused:
        status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        code = str(response.get("Error", {}).get("Code", status))
        message = " ".join(str(response.get("Error", {}).get("Message", "")).split())[:500]
        for secret in self._secrets:
            message = message.replace(secret, "...")
        what = f"{action} of {self._prefix}{key}"
        if code in {"NoSuchKey", "404", "NotFound"}:
            return _Missing(code, status, f"{self.place} has no {key}")
        if code == "NoSuchBucket":
            explained = f"there is no bucket {self._bucket}: create it, or correct its name"
        elif code in _REFUSED_CREDENTIALS:
            explained = f"the credentials are refused ({code}) for {what}: renew or correct them"
        elif status == 403:
            explained = f"{what} is denied ({code}: {message}): allow it in the policies of the credentials and bucket"
        elif code in {"PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"}:
            explained = f"the bucket is not in region {self._region} ({code}: {message}): correct the region"
        elif code in _OVERLOADED or (status >= 500 and status != 501):
            explained = f"{what} is still answered by {code} after {self._attempts} attempts: try again later"
        else:
            explained = f"{what} is refused ({code}: {message})"
        return _Refused(code, status, f"{self.place}: {explained}")

    def _failure(self, error: Exception) -> str:
        known = self._errors
        if isinstance(error, known.NoCredentialsError | known.PartialCredentialsError | known.CredentialRetrievalError):
            return "there are no credentials: give the host a role, or set an access key and its secret"
        if isinstance(error, known.SSLError):
            return "its certificate is not trusted: correct the endpoint, or add its authority to the host's"
        # urllib3's own errors come through while a body is read.
        network = (known.HTTPClientError, known.ConnectionError, known.IncompleteReadError, OSError)
        if isinstance(error, network) or type(error).__module__.startswith("urllib3"):
            return (
                f"does not answer after {self._attempts} attempts ({type(error).__name__}): "
                "check the endpoint, and the way to it from here"
            )
        return f"a setting cannot be ({type(error).__name__}): check bucket, prefix, region, endpoint and profile"


class _Refused(StoreError):
    def __init__(self, code: str, status: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.status = status


class _Missing(_Refused):
    """The object is not there."""


class _Parts:
    """An upload: one request when it is small, else parts, of which some are on their way while one is filled."""

    def __init__(self, store: S3Store, key: str, pool: ThreadPoolExecutor) -> None:
        self._store = store
        self._key = key
        self._pool = pool
        self._writer = str(uuid.uuid4())
        self._upload_id: str | None = None
        self._filling = bytearray()
        self._in_flight: deque[Future[dict[str, Any]]] = deque()
        self._sent: list[dict[str, Any]] = []

    def write(self, data: bytes) -> None:
        left = memoryview(data)
        while left:
            room = part_bytes(self._begun) - len(self._filling)
            self._filling += left[:room]
            left = left[room:]
            if len(self._filling) == part_bytes(self._begun):
                self._send()

    def finish(self) -> None:
        if self._upload_id is None:
            self._store._put(self._key, self._filling)
            return
        if self._filling:
            self._send()
        while self._in_flight:
            self._await_one()
        try:
            with self._store._problems("s3:PutObject", self._key):
                self._store._client.complete_multipart_upload(**self._named, MultipartUpload={"Parts": self._sent})
        except _Refused as refusal:
            # It is not there any more when it was completed, and the answer lost.
            if refusal.code != "NoSuchUpload" or self._store._writer_of(self._key) != self._writer:
                raise

    def give_up(self) -> None:
        if self._upload_id is None:
            return
        # What led here is the error to tell; the bucket's lifecycle rule removes the parts.
        with contextlib.suppress(StoreError), self._store._problems("s3:AbortMultipartUpload", self._key):
            self._store._client.abort_multipart_upload(**self._named)

    @property
    def _begun(self) -> int:
        return len(self._sent) + len(self._in_flight)

    @property
    def _named(self) -> dict[str, Any]:
        return {**self._store._named(self._key), "UploadId": self._upload_id}

    def _send(self) -> None:
        store = self._store
        if self._begun == _MOST_PARTS:
            raise StoreError(f"{store.place}: {self._key} is larger than the 5 TiB that an object may have")
        if self._upload_id is None:
            with store._problems("s3:PutObject", self._key):
                answer = store._client.create_multipart_upload(
                    **store._named(self._key), **store._object_headers(self._writer)
                )
            self._upload_id = answer["UploadId"]
        if len(self._in_flight) == _PARTS_IN_FLIGHT:
            self._await_one()
        self._in_flight.append(self._pool.submit(self._send_part, self._begun + 1, self._filling))
        self._filling = bytearray()

    def _send_part(self, number: int, content: bytearray) -> dict[str, Any]:
        with self._store._problems("s3:PutObject", self._key):
            answer = self._store._client.upload_part(
                **self._named, PartNumber=number, Body=content, ContentMD5=_md5(content)
            )
        return {"PartNumber": number, "ETag": answer["ETag"]}

    def _await_one(self) -> None:
        self._sent.append(self._in_flight[0].result())
        self._in_flight.popleft()


class _Download:
    """An object's content. It goes on in another connection when one breaks, unless that one gave nothing either."""

    def __init__(self, store: S3Store, key: str) -> None:
        self._store = store
        self._key = key
        self._answer = self._ask()
        self._size = int(self._answer["ContentLength"])
        self._etag = self._answer["ETag"]
        self._got = 0

    def __iter__(self) -> Iterator[bytes]:
        attempts_left = self._store._attempts
        while self._got < self._size:
            try:
                with self._store._problems("s3:GetObject", self._key):
                    chunk = self._answer["Body"].read(min(_CHUNK_BYTES, self._size - self._got))
            except StoreError:
                chunk = b""
            if chunk:
                attempts_left = self._store._attempts
                self._got += len(chunk)
                yield chunk
                continue
            attempts_left -= 1
            if not attempts_left:
                raise StoreError(
                    f"{self._store.place}: {self._key} ended after {self._got} of {self._size} bytes, "
                    f"{self._store._attempts} times: try again later"
                )
            self.close()
            self._answer = self._ask(IfMatch=self._etag, Range=f"bytes={self._got}-")
            if not str(self._answer.get("ContentRange", "")).startswith(f"bytes {self._got}-"):
                raise StoreError(f"{self._store.place}: the endpoint cannot go on within {self._key}: use another")

    def close(self) -> None:
        self._answer["Body"].close()

    def _ask(self, **headers: str) -> dict[str, Any]:
        try:
            with self._store._problems("s3:GetObject", self._key):
                answer: dict[str, Any] = self._store._client.get_object(**self._store._named(self._key), **headers)
        except _Refused as refusal:
            if refusal.status == 412:
                raise StoreError(f"{self._store.place}: {self._key} was overwritten while it was read") from None
            raise
        return answer


def _md5(content: bytes | bytearray) -> str:
    return base64.b64encode(hashlib.md5(content, usedforsecurity=False).digest()).decode()
