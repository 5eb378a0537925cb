"""Hosts of a deployment as AWS knows them, on this machine: a moto server whose SSM really runs what it is sent.

Every instance's commands run here, in a shell of their own, with a PATH on which a host's tools do what is needed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import boto3
import moto.ssm.models
from moto.core.base_backend import BackendDict
from moto.core.responses import ActionResult
from moto.server import ThreadedMotoServer
from moto.ssm.exceptions import SSMException
from moto.ssm.responses import SimpleSystemManagerResponse

from components.platforms.aws_names import bucket_name
from tests.processes.servers import NODE_USERS, PASSWORDS

REGION = "eu-west-1"
ACCOUNT = "123456789012"
ENVIRONMENT = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": REGION}
# One that moto knows by itself.
_IMAGE = "ami-12c6146b"

_TOOLS = {
    # What drops rights: who runs the tests may have none, and nobody may not be able to read the project's folder.
    "setpriv": 'while [ "${1#--}" != "$1" ]; do echo "$1" >>FOLDER/setpriv.log; shift; done\nexec "$@"',
    "systemctl": 'echo "$*" >>FOLDER/systemctl.log; [ "$1" = is-active ] && echo inactive; [ ! -e FOLDER/no-files ]',
    "journalctl": "echo the secret could not be read",
    "cloud-init": "[ ! -e FOLDER/no-boot ]",
    "tail": "echo 'E: Unable to locate package redis-server'",
}


class Hosts:
    """Use as a context. ``sent`` has the commands in the order in which they were sent.

    ``away``: instances whose agent does not answer yet. A file `no-boot` or `no-files` in ``folder`` makes every host's
    first boot, or fetching of files, a failure.
    """

    def __init__(self, folder: Path, endpoint: str) -> None:
        """``endpoint``: of :func:`moto_server`."""
        self.folder = folder
        self.environment = {**ENVIRONMENT, "AWS_ENDPOINT_URL": endpoint}
        self.folder.mkdir()
        self.away: set[str] = set()
        self.sent: list[ShellCommand] = []
        self.nodes: dict[str, str] = {}
        self._tools = folder / "tools"

    def __enter__(self) -> Hosts:
        self._tools.mkdir()
        for name, text in {**_TOOLS, "python3": f'exec {sys.executable} "$@"'}.items():
            tool = self._tools / name
            tool.write_text(f"#!/bin/sh\n{text.replace('FOLDER', str(self.folder))}\n")
            tool.chmod(0o755)
        BackendDict.reset()
        _hosts.append(self)
        return self

    def __exit__(self, *_: object) -> None:
        for command in self.sent:
            command.stop()
        _hosts.remove(self)

    def client(self, service: str) -> Any:
        return _client(service, self.environment["AWS_ENDPOINT_URL"])

    def deploy(self, deployment: str, nodes: Sequence[str], ca_certificate: str) -> None:
        """The bucket, which keeps every version of every object, the secret, and an instance for each node."""
        s3 = self.client("s3")
        self.bucket = bucket_name(deployment, ACCOUNT, REGION)
        s3.create_bucket(Bucket=self.bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
        s3.put_bucket_versioning(Bucket=self.bucket, VersioningConfiguration={"Status": "Enabled"})
        acl = {user: f"reset on #{_sha256(PASSWORDS[user])} {rules}" for user, rules in NODE_USERS.items()}
        acl["default"] = "reset off"
        secret = {"passwords": PASSWORDS, "acl": acl, "ca_certificate": ca_certificate}
        self.client("secretsmanager").create_secret(Name=f"{deployment}/formation", SecretString=json.dumps(secret))
        ec2 = self.client("ec2")
        for node in nodes:
            tags = {"redis-production:deployment": deployment, "redis-production:node": node}
            specification = {
                "ResourceType": "instance",
                "Tags": [{"Key": key, "Value": value} for key, value in tags.items()],
            }
            answer = ec2.run_instances(ImageId=_IMAGE, MinCount=1, MaxCount=1, TagSpecifications=[specification])
            self.nodes[node] = answer["Instances"][0]["InstanceId"]

    def change_secret(self, deployment: str, **changes: Any) -> None:
        secrets = self.client("secretsmanager")
        found = json.loads(secrets.get_secret_value(SecretId=f"{deployment}/formation")["SecretString"])
        secrets.put_secret_value(SecretId=f"{deployment}/formation", SecretString=json.dumps({**found, **changes}))

    def terminate(self, *nodes: str) -> None:
        self.client("ec2").terminate_instances(InstanceIds=[self.nodes[node] for node in nodes])

    def sent_for(self, operation: str) -> list[ShellCommand]:
        return [command for command in self.sent if command.comment.endswith(f" {operation}")]

    def ever_stored(self) -> dict[str, bytes]:
        """Every version of every object: key and version -> content."""
        s3 = self.client("s3")
        pages = s3.get_paginator("list_object_versions").paginate(Bucket=self.bucket)
        return {
            f"{each['Key']} {each['VersionId']}": s3.get_object(
                Bucket=self.bucket, Key=each["Key"], VersionId=each["VersionId"]
            )["Body"].read()
            for page in pages
            for each in page.get("Versions", [])
        }

    def stored(self) -> list[str]:
        """The keys that are there now."""
        return [each["Key"] for each in self.client("s3").list_objects_v2(Bucket=self.bucket).get("Contents", [])]

    def run(self, script: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["/bin/sh", "-c", script],
            env={**self.environment, "PATH": f"{self._tools}:{os.environ['PATH']}"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )


_hosts: list[Hosts] = []


@contextlib.contextmanager
def moto_server() -> Iterator[str]:
    """Its endpoint's URL."""
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@cache
def _client(service: str, endpoint: str) -> Any:
    credentials = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
    return boto3.client(service, region_name=REGION, endpoint_url=endpoint, **credentials)


class ShellCommand(moto.ssm.models.Command):  # type: ignore[misc]  # moto: not typed here
    """A command of moto's that runs; its parent answers Success at once."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        (hosts,) = _hosts
        if hosts.away.intersection(self.instance_ids):
            raise SSMException("InvalidInstanceId", "Instances not in a valid state for account")
        self._set("InProgress")
        self.script = "\n".join(self.parameters["commands"])
        self._process = hosts.run(self.script)
        hosts.sent.append(self)
        threading.Thread(target=self._wait, daemon=True).start()

    def _get_instance_ids_from_targets(self) -> list[str]:
        return []  # moto's own selects every instance where there are no targets

    def stop(self) -> None:
        """As when the host dies."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    @property
    def node(self) -> str:
        (identity,) = self.instance_ids
        (hosts,) = _hosts
        return next(node for node, each in hosts.nodes.items() if each == identity)

    @property
    def said(self) -> str:
        return str(self.invocations[0]["StandardOutputContent"]) + str(self.invocations[0]["StandardErrorContent"])

    def _wait(self) -> None:
        output, errors = self._process.communicate()
        code = self._process.returncode
        self.invocations[0].update(StandardOutputContent=output, StandardErrorContent=errors, ResponseCode=code)
        self._set("Failed" if code else "Success")

    def _set(self, status: str) -> None:
        self.status = status
        self.invocations[0].update(Status=status, StatusDetails=status)


def _cancel_command(self: SimpleSystemManagerResponse) -> ActionResult:
    command = self.ssm_backend.get_command_by_id(self._get_param("CommandId"))
    assert isinstance(command, ShellCommand)
    command.stop()
    return ActionResult({})


@contextlib.contextmanager
def ssm_that_runs(setattr_: Callable[..., None]) -> Iterator[None]:
    """``setattr_``: pytest's ``monkeypatch.setattr``."""
    setattr_(moto.ssm.models, "Command", ShellCommand)
    setattr_(SimpleSystemManagerResponse, "cancel_command", _cancel_command, raising=False)
    yield


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def with_runner(record: Mapping[str, Any], deployment: str) -> dict[str, Any]:
    """A target as a component on AWS records it."""
    sentinel = {key: value for key, value in record.get("sentinel", {}).items() if key != "auth_password"}
    return {
        **record,
        **({"sentinel": sentinel} if sentinel else {"topology": "cluster"}),
        "runner": {"kind": "ssm", "deployment": deployment, "region": REGION},
    }
