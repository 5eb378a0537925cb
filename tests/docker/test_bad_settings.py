"""Bad settings are refused at preview, in one clear line each, and nothing is made."""

from __future__ import annotations

from typing import Any

import pytest

from tests.docker.conftest import MakeStack
from tests.docker.stack import PulumiStack

pytestmark = [pytest.mark.docker, pytest.mark.pulumi]

Bad = tuple[tuple[dict[str, Any], str], ...]

# What every setting refuses is tested beside the settings; here is how a user gets to see it.
BAD: Bad = (
    ({"sentinels": 4}, "sentinels: 4 is even"),
    ({"replicsa": 2}, "replicsa: unknown setting; did you mean replicas?"),
)
MORE: Bad = (
    ({"quorum": 4}, "quorum: 4 cannot be reached by 3 Sentinel(s)"),
    ({"redis-directives": {"port": 1}}, "port is guarded by the component"),
    ({"replicas": "two"}, "replicas"),
    ({"name": "Cache!"}, "name: 'Cache!'"),
)


@pytest.mark.parametrize("bad", [pytest.param(BAD, id="some"), pytest.param(MORE, id="more", marks=pytest.mark.long)])
def test_refused_at_preview(make_stack: MakeStack, bad: Bad) -> None:
    assert_refused_at_preview(make_stack(), bad)


def assert_refused_at_preview(stack: PulumiStack, bad: Bad) -> None:
    """One clear line for each, and nothing on the engine, not even after an `up`."""
    good = dict(stack.config)
    for settings, line in bad:
        stack.config = good | settings
        outcome = stack.preview(check=False)
        assert outcome.code != 0, settings
        assert line in outcome.text
        assert "Traceback" not in outcome.text
    outcome = stack.up(check=False)
    assert outcome.code != 0
    assert stack.left_on_the_engine() == []
