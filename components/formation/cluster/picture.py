"""What was observed of a cluster, arranged for the plan: whose ids these are, who belongs together, what is open."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

from .observation import PRIMARY, Knowledge, KnownNode, NodeView, Observation, Ranges, slots_of
from .slots import SLOT_COUNT
from .steps import slots_in_words
from .target import ClusterTarget


class Picture:
    """What was observed, arranged for the questions that the plan asks."""

    def __init__(self, target: ClusterTarget, observation: Observation) -> None:
        self.target = target
        self.observation = observation
        self.by_id = observation.by_id
        self.nodes = observation.nodes
        self.everybody_answers = all(node.reachable and not node.loading for node in observation.nodes)
        self._leaving = {node.name for node in observation.leaving}
        #: ids that no member answers to -> how each is known: of members that do not answer, former ones, and strangers
        self.silent: dict[str, NodeView] = {}
        self.former: dict[str, KnownNode] = {}
        self.strangers: dict[str, tuple[KnownNode, str]] = {}
        places = _Places(observation)
        for knowledge in observation.knowledge:
            for node_id in knowledge.ids - self.by_id.keys():
                known = knowledge.nodes[node_id]
                member = places.member_at(known)
                if member is not None and not member.reachable:
                    self.silent[node_id] = member
                elif member is not None or "noaddr" in known.flags:
                    self.former[node_id] = _worst(self.former.get(node_id), known)
                else:
                    before, _ = self.strangers.get(node_id, (None, ""))
                    self.strangers[node_id] = _worst(before, known), places.who_knows(knowledge)
        for node_id in [*self.former]:
            self.silent.pop(node_id, None)
            self.strangers.pop(node_id, None)
        #: who has slots, by its own account, or if it does not answer, by that of others -> these slots
        self.owners: dict[str, tuple[int, ...]] = {}
        claims: dict[str, set[Ranges]] = defaultdict(set)
        for knowledge in observation.knowledge:
            for ranges, node_id in knowledge.owners:
                if node_id not in self.by_id:
                    claims[node_id].add(ranges)
        for node in observation.every_node:
            if node.slots:
                claims[node.node_id].add(node.slots)
        for node_id, several in claims.items():
            self.owners[node_id] = tuple(sorted({slot for ranges in several for slot in slots_of(ranges)}))
        self.followers: dict[str, list[NodeView]] = defaultdict(list)
        for node in observation.every_node:
            if node.reachable and node.primary_id:
                self.followers[node.primary_id].append(node)

    def leaves(self, node: NodeView) -> bool:
        """Whether a member is no part of the target any more."""
        return node.name in self._leaving

    def name_of(self, node_id: str) -> str:
        """What to call a node of which only the id may be known."""
        node = self.by_id.get(node_id) or self.silent.get(node_id)
        if node is not None:
            return node.name
        known = self.former.get(node_id) or self.strangers.get(node_id, (None,))[0]
        place = f" at {known.address}" if known is not None and known.address.port else ""
        return f"the former node {node_id[:8]}{place}"


class _Places:
    """Which member is, or should be, where a node is known to be."""

    def __init__(self, observation: Observation) -> None:
        every = observation.every_node
        self._at = {(node.address.host, node.address.port): node for node in every}
        # A node whose hostname has not got around yet is known by its IP address.
        self._at.update({(node.ip, node.address.port): node for node in every if node.ip})
        silent = [node for node in every if not node.reachable]
        self._silent_on_host = {node.address.host: node for node in silent}
        self._silent_on_port = {node.address.port: node for node in silent}
        self._names: dict[int, str] = {}
        for node in every:
            self._names.setdefault(id(node.knows), node.name)

    def member_at(self, known: KnownNode) -> NodeView | None:
        """The member that answers at the address of a node, or one that does not answer and may be that node."""
        if "noaddr" in known.flags:
            # Another node answered at its address, of which only the hostname is left.
            return self._silent_on_host.get(known.address.host)
        member = self._at.get((known.address.host, known.address.port))
        return self._silent_on_port.get(known.address.port) if member is None and known.ip else member

    def who_knows(self, knowledge: Knowledge) -> str:
        """The name of the first member with this knowledge."""
        return self._names[id(knowledge)]


def _worst(one: KnownNode | None, other: KnownNode) -> KnownNode:
    """Of two opinions about a node, one with all flags and slots of both."""
    if one is None:
        return other
    return replace(other, flags=one.flags | other.flags, slots=one.slots or other.slots)


# --- who belongs together --------------------------------------------------------------------------------------------


def not_of_this_cluster(picture: Picture) -> list[str]:
    """Members that are no cluster nodes, or that know nodes of another cluster."""
    refusals = [
        f"{node.name}: runs without cluster-enabled yes: start it with it"
        for node in picture.observation.every_node
        if not node.cluster_enabled
    ]
    for node_id, (known, by) in picture.strangers.items():
        if not known.failing:
            refusals.append(
                f"{by}: knows {known.address} ({node_id[:8]}), which is no member of this deployment: if it is another "
                f"cluster's node, take {by} out of that cluster (CLUSTER RESET HARD); if it is a stray one, stop it"
            )
    return refusals


def several_clusters(picture: Picture) -> list[str]:
    """Members that belong to clusters which both hold something, or that hold keys outside of any cluster."""
    refusals: list[str] = []
    holding: list[NodeView] = []
    claimed_by: list[NodeView | None] = [None] * SLOT_COUNT
    for part in _parts(picture):
        owned = {slot for node in part for slot in picture.owners.get(node.node_id, ())}
        holders = [node for node in part if node.role == PRIMARY and node.keys]
        if holders and not owned and not any(node.keys_in_unclaimed for node in holders):
            keys = ", ".join(f"{node.name} ({node.keys} keys)" for node in holders)
            refusals.append(
                f"{keys}: holds keys but belongs to no cluster, and joining could delete them: save them and empty it "
                f"(FLUSHALL), or start it without its data"
            )
        elif holders:
            holding.append(part[0])
        overlapping = {other.name: other for slot in owned if (other := claimed_by[slot]) is not None}
        if overlapping:
            holding += [*overlapping.values(), part[0]]
        for slot in owned:
            claimed_by[slot] = part[0]
    names = list(dict.fromkeys(node.name for node in holding))
    if len(names) > 1:
        refusals.append(
            f"{' and '.join(names)}: belong to different clusters that both hold slots or keys: they are never merged; "
            f"take the nodes that do not belong here out of the deployment"
        )
    return refusals


def _parts(picture: Picture) -> list[list[NodeView]]:
    """The members that answer, in groups that know each other, directly or through others."""
    leader: dict[str, str] = {}

    def find(node_id: str) -> str:
        while leader.setdefault(node_id, node_id) != node_id:
            leader[node_id] = leader[leader[node_id]]
            node_id = leader[node_id]
        return node_id

    for knowledge in picture.observation.knowledge:
        first, *others = knowledge.ids
        for other in others:
            leader[find(other)] = find(first)
    parts: dict[str, list[NodeView]] = defaultdict(list)
    for node in picture.observation.every_node:
        if node.reachable:
            parts[find(node.node_id)].append(node)
    return list(parts.values())


# --- whether anything may be changed ---------------------------------------------------------------------------------


def silent_members(picture: Picture) -> list[str]:
    """Members that cannot be asked, one line each."""
    return [
        f"{node.name}: not reachable ({node.error}): start it" if not node.reachable else f"{node.name}: is loading"
        for node in picture.nodes
        if not node.reachable or node.loading
    ]


def contradictions(picture: Picture) -> list[str]:
    """Slots that several members claim for themselves, as a former primary does until it has heard of a failover.

    Or that others still know as those of a node that has lost its data, until they hear who has taken over from it.
    """
    claimed = bytearray(SLOT_COUNT)
    waits = []
    for node in picture.observation.every_node:
        for first, last in node.slots:
            if any(claimed[first : last + 1]):
                waits.append(f"{node.name}: claims slots {first}-{last}, of which another node has some, too")
            claimed[first : last + 1] = b"\1" * (last - first + 1)
    for node_id in picture.former.keys() & picture.owners.keys():
        taken = tuple(slot for slot in picture.owners[node_id] if claimed[slot])
        if taken:
            waits.append(f"{slots_in_words(taken)}: some nodes still know {picture.name_of(node_id)} as the owner")
    return waits


def owners_down(picture: Picture) -> list[str]:
    """Slots whose owner is down, or is suspected to be: a failover is under way or due."""
    failing = {
        node_id for knowledge in picture.observation.knowledge for node_id in knowledge.ids & picture.owners.keys()
        if knowledge.nodes[node_id].failing
    }  # fmt: skip
    waits = []
    for node_id, slots in picture.owners.items():
        known_to_be_up = node_id in picture.by_id and node_id not in failing
        gone = node_id in picture.former and node_id not in failing
        if known_to_be_up or gone:
            continue
        name = picture.name_of(node_id)
        copies = [node.name for node in picture.followers.get(node_id, ()) if node.name != name]
        what = "is suspected to be down by other nodes" if node_id in picture.by_id else "is down"
        then = (
            f"{', '.join(copies)} can take over"
            if copies
            else "nobody else that answers has a copy: start it"
        )  # fmt: skip
        waits.append(f"{name}: {what} and has {slots_in_words(slots)}: {then}")
    return waits
