"""Which tests may run side by side (pytest-xdist, --dist loadgroup)."""

from __future__ import annotations

from pathlib import Path

import pytest

_TESTS = Path(__file__).parent
_ON_THE_ENGINE = {"airgap", "docker", "host"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The tests of one file, and all that start containers (work for the whole machine), run one after the other."""
    for item in items:
        folder = item.path.relative_to(_TESTS).parts[0]
        item.add_marker(pytest.mark.xdist_group("engine" if folder in _ON_THE_ENGINE else str(item.path)))
