"""Stores that behave, for tests of what uses one."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings

from components.backups.folder_store import FolderStore

# How long an example takes says something about the machine only.
settings.register_profile("without deadline", deadline=None)
settings.load_profile("without deadline")


@pytest.fixture
def folder_store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "store")
