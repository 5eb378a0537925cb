"""Turns a stack's configuration into a deployment: the one place that reads Pulumi's configuration."""

from __future__ import annotations

import json
from typing import Any

import pulumi
from pulumi.runtime.config import CONFIG

from .replicated_redis import ReplicatedRedis
from .settings import ReplicatedRedisSettings, SettingsError, settings_from_mapping

_OF_THE_PROGRAM = ("topology", "name")


def deploy() -> None:
    """Make the deployment that the current stack's configuration describes, and export its outputs.

    Raises pulumi.RunError, before anything is planned, with a line for each setting that is unknown or invalid.
    """
    config = pulumi.Config()
    try:
        redis = _replicated_redis(config)
    except SettingsError as error:
        raise pulumi.RunError("\n".join(error.problems)) from None
    for output in ReplicatedRedis.OUTPUTS:
        pulumi.export(output, getattr(redis, output))


def _replicated_redis(config: pulumi.Config) -> ReplicatedRedis:
    topology = config.get("topology") or "replicated"
    if topology != "replicated":
        raise SettingsError([f"topology: '{topology}' is not one of replicated"])
    settings = settings_from_mapping(ReplicatedRedisSettings, stack_settings(config.name))
    return ReplicatedRedis(config.get("name") or "cache", settings)


def stack_settings(namespace: str) -> dict[str, Any]:
    """Every configuration value of the stack under ``namespace`` but those of the program itself, by setting name."""
    prefix = f"{namespace}:"
    return {
        key.removeprefix(prefix): _structured(value)
        for key, value in CONFIG.get().items()
        if key.startswith(prefix) and key.removeprefix(prefix) not in _OF_THE_PROGRAM
    }


def _structured(value: str) -> Any:
    """Lists and maps reach a program as JSON text; everything else stays the text it is."""
    if value[:1] in ("[", "{"):
        try:
            return json.loads(value)
        except json.JSONDecodeError:
            return value
    return value
