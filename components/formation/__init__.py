"""Formation: reads the live topology of a deployment, plans the smallest safe change, applies and verifies it."""

from .errors import FormationError, FormationRefused, FormationTimeout, HandOverFailed, NodeUnreachable
from .formation import Report, form, preview
from .observation import NodeView, Observation, SentinelView, observe
from .plan import Plan, plan
from .topology import RETIRED, UNFORMED, Access, Address, Member, ReplicationTarget, SentinelSettings

__all__ = [
    "RETIRED",
    "UNFORMED",
    "Access",
    "Address",
    "FormationError",
    "FormationRefused",
    "FormationTimeout",
    "HandOverFailed",
    "Member",
    "NodeUnreachable",
    "NodeView",
    "Observation",
    "Plan",
    "ReplicationTarget",
    "Report",
    "SentinelSettings",
    "SentinelView",
    "form",
    "observe",
    "plan",
    "preview",
]
