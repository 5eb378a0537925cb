"""The look-alike of AWS for the tests of this folder: started once, and removed without a trace."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.airgap.aws_cloud import launcher


@pytest.fixture(scope="module")
def is_ours() -> Iterator[bool]:
    """The look-alike runs. Whether the tests started it: one that ran already is used and left as it is."""
    with launcher.running() as ours:
        yield ours
