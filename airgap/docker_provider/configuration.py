"""The provider's own settings (`docker:host` and the like, or a `docker.Provider` in a program)."""

from collections.abc import Mapping
from typing import Any

from airgap.provider_protocol.errors import CheckError

_COVERED = frozenset({"host", "disableDockerDaemonCheck"})
_BOOKKEEPING = frozenset({"version", "__internal", "__defaults", "pluginDownloadURL"})


def check_settings(settings: Mapping[str, Any]) -> None:
    """Refuse what this stand-in does not cover.

    Raises CheckError: a setting other than host and disableDockerDaemonCheck, or a host that is not unix:// or tcp://.
    """
    for name in settings:
        if name not in _COVERED | _BOOKKEEPING:
            raise CheckError(
                name,
                f"provider docker: the setting '{name}' is not covered by this stand-in for pulumi-resource-docker; "
                "leave it out or install the vendor's plugin",
            )
    host = settings.get("host")
    if isinstance(host, str) and host and not host.startswith(("unix://", "tcp://")):
        raise CheckError(
            "host",
            "provider docker: the setting 'host' must begin with unix:// or tcp:// (ssh and others are not covered)",
        )


def daemon_check_wanted(settings: Mapping[str, Any]) -> bool:
    """Whether the engine must answer before anything else is done."""
    return settings.get("disableDockerDaemonCheck") not in (True, "true")
