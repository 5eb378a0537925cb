from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from components.backups.errors import StoreError
from components.backups.folder_store import FolderStore
from components.backups.s3_store import S3Store
from components.backups.stores import store_of


def test_a_folder(tmp_path: Path) -> None:
    store = store_of({"kind": "folder", "folder": str(tmp_path)})
    assert isinstance(store, FolderStore)
    assert store.place == str(tmp_path)


def test_s3() -> None:
    store = store_of({"kind": "s3", "bucket": "b", "prefix": "p", "region": "eu-central-1", "endpoint_url": None})
    assert isinstance(store, S3Store)
    assert store.place == "s3://b/p"
    settings = {"kms_key_id": "k", "object_lock_days": 1, "access_key_id": "a", "secret_access_key": "s"}
    assert store_of({"kind": "s3", "bucket": "b", "endpoint_url": "https://s3.example:9000", **settings}).place == (
        "s3://b at s3.example:9000"
    )


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({}, "kind is None: it must be folder or s3"),
        ({"kind": "ftp"}, "kind is 'ftp': it must be folder or s3"),
        ({"kind": "folder"}, "folder: folder is missing"),
        ({"kind": "folder", "folder": "/a", "bucket": "b"}, "there is no setting bucket: it has folder"),
        ({"kind": "s3", "region": "r"}, "bucket is missing"),
        ({"kind": "s3", "bucket": "b", "secret": "canary"}, "there is no setting secret: it has access_key_id, bucket"),
        ({"kind": "s3", "bucket": "b", "secret_access_key": "canary"}, "go together"),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, Any], reason: str) -> None:
    with pytest.raises(StoreError) as error:
        store_of(settings)
    assert reason in str(error.value)
    assert "canary" not in str(error.value)
    assert "\n" not in str(error.value)


def test_a_folder_needs_no_boto3() -> None:
    script = """
import sys
sys.modules["boto3"] = None
from components.backups.errors import StoreError
from components.backups.stores import store_of
store_of({"kind": "folder", "folder": "/"})
try:
    store_of({"kind": "s3", "bucket": "b"})
except StoreError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert done.stdout == "s3://b: boto3 is missing: install requirements-aws.txt\n"
