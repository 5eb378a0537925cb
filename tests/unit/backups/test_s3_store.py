from __future__ import annotations

import base64
import hashlib
import os
import re
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from typing import Any, NoReturn

import boto3
import pytest
from moto.server import ThreadedMotoServer

from components.backups import s3_store
from components.backups.catalog import Catalog
from components.backups.errors import AlreadyThere, StoreError
from components.backups.s3_store import S3Store, part_bytes
from components.backups.store import Store
from tests.unit.backups.endpoints import Answer, Request, endpoint, refusal

SECRET = "canary-secret-access-key"
MIB = 1 << 20


@pytest.fixture(scope="module")
def moto_url() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_") or name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The least that S3 takes, so that uploads of a few MiB have several."""
    monkeypatch.setattr(s3_store, "part_bytes", lambda _: 5 * MIB)


def store_at(url: str, bucket: str = "backups", prefix: str = "kept/here/", **settings: Any) -> S3Store:
    settings = {"attempts": 2, "timeout_seconds": 10, **settings}
    return S3Store(
        bucket, prefix, region="eu-central-1", endpoint_url=url,
        access_key_id="AKIACANARY", secret_access_key=SECRET, **settings,
    )  # fmt: skip


@pytest.fixture
def client(moto_url: str) -> Iterator[Any]:
    client = boto3.client(
        "s3", region_name="eu-central-1", endpoint_url=moto_url, aws_access_key_id="a", aws_secret_access_key="b"
    )
    client.create_bucket(Bucket="backups", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    yield client
    for each in client.list_multipart_uploads(Bucket="backups").get("Uploads", ()):
        client.abort_multipart_upload(Bucket="backups", Key=each["Key"], UploadId=each["UploadId"])
    for page in client.get_paginator("list_objects_v2").paginate(Bucket="backups"):
        for each in page.get("Contents", ()):
            client.delete_object(Bucket="backups", Key=each["Key"])
    client.delete_bucket(Bucket="backups")
    client.close()


@pytest.fixture
def store(client: Any, moto_url: str) -> Store:
    return store_at(moto_url)


def content(store: Store, key: str) -> bytes:
    with store.read(key) as chunks:
        return b"".join(chunks)


def keys(store: Store, prefix: str = "") -> list[str]:
    return [entry.key for entry in store.entries(prefix)]


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("size", [0, 1, 5 * MIB - 1, 5 * MIB, 5 * MIB + 1, 10 * MIB, 22 * MIB])
def test_what_was_uploaded_is_read_back(store: Store, client: Any, size: int) -> None:
    data = os.urandom(size)
    with store.upload("cache/one/redis.rdb") as upload:
        for begin in range(0, size, 3 * MIB):
            upload.write(data[begin : begin + 3 * MIB])
        assert keys(store) == []
    assert content(store, "cache/one/redis.rdb") == data
    assert store.get("cache/one/redis.rdb") == data
    (entry,) = store.entries()
    assert (entry.key, entry.size) == ("cache/one/redis.rdb", size)
    assert [each["Key"] for each in client.list_objects_v2(Bucket="backups")["Contents"]] == [
        "kept/here/cache/one/redis.rdb"
    ]
    assert "Uploads" not in client.list_multipart_uploads(Bucket="backups")


def test_ten_thousand_parts_are_enough_and_memory_stays_small() -> None:
    assert sum(part_bytes(number) for number in range(10_000)) >= 5 << 40
    assert part_bytes(9_999) <= 5 << 30
    reached = list(accumulate(part_bytes(number) for number in range(10_000)))
    assert all(part_bytes(number) == 8 * MIB for number, end in enumerate(reached) if end <= 15 << 30)


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt, ConnectionResetError])
def test_an_upload_that_fails_leaves_nothing(store: Store, client: Any, failure: type[BaseException]) -> None:
    def fail() -> NoReturn:
        with store.upload("cache/one/redis.rdb") as upload:
            upload.write(bytes(12 * MIB))
            assert client.list_multipart_uploads(Bucket="backups")["Uploads"]
            raise failure("as it was")

    store.put("cache/one/redis.rdb", b"earlier")
    with pytest.raises(failure, match="as it was"):
        fail()
    assert "Uploads" not in client.list_multipart_uploads(Bucket="backups")
    assert store.get("cache/one/redis.rdb") == b"earlier"


def test_put_replaces_unless_told_otherwise(store: Store) -> None:
    store.put("a/b", b"1", only_if_absent=True)
    store.put("a/b", b"2")
    with pytest.raises(AlreadyThere, match=r"s3://backups/kept/here at 127\.0\.0\.1:\d+ has a/b already"):
        store.put("a/b", b"3", only_if_absent=True)
    assert store.get("a/b") == b"2"


def test_claims(store: Store) -> None:
    catalog = Catalog(store, "cache")
    tick = "2026-11-26T03-00-00Z"
    claim = catalog.claim(tick, "host-1", 60, now=1000)
    assert claim is not None
    assert catalog.claim(tick, "host-2", 60, now=1001) is None
    assert claim.renew(60, now=1030)
    second = catalog.claim(tick, "host-2", 60, now=1090)
    assert second is not None
    assert second.number == 2
    assert not claim.is_held(1031)


def test_entries_in_pages(client: Any, moto_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["a/b", "a-b", "a/c d", "a/é+&", "B"]
    store = store_at(moto_url)
    for name in names:
        store.put(name, b"12")
    client.put_object(Bucket="backups", Key="kept/elsewhere", Body=b"")
    paginate = store._client.get_paginator("list_objects_v2").paginate
    monkeypatch.setattr(store._client, "get_paginator", lambda _: PagesOfTwo(paginate))
    assert keys(store) == sorted(names, key=str.encode)
    assert keys(store, "a/") == ["a/b", "a/c d", "a/é+&"]
    entry = next(store.entries("B"))
    assert entry.size == 2
    assert abs(datetime.fromtimestamp(entry.modified_at, UTC) - datetime.now(UTC)) < timedelta(hours=1)


class PagesOfTwo:
    def __init__(self, paginate: Any) -> None:
        self._paginate = paginate

    def paginate(self, **arguments: Any) -> Any:
        return self._paginate(**arguments, PaginationConfig={"PageSize": 2})


def test_without_a_prefix(client: Any, moto_url: str) -> None:
    store = store_at(moto_url, prefix="")
    store.put("a", b"")
    assert keys(store) == ["a"]
    assert store.place.startswith("s3://backups at ")


def test_deleting(store: Store) -> None:
    for key in ("a", "b"):
        store.put(key, b"")
    store.delete(["a", "never"])
    assert keys(store) == ["b"]


def test_what_is_not_there(store: Store) -> None:
    assert store.get("a") is None
    with pytest.raises(StoreError, match="has no a/b"), store.read("a/b"):
        pass


def test_no_such_bucket(moto_url: str) -> None:
    store = store_at(moto_url, bucket="none")
    for action in (
        lambda: store.put("a", b""), lambda: store.get("a"), lambda: list(store.entries()), lambda: store.delete(["a"]),
    ):  # fmt: skip
        with pytest.raises(StoreError, match="there is no bucket none: create it, or correct its name"):
            action()


@pytest.mark.usefixtures("small_parts")
def test_encryption_by_s3(client: Any, moto_url: str) -> None:
    store = store_at(moto_url, kms_key_id="alias/backups")
    store.put("small", b"1")
    with store.upload("large") as upload:
        upload.write(bytes(6 * MIB))
    for key in ("small", "large"):
        facts = client.head_object(Bucket="backups", Key=f"kept/here/{key}")
        assert facts["ServerSideEncryption"] == "aws:kms"
        assert facts["SSEKMSKeyId"].endswith("alias/backups")


@pytest.mark.usefixtures("small_parts")
def test_object_lock() -> None:
    def answer(request: Request) -> Answer:
        if request.method == "POST" and request.path.endswith("uploads"):
            return Answer(body=b"<r><UploadId>1</UploadId></r>")
        if request.method == "POST":
            return Answer(body=b"<r><ETag>x</ETag></r>")
        return Answer(headers={"ETag": '"x"'})

    with endpoint(answer) as there:
        store = store_at(there.url, object_lock_days=30)
        store.put("small", b"1")
        with store.upload("large") as upload:
            upload.write(bytes(6 * MIB))
    small, create, *parts, _complete = there.asked
    for request in (small, create):
        assert request.headers["x-amz-object-lock-mode"] == "GOVERNANCE"
        until = datetime.fromisoformat(request.headers["x-amz-object-lock-retain-until-date"])
        assert timedelta(days=29) < until - datetime.now(UTC) <= timedelta(days=30)
    for request in (small, *parts):
        assert request.headers["content-md5"] == base64.b64encode(hashlib.md5(request.body).digest()).decode()  # noqa: S324
        assert "x-amz-trailer" not in request.headers
        assert "aws-chunked" not in request.headers.get("content-encoding", "")
    assert [len(part.body) for part in sorted(parts, key=lambda part: part.path)] == [5 * MIB, MIB]


@pytest.mark.usefixtures("small_parts")
def test_at_most_two_parts_are_on_their_way() -> None:
    """A part that does not go through holds back whoever writes."""
    go_on = threading.Event()
    begun: list[str] = []
    two_begun = threading.Event()

    def answer(request: Request) -> Answer:
        if request.method == "POST":
            return Answer(body=b"<r><UploadId>1</UploadId><ETag>x</ETag></r>")
        begun.append(request.path)
        if len(begun) == 2:
            two_begun.set()
        go_on.wait()
        return Answer(headers={"ETag": '"x"'})

    written: list[int] = []

    def write() -> None:
        with store_at(there.url).upload("large") as upload:
            for _ in range(4):
                upload.write(bytes(5 * MIB))
                written.append(1)

    with endpoint(answer) as there:
        writer = threading.Thread(target=write)
        writer.start()
        assert two_begun.wait(60)
        assert len(begun) == 2
        assert len(written) <= 2
        go_on.set()
        writer.join()
    assert len(written) == len(begun) == 4


def refused_everywhere(store: S3Store) -> list[str]:
    """What each operation fails with."""

    def upload() -> None:
        with store.upload("cache/one/redis.rdb") as upload:
            upload.write(bytes(6 * MIB))

    def read() -> None:
        with store.read("cache/one/redis.rdb"):
            pass

    messages = []
    for action in (
        lambda: store.put("cache/one/redis.rdb", b"1"),
        lambda: store.put("cache/one/redis.rdb", b"1", only_if_absent=True),
        lambda: store.get("cache/one/redis.rdb"), lambda: list(store.entries("cache/one/redis.rdb")),
        lambda: store.delete(["cache/one/redis.rdb"]), upload, read,
    ):  # fmt: skip
        with pytest.raises(StoreError) as error:
            action()
        messages.append(str(error.value))
    for message in messages:
        assert message.startswith("s3://backups/kept/here at 127.0.0.1:")
        assert "\n" not in message
        assert SECRET not in message
    return messages


@pytest.mark.usefixtures("small_parts")
def test_denied_tells_action_and_key() -> None:
    denied = refusal(403, "AccessDenied", f"User: arn:aws:iam::1:user/a\n may not, having {SECRET}")
    with endpoint(lambda _: denied) as there:
        messages = refused_everywhere(store_at(there.url))
    actions = "PutObject PutObject GetObject ListBucket DeleteObject PutObject GetObject".split()
    for action, message in zip(actions, messages, strict=True):
        assert f"s3:{action} of kept/here/cache/one/redis.rdb is denied (AccessDenied: User: arn:aws:iam::1" in message


@pytest.mark.usefixtures("small_parts")
def test_an_endpoint_that_is_overloaded() -> None:
    with endpoint(lambda _: refusal(503, "SlowDown")) as there:
        store = store_at(there.url)
        for message in refused_everywhere(store):
            assert "is still answered by SlowDown after 2 attempts: try again later" in message
    assert len(there.asked) == 2 * 7


def test_an_endpoint_that_hangs() -> None:
    def answer(_: Request) -> None:
        there.over.wait()

    with endpoint(answer) as there:
        store = store_at(there.url, timeout_seconds=0.1)
        for action in (lambda: store.put("a", b""), lambda: store.get("a"), lambda: list(store.entries())):
            with pytest.raises(StoreError, match="does not answer after 2 attempts") as error:
                action()
            assert store.place in str(error.value)


def test_an_endpoint_that_hangs_up_and_one_that_is_not_there() -> None:
    with endpoint(lambda _: None) as there, pytest.raises(StoreError, match="does not answer after 2 attempts"):
        store_at(there.url).put("a", b"")
    with pytest.raises(StoreError, match="does not answer after 2 attempts"):
        store_at(there.url).put("a", b"")


def test_a_user_and_password_in_the_endpoint_are_not_told() -> None:
    store = store_at(f"http://someone:{SECRET}@127.0.0.1:1")
    with pytest.raises(StoreError) as error:
        store.put("a", b"")
    assert store.place == "s3://backups/kept/here at 127.0.0.1:1"
    assert SECRET not in str(error.value)
    assert error.value.__cause__ is None
    assert error.value.__suppress_context__


@pytest.mark.parametrize("code", ["InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken"])
def test_credentials_that_are_refused(code: str) -> None:
    with (
        endpoint(lambda _: refusal(403, code)) as there,
        pytest.raises(StoreError, match=f"the credentials are refused \\({code}\\)"),
    ):
        store_at(there.url).put("a", b"")


def test_no_credentials() -> None:
    with pytest.raises(StoreError, match="there are no credentials"):
        S3Store("backups", region="eu-central-1").put("a", b"")


@pytest.mark.parametrize("settings", [{"endpoint_url": "no address"}, {"region": "no region"}])
def test_settings_that_cannot_be(settings: dict[str, Any]) -> None:
    settings = {"region": "eu-central-1", "access_key_id": "a", "secret_access_key": "b", **settings}
    with pytest.raises(StoreError, match=r"s3://backups.*: a setting cannot be"):
        S3Store("backups", **settings).put("a", b"")


@pytest.mark.usefixtures("small_parts")
def test_a_part_that_is_refused_ends_the_upload() -> None:
    def answer(request: Request) -> Answer:
        if request.method == "POST":
            return Answer(body=b"<r><UploadId>7</UploadId></r>")
        return Answer(204) if request.method == "DELETE" else refusal(403, "AccessDenied")

    def upload() -> None:
        with store_at(there.url).upload("large") as upload:
            for _ in range(100):
                upload.write(bytes(5 * MIB))

    with endpoint(answer) as there, pytest.raises(StoreError, match="s3:PutObject of kept/here/large is denied"):
        upload()
    assert [request.path for request in there.asked if request.method == "DELETE"] == [
        "/backups/kept/here/large?uploadId=7"
    ]
    assert len(there.asked) < 10


@pytest.mark.parametrize("status", [409, 412])
def test_somebody_else_was_first(status: int) -> None:
    def answer(request: Request) -> Answer:
        return Answer() if request.method == "HEAD" else refusal(status, "Conditional")

    with endpoint(answer) as there, pytest.raises(AlreadyThere):
        store_at(there.url).put("claim", b"1", only_if_absent=True)
    assert there.asked[0].headers["if-none-match"] == "*"


def test_a_conflict_may_leave_nothing_there() -> None:
    answers = iter([refusal(409, "ConditionalRequestConflict"), Answer(404), Answer()])
    with endpoint(lambda _: next(answers)) as there:
        store_at(there.url).put("claim", b"1", only_if_absent=True)
    assert [request.method for request in there.asked] == ["PUT", "HEAD", "PUT"]


def test_being_first_when_the_answer_was_lost() -> None:
    """The second attempt finds what the first one wrote."""
    writers: list[str] = []

    def answer(request: Request) -> Answer | None:
        if request.method == "HEAD":
            return Answer(headers={"x-amz-meta-written-by": writers[0]})
        writers.append(request.headers["x-amz-meta-written-by"])
        return None if len(writers) == 1 else refusal(412, "PreconditionFailed")

    with endpoint(answer) as there:
        store_at(there.url).put("claim", b"1", only_if_absent=True)
    assert len(writers) == 2


def test_an_endpoint_without_conditional_writes() -> None:
    with (
        endpoint(lambda _: refusal(501, "NotImplemented")) as there,
        pytest.raises(StoreError, match="knows no conditional writes"),
    ):
        store_at(there.url).put("claim", b"1", only_if_absent=True)


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("ours", [True, False])
def test_an_upload_that_was_completed_when_the_answer_was_lost(ours: bool) -> None:
    writers: list[str] = []
    completions: list[Request] = []

    def answer(request: Request) -> Answer | None:
        if request.method == "POST" and request.path.endswith("uploads"):
            writers.append(request.headers["x-amz-meta-written-by"])
            return Answer(body=b"<r><UploadId>1</UploadId></r>")
        if request.method == "POST":
            completions.append(request)
            return None if len(completions) == 1 else refusal(404, "NoSuchUpload")
        return Answer(headers={"ETag": '"x"', "x-amz-meta-written-by": writers[0] if ours else "another"})

    def upload() -> None:
        with store_at(there.url).upload("large") as upload:
            upload.write(bytes(6 * MIB))

    with endpoint(answer) as there:
        if ours:
            upload()
        else:
            with pytest.raises(StoreError, match="NoSuchUpload"):
                upload()
    assert len(completions) == 2


class Cutting:
    """An object of which each connection gives so many bytes; without any it never ends."""

    def __init__(self, data: bytes, gives: int, etag: str = '"1"') -> None:
        self.data = data
        self.gives = gives
        self.etag = etag
        self.ranges = True

    def __call__(self, request: Request) -> Answer:
        begin = int(re.sub(r"\D", "", request.headers.get("range", "0")) if self.ranges else 0)
        if request.headers.get("if-match", self.etag) != self.etag:
            return refusal(412, "PreconditionFailed")
        headers = {"ETag": self.etag}
        if begin:
            headers["Content-Range"] = f"bytes {begin}-{len(self.data) - 1}/{len(self.data)}"
        length = len(self.data) - begin
        return Answer(206 if begin else 200, self.data[begin : begin + self.gives], headers, length)


def test_a_download_goes_on_where_it_was_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3_store, "_CHUNK_BYTES", 1000)
    data = os.urandom(10_000)
    with endpoint(Cutting(data, 2500)) as there:
        assert content(store_at(there.url), "a") == data
    assert len(there.asked) >= 4


def test_a_download_that_gets_nowhere_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3_store, "_CHUNK_BYTES", 1000)
    cutting = Cutting(os.urandom(10_000), 2500)
    with endpoint(cutting) as there, store_at(there.url).read("a") as chunks:
        got = next(chunks)
        cutting.gives = 0
        with pytest.raises(StoreError, match=r"a ended after \d+ of 10000 bytes, 2 times"):
            got += b"".join(chunks)


def test_what_changes_while_it_is_read_is_not_mixed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3_store, "_CHUNK_BYTES", 1000)
    cutting = Cutting(os.urandom(10_000), 2500)
    with endpoint(cutting) as there, store_at(there.url).read("a") as chunks:
        next(chunks)
        cutting.etag = '"2"'
        with pytest.raises(StoreError, match="a was overwritten while it was read"):
            list(chunks)


def test_an_endpoint_that_begins_anew_is_not_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3_store, "_CHUNK_BYTES", 1000)
    cutting = Cutting(os.urandom(10_000), 2500)
    cutting.ranges = False
    wanted = pytest.raises(StoreError, match="the endpoint cannot go on within a")
    with endpoint(cutting) as there, store_at(there.url).read("a") as chunks, wanted:
        list(chunks)
