"""Drives the real Pulumi CLI on a stack of its own, in a project folder and file backend of its own."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import docker
import redis
import yaml
from docker.models.containers import Container
from redis.cluster import RedisCluster
from tenacity import Retrying, retry, retry_if_exception_type, retry_if_not_result, stop_after_delay, wait_fixed

from components.cluster_client import FollowingCluster
from components.formation import cluster as cluster_formation
from components.formation.cluster import health as cluster_health
from components.formation.members import Member
from components.formation.replication import Observation, observe
from components.formation.replication.hand_over import hand_over
from components.formation.replication.health import status
from components.formation.replication.observation import PRIMARY, NodeView
from ops.clients import cluster_client, sentinel_client
from ops.deployment import Deployment, cluster, replicated
from tests.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
_SHARED = ("__main__.py", "components", ".venv")


@dataclass
class Outcome:
    """How a run of the CLI ended."""

    code: int
    text: str
    changes: dict[str, int] = field(default_factory=dict)

    @property
    def changed(self) -> dict[str, int]:
        """Resources by operation, without those that stayed as they were."""
        return {operation: count for operation, count in self.changes.items() if operation != "same" and count}


class PulumiStack:
    """A stack named at random, on ports of its own; ``config`` are its settings."""

    def __init__(self, folder: Path, **config: Any) -> None:
        self.name = f"t{secrets.token_hex(3)}"
        self.folder = folder
        self.config: dict[str, Any] = {"memory": "128mb", "retain-data": False, **_of_the_topology(config), **config}
        self._environment = {
            **os.environ,
            "PULUMI_BACKEND_URL": f"file://{folder / 'state'}?metadata=skip",  # as airgap has it
            "PULUMI_CONFIG_PASSPHRASE": secrets.token_hex(8),
            "PULUMI_RUN_PROGRAM": "true",
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            "PULUMI_ERROR_OUTPUT_STRING": "1",
            "PULUMI_DEBUG_COMMANDS": "true",  # for --event-log
            "VIRTUAL_ENV": str(ROOT / ".venv"),
        }
        self._environment.pop("PULUMI_CONFIG_PASSPHRASE_FILE", None)
        (folder / "state").mkdir(parents=True)
        (folder / "stacks").mkdir()
        shutil.copy(ROOT / "Pulumi.yaml", folder / "Pulumi.yaml")
        for entry in _SHARED:
            (folder / entry).symlink_to(ROOT / entry)
        self.run("stack", "init", self.name)

    @property
    def deployment_name(self) -> str:
        return f"{self.config.get('name', 'cache')}-{self.name}"

    def run(self, *arguments: str, check: bool = True) -> Outcome:
        """Run the CLI to its end; AssertionError with all its output when it fails and ``check`` is true."""
        outcome = self.start(*arguments).wait()
        assert outcome.code == 0 or not check, f"pulumi {' '.join(arguments)}:\n{outcome.text}"
        return outcome

    def start(self, *arguments: str) -> Run:
        """Start the CLI, in a process group of its own."""
        self._write_config()
        return Run(
            subprocess.Popen(
                ["pulumi", *arguments, "--non-interactive", "--color=never", *self._stack_option(arguments)],
                cwd=self.folder,
                env=self._environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
        )

    def _stack_option(self, arguments: tuple[str, ...]) -> list[str]:
        return [] if arguments[:2] == ("stack", "init") else ["--stack", self.name]

    def up(self, *options: str, check: bool = True) -> Outcome:
        return self._counted("up", "--yes", "--skip-preview", *options, check=check)

    def preview(self, *options: str, check: bool = True) -> Outcome:
        return self._counted("preview", "--diff", *options, check=check)

    def refresh(self) -> Outcome:
        return self._counted("refresh", "--yes", "--skip-preview")

    def destroy(self) -> Outcome:
        return self._counted("destroy", "--yes", "--skip-preview")

    def cancel(self) -> None:
        """Release the lock that a killed run left."""
        self.run("cancel", "--yes", check=False)

    def _counted(self, *arguments: str, check: bool = True) -> Outcome:
        events = self.folder / f"events-{secrets.token_hex(3)}.json"
        outcome = self.run(*arguments, "--event-log", str(events), check=check)
        for line in events.read_text().splitlines() if events.exists() else []:
            summary = json.loads(line).get("summaryEvent")
            if summary:
                outcome.changes = summary.get("resourceChanges") or {}
        return outcome

    def outputs(self) -> dict[str, Any]:
        outputs: dict[str, Any] = json.loads(self.run("stack", "output", "--json", "--show-secrets").text)
        return outputs

    def deployment(self) -> Deployment:
        return Deployment.from_state(json.loads(self.run("stack", "export", "--show-secrets").text))

    def live(self) -> Live:
        """Of topology replicated."""
        return Live(self.deployment())

    def cluster(self) -> LiveCluster:
        """Of topology cluster."""
        return LiveCluster(self.deployment())

    @property
    def is_cluster(self) -> bool:
        return bool(self.config.get("topology") == "cluster")

    def roles(self) -> dict[str, str]:
        """Redis node -> its role now."""
        live = self.cluster() if self.is_cluster else self.live()
        return {node.name: node.role for node in live.observe().nodes}

    def state_text(self) -> str:
        """Every file of the backend, as it lies on disk."""
        return "".join(path.read_text() for path in (self.folder / "state").rglob("*") if path.is_file())

    def _write_config(self) -> None:
        path = self.folder / "stacks" / f"Pulumi.{self.name}.yaml"
        kept = (yaml.safe_load(path.read_text()) if path.exists() else None) or {}
        settings = {f"redis-production:{key}": value for key, value in self.config.items()}
        secret = {key: value for key, value in kept.get("config", {}).items() if isinstance(value, dict)}
        encrypted = {key: value for key, value in secret.items() if set(value) == {"secure"}}
        path.write_text(yaml.safe_dump({**kept, "config": {**settings, **encrypted}}))

    def ops(self, *arguments: str) -> Outcome:
        """Run the operator's command line on this stack."""
        words = 2 if arguments[0] in ("backup", "drill") else 1
        command, rest = arguments[:words], arguments[words:]
        answer = subprocess.run(
            [sys.executable, "-m", "ops", *command, "--stack", self.name, *rest],
            cwd=self.folder,
            env={**self._environment, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        return Outcome(answer.returncode, answer.stdout + answer.stderr)

    def left_on_the_engine(self) -> list[str]:
        """Kind and name of every container, network, volume and image of this deployment that the engine has."""
        engine = docker.from_env()
        mine: dict[str, str | list[str] | bool] = {"label": f"redis-production.deployment={self.deployment_name}"}
        return [
            *(f"container {each.name}" for each in engine.containers.list(all=True, filters=mine)),
            *(f"network {each.name}" for each in engine.networks.list(filters=mine)),
            *(f"volume {each.name}" for each in engine.volumes.list(filters=mine)),
            *(f"image {tag}" for each in engine.images.list(filters=mine) for tag in each.tags),
        ]

    def clean_up(self) -> None:
        """Leave nothing on the engine, whatever state the test ended in."""
        engine = docker.from_env()
        mine: dict[str, str | list[str] | bool] = {"label": f"redis-production.deployment={self.deployment_name}"}
        for container in engine.containers.list(all=True, filters=mine):
            container.remove(force=True, v=True)
        for network in engine.networks.list(filters=mine):
            network.remove()
        for volume in engine.volumes.list(filters=mine):
            volume.remove(force=True)
        for image in engine.images.list(filters=mine):
            image.remove(force=True)


class Run:
    """A running CLI whose output is read as it comes."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._lines: list[str] = []
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._news:
                self._lines.append(line)
                self._news.notify_all()
        with self._news:
            self._news.notify_all()

    def wait_for(self, text: str, seconds: float = 120) -> None:
        """Until a line with ``text`` was printed; AssertionError when the run ends, or time, before that."""
        with self._news:
            found = self._news.wait_for(
                lambda: any(text in line for line in self._lines) or not self._reader.is_alive(), seconds
            )
            assert found, f"no line with {text!r} in time:\n{''.join(self._lines)}"
            assert any(text in line for line in self._lines), f"ended without {text!r}:\n{''.join(self._lines)}"

    def kill(self) -> None:
        """SIGKILL for the CLI and every process that it started, plugins included."""
        for process in _family(self._process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        self._process.wait()
        self._reader.join()

    def wait(self) -> Outcome:
        self._reader.join()
        return Outcome(self._process.wait(), "".join(self._lines))


def _of_the_topology(config: dict[str, Any]) -> dict[str, Any]:
    if config.get("topology") == "cluster":
        # Shard s is on port + 10 * s: six shards fit.
        return {"port": free_port(60), "cluster-node-timeout": 4000}
    port = free_port(20)
    timing = {"down-after-milliseconds": 2000, "failover-timeout": 10000}
    return {"port": port, "sentinel-port": port + 10, **timing}


def _family(process: int) -> list[int]:
    """A process and all its descendants, the process first."""
    listed = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    parents = {int(pid): int(parent) for pid, parent in (line.split() for line in listed.splitlines())}
    family = [process]
    for member in family:
        family.extend(pid for pid, parent in parents.items() if parent == member)
    return family


class LiveMembers:
    """The members of a deployment as they are on the engine."""

    def __init__(self, deployment: Deployment, members: tuple[Member, ...]) -> None:
        self._logins = deployment
        self.engine = docker.from_env()
        self.members = {member.name: member for member in members}

    def node_client(self, name: str, user: str = "admin") -> redis.Redis:
        """Straight to one member, by its name in the stack."""
        reach = self.members[name].reach
        access = self._logins.access(user)
        return redis.Redis(
            host=reach.host,
            port=reach.port,
            username=access.username,
            password=access.password,
            ssl=True,
            ssl_ca_data=access.ca_certificate,
            decode_responses=True,
            socket_timeout=5,
        )

    def wait_until_answers(self, name: str) -> None:
        """Until a member that was started takes commands."""
        for attempt in Retrying(
            retry=retry_if_exception_type(redis.RedisError), stop=stop_after_delay(60), wait=wait_fixed(0.1)
        ):
            with attempt, self.node_client(name) as node:
                node.ping()

    def container(self, name: str) -> Container:
        """The container of a member, by its name in the stack."""
        return self.engine.containers.get(self.members[name].announced.host)

    def started(self) -> dict[str, str]:
        """When each member's container was started."""
        return {name: self.container(name).attrs["State"]["StartedAt"] for name in self.members}

    def reasons(self) -> tuple[str, ...]:
        """Why `ops status` would not say healthy."""
        raise NotImplementedError

    def _wait_until_healthy(self, seconds: float) -> None:
        found: tuple[str, ...] = ()

        @retry(retry=retry_if_not_result(bool), stop=stop_after_delay(seconds), wait=wait_fixed(0.2))
        def healthy() -> bool:
            nonlocal found
            found = self.reasons()
            return not found

        try:
            healthy()
        except Exception as error:
            raise AssertionError(f"not healthy after {seconds} s: {'; '.join(found)}") from error


class Live(LiveMembers):
    """A primary, its replicas and Sentinels as they are on the engine."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = replicated(deployment)
        target = self.deployment.target
        super().__init__(deployment, target.nodes + target.sentinels)

    def observe(self) -> Observation:
        return observe(self.deployment.target, self.deployment.access("admin"))

    def client(self) -> redis.Redis:
        """As an application has it: user ``app``, follows Sentinel."""
        return sentinel_client(self.deployment)

    @property
    def primary(self) -> NodeView:
        (primary,) = [node for node in self.observe().nodes if node.role == PRIMARY]
        return primary

    def replica_names(self) -> list[str]:
        return [node.name for node in self.observe().nodes if node.role != PRIMARY]

    def reasons(self) -> tuple[str, ...]:
        return status(self.deployment.target, self.observe()).reasons

    def wait_until_healthy(self, seconds: float = 180) -> Observation:
        """Until `ops status` would say healthy; AssertionError with its reasons when time runs out."""
        self._wait_until_healthy(seconds)
        return self.observe()

    def deployment_failover(self, name: str) -> None:
        """Hand the primary over to a node."""
        hand_over(self.deployment.target, self.deployment.access("admin"), progress=lambda _: None, prefer=[name])
        assert self.primary.name == name

    def assert_no_stale_entries(self) -> None:
        """Every Sentinel knows exactly the members of the target."""
        target = self.deployment.target
        nodes = {member.announced for member in target.nodes}
        sentinels = {member.announced for member in target.sentinels}
        for view in self.observe().sentinels:
            assert view.primary is not None
            assert {*view.replicas, view.primary} == nodes, view
            assert {*view.sentinels.values(), view.address} == sentinels, view


class LiveCluster(LiveMembers):
    """A cluster as it is on the engine."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = cluster(deployment)
        super().__init__(deployment, self.deployment.target.members)

    def observe(self) -> cluster_formation.Observation:
        return cluster_formation.observe(self.deployment.target, self.deployment.access("admin"))

    def client(self, kind: type[RedisCluster] = FollowingCluster, **options: Any) -> RedisCluster:
        """As an application has it: user ``app``."""
        return cluster_client(self.deployment, kind, **options)

    def reasons(self) -> tuple[str, ...]:
        return cluster_health.status(self.deployment.target, self.observe()).reasons

    def wait_until_healthy(self, seconds: float = 180) -> cluster_formation.Observation:
        """Until `ops status` would say healthy, and `redis-cli --cluster check` finds nothing to complain about."""
        self._wait_until_healthy(seconds)
        self.check()
        return self.observe()

    def check(self) -> None:
        """`redis-cli --cluster check`, inside the network; AssertionError with what it complains about."""
        name, member = next(iter(self.members.items()))
        command = "redis-cli --tls --cacert /etc/redis-production/tls/ca.crt --user admin --no-auth-warning --cluster"
        answer = self.container(name).exec_run(
            [*command.split(), "check", f"127.0.0.1:{member.announced.port}"],
            environment={"REDISCLI_AUTH": self.deployment.access("admin").password},
        )
        assert answer.exit_code == 0, str(answer.output)

    def primaries(self) -> dict[str, str]:
        """Shard -> the name of its primary."""
        shard_of = {member.name: shard.name for shard in self.deployment.target.shards for member in shard.members}
        return {shard_of[node.name]: node.name for node in self.observe().nodes if node.role == PRIMARY}

    def replicas(self) -> list[str]:
        return [node.name for node in self.observe().nodes if node.role != PRIMARY]

    def assert_no_stale_entries(self) -> None:
        """Every node knows exactly the members of the target."""
        announced = {member.announced for member in self.members.values()}
        for node in self.observe().nodes:
            assert {known.address for known in node.knows.nodes.values()} == announced, node.name
