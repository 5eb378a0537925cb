"""What a deployment starts from, as Pulumi sees it. That it then has the data is shown on a real engine."""

from __future__ import annotations

from typing import Any

import pulumi
import pytest

from components import ReplicatedRedis, ReplicatedRedisSettings
from components.backup_settings import BackupSettings
from components.formation.closing import MARK, closed, kept_closed, waiting_users
from components.restoration import _RestorationProvider
from tests.unit.resource_graph import Graph, run_program


def graph(tmp_path: Any, monkeypatch: pytest.MonkeyPatch, **backup: Any) -> Graph:
    monkeypatch.chdir(tmp_path)

    def program() -> dict[str, pulumi.Output[Any]]:
        ReplicatedRedis("cache", ReplicatedRedisSettings(backup=BackupSettings(**backup)))
        return {}

    return run_program(program)


def test_a_restore_waits_for_the_backup_service_and_begins_closed(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = graph(tmp_path, monkeypatch, restore_from="latest")
    restoration = made.of_type("Restoration")["cache-restoration"]
    assert restoration.inputs["restore_from"] == "latest"
    assert any(each.endswith("::cache-backup") for each in restoration.request.dependencies)
    assert made.of_type("Formation")["cache-formation"].inputs["begins_closed"] is True


def test_without_it_nothing_is_restored_or_closed(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    made = graph(tmp_path, monkeypatch)
    assert not made.of_type("Restoration")
    assert made.of_type("Formation")["cache-formation"].inputs["begins_closed"] is False


def test_another_backup_is_refused_for_a_deployment_that_has_started() -> None:
    provider = _RestorationProvider()
    before = {"restore_from": "latest"}
    assert provider.check(before, before).failures == []
    (failure,) = provider.check(before, {"restore_from": "2026-11-26T03-00-00Z"}).failures
    assert failure.reason.startswith("restore-from: this deployment has started from latest, and holds data since")
    assert not provider.diff("id", before, before).changes


def test_applications_are_off_and_known_to_be_let_in_again() -> None:
    definitions = {"default": "reset off", "app": "reset on #1 ~*", "admin": "reset on #2 ~*", "host": "reset on #3"}
    assert closed(definitions) == {
        **definitions,
        "app": "reset on #1 ~* off",
        MARK: "reset off ~app",
    }
    assert kept_closed(definitions, ["app", "default"])[MARK] == "reset off ~app ~default"


def test_a_mark_is_read_from_what_a_server_lists() -> None:
    open_to_all = ["user admin on sanitize-payload #12 ~* &* +@all", "user app on sanitize-payload #12 ~app:* +@all"]
    assert waiting_users(open_to_all) is None
    marked = [*open_to_all, f"user {MARK} off sanitize-payload ~app ~default resetchannels -@all"]
    assert waiting_users(marked) == ["app", "default"]
