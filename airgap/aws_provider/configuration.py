"""The provider's own settings (`aws:region` and the like, or an `aws.Provider` in a program)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from airgap.aws_provider.connection import Credentials
from airgap.provider_protocol.errors import CheckError
from airgap.provider_protocol.wire import UNKNOWN, has_unknown

_COVERED = frozenset(
    {
        "accessKey",
        "allowedAccountIds",
        "defaultTags",
        "profile",
        "region",
        "s3UsePathStyle",
        "secretKey",
        "skipCredentialsValidation",
        "skipMetadataApiCheck",
        "skipRegionValidation",
        "skipRequestingAccountId",
        "token",
    }
)
_BOOKKEEPING = frozenset({"version", "__internal", "__defaults", "pluginDownloadURL"})


def check_settings(settings: Mapping[str, Any]) -> None:
    """Refuse what is not covered. Raises CheckError: an unknown setting, or default tags of a wrong form."""
    for name in settings:
        if name not in _COVERED | _BOOKKEEPING:
            raise CheckError(
                name,
                f"provider aws: the setting '{name}' is not covered by this stand-in for pulumi-resource-aws; "
                "leave it out or install the vendor's plugin",
            )
    tags = plain(settings, "defaultTags")
    if tags is UNKNOWN or tags is None:
        return
    if not isinstance(tags, dict) or set(tags) - {"tags"} or not isinstance(tags.get("tags", {}), dict):
        raise CheckError("defaultTags", "provider aws: the setting 'defaultTags' must be an object with 'tags'")


def plain(settings: Mapping[str, Any], name: str) -> Any:
    """A setting's value. The engine sends what is no string as JSON in a string."""
    value = settings.get(name)
    if not isinstance(value, str) or name in ("accessKey", "secretKey", "token", "profile", "region"):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value


def default_tags(settings: Mapping[str, Any]) -> dict[str, str]:
    """The tags that every resource gets. What a preview cannot know yet is left out."""
    tags = plain(settings, "defaultTags")
    if not isinstance(tags, dict) or has_unknown(tags):
        return {}
    return {str(key): str(value) for key, value in tags.get("tags", {}).items()}


def text_setting(settings: Mapping[str, Any], name: str) -> str:
    """A setting that is a string; empty when it is not given or not known yet."""
    value = settings.get(name)
    return value if isinstance(value, str) else ""


def credentials(settings: Mapping[str, Any]) -> Credentials:
    """The credentials that the settings name."""
    return Credentials(
        access_key=text_setting(settings, "accessKey"),
        secret_key=text_setting(settings, "secretKey"),
        token=text_setting(settings, "token"),
        profile=text_setting(settings, "profile"),
    )
