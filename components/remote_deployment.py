"""Live nodes that the machine which runs Pulumi need not reach: every operation runs on one of their hosts."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .formation import FormationError
from .formation.cluster import health as cluster_health
from .formation.replication import health as replication_health
from .live_deployment import NO_PASSWORDS, Forecast, Progress, live_deployment
from .remote.errors import NoInstance
from .topologies import CLUSTER, topology_of

if TYPE_CHECKING:
    from .remote.runner import Runner

BACKUP_PROGRAM = "/etc/redis-production/backup.pyz"


class RemoteDeployment:
    """See :class:`live_deployment.LiveDeployment`; what an operation does is the same, and so is how it fails.

    ``record["runner"]`` has ``deployment`` and ``region``: instances are found by the deployment's tag, and asked
    through SSM Run Command. Nothing secret is sent: the host reads the passwords, and the users' definitions, from the
    deployment's secret. AWS is asked with the standard environment's credentials.

    Raises FormationRefused for a record that cannot be.
    """

    def __init__(self, record: Mapping[str, Any], earlier: Mapping[str, Any] | None = None) -> None:
        self._record = record
        self._earlier = earlier
        self._here = live_deployment(_without_runner(record), NO_PASSWORDS, "")

    def after(self, earlier: Mapping[str, Any]) -> RemoteDeployment:
        """With the earlier record, which goes along with every request."""
        return RemoteDeployment(self._record, earlier)

    def plan_for_new_nodes(self) -> Forecast:
        """Asks nobody: neither instances nor the bucket exist."""
        return self._here.plan_for_new_nodes()

    def forecast(self, joining: frozenset[str]) -> Forecast:
        """Where nothing runs there is nothing to be said about it."""
        try:
            return Forecast.from_dict(self._run("forecast", {"joining": sorted(joining)}))
        except NoInstance:
            return Forecast((), (), (), frozenset(), frozenset(), {})

    def form(self, acl: Mapping[str, str], progress: Progress) -> dict[str, Any]:
        """Every host fetches its files first. ``acl`` is what the secret has."""
        self._runner().fetch_files(progress)
        result: dict[str, Any] = self._run("form", progress=progress)
        return result

    def disband(self) -> None:
        """Where nothing runs there is nothing to take apart."""
        try:
            self._run("disband")
        except NoInstance:
            return

    def is_needed(self, name: str) -> bool:
        """Nobody needs anybody where nothing runs."""
        try:
            return bool(self._run("is_needed", {"name": name}, avoid=[name]))
        except NoInstance:
            return False

    def still_needed(self, name: str, host: str, port: int) -> str | None:
        """A node that the record names is not asked for."""
        if name in _names(self._record):
            return None
        result: str | None = self._run("still_needed", {"name": name, "host": host, "port": port}, avoid=[name])
        return result

    def next_to_stop(self, names: Sequence[str]) -> str:
        """By what the nodes say now."""
        return str(self._run("next_to_stop", {"names": list(names)}, avoid=names))

    def make_safe_to_stop(self, name: str, replaced: Sequence[str], progress: Progress) -> None:
        """Not run on the node's own host if there is another."""
        self._run("make_safe_to_stop", {"name": name, "replaced": list(replaced)}, progress, [name])

    def wait_until_back(self, name: str, progress: Progress) -> None:
        """Waits for the host's first boot, too."""
        self._runner().wait_until_ready([name], progress)
        self._run("wait_until_back", {"name": name}, progress, [name])

    def status(self) -> replication_health.Status | cluster_health.Status:
        """As one of its hosts sees it."""
        found = self._run("status")
        health: Any = cluster_health if topology_of(self._record) == CLUSTER else replication_health
        rows = tuple(health.Row(**row) for row in found["rows"])
        status: replication_health.Status | cluster_health.Status = health.Status(
            rows, found["healthy"], tuple(found["reasons"])
        )
        return status

    def verify(self) -> str:
        """A client on one of its hosts."""
        return str(self._run("verify"))

    def hand_over(self, name: str | None, progress: Progress) -> None:
        """As on one of its hosts."""
        self._run("hand_over", {"name": name}, progress)

    def promote(self, name: str, progress: Progress) -> None:
        """As on one of its hosts."""
        self._run("promote", {"name": name}, progress)

    def rebalance(self, progress: Progress) -> None:
        """As on one of its hosts."""
        self._run("rebalance", progress=progress)

    def back_up(self, operation: str, arguments: Mapping[str, Any], progress: Progress) -> Any:
        """What the program that takes backups does, see :mod:`backups.program`, on the host of a Redis node."""
        from .remote import scripts

        request = {"operation": operation, "arguments": dict(arguments)}
        return self._runner().run(request, progress, self._sentinels(), scripts.run_backups, (BACKUP_PROGRAM, "run"))

    def _run(
        self,
        operation: str,
        arguments: Mapping[str, Any] | None = None,
        progress: Progress | None = None,
        avoid: Collection[str] = (),
    ) -> Any:
        request = {
            "operation": operation,
            "arguments": dict(arguments or {}),
            "record": self._record,
            "earlier": self._earlier,
        }
        return self._runner().run(request, progress or _say, avoid)

    def _runner(self) -> Runner:
        # boto3 is loaded when a host has to be asked, which the first preview does not.
        try:
            from .remote.runner import Runner
        except ImportError as error:
            raise FormationError(f"{error.name} is missing; pip install -r requirements-aws.txt") from error
        where = self._record["runner"]
        return Runner(str(where["deployment"]), str(where["region"]), self._sentinels())

    def _sentinels(self) -> list[str]:
        return [str(member["name"]) for member in self._record.get("sentinels", [])]


def _without_runner(record: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in record.items() if key != "runner"}


def _names(record: Mapping[str, Any]) -> set[str]:
    members = [member for shard in record.get("shards", []) for member in shard["members"]]
    return {member["name"] for member in [*record.get("nodes", []), *record.get("sentinels", []), *members]}


def _say(line: str) -> None:
    print(line, flush=True)
