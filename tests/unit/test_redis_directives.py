"""The tables of directives and commands fit together."""

from __future__ import annotations

import dataclasses

from components import ReplicatedRedisSettings
from components.redis_directives import (
    BOOLEAN_DIRECTIVES,
    COMMANDS_THE_COMPONENT_NEEDS,
    DIRECTIVES_WITH_A_SETTING,
    GUARDED_DIRECTIVES,
    INTEGER_DIRECTIVES,
    LIVE_DIRECTIVES,
    MEMORY_DIRECTIVES,
    REDIS_COMMANDS,
    RESTART_DIRECTIVES,
)
from components.settings import directive_problem, field_name

PASSED_THROUGH = LIVE_DIRECTIVES | RESTART_DIRECTIVES


def test_a_directive_is_live_or_needs_a_restart_or_is_guarded() -> None:
    assert not LIVE_DIRECTIVES & RESTART_DIRECTIVES
    assert not LIVE_DIRECTIVES & GUARDED_DIRECTIVES
    assert not RESTART_DIRECTIVES & GUARDED_DIRECTIVES


def test_a_directive_has_one_kind() -> None:
    assert not BOOLEAN_DIRECTIVES & INTEGER_DIRECTIVES
    assert not BOOLEAN_DIRECTIVES & MEMORY_DIRECTIVES
    assert not INTEGER_DIRECTIVES & MEMORY_DIRECTIVES


def test_every_directive_of_a_kind_may_be_passed_through() -> None:
    assert BOOLEAN_DIRECTIVES | INTEGER_DIRECTIVES | MEMORY_DIRECTIVES <= PASSED_THROUGH


def test_directives_with_a_setting_are_live_and_their_settings_exist() -> None:
    fields = {field.name for field in dataclasses.fields(ReplicatedRedisSettings)}

    assert set(DIRECTIVES_WITH_A_SETTING) <= LIVE_DIRECTIVES
    assert {field_name(setting) for setting in DIRECTIVES_WITH_A_SETTING.values()} <= fields


def test_every_directive_of_the_tables_can_be_used_or_is_refused_for_a_reason() -> None:
    for name in sorted(PASSED_THROUGH | GUARDED_DIRECTIVES):
        value = "yes" if name in BOOLEAN_DIRECTIVES else "1"
        problem = directive_problem(name, value)
        if name in DIRECTIVES_WITH_A_SETTING:
            assert problem == f"{name} has a setting of its own: use {DIRECTIVES_WITH_A_SETTING[name]}"
        elif name in GUARDED_DIRECTIVES:
            assert problem is not None
            assert problem.startswith(f"{name} is guarded by the component")
        else:
            assert problem is None, name


def test_commands_that_the_component_needs_exist() -> None:
    assert REDIS_COMMANDS | {"script"} >= COMMANDS_THE_COMPONENT_NEEDS


def test_names_are_lower_case_words() -> None:
    for table in (PASSED_THROUGH, GUARDED_DIRECTIVES):
        assert all(name == name.lower() and name.replace("-", "").isalnum() for name in table)
    assert all(command == command.lower() for command in REDIS_COMMANDS)
