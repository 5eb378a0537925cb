"""Pulumi.yaml declares the settings with the defaults that the code has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from components import ReplicatedRedisSettings, settings_from_mapping
from components.aws_settings import AwsSettings
from components.backup_settings import BackupSettings
from components.settings import NodeSettings, RedisClusterSettings, field_name, setting_names
from components.stack import settings_of
from components.topologies import CLUSTER, REPLICATED

PROJECT: dict[str, Any] = yaml.safe_load((Path(__file__).parents[2] / "Pulumi.yaml").read_text())
OF_THE_PROGRAM = {"topology", "name"}
NONE_OF_BACKUPS = {
    "backup-target", "backup-endpoint", "backup-region", "backup-access-key-id", "backup-secret-access-key",
    "backup-memory", "restore-from", "restore-point-in-time",
}  # fmt: skip
DERIVED = {"maxmemory", "min-replicas-to-write", "master-name"}
NONE_ON_AWS = {"ami-id", "vpc-id", "vpc-cidr", "monitoring-security-group", "alarm-email", "alarm-topic"}
DEPENDS_ON_THE_TOPOLOGY = {"port"}
SETTINGS: dict[str, type[NodeSettings]] = {REPLICATED: ReplicatedRedisSettings, CLUSTER: RedisClusterSettings}
DECLARED = {
    name: declaration["default"] for name, declaration in PROJECT["config"].items() if name not in OF_THE_PROGRAM
}


def test_every_setting_with_a_fixed_default_is_declared() -> None:
    every = {setting for cls in SETTINGS.values() for setting in setting_names(cls)}
    without_default = DERIVED | NONE_ON_AWS | NONE_OF_BACKUPS | DEPENDS_ON_THE_TOPOLOGY
    assert set(PROJECT["config"]) == every - without_default | OF_THE_PROGRAM


@pytest.mark.parametrize("topology", SETTINGS)
def test_declared_defaults_are_the_defaults_of_the_code(topology: str) -> None:
    cls = SETTINGS[topology]
    assert settings_from_mapping(cls, settings_of(topology, DECLARED)) == cls()
    for name in DERIVED & setting_names(cls):
        assert getattr(cls(), field_name(name)) is None
    for name in NONE_ON_AWS:
        assert getattr(AwsSettings(), field_name(name)) is None
    for name in NONE_OF_BACKUPS:
        assert getattr(BackupSettings(), field_name(name)) is None
