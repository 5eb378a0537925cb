"""What the formation resource does at preview, ``up`` and ``destroy``, from its inputs as plain data."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from pulumi.output import Unknown

from .formation import Access, FormationError, Member
from .formation.access_control import apply_access_control, reload_certificates
from .formation.replication import ReplicationTarget, Report, form, preview
from .formation.replication.disband import disband
from .formation.replication.observation import PRIMARY, Observation
from .formation.replication.plan import plan_for_empty_deployment
from .formation_resource import WANTED

FORMATION_TIMEOUT_SECONDS = 300


def target_with_password(target: Mapping[str, Any], passwords: Mapping[str, str]) -> ReplicationTarget:
    """The wanted topology as formation takes it, from the plain part and the passwords."""
    sentinel = {**target["sentinel"], "auth_password": passwords["sentinel"]}
    return ReplicationTarget.from_dict({**target, "sentinel": sentinel})


def admin_access(passwords: Mapping[str, str], ca_certificate: str) -> Access:
    """How formation logs in to every node."""
    return Access("admin", passwords["admin"], ca_certificate)


def planned(olds: Mapping[str, Any], news: Mapping[str, Any]) -> list[str]:
    """What will be done, one line each; empty when there is nothing to do.

    Before the first ``up`` that is the plan for new nodes; later it is what the nodes need as they are now, after the
    restarts that Pulumi makes (a node that is made anew has no known generation at preview).
    """
    if not olds:
        return plan_for_empty_deployment(_plain_target(news["target"])).describe()
    known = {name: olds[name] if isinstance(news[name], Unknown) else news[name] for name in WANTED if name in olds}
    target, access = _connect(olds, {**news, **known})
    found, observation = preview(target, access)
    lines = [*_restarts(olds, news, observation), *found.describe()]
    if not lines and any(olds.get(name) != news.get(name) for name in WANTED):
        return ["verify the deployment"]
    return lines


def too_small_memory(olds: Mapping[str, Any], news: Mapping[str, Any]) -> str | None:
    """Why the wanted ``maxmemory`` cannot be: a node already holds more; None when it can."""
    if not olds:
        return None
    wanted = int(news["target"]["live_settings"]["maxmemory"])
    if wanted >= int(olds["target"]["live_settings"]["maxmemory"]):
        return None
    _, observation = preview(*_connect({}, olds))
    for node in observation.nodes:
        if node.memory_used > wanted:
            return (
                f"maxmemory: {node.name} uses {node.memory_used} bytes, more than the new limit of {wanted}; "
                "delete keys first, or give more memory"
            )
    return None


def formed(olds: Mapping[str, Any], news: Mapping[str, Any]) -> dict[str, Any]:
    """Form and verify the deployment; return the resource's outputs. Raises FormationError."""
    try:
        target, access = _connect(olds, news)
        report = form(target, access, progress=_say, timeout_seconds=FORMATION_TIMEOUT_SECONDS)
        apply_access_control(target.nodes, access, news["acl"])
        reload_certificates(target.nodes, access)
    except FormationError:
        sys.tracebacklimit = 0  # the message says it all; the SDK would print our stack above it
        raise
    return {**news, **_outputs(target, report)}


def disbanded(props: Mapping[str, Any]) -> None:
    """Let the Sentinels go before the nodes do."""
    disband(*_connect({}, props))


def _connect(olds: Mapping[str, Any], news: Mapping[str, Any]) -> tuple[ReplicationTarget, Access]:
    passwords = news["passwords"]
    target = target_with_password(_with_leaving(olds, news), passwords)
    return target, admin_access(passwords, news["ca_certificate"])


def _restarts(olds: Mapping[str, Any], news: Mapping[str, Any], observation: Observation) -> list[str]:
    generations = news["generations"]
    names = [name for name in olds["generations"] if isinstance(generations.get(name), Unknown)]
    primary = next((node.name for node in observation.nodes if node.role == PRIMARY), None)
    lines = []
    for name in sorted(names, key=lambda name: name == primary):
        first = "hand over to a replica, then " if name == primary and len(observation.nodes) > 1 else ""
        lines.append(f"{name}: {first}restart when the others are in sync, one node at a time")
    return lines


def _plain_target(target: Mapping[str, Any]) -> ReplicationTarget:
    return target_with_password(target, {"sentinel": ""})


def _with_leaving(olds: Mapping[str, Any], news: Mapping[str, Any]) -> dict[str, Any]:
    """The new target, with the members that only the old one has as leaving."""
    if not olds:
        return dict(news["target"])
    before, after = _plain_target(olds["target"]), _plain_target(news["target"])
    return {
        **news["target"],
        "leaving_nodes": _missing(before.nodes, after.nodes),
        "leaving_sentinels": _missing(before.sentinels, after.sentinels),
    }


def _missing(before: tuple[Member, ...], after: tuple[Member, ...]) -> list[dict[str, Any]]:
    kept = {member.name for member in after}
    return [member.to_dict() for member in before if member.name not in kept]


def _outputs(target: ReplicationTarget, report: Report) -> dict[str, Any]:
    reach = {member.name: str(member.reach) for member in target.nodes}
    return {"primary": reach[report.primary], "replicas": [reach[replica] for replica in report.replicas]}


def _say(line: str) -> None:
    print(line, flush=True)
