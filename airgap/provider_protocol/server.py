"""The gRPC service that the Pulumi engine talks to."""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Generic, NoReturn, TypeVar

import grpc
from google.protobuf import any_pb2, empty_pb2, struct_pb2
from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc, status_pb2

from airgap.provider_protocol.difference import Change, Difference
from airgap.provider_protocol.errors import CheckError, InitializationError, ProviderError
from airgap.provider_protocol.naming import automatic_name
from airgap.provider_protocol.properties import check_inputs, without_defaults_lists
from airgap.provider_protocol.resource import Connection, ResourceType
from airgap.provider_protocol.secrecy import input_secrets
from airgap.provider_protocol.state_inputs import inputs_of_state
from airgap.provider_protocol.wire import decode, encode, render_path

_KINDS = {
    (Change.ADD, False): provider_pb2.PropertyDiff.ADD,
    (Change.ADD, True): provider_pb2.PropertyDiff.ADD_REPLACE,
    (Change.DELETE, False): provider_pb2.PropertyDiff.DELETE,
    (Change.DELETE, True): provider_pb2.PropertyDiff.DELETE_REPLACE,
    (Change.UPDATE, False): provider_pb2.PropertyDiff.UPDATE,
    (Change.UPDATE, True): provider_pb2.PropertyDiff.UPDATE_REPLACE,
}

Answer = TypeVar("Answer")


class Provider(provider_pb2_grpc.ResourceProviderServicer, Generic[Connection]):
    """Answers the engine.

    `name` and `version` are those of the vendor's plugin that it stands in for, for example docker and 5.2.0.
    """

    def __init__(self, name: str, version: str, resource_types: Iterable[ResourceType[Connection]]) -> None:
        self._name = name
        self._version = version
        self._resource_types = {kind.type_name: kind for kind in resource_types}
        self._cancelled = threading.Event()

    @property
    @abstractmethod
    def connection(self) -> Connection:
        """What resource types work with. It is asked for at every operation."""

    @abstractmethod
    def check_settings(self, settings: Mapping[str, Any]) -> None:
        """Refuse what is not covered. Raises CheckError."""

    @abstractmethod
    def connect(self, settings: Mapping[str, Any]) -> None:
        """Take the settings. Raises CheckError or ProviderError: nothing can be done with them."""

    @abstractmethod
    def describe_failure(self, failure: Exception) -> str:
        """One line for the user about any failure of an operation; it holds no secret."""

    def complete(self, kind: ResourceType[Connection], inputs: Mapping[str, Any]) -> tuple[dict[str, Any], set[str]]:
        """The inputs with what the provider's settings add to them, and the names of the properties so filled in."""
        return dict(inputs), set()

    def call(self, token: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """The answer of a function (getNetwork and the like).

        Raises CheckError: it is not covered, or an argument is not.
        """
        raise CheckError("", f"the function {token} is not covered by {self._stand_in}")

    @property
    def _stand_in(self) -> str:
        return f"this stand-in for pulumi-resource-{self._name} {self._version}"

    def Handshake(
        self, request: provider_pb2.ProviderHandshakeRequest, context: grpc.ServicerContext
    ) -> provider_pb2.ProviderHandshakeResponse:
        """Says what this provider can take."""
        return provider_pb2.ProviderHandshakeResponse(accept_secrets=True, supports_autonaming_configuration=True)

    def GetPluginInfo(self, request: empty_pb2.Empty, context: grpc.ServicerContext) -> plugin_pb2.PluginInfo:
        """Says which plugin version this stands in for."""
        return plugin_pb2.PluginInfo(version=self._version)

    def Attach(self, request: plugin_pb2.PluginAttach, context: grpc.ServicerContext) -> empty_pb2.Empty:
        """Nothing to do: this provider never calls the engine back."""
        return empty_pb2.Empty()

    def CheckConfig(
        self, request: provider_pb2.CheckRequest, context: grpc.ServicerContext
    ) -> provider_pb2.CheckResponse:
        """Checks the provider's settings."""
        settings, _ = decode(request.news)
        try:
            self.check_settings(settings)
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
        """Takes the settings."""
        settings, _ = decode(request.args)

        def configure() -> provider_pb2.ConfigureResponse:
            self.check_settings(settings)
            self.connect(settings)
            return provider_pb2.ConfigureResponse(
                acceptSecrets=True, supportsPreview=True, supports_autonaming_configuration=True
            )

        return self._answer(context, configure)

    def Invoke(self, request: provider_pb2.InvokeRequest, context: grpc.ServicerContext) -> provider_pb2.InvokeResponse:
        """Calls a function."""
        arguments, _ = decode(request.args)

        def call() -> provider_pb2.InvokeResponse:
            try:
                found = encode(self.call(request.tok, arguments))
            except CheckError as refusal:
                return provider_pb2.InvokeResponse(failures=[_failure(refusal)])
            answer = provider_pb2.InvokeResponse()
            getattr(answer, "return").CopyFrom(found)  # the field's name is a word of Python's
            return answer

        return self._answer(context, call)

    def Check(self, request: provider_pb2.CheckRequest, context: grpc.ServicerContext) -> provider_pb2.CheckResponse:
        """Checks a resource's inputs and fills in its defaults."""
        news, secrets = decode(request.news)
        olds, _ = decode(request.olds)
        token = _token(request.urn)
        kind = self._resource_types.get(token)
        if kind is None:
            refusal = CheckError("", self._not_covered(token))
            return provider_pb2.CheckResponse(failures=[_failure(refusal)])
        try:
            completed, filled_in = self.complete(kind, news)
            inputs = check_inputs(completed, kind.properties, token)
            name_property = kind.name_property
            if name_property and name_property not in inputs:
                name = automatic_name(request, olds, name_property, kind.longest_name)
                if name is None:
                    raise CheckError(
                        name_property,
                        f"{token}: the property '{name_property}' is missing and automatic naming is disabled: set it",
                    )
                inputs[name_property] = kind.fit_name(name)
                filled_in.add(name_property)
            inputs["__defaults"] = sorted({*inputs["__defaults"], *filled_in})
        except CheckError as refusal:
            return provider_pb2.CheckResponse(failures=[_failure(refusal)])
        failures = [_failure(refusal) for refusal in kind.refusals(inputs)]
        return provider_pb2.CheckResponse(inputs=encode(inputs, secrets), failures=failures)

    def Diff(self, request: provider_pb2.DiffRequest, context: grpc.ServicerContext) -> provider_pb2.DiffResponse:
        """Says what differs between the recorded state and new inputs, and whether that needs a new resource."""
        outputs, _ = decode(request.olds)
        old_inputs, _ = decode(request.old_inputs)
        inputs, _ = decode(request.news)

        def difference() -> provider_pb2.DiffResponse:
            kind = self._resource_type(request.urn)
            found = kind.difference(outputs, without_defaults_lists(inputs))
            return _diff_response(
                [one for one in found if one.path[0] not in request.ignoreChanges],
                kind.deletes_first(old_inputs, inputs),
            )

        return self._answer(context, difference)

    def Create(self, request: provider_pb2.CreateRequest, context: grpc.ServicerContext) -> provider_pb2.CreateResponse:
        """Makes a resource, or foretells its outputs in a preview."""
        checked, secrets = decode(request.properties)
        inputs = without_defaults_lists(checked)

        def create() -> provider_pb2.CreateResponse:
            kind = self._resource_type(request.urn)
            hidden = kind.secret_outputs(secrets)
            if request.preview:
                return provider_pb2.CreateResponse(properties=encode(kind.planned(inputs), hidden))
            try:
                record = kind.create(self.connection, inputs, self._cancelled)
            except InitializationError as failure:
                raise _MadeButNotUp(failure, encode(failure.outputs, hidden)) from failure
            return provider_pb2.CreateResponse(id=record.identifier, properties=encode(record.outputs, hidden))

        return self._answer(context, create)

    def Read(self, request: provider_pb2.ReadRequest, context: grpc.ServicerContext) -> provider_pb2.ReadResponse:
        """Reads a resource again (refresh) or by its id (import). One that is gone has an empty id."""
        outputs, output_paths = decode(request.properties)
        old_inputs, input_paths = decode(request.inputs)

        def read() -> provider_pb2.ReadResponse:
            kind = self._resource_type(request.urn)
            record = kind.read(self.connection, request.id, outputs)
            if record is None:
                return provider_pb2.ReadResponse(id="")
            inputs = inputs_of_state(old_inputs, record.outputs, kind.properties)
            return provider_pb2.ReadResponse(
                id=record.identifier,
                properties=encode(record.outputs, kind.secret_outputs(output_paths | input_paths)),
                inputs=encode(inputs, input_secrets(input_paths, old_inputs, inputs)),
            )

        return self._answer(context, read)

    def Update(self, request: provider_pb2.UpdateRequest, context: grpc.ServicerContext) -> provider_pb2.UpdateResponse:
        """Changes a resource in place."""
        outputs, _ = decode(request.olds)
        checked, secrets = decode(request.news)
        inputs = without_defaults_lists(checked)

        def update() -> provider_pb2.UpdateResponse:
            kind = self._resource_type(request.urn)
            changed = frozenset(str(one.path[0]) for one in kind.difference(outputs, inputs)) - frozenset(
                request.ignoreChanges
            )
            hidden = kind.secret_outputs(secrets)
            if request.preview:
                return provider_pb2.UpdateResponse(
                    properties=encode(kind.planned_update(outputs, inputs, changed), hidden)
                )
            updated = kind.update(self.connection, request.id, outputs, inputs, changed, self._cancelled)
            return provider_pb2.UpdateResponse(properties=encode(updated, hidden))

        return self._answer(context, update)

    def Delete(self, request: provider_pb2.DeleteRequest, context: grpc.ServicerContext) -> empty_pb2.Empty:
        """Removes a resource."""
        outputs, _ = decode(request.properties)

        def delete() -> empty_pb2.Empty:
            self._resource_type(request.urn).delete(self.connection, request.id, outputs, self._cancelled)
            return empty_pb2.Empty()

        return self._answer(context, delete)

    def Cancel(self, request: empty_pb2.Empty, context: grpc.ServicerContext) -> empty_pb2.Empty:
        """Ends every wait, so that operations under way come back soon."""
        self.cancel()
        return empty_pb2.Empty()

    def cancel(self) -> None:
        """End every wait."""
        self._cancelled.set()

    def _not_covered(self, token: str) -> str:
        covered = ", ".join(self._resource_types)
        return f"{token} is not covered by {self._stand_in} (covered: {covered}); install the vendor's plugin"

    def _resource_type(self, urn: str) -> ResourceType[Connection]:
        token = _token(urn)
        if token not in self._resource_types:
            raise ProviderError(self._not_covered(token))
        return self._resource_types[token]

    def _answer(self, context: grpc.ServicerContext, operation: Callable[[], Answer]) -> Answer:
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
            message = self.describe_failure(failure)
        return _abort(context, message)


def _token(urn: str) -> str:
    return urn.split("::")[2].rpartition("$")[2]


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


def _abort(context: grpc.ServicerContext, message: str) -> NoReturn:
    context.abort(grpc.StatusCode.UNKNOWN, message)
    raise AssertionError("abort raises")
