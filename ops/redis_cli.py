"""Opens redis-cli on a current primary, inside its container: no redis-cli is needed on this machine."""

from __future__ import annotations

import secrets
import shutil
import subprocess
import sys
from collections.abc import Sequence

from components.config_files import CONFIG_FOLDER
from components.formation.cluster.observation import observe as observe_cluster
from components.formation.members import Address
from components.formation.replication.observation import observe

from .deployment import ClusterDeployment, Deployment, DeploymentError, replicated


def run_redis_cli(deployment: Deployment, user: str, arguments: Sequence[str]) -> int:
    """Run redis-cli on the primary as ``user``; return its exit code. Raises DeploymentError when there is no primary.

    In a cluster it is one of the primaries, and redis-cli follows redirections.

    The password goes in through standard input and a file in the container's memory, so that no command line,
    environment of the container or engine log shows it.
    """
    runner = deployment.record.get("runner")
    if runner:
        raise DeploymentError(
            f"redis-cli runs on the hosts of {runner['deployment']}: open a session on one with `aws ssm start-session "
            f"--region {runner['region']} --target` and the id of an instance with the tag "
            f"redis-production:deployment={runner['deployment']}"
        )
    if shutil.which("docker") is None:
        raise DeploymentError("docker is not on PATH; it is needed to open redis-cli inside the primary's container")
    password = deployment.access(user).password
    primaries = _primaries(deployment)
    if not primaries:
        raise DeploymentError("no node is a primary now; see python -m ops status")
    container, port = primaries[0].host, primaries[0].port
    password_file = f"/tmp/{secrets.token_hex(8)}"  # noqa: S108 - memory of the container, which nobody else uses
    store = ["docker", "exec", "-i", container, "sh", "-c", f"umask 077; cat >{password_file}"]
    subprocess.run(store, input=password, text=True, check=True)
    follow = "-c " if isinstance(deployment, ClusterDeployment) else ""
    start = (
        f"REDISCLI_AUTH=$(cat {password_file}); rm {password_file}; export REDISCLI_AUTH; "
        f"exec redis-cli {follow}--tls --cacert {CONFIG_FOLDER}/tls/ca.crt -h {container} -p {port} --user {user} "
        '--no-auth-warning "$@"'
    )
    terminal = ["-it"] if sys.stdin.isatty() and sys.stdout.isatty() else ["-i"]
    command = ["docker", "exec", *terminal, container, "sh", "-c", start, "redis-cli", *arguments]
    return subprocess.run(command, check=False).returncode


def _primaries(deployment: Deployment) -> list[Address]:
    access = deployment.access("admin")
    if isinstance(deployment, ClusterDeployment):
        nodes = observe_cluster(deployment.target, access).nodes
        return [node.address for node in nodes if node.reachable and node.role == "primary"]
    observation = observe(replicated(deployment).target, access)
    return [node.address for node in observation.nodes if node.role == "primary"]
