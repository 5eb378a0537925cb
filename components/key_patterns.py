"""Keys that match an ACL's patterns."""

from __future__ import annotations

import re


def key_within(pattern: str, name: str) -> str:
    """A key that matches an ACL key pattern (``*``, ``?``, ``[...]``), called ``name`` where that leaves a choice."""
    key = re.sub(r"\[\^?(.)[^]]*\]", r"\1", pattern).replace("?", "x")
    return key.replace("*", name, 1).replace("*", "")
