"""Whether the members of a cluster are of one mind: the same members, the same owner of every slot, all well."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from .observation import Knowledge, NodeView, Observation


def disagreement(observation: Observation) -> list[str]:
    """Why the members of the target are not yet, or no longer, of one mind; empty when they are.

    All of them know each other and see each other well, with the same owner of every slot, and all serve.
    """
    nodes = [node for node in observation.nodes if node.reachable]
    ids = {node.node_id: node for node in nodes}
    lines = []
    reference = nodes[0].knows.owners if nodes else ()
    opinions: dict[int, str] = {}
    for node in nodes:
        if id(node.knows) not in opinions:
            opinions[id(node.knows)] = _opinion(node.knows, ids, reference)
        if opinions[id(node.knows)]:
            lines.append(f"{node.name}: {opinions[id(node.knows)]}")
        elif node.unconnected & ids.keys():
            count = len(node.unconnected & ids.keys())
            lines.append(f"{node.name}: has no link to {count} of {len(nodes) - 1} other members")
        elif not node.state_ok:
            lines.append(f"{node.name}: cluster_state is not ok yet")
    return lines


def _opinion(knowledge: Knowledge, ids: Mapping[str, NodeView], reference: object) -> str:
    unknown = ids.keys() - knowledge.ids
    if unknown:
        return f"does not know {len(unknown)} of {len(ids)} members yet"
    if knowledge.owners != reference:
        return "does not see the same owners of all slots as the others yet"
    for node_id, node in ids.items():
        known = knowledge.nodes[node_id]
        if known.failing:
            return f"takes {node.name} for down"
        if known.primary_id != node.primary_id:
            return f"does not know yet whom {node.name} replicates"
    return ""


def unfinished(observation: Observation) -> list[str]:
    """What is left when everything is done: hostnames that are not known yet, nodes that come or go."""
    lines = []
    ids = {node.node_id: node for node in observation.nodes}
    told: dict[int, str] = {}
    for node in observation.nodes:
        if id(node.knows) not in told:
            told[id(node.knows)] = _strangers_or_addresses(node.knows, ids)
        if told[id(node.knows)]:
            lines.append(f"{node.name}: {told[id(node.knows)]}")
    epochs = Counter(node.epoch for node in observation.nodes if node.slots)
    lines += [
        f"{node.name}: shares its configuration epoch with another primary"
        for node in observation.nodes
        if node.slots and epochs[node.epoch] > 1
    ]
    return lines


def _strangers_or_addresses(knowledge: Knowledge, ids: Mapping[str, NodeView]) -> str:
    others = len(knowledge.nodes) - len(ids)
    if others:
        return f"knows {others} nodes that are not, or not yet, members"
    for node_id, node in ids.items():
        if knowledge.nodes[node_id].address != node.address:
            return f"does not know yet that {node.name} is at {node.address}"
    return ""
