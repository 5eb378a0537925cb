"""Bad settings are refused at preview, in one clear line each, and nothing is made."""

from __future__ import annotations

from typing import Any

import pytest

from tests.docker.conftest import MakeStack

pytestmark = [pytest.mark.docker, pytest.mark.pulumi]

# What every setting refuses is tested beside the settings; here is how a user gets to see it.
BAD: tuple[tuple[dict[str, Any], str], ...] = (
    ({"sentinels": 4}, "sentinels: 4 is even"),
    ({"quorum": 4}, "quorum: 4 cannot be reached by 3 Sentinel(s)"),
    ({"redis-directives": {"port": 1}}, "port is guarded by the component"),
    ({"replicsa": 2}, "replicsa: unknown setting; did you mean replicas?"),
    ({"replicas": "two"}, "replicas"),
    ({"name": "Cache!"}, "name: 'Cache!'"),
)


def test_refused_at_preview(make_stack: MakeStack) -> None:
    stack = make_stack()
    good = dict(stack.config)
    for settings, line in BAD:
        stack.config = good | settings
        outcome = stack.preview(check=False)
        assert outcome.code != 0, settings
        assert line in outcome.text
        assert "Traceback" not in outcome.text
    outcome = stack.up(check=False)
    assert outcome.code != 0
    assert stack.left_on_the_engine() == []
