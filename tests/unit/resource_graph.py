"""Runs a Pulumi program against mocks; keeps every resource that it registers, with what the engine would be told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from unittest import mock

import pulumi
from google.protobuf.json_format import MessageToDict
from pulumi.runtime import mocks, settings
from pulumi.runtime.proto import resource_pb2

from components.certificates import KeyPair, issue_certificate, make_authority

_SIGNATURE = "4dabf18193072939515e22adb298388d"
_SECRET = "1b47061264138c4ac30d75fd1eb44270"
_AUTHORITY = make_authority("test", 10)
FOLDER = "/etc/redis-production/"
PRIMARY = "127.0.0.1:6379"
SHARDS = [{"name": "cache-redis-0", "slots": "0-5460", "primary": "127.0.0.1:7000", "replicas": ["127.0.0.1:7001"]}]


@dataclass(frozen=True)
class Secret:
    """A value that the engine is told to keep secret."""

    value: Any


@dataclass(frozen=True)
class Registered:
    """One resource: its inputs (secrets as :class:`Secret`) and the options that reach the engine."""

    type: str
    name: str
    parent: str
    inputs: dict[str, Any]
    request: resource_pb2.RegisterResourceRequest


@dataclass(frozen=True)
class Graph:
    """Every resource that a program registered, and what it returned, with whether it is secret."""

    resources: list[Registered]
    outputs: dict[str, Any]
    secret_outputs: set[str]

    def of_type(self, type_ending: str) -> dict[str, Registered]:
        """The resources of a type, by name."""
        return {each.name: each for each in self.resources if each.type.endswith(type_ending)}

    def nodes(self) -> list[str]:
        """The nodes' containers."""
        others = ("-files", "-backup")
        return sorted(name for name in self.of_type(":Container") if not name.endswith(others))

    def container(self, name: str) -> Registered:
        """A node's container."""
        return self.of_type(":Container")[name]

    def files(self, name: str) -> dict[str, Any]:
        """File name -> content of a node."""
        uploads = self.container(f"{name}-files").inputs["uploads"]
        return {upload["file"].removeprefix(FOLDER): upload["content"] for upload in uploads}

    def restart_files(self) -> dict[str, str]:
        """Node -> fingerprint of the files whose change replaces it."""
        return {
            name: label["value"]
            for name, container in self.of_type(":Container").items()
            for label in container.inputs["labels"]
            if label["label"] == "redis-production.restart-files"
        }


class NoLookUps(mocks.Mocks):
    """Invents what providers would answer."""

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        inputs = dict(args.inputs)
        if args.typ.endswith(":Credentials"):
            inputs["passwords"] = {user: f"password-of-{user}" for user in inputs["users"]}
        elif args.typ.endswith(":BackupKey"):
            inputs["key"] = "key-of-backups"
        elif args.typ.endswith(":CertificateAuthority"):
            inputs |= {"certificate": _AUTHORITY.certificate, "private_key": _AUTHORITY.private_key}
        elif args.typ.endswith(":NodeCertificate"):
            issued: KeyPair = issue_certificate(_AUTHORITY, inputs["names"], 9)
            inputs |= {"certificate": issued.certificate, "private_key": issued.private_key}
        elif args.typ.endswith(":Formation"):
            formed = {"primary": PRIMARY, "replicas": ["127.0.0.1:6380", "127.0.0.1:6381"], "shards": SHARDS}
            cluster = "topology" in inputs["target"]
            inputs |= {name: value for name, value in formed.items() if (name == "shards") == cluster}
        return f"id-of-{args.name}", inputs

    def call(self, args: mocks.MockCallArgs) -> tuple[dict[str, Any], list[tuple[str, str]] | None]:
        raise AssertionError(f"nothing is looked up, but {args.token} was")


class _Monitor(mocks.MockMonitor):
    def __init__(self, registered: list[Registered], answers: mocks.Mocks) -> None:
        super().__init__(answers)
        self.registered = registered

    def RegisterResource(self, request: resource_pb2.RegisterResourceRequest) -> Any:
        if request.type != "pulumi:pulumi:Stack":
            inputs = _readable(MessageToDict(request.object))
            parent = request.parent.rsplit("::", 1)[-1]
            self.registered.append(Registered(request.type, request.name, parent, inputs, request))
        answer = super().RegisterResource(request)  # type: ignore[no-untyped-call]
        for name in request.additionalSecretOutputs:  # as the engine does
            if name in answer.object:
                secret = {_SIGNATURE: _SECRET, "value": MessageToDict(answer.object.fields[name])}
                answer.object.update({name: secret})
        return answer


def run_program(
    program: Callable[[], dict[str, pulumi.Output[Any]]],
    stack: str = "local",
    registered: list[Registered] | None = None,
    answers: mocks.Mocks | None = None,
) -> Graph:
    """Run ``program`` as Pulumi would in stack ``stack``; it returns the outputs to look at.

    ``registered`` is filled with the resources, also when the program fails. ``answers``: of the providers.
    """
    monitor = _Monitor([] if registered is None else registered, answers or NoLookUps())
    settings.ROOT.set(None)  # else the first test's stack stays the root of all later ones
    mocks.set_mocks(mocks=monitor.mocks, project="redis-production", stack=stack, preview=False, monitor=monitor)
    outputs: dict[str, Any] = {}
    secret: set[str] = set()

    async def await_outputs(made: dict[str, pulumi.Output[Any]]) -> None:
        for name, output in made.items():
            outputs[name] = await output.future()
            if await output.is_secret():
                secret.add(name)

    @mocks.test  # type: ignore[untyped-decorator]
    def run() -> pulumi.Output[Any]:
        return pulumi.Output.from_input(await_outputs(program()))

    # No test depends on what happens to be on this machine's engine.
    with mock.patch("components.newest_backups.status_of", _status_of):
        run()
    return Graph(monitor.registered, outputs, secret)


def _status_of(container: str) -> dict[str, Any]:
    return {"last_good": f"of {container}", "last_good_at": 0.0}


def plain(value: Any) -> str:
    """A text, secret or not."""
    return str(value.value if isinstance(value, Secret) else value)


def shown(value: Any) -> list[str]:
    """Every text in a value that the engine is not told to keep secret."""
    if isinstance(value, Secret):
        return []
    if isinstance(value, dict):
        return [text for inner in value.values() for text in shown(inner)]
    if isinstance(value, list):
        return [text for inner in value for text in shown(inner)]
    return [str(value)]


def _readable(value: Any) -> Any:
    if isinstance(value, dict):
        if value.get(_SIGNATURE) == _SECRET:
            return Secret(_readable(value["value"]))
        return {key: _readable(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_readable(inner) for inner in value]
    return value
