"""Lets what has changed get around at once, for which nodes otherwise take up to half of cluster-node-timeout.

A node sends a ping to everybody it has not heard of for half of its cluster-node-timeout; pings and their answers say
who replicates whom, who has which slots, and what a node's host is called (Redis source, cluster_legacy.c: clusterCron,
clusterSendPing).
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import replace
from types import TracebackType

import redis

from ..connection import Connections, as_mapping, in_parallel
from ..members import Member
from .observation import Knowledge, NodeView, Observation
from .target import ClusterTarget

NODE_TIMEOUT = "cluster-node-timeout"
_LIVELY_MILLISECONDS = 2000
# Everybody pings everybody: this many milliseconds more for each node keep a large cluster from doing nothing else.
_MORE_MILLISECONDS_EACH = 50


class LivelyGossip:
    """While it lasts, nodes of which others do not know enough have a short cluster-node-timeout, and so ping often.

    Only nodes whose opinion on who is down counts for nothing (Redis asks the primaries with slots), or all nodes of a
    cluster without a key. Should this program be killed meanwhile, the next formation sets the timeout as it should be.
    """

    def __init__(self, connections: Connections, target: ClusterTarget) -> None:
        self._connections = connections
        self._members = {member.name: member for member in target.every_member}
        self._wanted = target.live_settings.get(NODE_TIMEOUT)
        self._lively: dict[Member, str] = {}

    def hasten(self, observation: Observation) -> None:
        """To be told what was observed as long as nodes are waited for; who does not answer is passed over."""
        empty = not any(node.keys for node in observation.every_node)
        behind = [
            self._members[node.name] for node in unknown_as_they_are(observation) if empty or not node.slots
        ]  # fmt: skip
        in_parallel([member for member in behind if member not in self._lively], self._begin)

    def but_for_this(self, observation: Observation) -> Observation:
        """What was observed, without the difference that this makes to the nodes' settings."""
        return Observation(
            tuple(map(self._unchanged, observation.nodes)), tuple(map(self._unchanged, observation.leaving))
        )

    def _unchanged(self, node: NodeView) -> NodeView:
        if NODE_TIMEOUT not in node.differing_settings or self._members[node.name] not in self._lively:
            return node
        others = {name: values for name, values in node.differing_settings.items() if name != NODE_TIMEOUT}
        return replace(node, differing_settings=others)

    def _begin(self, member: Member) -> None:
        lively = _LIVELY_MILLISECONDS + _MORE_MILLISECONDS_EACH * len(self._members)
        with contextlib.suppress(redis.RedisError):
            found = as_mapping(self._connections.ask(member, "CONFIG GET", NODE_TIMEOUT))[NODE_TIMEOUT]
            if int(found) > lively:
                self._connections.ask(member, "CONFIG", "SET", NODE_TIMEOUT, lively)
                self._lively[member] = self._wanted or found

    def _end(self, member: Member) -> None:
        with contextlib.suppress(redis.RedisError):
            self._connections.ask(member, "CONFIG", "SET", NODE_TIMEOUT, self._lively[member])
            # The node itself may have kept the short one, when it was proven meanwhile (rejoin.sh).
            self._connections.ask(member, "CONFIG", "REWRITE")

    def __enter__(self) -> LivelyGossip:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        in_parallel(list(self._lively), self._end)


def unknown_as_they_are(observation: Observation) -> list[NodeView]:
    """The members that others know, but not as they are now."""
    nodes = {node.node_id: node for node in observation.every_node if node.reachable}
    found: dict[str, NodeView] = {}
    for knowledge in observation.knowledge:
        found.update({node.name: node for node in _outdated(knowledge, nodes)})
    return list(found.values())


def _outdated(knowledge: Knowledge, nodes: Mapping[str, NodeView]) -> list[NodeView]:
    return [
        node
        for node_id, known in knowledge.nodes.items()
        if (node := nodes.get(node_id)) is not None
        and (known.slots, known.primary_id, known.address) != (node.slots, node.primary_id, node.address)
    ]
