"""Which tests may run side by side (pytest-xdist, --dist loadgroup)."""

from __future__ import annotations

from pathlib import Path

import pytest

_TESTS = Path(__file__).parent
# Their tests share a deployment, or the engine's list of what is there.
_ONE_AFTER_THE_OTHER = {"airgap", "docker", "host"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The tests of one file, and of the folders above, run one after the other."""
    for item in items:
        folder = item.path.relative_to(_TESTS).parts[0]
        item.add_marker(pytest.mark.xdist_group(folder if folder in _ONE_AFTER_THE_OTHER else str(item.path)))
