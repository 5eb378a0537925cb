"""Formation as a Pulumi resource: plans at preview from the live topology, forms and verifies at ``up``."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import pulumi
from pulumi.dynamic import (
    CheckFailure,
    CheckResult,
    CreateResult,
    DiffResult,
    Resource,
    ResourceProvider,
    UpdateResult,
)

WANTED = ("target", "acl", "ca_certificate", "passwords", "generations", "files_generations")
"""Inputs that say what is wanted; the others are found out."""


class Formation(Resource, module="redis-production", name="Formation"):
    """Makes the nodes one deployment, and keeps them so.

    Its inputs are the wanted topology and the generations of the nodes and their files: it runs again when one of them
    changes, or when the live topology needs something done. What it will do stands in the preview as ``plan``. With
    ``begins_closed`` no application is let into a new deployment before something is restored into it.

    Outputs:
        plan: what the last run had to do, one line each.
        run: how many runs there have been; one more stands for "something has to be done".
        and those of ``results``, which depend on the topology: ``primary`` and ``replicas``, addresses when it last
        ran; ``shards`` of a cluster when it last ran.
    """

    plan: pulumi.Output[list[str]]
    primary: pulumi.Output[str]
    replicas: pulumi.Output[list[str]]
    shards: pulumi.Output[list[dict[str, Any]]]

    def __init__(
        self,
        resource_name: str,
        *,
        target: Mapping[str, Any],
        results: Sequence[str],
        acl: pulumi.Input[Mapping[str, str]],
        passwords: pulumi.Input[Mapping[str, str]],
        ca_certificate: pulumi.Input[str],
        generations: Mapping[str, pulumi.Input[str]],
        files_generations: Mapping[str, pulumi.Input[str]],
        begins_closed: bool = False,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__(
            _FormationProvider(),
            resource_name,
            {
                "target": dict(target),
                "acl": acl,
                "passwords": passwords,
                "ca_certificate": ca_certificate,
                "generations": dict(generations),
                "files_generations": dict(files_generations),
                "begins_closed": begins_closed,
                "plan": None,
                "run": None,
                **dict.fromkeys(results),
            },
            pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(additional_secret_outputs=["passwords", "acl"])),
        )


class _FormationProvider(ResourceProvider):
    # What does the work is loaded where it is used: the program, which only registers resources, starts sooner without
    # it.

    def check(self, olds: dict[str, Any], news: dict[str, Any]) -> CheckResult:
        from .formation_lifecycle import Impossible, planned

        try:
            plan = planned(olds, news)
        except Impossible as error:
            return CheckResult(news, [CheckFailure(error.setting, problem) for problem in error.problems])
        if plan:
            return CheckResult({**news, "plan": plan, "run": int(olds.get("run") or 0) + 1}, [])
        # What the last run did stays, so that nothing differs.
        return CheckResult({**news, "plan": olds.get("plan"), "run": olds.get("run")}, [])

    def diff(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        # Who is a primary is not compared: after a failover Sentinel, or the cluster, owns the roles.
        return DiffResult(changes=any(olds.get(name) != news.get(name) for name in (*WANTED, "run")))

    def create(self, props: dict[str, Any]) -> CreateResult:
        from .formation_lifecycle import formed

        return CreateResult(str(uuid.uuid4()), formed({}, props))

    def update(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> UpdateResult:
        from .formation_lifecycle import formed

        return UpdateResult(formed(olds, news))

    def delete(self, _id: str, props: dict[str, Any]) -> None:
        from .formation_lifecycle import disbanded

        disbanded(props)
