"""Formation of a cluster: shards of a primary and its replicas that share the slots among them."""

from .formation import Report, form, preview
from .observation import NodeView, Observation, observe
from .plan import plan
from .target import ClusterTarget, Shard

__all__ = [
    "ClusterTarget",
    "NodeView",
    "Observation",
    "Report",
    "Shard",
    "form",
    "observe",
    "plan",
    "preview",
]
