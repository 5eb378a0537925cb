"""A backup as what a new deployment starts from, as a Pulumi resource."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

import pulumi
from pulumi.dynamic import CheckFailure, CheckResult, CreateResult, DiffResult, Resource, ResourceProvider
from pulumi.output import Unknown

_SETTING = "restore_from"


class Restoration(Resource, module="redis-production", name="Restoration"):
    """Puts a backup's data into a deployment that has none, and lets applications in; it does so once.

    ``until``: up to which time, ISO 8601, what was written after the backup is restored, too.

    ``backup`` and ``keys`` say what was restored. Taking it out of the program changes nothing in the deployment.
    """

    backup: pulumi.Output[str]
    keys: pulumi.Output[int]

    def __init__(
        self,
        resource_name: str,
        *,
        record: Mapping[str, Any],
        restore_from: str,
        until: str | None,
        passwords: pulumi.Input[Mapping[str, str]],
        ca_certificate: pulumi.Input[str],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__(
            _RestorationProvider(),
            resource_name,
            {
                "record": dict(record),
                "restore_from": restore_from,
                "until": until,
                "passwords": passwords,
                "ca_certificate": ca_certificate,
                "backup": None,
                "keys": None,
            },
            pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(additional_secret_outputs=["passwords"])),
        )


class _RestorationProvider(ResourceProvider):
    def check(self, olds: dict[str, Any], news: dict[str, Any]) -> CheckResult:
        problem = _changed(olds, news) if olds else _filled(news)
        return CheckResult(news, [CheckFailure(_SETTING, problem)] if problem else [])

    def create(self, props: dict[str, Any]) -> CreateResult:
        from .backup_requests import ask

        found = ask(
            props["record"],
            "restore",
            {"backup": props["restore_from"], "until": props.get("until"), "pattern": None, "overwrite": False},
            lambda line: print(line, flush=True),
            {"admin": props["passwords"]["admin"]},
        )
        return CreateResult(str(uuid.uuid4()), {**props, "backup": found["backup"], "keys": found["keys"]})

    def diff(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        return DiffResult(changes=False)


def _changed(olds: Mapping[str, Any], news: Mapping[str, Any]) -> str | None:
    if all(olds.get(name) == news.get(name) for name in ("restore_from", "until")):
        return None
    return (
        f"restore-from: this deployment has started from {olds['restore_from']}, and holds data since; leave that or "
        "take it out, and restore by hand: python -m ops restore"
    )


def _filled(news: Mapping[str, Any]) -> str | None:
    """What is wrong when the deployment is there already, and has data that nobody has begun to restore."""
    unknown = isinstance(news["passwords"], Unknown) or isinstance(news["ca_certificate"], Unknown)
    if unknown or isinstance(news["record"], Unknown) or "runner" in news["record"]:
        return None  # the restore itself finds out
    import redis

    from .backups.sources import members_of
    from .formation.closing import waiting_users
    from .formation.connection import Connections, without_errors
    from .formation.members import Access

    keys = 0
    access = Access("admin", news["passwords"]["admin"], news["ca_certificate"])
    with Connections(access, connect_timeout_seconds=1) as connections:
        for member in members_of(news["record"]):
            try:
                info, users = without_errors(connections.ask_all(member, ("INFO", "keyspace"), ("ACL", "LIST")))
            except redis.RedisError:
                return None  # not there yet; the restore finds out
            if waiting_users(users) is not None:
                return None
            keys = max(keys, sum(int(each["keys"]) for each in info.values()))
    if not keys:
        return None
    return (
        f"restore-from: this deployment holds data ({keys} keys on one node), and only a new one starts from a backup; "
        "take it out, and restore by hand: python -m ops restore --overwrite"
    )
