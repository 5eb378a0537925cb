"""Formation of a primary, its replicas and the Sentinels that watch them."""

from .formation import Report, form, preview
from .observation import NodeView, Observation, SentinelView, observe
from .plan import plan
from .target import RETIRED, UNFORMED, ReplicationTarget, SentinelSettings

__all__ = [
    "RETIRED",
    "UNFORMED",
    "NodeView",
    "Observation",
    "ReplicationTarget",
    "Report",
    "SentinelSettings",
    "SentinelView",
    "form",
    "observe",
    "plan",
    "preview",
]
