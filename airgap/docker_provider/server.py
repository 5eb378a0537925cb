"""The gRPC service that the Pulumi engine talks to."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import NoReturn, TypeVar

import grpc
from google.protobuf import any_pb2, empty_pb2, struct_pb2
from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc, status_pb2

from airgap.docker_provider import VERSION
from airgap.docker_provider.configuration import check_settings, daemon_check_wanted
from airgap.docker_provider.container import Container
from airgap.docker_provider.difference import Change, Difference
from airgap.docker_provider.engine import Engine, describe_failure
from airgap.docker_provider.errors import CheckError, InitializationError, ProviderError
from airgap.docker_provider.naming import automatic_name
from airgap.docker_provider.network import Network
from airgap.docker_provider.properties import check_inputs, without_defaults_lists
from airgap.docker_provider.remote_image import RemoteImage
from airgap.docker_provider.resource import ResourceType
from airgap.docker_provider.secrecy import input_secrets, output_secrets
from airgap.docker_provider.state_inputs import inputs_of_state
from airgap.docker_provider.volume import Volume
from airgap.docker_provider.wire import decode, encode, render_path

_RESOURCE_TYPES: Mapping[str, ResourceType] = {
    kind.type_name: kind for kind in (Network(), Volume(), Container(), RemoteImage())
}
_KINDS = {
    (Change.ADD, False): provider_pb2.PropertyDiff.ADD,
    (Change.ADD, True): provider_pb2.PropertyDiff.ADD_REPLACE,
    (Change.DELETE, False): provider_pb2.PropertyDiff.DELETE,
    (Change.DELETE, True): provider_pb2.PropertyDiff.DELETE_REPLACE,
    (Change.UPDATE, False): provider_pb2.PropertyDiff.UPDATE,
    (Change.UPDATE, True): provider_pb2.PropertyDiff.UPDATE_REPLACE,
}

Answer = TypeVar("Answer")


class DockerProvider(provider_pb2_grpc.ResourceProviderServicer):
    """Answers the engine. It keeps nothing but the connection to the Docker engine."""

    def __init__(self) -> None:
        self._engine = Engine()
        self._cancelled = threading.Event()

    def Handshake(
        self, request: provider_pb2.ProviderHandshakeRequest, context: grpc.ServicerContext
    ) -> provider_pb2.ProviderHandshakeResponse:
        """Says what this provider can take."""
        return provider_pb2.ProviderHandshakeResponse(accept_secrets=True, supports_autonaming_configuration=True)

    def GetPluginInfo(self, request: empty_pb2.Empty, context: grpc.ServicerContext) -> plugin_pb2.PluginInfo:
        """Says which plugin version this stands in for."""
        return plugin_pb2.PluginInfo(version=VERSION)

    def Attach(self, request: plugin_pb2.PluginAttach, context: grpc.ServicerContext) -> empty_pb2.Empty:
        """Nothing to do: this provider never calls the engine back."""
        return empty_pb2.Empty()

    def CheckConfig(
        self, request: provider_pb2.CheckRequest, context: grpc.ServicerContext
    ) -> provider_pb2.CheckResponse:
        """Checks the provider's settings."""
        settings, _ = decode(request.news)
        try:
            check_settings(settings)
        except CheckError as refusal:
            return provider_pb2.CheckResponse(failures=[_failure(refusal)])
        return provider_pb2.CheckResponse(inputs=request.news)

    def DiffConfig(self, request: provider_pb2.DiffRequest, context: grpc.ServicerContext) -> provider_pb2.DiffResponse:
        """Changed settings never replace the resources made with the old ones."""
        olds, _ = decode(request.old_inputs if request.HasField("old_inputs") else request.olds)
        news, _ = decode(request.news)
        changed = sorted(
            name for name in {*olds, *news} - {"version", "__internal"} if olds.get(name) != news.get(name)
        )
        changes = provider_pb2.DiffResponse.DIFF_SOME if changed else provider_pb2.DiffResponse.DIFF_NONE
        return provider_pb2.DiffResponse(changes=changes, diffs=changed)

    def Configure(
        self, request: provider_pb2.ConfigureRequest, context: grpc.ServicerContext
    ) -> provider_pb2.ConfigureResponse:
        """Takes the settings and, as the vendor does, finds out at once whether the Docker engine answers."""
        settings, _ = decode(request.args)

        def configure() -> provider_pb2.ConfigureResponse:
            check_settings(settings)
            host = settings.get("host")
            self._engine = Engine(host if isinstance(host, str) else "")
            if daemon_check_wanted(settings):
                self._engine.client()
            return provider_pb2.ConfigureResponse(
                acceptSecrets=True, supportsPreview=True, supports_autonaming_configuration=True
            )

        return _answer(context, configure)

    def Invoke(self, request: provider_pb2.InvokeRequest, context: grpc.ServicerContext) -> provider_pb2.InvokeResponse:
        """Functions (getNetwork and the like) are not covered."""
        return _abort(
            context, f"the function {request.tok} is not covered by this stand-in for pulumi-resource-docker {VERSION}"
        )

    def Check(self, request: provider_pb2.CheckRequest, context: grpc.ServicerContext) -> provider_pb2.CheckResponse:
        """Checks a resource's inputs and fills in its defaults."""
        news, secrets = decode(request.news)
        olds, _ = decode(request.olds)
        token = _token(request.urn)
        kind = _RESOURCE_TYPES.get(token)
        if kind is None:
            refusal = CheckError("", _not_covered(token))
            return provider_pb2.CheckResponse(failures=[_failure(refusal)])
        try:
            inputs = check_inputs(news, kind.properties, token)
            if kind.named_automatically and "name" not in inputs:
                name = automatic_name(request, olds)
                if name is None:
                    raise CheckError(
                        "name", f"{token}: the property 'name' is missing and automatic naming is disabled: set it"
                    )
                inputs["name"] = name
                inputs["__defaults"] = sorted([*inputs["__defaults"], "name"])
        except CheckError as refusal:
            return provider_pb2.CheckResponse(failures=[_failure(refusal)])
        return provider_pb2.CheckResponse(inputs=encode(inputs, secrets))

    def Diff(self, request: provider_pb2.DiffRequest, context: grpc.ServicerContext) -> provider_pb2.DiffResponse:
        """Says what differs between the recorded state and new inputs, and whether that needs a new resource."""
        outputs, _ = decode(request.olds)
        old_inputs, _ = decode(request.old_inputs)
        inputs, _ = decode(request.news)

        def difference() -> provider_pb2.DiffResponse:
            kind = _resource_type(request.urn)
            found = kind.difference(outputs, without_defaults_lists(inputs))
            return _diff_response(
                [one for one in found if one.path[0] not in request.ignoreChanges],
                kind.deletes_first(old_inputs, inputs),
            )

        return _answer(context, difference)

    def Create(self, request: provider_pb2.CreateRequest, context: grpc.ServicerContext) -> provider_pb2.CreateResponse:
        """Makes a resource, or foretells its outputs in a preview."""
        checked, secrets = decode(request.properties)
        inputs = without_defaults_lists(checked)

        def create() -> provider_pb2.CreateResponse:
            kind = _resource_type(request.urn)
            hidden = output_secrets(secrets, kind.properties)
            if request.preview:
                return provider_pb2.CreateResponse(properties=encode(kind.planned(inputs), hidden))
            try:
                record = kind.create(self._engine, inputs, self._cancelled)
            except InitializationError as failure:
                raise _MadeButNotUp(failure, encode(failure.outputs, hidden)) from failure
            return provider_pb2.CreateResponse(id=record.identifier, properties=encode(record.outputs, hidden))

        return _answer(context, create)

    def Read(self, request: provider_pb2.ReadRequest, context: grpc.ServicerContext) -> provider_pb2.ReadResponse:
        """Reads a resource again (refresh) or by its id (import). One that is gone has an empty id."""
        outputs, output_paths = decode(request.properties)
        old_inputs, input_paths = decode(request.inputs)

        def read() -> provider_pb2.ReadResponse:
            kind = _resource_type(request.urn)
            record = kind.read(self._engine, request.id, outputs)
            if record is None:
                return provider_pb2.ReadResponse(id="")
            inputs = inputs_of_state(old_inputs, record.outputs, kind.properties)
            return provider_pb2.ReadResponse(
                id=record.identifier,
                properties=encode(record.outputs, output_secrets(output_paths | input_paths, kind.properties)),
                inputs=encode(inputs, input_secrets(input_paths, old_inputs, inputs)),
            )

        return _answer(context, read)

    def Update(self, request: provider_pb2.UpdateRequest, context: grpc.ServicerContext) -> provider_pb2.UpdateResponse:
        """Changes a resource in place."""
        outputs, _ = decode(request.olds)
        checked, secrets = decode(request.news)
        inputs = without_defaults_lists(checked)

        def update() -> provider_pb2.UpdateResponse:
            kind = _resource_type(request.urn)
            changed = frozenset(str(one.path[0]) for one in kind.difference(outputs, inputs)) - frozenset(
                request.ignoreChanges
            )
            hidden = output_secrets(secrets, kind.properties)
            if request.preview:
                return provider_pb2.UpdateResponse(
                    properties=encode(kind.planned_update(outputs, inputs, changed), hidden)
                )
            return provider_pb2.UpdateResponse(
                properties=encode(kind.update(self._engine, request.id, outputs, inputs, changed), hidden)
            )

        return _answer(context, update)

    def Delete(self, request: provider_pb2.DeleteRequest, context: grpc.ServicerContext) -> empty_pb2.Empty:
        """Removes a resource."""
        outputs, _ = decode(request.properties)

        def delete() -> empty_pb2.Empty:
            _resource_type(request.urn).delete(self._engine, request.id, outputs)
            return empty_pb2.Empty()

        return _answer(context, delete)

    def Cancel(self, request: empty_pb2.Empty, context: grpc.ServicerContext) -> empty_pb2.Empty:
        """Ends every wait, so that operations under way come back soon."""
        self.cancel()
        return empty_pb2.Empty()

    def cancel(self) -> None:
        """End every wait."""
        self._cancelled.set()


def _token(urn: str) -> str:
    return urn.split("::")[2].rpartition("$")[2]


def _not_covered(token: str) -> str:
    covered = ", ".join(_RESOURCE_TYPES)
    return (
        f"{token} is not covered by this stand-in for pulumi-resource-docker {VERSION} (covered: {covered}); "
        "install the vendor's plugin"
    )


def _resource_type(urn: str) -> ResourceType:
    token = _token(urn)
    if token not in _RESOURCE_TYPES:
        raise ProviderError(_not_covered(token))
    return _RESOURCE_TYPES[token]


def _failure(refusal: CheckError) -> provider_pb2.CheckFailure:
    return provider_pb2.CheckFailure(property=refusal.property_path, reason=refusal.reason)


def _diff_response(found: list[Difference], deletes_first: bool) -> provider_pb2.DiffResponse:
    replaces = list(dict.fromkeys(str(one.path[0]) for one in found if one.replaces))
    return provider_pb2.DiffResponse(
        changes=provider_pb2.DiffResponse.DIFF_SOME if found else provider_pb2.DiffResponse.DIFF_NONE,
        diffs=list(dict.fromkeys(str(one.path[0]) for one in found)),
        replaces=replaces,
        deleteBeforeReplace=bool(replaces) and deletes_first,
        detailedDiff={
            render_path(one.path): provider_pb2.PropertyDiff(kind=_KINDS[one.change, one.replaces]) for one in found
        },
        hasDetailedDiff=True,
    )


class _MadeButNotUp(Exception):
    """An InitializationError whose outputs are ready to be sent, secrets marked."""

    def __init__(self, failure: InitializationError, outputs: struct_pb2.Struct) -> None:
        super().__init__(failure.reason)
        self.detail = provider_pb2.ErrorResourceInitFailed(
            id=failure.identifier, properties=outputs, reasons=[failure.reason]
        )


def _answer(context: grpc.ServicerContext, operation: Callable[[], Answer]) -> Answer:
    """Run one operation; a failure becomes one clear line."""
    try:
        return operation()
    except _MadeButNotUp as failure:
        message = str(failure)
        detail = any_pb2.Any()
        detail.Pack(failure.detail)
        status = status_pb2.Status(code=grpc.StatusCode.UNKNOWN.value[0], message=message, details=[detail])
        context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
    except Exception as failure:
        message = describe_failure(failure)
    return _abort(context, message)


def _abort(context: grpc.ServicerContext, message: str) -> NoReturn:
    context.abort(grpc.StatusCode.UNKNOWN, message)
    raise AssertionError("abort raises")
