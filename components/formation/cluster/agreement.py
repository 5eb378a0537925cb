"""Whether the members of a cluster are of one mind: the same members, the same owner of every slot, all well."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping

from .observation import Knowledge, NodeView, Observation

_NAMED_AT_MOST = 3


def disagreement(observation: Observation) -> list[str]:
    """Why the members are not yet, or no longer, of one mind; empty when they are.

    All that stay, and those that leave as long as they have slots, know each other and see each other well, with the
    same owner of every slot, and all serve.
    """
    nodes = [node for node in observation.nodes if node.reachable]
    nodes += [node for node in observation.leaving if node.slots]
    ids = {node.node_id: node for node in nodes}
    reference = nodes[0].knows.owners if nodes else ()
    opinions: dict[int, str] = {}
    said: dict[str, list[str]] = defaultdict(list)
    for node in nodes:
        if id(node.knows) not in opinions:
            opinions[id(node.knows)] = _opinion(node.knows, ids, reference)
        if opinions[id(node.knows)]:
            said[opinions[id(node.knows)]].append(node.name)
        elif node.unconnected & ids.keys():
            said[f"no link to {len(node.unconnected & ids.keys())} of {len(nodes) - 1} other members"].append(node.name)
        elif not node.state_ok:
            said["cluster_state is not ok yet"].append(node.name)
    return [f"{_names(names)}: {opinion}" for opinion, names in said.items()]


def _names(names: list[str]) -> str:
    return ", ".join(names) if len(names) <= _NAMED_AT_MOST else f"{names[0]} and {len(names) - 1} others"


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
