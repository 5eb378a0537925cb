"""The provider: its resource types, its functions, its settings and its connection to AWS."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airgap.aws_provider import VERSION
from airgap.aws_provider.configuration import check_settings, credentials, default_tags, plain, text_setting
from airgap.aws_provider.connection import Aws
from airgap.aws_provider.failures import describe_failure
from airgap.aws_provider.functions import FUNCTIONS
from airgap.aws_provider.resource_types import RESOURCE_TYPES
from airgap.provider_protocol.errors import CheckError, ProviderError
from airgap.provider_protocol.properties import check_inputs, without_defaults_lists
from airgap.provider_protocol.resource import ResourceType
from airgap.provider_protocol.server import Provider
from airgap.provider_protocol.wire import UNKNOWN


class AwsProvider(Provider[Aws]):
    """Keeps nothing but the connection and the default tags."""

    def __init__(self) -> None:
        super().__init__("aws", VERSION, RESOURCE_TYPES)
        self._aws = Aws()
        self._default_tags: dict[str, str] = {}
        self._region_unknown = False

    @property
    def connection(self) -> Aws:
        """The services."""
        return self._aws

    def check_settings(self, settings: Mapping[str, Any]) -> None:
        """Refuse what is not covered."""
        check_settings(settings)

    def connect(self, settings: Mapping[str, Any]) -> None:
        """Take the settings. AWS itself is asked only when an account must be one of the allowed."""
        self._aws = Aws(
            text_setting(settings, "region"),
            credentials(settings),
            path_style=plain(settings, "s3UsePathStyle") is True,
        )
        self._default_tags = default_tags(settings)
        self._region_unknown = settings.get("region") is UNKNOWN
        allowed = plain(settings, "allowedAccountIds")
        if isinstance(allowed, list) and UNKNOWN not in allowed and self._aws.account() not in allowed:
            raise ProviderError(
                "provider aws: the credentials are of another account than the setting 'allowedAccountIds' names"
            )

    def describe_failure(self, failure: Exception) -> str:
        """One line without secrets."""
        return describe_failure(failure)

    def complete(self, kind: ResourceType[Aws], inputs: Mapping[str, Any]) -> tuple[dict[str, Any], set[str]]:
        """Fill in the region, and the default tags below the resource's own, as the vendor does."""
        completed = dict(inputs)
        filled_in = set()
        if "region" in kind.properties and completed.get("region") is None:
            completed["region"] = UNKNOWN if self._region_unknown else self._configured_region()
            filled_in.add("region")
        tags = completed.get("tags")
        if "tags" in kind.properties and self._default_tags and (tags is None or isinstance(tags, dict)):
            completed["tags"] = {**self._default_tags, **(tags or {})}
        return completed, filled_in

    def call(self, token: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """The answer of a function. Raises CheckError: it or one of its arguments is not covered."""
        function = FUNCTIONS.get(token)
        if function is None:
            return super().call(token, arguments)
        checked = without_defaults_lists(check_inputs(arguments, function.arguments, token))
        region = str(checked.get("region") or "")
        return {**checked, **function.answer(self._aws, checked), "region": region or self._configured_region()}

    def _configured_region(self) -> str:
        try:
            return self._aws.region
        except ProviderError as failure:
            raise CheckError("region", str(failure)) from failure
