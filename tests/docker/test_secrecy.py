"""No secret where it does not belong: previews, logs, container metadata, process lists, state."""

from __future__ import annotations

import base64
import json
import subprocess
from secrets import token_hex

import docker
import pytest

from tests.docker.conftest import MakeStack
from tests.docker.stack import PulumiStack

pytestmark = [pytest.mark.docker, pytest.mark.pulumi]


def secrets_of(stack: PulumiStack) -> dict[str, str]:
    """Every password, and the body of every private key, by what it is."""
    found = dict(stack.outputs()["credentials"])
    exported = json.loads(stack.run("stack", "export", "--show-secrets").text)
    for resource in exported["deployment"]["resources"]:
        key = resource.get("outputs", {}).get("private_key")
        if key:
            text = json.loads(key["plaintext"])
            found[f"private key of {resource['urn'].rsplit('::', 1)[1]}"] = text.splitlines()[1]
    return found


def assert_none_of(secrets: dict[str, str], text: str, where: str) -> None:
    for what, secret in secrets.items():
        for form in (secret, base64.b64encode(secret.encode()).decode()):
            assert form not in text, f"the {what} stands in {where}"


def test_no_secret_is_shown_or_stored_in_the_open(make_stack: MakeStack) -> None:
    assert_no_secret_is_shown_or_stored(make_stack(), users=7, nodes=6)


def assert_no_secret_is_shown_or_stored(stack: PulumiStack, users: int, nodes: int) -> None:
    """Deploys, changes and destroys the stack, and looks everywhere."""
    stack.config |= {"backup-target": "s3://backups", "backup-access-key-id": "AKIAEXAMPLE"}
    key = token_hex(20)
    stack.run("config", "set", "--secret", "backup-secret-access-key", key)
    shown = stack.preview().text + stack.up("--diff").text
    secrets = secrets_of(stack)
    # The authority has a key, too, and so have backups.
    assert len(secrets) == users + 1 + 1 + nodes, secrets.keys()
    secrets["secret access key"] = key
    stack.config["redis-directives"] = {"tcp-backlog": 400}
    shown += stack.preview().text + stack.up("--diff").text + stack.refresh().text
    shown += stack.run("stack", "output").text + stack.run("stack", "export").text
    shown += stack.ops("status").text + stack.ops("verify").text + stack.ops("cli", "--", "PING").text
    assert_none_of(secrets, shown, "what Pulumi and ops print")
    assert_none_of(secrets, stack.state_text(), "the state")

    engine_view, logs = "", ""
    engine = docker.from_env()
    for container in engine.containers.list(
        all=True, filters={"label": f"redis-production.deployment={stack.deployment_name}"}
    ):
        engine_view += json.dumps(container.attrs)
        logs += str(container.logs())
        if container.status == "running":
            environment = container.exec_run(["sh", "-c", "cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline"], user="999")
            engine_view += str(environment.output)
    for volume in engine.volumes.list():
        engine_view += json.dumps(volume.attrs)
    assert_none_of(secrets, engine_view, "container metadata, environments and command lines")
    assert_none_of(secrets, logs, "container logs")

    processes = subprocess.run(["ps", "axeww"], capture_output=True, text=True, check=True).stdout
    assert_none_of(secrets, processes, "the process list")

    stack.destroy()
    stack.run("stack", "rm", "--yes")
    assert_none_of(secrets, stack.state_text(), "what is left of the state")


def test_the_canary_would_be_found(make_stack: MakeStack) -> None:
    with pytest.raises(AssertionError, match="password stands in a text"):
        assert_none_of({"password": "canary"}, "x canary y", "a text")
