"""Which topologies there are, and how the record of one, in the stack's state, says which it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

REPLICATED = "replicated"
CLUSTER = "cluster"
TOPOLOGIES = (REPLICATED, CLUSTER)


def topology_of(record: Mapping[str, Any]) -> str:
    """One of TOPOLOGIES; a record that does not say is that of a primary, its replicas and Sentinels."""
    return str(record.get("topology", REPLICATED))
