"""What the formation resource does at preview, ``up`` and ``destroy``, from its inputs as plain data."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from pulumi.output import Unknown

from .formation import FormationError, FormationRefused
from .formation.closing import closed
from .formation_resource import WANTED
from .live_deployment import NO_PASSWORDS, Forecast, LiveDeployment, live_deployment


class Impossible(Exception):
    """What is wanted cannot be: ``problems`` says why, one line each, and ``setting`` what it is about."""

    def __init__(self, setting: str, problems: Sequence[str]) -> None:
        self.setting = setting
        self.problems = tuple(problems)
        super().__init__("; ".join(self.problems))


def planned(olds: Mapping[str, Any], news: Mapping[str, Any]) -> list[str]:
    """What will be done, one line each; empty when there is nothing to do.

    Before the first ``up`` that is the plan for new nodes; later it is what the nodes need as they are now, after the
    restarts that Pulumi makes (a node that is made anew has no known generation at preview).
    Raises Impossible when a node holds more than it may from now on, or when formation would refuse.
    """
    try:
        return _planned(olds, news)
    except FormationRefused as error:
        raise Impossible("target", error.reasons) from None


def _planned(olds: Mapping[str, Any], news: Mapping[str, Any]) -> list[str]:
    if not olds:
        forecast = live_deployment(news["target"], NO_PASSWORDS, "").plan_for_new_nodes()
        _refuse(forecast)
        return list(forecast.lines)
    _refuse_too_small_memory(olds, news)
    known = {name: olds[name] if isinstance(news[name], Unknown) else news[name] for name in WANTED if name in olds}
    generations = news["generations"]
    unmade = {name for name in generations if isinstance(generations[name], Unknown)}
    joining = frozenset(unmade - olds["generations"].keys())
    forecast = _connect(olds, {**news, **known}).forecast(joining)
    _refuse(forecast)
    lines = [*_restarts(unmade - joining, forecast), *forecast.lines]
    if not lines and any(olds.get(name) != news.get(name) for name in WANTED):
        return ["verify the deployment"]
    return lines


def formed(olds: Mapping[str, Any], news: Mapping[str, Any]) -> dict[str, Any]:
    """Form and verify the deployment; return the resource's outputs. Raises FormationError."""
    try:
        acl = closed(news["acl"]) if news.get("begins_closed") and not olds else news["acl"]
        results = _connect(olds, news).form(acl, _say)
    except FormationError:
        sys.tracebacklimit = 0  # the message says it all; the SDK would print our stack above it
        raise
    return {**news, **results}


def disbanded(props: Mapping[str, Any]) -> None:
    """Take the deployment apart before its nodes go."""
    _connect({}, props).disband()


def _connect(olds: Mapping[str, Any], news: Mapping[str, Any]) -> LiveDeployment:
    deployment = live_deployment(news["target"], news["passwords"], news["ca_certificate"])
    return deployment.after(olds["target"]) if olds else deployment


def _refuse(forecast: Forecast) -> None:
    if forecast.refusals:
        raise Impossible("plan", forecast.refusals)


def _refuse_too_small_memory(olds: Mapping[str, Any], news: Mapping[str, Any]) -> None:
    wanted = int(news["target"]["live_settings"]["maxmemory"])
    if wanted >= int(olds["target"]["live_settings"]["maxmemory"]):
        return
    for name, used in _connect({}, olds).forecast(frozenset()).memory_used.items():
        if used > wanted:
            problem = (
                f"maxmemory: {name} uses {used} bytes, more than the new limit of {wanted}; "
                "delete keys first, or give more memory"
            )
            raise Impossible("live_settings", [problem])


def _restarts(names: set[str], forecast: Forecast) -> list[str]:
    lines = []
    for name in sorted(names, key=lambda name: (name in forecast.primaries, name)):
        first = "hand over to a replica, then " if name in forecast.handed_over else ""
        lines.append(f"{name}: {first}restart when the others are in sync, one node at a time")
    return lines


def _say(line: str) -> None:
    print(line, flush=True)
