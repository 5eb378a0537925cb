"""Stores that behave, for tests of what uses one."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.backups.folder_store import FolderStore


@pytest.fixture
def folder_store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "store")
