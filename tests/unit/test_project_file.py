"""Pulumi.yaml declares the settings with the defaults that the code has."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import yaml

from components.settings import ReplicatedRedisSettings, field_name, setting_name, settings_from_mapping

PROJECT: dict[str, Any] = yaml.safe_load((Path(__file__).parents[2] / "Pulumi.yaml").read_text())
OF_THE_PROGRAM = {"topology", "name"}
DERIVED = {"maxmemory", "min-replicas-to-write", "master-name"}


def test_every_setting_with_a_fixed_default_is_declared() -> None:
    fields = {setting_name(each.name) for each in dataclasses.fields(ReplicatedRedisSettings)}
    assert set(PROJECT["config"]) == (fields - DERIVED) | OF_THE_PROGRAM


def test_declared_defaults_are_the_defaults_of_the_code() -> None:
    declared = {
        name: declaration["default"] for name, declaration in PROJECT["config"].items() if name not in OF_THE_PROGRAM
    }
    assert settings_from_mapping(ReplicatedRedisSettings, declared) == ReplicatedRedisSettings()
    for name in DERIVED:
        assert getattr(ReplicatedRedisSettings(), field_name(name)) is None
