"""Opens redis-cli on the current primary, inside its container: no redis-cli is needed on this machine."""

from __future__ import annotations

import secrets
import shutil
import subprocess
import sys
from collections.abc import Sequence

from components.config_files import CONFIG_FOLDER
from components.formation.replication.observation import observe

from .deployment import Deployment, DeploymentError


def run_redis_cli(deployment: Deployment, user: str, arguments: Sequence[str]) -> int:
    """Run redis-cli on the primary as ``user``; return its exit code. Raises DeploymentError when there is no primary.

    The password goes in through standard input and a file in the container's memory, so that no command line,
    environment of the container or engine log shows it.
    """
    if shutil.which("docker") is None:
        raise DeploymentError("docker is not on PATH; it is needed to open redis-cli inside the primary's container")
    password = deployment.access(user).password
    observation = observe(deployment.target, deployment.access("admin"))
    primaries = [node for node in observation.nodes if node.role == "primary"]
    if not primaries:
        raise DeploymentError("no node is the primary now; see python -m ops status")
    container, port = primaries[0].address.host, primaries[0].address.port
    password_file = f"/tmp/{secrets.token_hex(8)}"  # noqa: S108 - memory of the container, which nobody else uses
    store = ["docker", "exec", "-i", container, "sh", "-c", f"umask 077; cat >{password_file}"]
    subprocess.run(store, input=password, text=True, check=True)
    start = (
        f"REDISCLI_AUTH=$(cat {password_file}); rm {password_file}; export REDISCLI_AUTH; "
        f"exec redis-cli --tls --cacert {CONFIG_FOLDER}/tls/ca.crt -h {container} -p {port} --user {user} "
        '--no-auth-warning "$@"'
    )
    terminal = ["-it"] if sys.stdin.isatty() and sys.stdout.isatty() else ["-i"]
    command = ["docker", "exec", *terminal, container, "sh", "-c", start, "redis-cli", *arguments]
    return subprocess.run(command, check=False).returncode
