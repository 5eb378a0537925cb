"""Formation: reads the live topology of a deployment, plans the smallest safe change, applies and verifies it.

What is particular to a topology is in a package of its own; here is what they share.
"""

from .errors import FormationError, FormationRefused, FormationTimeout, HandOverFailed, NodeUnreachable
from .members import Access, Address, Member
from .steps import Plan, Step

__all__ = [
    "Access",
    "Address",
    "FormationError",
    "FormationRefused",
    "FormationTimeout",
    "HandOverFailed",
    "Member",
    "NodeUnreachable",
    "Plan",
    "Step",
]
