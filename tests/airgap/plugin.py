"""Drives a stand-in plugin over gRPC as the Pulumi engine does, without the CLI: milliseconds instead of seconds."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import empty_pb2
from pulumi.runtime.proto import provider_pb2, provider_pb2_grpc, status_pb2

from airgap.provider_protocol.wire import Path as PropertyPath
from airgap.provider_protocol.wire import decode, encode

ROOT = Path(__file__).resolve().parents[2]


class Refused(Exception):
    """The plugin answered a call with an error, or Check with failures. `properties` are the paths it named."""

    def __init__(self, message: str, properties: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.properties = properties


class NotUp(Exception):
    """The resource was made but did not come up."""

    def __init__(self, detail: provider_pb2.ErrorResourceInitFailed) -> None:
        super().__init__("; ".join(detail.reasons))
        self.identifier = detail.id
        self.outputs, self.secrets = decode(detail.properties)


@dataclass
class Made:
    """A resource as the engine would record it."""

    type_name: str
    identifier: str
    inputs: dict[str, Any]
    outputs: dict[str, Any]
    secrets: frozenset[PropertyPath] = frozenset()


@dataclass(frozen=True)
class Difference:
    """What Diff answered."""

    replaces: tuple[str, ...]
    updates: tuple[str, ...]
    deletes_first: bool
    detail: Mapping[str, str]


NO_DIFFERENCE = Difference((), (), False, {})


class Plugin:
    """A running plugin."""

    def __init__(self, process: subprocess.Popen[str], stub: provider_pb2_grpc.ResourceProviderStub) -> None:
        self.process = process
        self.stub = stub

    def configure(self, settings: Mapping[str, Any] | None = None) -> None:
        self._call(self.stub.Configure, provider_pb2.ConfigureRequest(args=encode(settings or {}), acceptSecrets=True))

    def check_settings(self, settings: Mapping[str, Any]) -> None:
        self._inputs(self.stub.CheckConfig(provider_pb2.CheckRequest(news=encode(settings))))

    def call(self, token: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Call a function."""
        answer = self._call(self.stub.Invoke, provider_pb2.InvokeRequest(tok=token, args=encode(arguments)))
        if answer.failures:
            raise Refused(
                "; ".join(failure.reason for failure in answer.failures),
                tuple(failure.property for failure in answer.failures),
            )
        return decode(getattr(answer, "return"))[0]

    def version(self) -> str:
        return str(self.stub.GetPluginInfo(empty_pb2.Empty()).version)

    def check(
        self,
        type_name: str,
        inputs: Mapping[str, Any],
        old_inputs: Mapping[str, Any] | None = None,
        secrets: frozenset[PropertyPath] = frozenset(),
        seed: bytes = b"seed",
    ) -> tuple[dict[str, Any], frozenset[PropertyPath]]:
        request = provider_pb2.CheckRequest(
            urn=_urn(type_name), news=encode(inputs, secrets), olds=encode(old_inputs or {}), randomSeed=seed
        )
        return self._inputs(self.stub.Check(request))

    def diff(self, made: Made, inputs: Mapping[str, Any]) -> Difference:
        """Check the inputs against a recorded resource and return what differs."""
        checked, _ = self.check(made.type_name, inputs, made.inputs)
        request = provider_pb2.DiffRequest(
            id=made.identifier,
            urn=_urn(made.type_name),
            olds=encode(made.outputs),
            old_inputs=encode(made.inputs),
            news=encode(checked),
        )
        answer: provider_pb2.DiffResponse = self._call(self.stub.Diff, request)
        assert (answer.changes == provider_pb2.DiffResponse.DIFF_NONE) == (not answer.diffs)
        assert answer.hasDetailedDiff
        kinds = provider_pb2.PropertyDiff.Kind
        return Difference(
            tuple(answer.replaces),
            tuple(name for name in answer.diffs if name not in answer.replaces),
            answer.deleteBeforeReplace,
            {path: kinds.Name(change.kind) for path, change in answer.detailedDiff.items()},
        )

    def create(
        self,
        type_name: str,
        inputs: Mapping[str, Any],
        secrets: frozenset[PropertyPath] = frozenset(),
        preview: bool = False,
    ) -> Made:
        checked, still_secret = self.check(type_name, inputs, secrets=secrets)
        properties = encode(checked, still_secret)
        request = provider_pb2.CreateRequest(urn=_urn(type_name), properties=properties, preview=preview)
        answer = self._call(self.stub.Create, request)
        outputs, hidden = decode(answer.properties)
        return Made(type_name, answer.id, checked, outputs, hidden)

    def update(self, made: Made, inputs: Mapping[str, Any]) -> Made:
        checked, secrets = self.check(made.type_name, inputs, made.inputs)
        request = provider_pb2.UpdateRequest(
            id=made.identifier,
            urn=_urn(made.type_name),
            olds=encode(made.outputs),
            old_inputs=encode(made.inputs),
            news=encode(checked, secrets),
        )
        outputs, hidden = decode(self._call(self.stub.Update, request).properties)
        return Made(made.type_name, made.identifier, checked, outputs, hidden)

    def read(self, made: Made) -> Made | None:
        """Refresh; with empty inputs and outputs: import."""
        request = provider_pb2.ReadRequest(
            id=made.identifier,
            urn=_urn(made.type_name),
            properties=encode(made.outputs, made.secrets),
            inputs=encode(made.inputs),
        )
        answer = self._call(self.stub.Read, request)
        if not answer.id:
            return None
        outputs, hidden = decode(answer.properties)
        return Made(made.type_name, answer.id, decode(answer.inputs)[0], outputs, hidden)

    def delete(self, made: Made) -> None:
        self._call(
            self.stub.Delete,
            provider_pb2.DeleteRequest(
                id=made.identifier, urn=_urn(made.type_name), properties=encode(made.outputs, made.secrets)
            ),
        )

    @staticmethod
    def _inputs(answer: provider_pb2.CheckResponse) -> tuple[dict[str, Any], frozenset[PropertyPath]]:
        if answer.failures:
            reasons = "; ".join(failure.reason for failure in answer.failures)
            raise Refused(reasons, tuple(failure.property for failure in answer.failures))
        return decode(answer.inputs)

    @staticmethod
    def _call(method: Any, request: Any) -> Any:
        try:
            return method(request, timeout=120)
        except grpc.RpcError as failure:
            metadata: Any = failure.trailing_metadata() or ()
            for name, value in metadata:
                if name == "grpc-status-details-bin":
                    status = status_pb2.Status.FromString(value)
                    detail = provider_pb2.ErrorResourceInitFailed()
                    assert status.details[0].Unpack(detail)
                    raise NotUp(detail) from failure
            raise Refused(failure.details() or "") from failure


def _urn(type_name: str) -> str:
    return f"urn:pulumi:dev::test::parent:index:Component${type_name}::logical"


@contextmanager
def running_plugin(name: str, environment: Mapping[str, str] | None = None) -> Iterator[Plugin]:
    """Start the stand-in `name` (docker, aws) as Pulumi does and end it afterwards by closing its standard input."""
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", f"airgap.{name}_provider", "127.0.0.1:0"],
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", **(environment or {})},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    port = int(process.stdout.readline())
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        try:
            yield Plugin(process, provider_pb2_grpc.ResourceProviderStub(channel))
        finally:
            process.stdin.close()
            process.wait(timeout=10)
            process.stdout.close()
