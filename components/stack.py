"""Turns a stack's configuration into a deployment: the one place that reads Pulumi's configuration."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pulumi
from pulumi.runtime.config import CONFIG, is_config_secret

from .backup_settings import BackupSettings
from .settings import (
    PLATFORM_SETTINGS,
    NodeSettings,
    RedisClusterSettings,
    ReplicatedRedisSettings,
    SettingsError,
    is_default,
    other_platform_of,
    setting_name,
    setting_names,
    settings_from_mapping,
)
from .topologies import CLUSTER, REPLICATED

_OF_THE_PROGRAM = ("topology", "name")
_SETTINGS: Mapping[str, type[NodeSettings]] = {REPLICATED: ReplicatedRedisSettings, CLUSTER: RedisClusterSettings}


def deploy() -> None:
    """Make the deployment that the current stack's configuration describes, and export its outputs.

    Raises pulumi.RunError, before anything is planned, with a line for each setting that is unknown or invalid.
    """
    config = pulumi.Config()
    try:
        deployment = _deployment(config)
    except SettingsError as error:
        raise pulumi.RunError("\n".join(error.problems)) from None
    for output in deployment.OUTPUTS:
        pulumi.export(output, getattr(deployment, output))


def _deployment(config: pulumi.Config) -> Any:
    name = config.get("name") or "cache"
    given = stack_settings(config.name)
    _refuse_open_secrets(config.name, given)
    settings = deployment_settings(config.get("topology") or REPLICATED, given)
    # A program loads the component that it deploys, and no other.
    if isinstance(settings, RedisClusterSettings):
        from .redis_cluster import RedisCluster

        return RedisCluster(name, settings)
    from .replicated_redis import ReplicatedRedis

    return ReplicatedRedis(name, settings)


def deployment_settings(topology: str, given: Mapping[str, Any]) -> ReplicatedRedisSettings | RedisClusterSettings:
    """What a stack's values, by setting name, say of a deployment of that topology.

    Raises SettingsError for an unknown topology, and for settings that are unknown or invalid.
    """
    if topology == REPLICATED:
        return settings_from_mapping(ReplicatedRedisSettings, settings_of(topology, given))
    if topology == CLUSTER:
        return settings_from_mapping(RedisClusterSettings, settings_of(topology, given))
    raise SettingsError([f"topology: '{topology}' is not one of {', '.join(_SETTINGS)}"])


def settings_of(topology: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The settings without those that only another topology or another platform has.

    Pulumi.yaml gives every stack the defaults of all topologies' and platforms' settings; such a default says nothing.
    Raises SettingsError for a setting of another topology or platform that somebody has set.
    """
    own = setting_names(_SETTINGS[topology])
    platform = str(given.get("platform", NodeSettings.platform))
    others = {
        setting: (f"topology {other}", cls)
        for other, cls in _SETTINGS.items()
        for setting in setting_names(cls)
        if setting not in own
    }
    if platform in PLATFORM_SETTINGS:
        for setting in own:
            if other_platform := other_platform_of(setting, platform):
                others[setting] = (f"platform {other_platform}", _SETTINGS[topology])
    problems = [
        f"{setting}: is a setting of {other}; leave it out, or choose that {other.split()[0]}"
        for setting, (other, cls) in sorted(others.items())
        if setting in given and not is_default(cls, setting, given[setting])
    ]
    if problems:
        raise SettingsError(problems)
    return {setting: value for setting, value in given.items() if setting not in others}


def stack_settings(namespace: str) -> dict[str, Any]:
    """Every configuration value of the stack under ``namespace`` but those of the program itself, by setting name."""
    prefix = f"{namespace}:"
    return {
        key.removeprefix(prefix): _structured(value)
        for key, value in CONFIG.get().items()
        if key.startswith(prefix) and key.removeprefix(prefix) not in _OF_THE_PROGRAM
    }


def _refuse_open_secrets(namespace: str, given: Mapping[str, Any]) -> None:
    """Raises SettingsError for a secret that stands in the stack's file as it is: the state would have it so, too."""
    problems = [
        f"{setting}: stands in the open; give it by pulumi config set --secret {setting}"
        for setting in map(setting_name, sorted(BackupSettings.SECRETS))
        if setting in given and not is_config_secret(f"{namespace}:{setting}")
    ]
    if problems:
        raise SettingsError(problems)


def _structured(value: str) -> Any:
    """Lists and maps reach a program as JSON text; everything else stays the text it is."""
    if value[:1] in ("[", "{"):
        try:
            return json.loads(value)
        except json.JSONDecodeError:
            return value
    return value
