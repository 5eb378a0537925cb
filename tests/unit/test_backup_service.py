"""The backup container that components ask the engine for. Whether it then works is shown on a real engine."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pulumi
import pytest

from components import RedisCluster, RedisClusterSettings, ReplicatedRedis, ReplicatedRedisSettings
from components.backup_settings import BackupSettings
from components.backups.archiving import Archiver
from components.backups.errors import SourceError
from components.backups.program import serve
from components.backups.service import Service
from components.backups.status import OBJECT, Status
from components.platforms import backup_image
from components.remote.archive import BACKUPS, archive, fingerprint
from components.settings import MEBIBYTE
from tests.unit.resource_graph import Graph, Secret, plain, run_program, shown

CANARY = "canary-of-a-secret-key"
TO_S3: dict[str, Any] = {
    "backup_target": "s3://backups/redis",
    "backup_endpoint": "https://s3.example.com",
    "backup_region": "eu-central-1",
    "backup_access_key_id": "AKIAEXAMPLE",
    "backup_secret_access_key": CANARY,
}


@pytest.fixture(scope="module", autouse=True)
def folder_of_a_project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where Pulumi would run the program."""
    folder, before = tmp_path_factory.mktemp("project"), Path.cwd()
    os.chdir(folder)
    yield folder
    os.chdir(before)


def graph(settings: dict[str, Any] | None = None, **backup: Any) -> Graph:
    def program() -> dict[str, pulumi.Output[Any]]:
        ReplicatedRedis("cache", ReplicatedRedisSettings(**(settings or {}), backup=BackupSettings(**backup)))
        return {}

    return run_program(program)


@functools.cache
def default_graph() -> Graph:
    return graph()


def configuration(made: Graph) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(made.files("cache-backup")["backup.json"])
    return found


def secret(made: Graph) -> dict[str, Any]:
    file = made.files("cache-backup")["secret.json"]
    assert isinstance(file, Secret)
    found: dict[str, Any] = json.loads(plain(file))
    return found


def mounts(made: Graph) -> dict[str, str]:
    return {mount["target"]: mount["source"] for mount in made.container("cache-backup").inputs["mounts"]}


def test_it_starts_when_the_nodes_are_one_deployment() -> None:
    needs = default_graph().container("cache-backup").request.dependencies

    for name in ("cache-formation", "cache-backup-image", "cache-backup-files"):
        assert any(urn.endswith(f"::{name}") for urn in needs), name


def test_it_is_hardened_as_a_node_is_and_publishes_nothing() -> None:
    inputs = default_graph().container("cache-backup").inputs

    assert inputs["name"] == inputs["hostname"] == "cache-local-backup"
    assert inputs["user"] == "999:999"
    assert inputs["readOnly"] is True
    assert inputs["capabilities"] == {"drops": ["ALL"]}
    assert inputs["securityOpts"] == ["no-new-privileges"]
    assert inputs["restart"] == "unless-stopped"
    assert "ports" not in inputs
    assert [network["name"] for network in inputs["networksAdvanced"]] == ["cache-local"]


def test_it_has_the_memory_of_a_node_and_what_a_backup_takes() -> None:
    inputs = graph({"memory": 256 * MEBIBYTE}).container("cache-backup").inputs

    assert inputs["memory"] == inputs["memorySwap"] == 512
    assert graph(backup_memory=300 * MEBIBYTE).container("cache-backup").inputs["memory"] == 300


def test_backups_go_to_a_volume_that_outlives_the_deployment() -> None:
    volume = default_graph().of_type(":Volume")["cache-backups"]

    assert configuration(default_graph())["store"] == {"kind": "folder", "path": "/backups"}
    assert mounts(default_graph()) == {
        "/backups": "cache-local-backups",
        "/data": "cache-local-backup-scratch",
        "/etc/redis-production": "cache-local-backup-config",
    }
    assert volume.request.retainOnDelete
    assert not graph({"retain_data": False}).of_type(":Volume")["cache-backups"].request.retainOnDelete


def test_backups_go_to_s3_without_a_volume() -> None:
    made = graph(**TO_S3)

    assert "cache-backups" not in made.of_type(":Volume")
    assert configuration(made)["store"] == {
        "kind": "s3",
        "bucket": "backups",
        "prefix": "redis",
        "endpoint": "https://s3.example.com",
        "region": "eu-central-1",
    }
    assert secret(made)["access_key_id"] == "AKIAEXAMPLE"
    assert secret(made)["secret_access_key"] == CANARY


def test_no_secret_is_shown_to_the_engine() -> None:
    passwords = ("password-of-backup", "key-of-backups", CANARY)
    for resource in graph(**TO_S3).resources:
        for text in shown(resource.inputs):
            assert not [password for password in passwords if password in text], resource.name


def test_it_gets_nothing_that_can_do_more_than_copy() -> None:
    found = secret(default_graph())

    assert found.pop("ca_certificate").startswith("-----BEGIN CERTIFICATE-----")
    assert found == {
        "passwords": {"backup": "password-of-backup"},
        "encryption_key": "key-of-backups",
    }


def test_the_key_stays_whether_backups_are_sealed_or_not() -> None:
    for made in (default_graph(), graph(backup_encryption="client"), graph(backups=False)):
        assert list(made.of_type(":BackupKey")["cache-backup-key"].request.additionalSecretOutputs) == ["key"]
        assert "backup-encryption" not in made.of_type(":Formation")["cache-formation"].inputs["passwords"].value


def test_it_knows_the_deployment_from_inside_its_network() -> None:
    record = configuration(default_graph())["record"]

    assert {member["name"] for member in (*record["nodes"], *record["sentinels"])} == set(default_graph().nodes())
    for member in (*record["nodes"], *record["sentinels"]):
        assert member["reach"] == member["announced"]
        assert member["reach"]["host"].startswith("cache-local-")
    assert record["sentinel"]["master_name"] == "cache-local"


def test_it_knows_a_cluster_too() -> None:
    def program() -> dict[str, pulumi.Output[Any]]:
        RedisCluster("cache", RedisClusterSettings())
        return {}

    record = configuration(run_program(program))["record"]

    assert (record["topology"], len(record["shards"])) == ("cluster", 3)
    assert record["shards"][2]["members"][1]["reach"] == {"host": "cache-local-redis-2-1", "port": 7021}


def test_it_is_told_the_settings() -> None:
    found = configuration(
        graph(
            backup_schedule="*/5 * * * *",
            backup_retention_days=1,
            backup_keep_weekly=2,
            backup_keep_monthly=5,
            backup_encryption="client",
            backup_proof=False,
            point_in_time_recovery=True,
        )
    )

    assert found["schedule"] == "*/5 * * * *"
    assert found["retention"] == {"days": 1, "weekly": 2, "monthly": 5}
    assert (found["encryption"], found["proof"], found["point_in_time_recovery"]) == ("client", False, True)
    assert found["deployment"] == "cache-local"


def test_it_serves_metrics_within_the_network() -> None:
    assert configuration(default_graph())["metrics_port"] == 9122


def test_a_change_of_its_settings_starts_it_anew_and_touches_no_node() -> None:
    made, changed = default_graph(), graph(backup_schedule="*/5 * * * *")

    assert made.restart_files()["cache-backup"] != changed.restart_files()["cache-backup"]
    for name in made.nodes():
        # Every run of the program issues new certificates here.
        assert made.container(name).inputs | {"labels": []} == changed.container(name).inputs | {"labels": []}
        for file, content in made.files(name).items():
            assert file.startswith("tls/") or content == changed.files(name)[file], file


def test_without_backups_nothing_of_it_is_there() -> None:
    left = [each.name for each in graph(backups=False).resources if each.name.startswith("cache-backup")]
    assert left == ["cache-backup-key"]


def test_the_image_is_built_from_the_deployments_own() -> None:
    image = graph({"image": "redis:8.0.3"}).of_type(":RemoteImage")["cache-backup-image"].inputs
    default = default_graph().of_type(":RemoteImage")["cache-backup-image"].inputs

    assert image["build"]["buildArgs"] == {"BASE": "redis:8.0.3"}
    assert image["build"]["context"] == ".redis-production/backup-image"
    assert image["name"].startswith("cache-local-backup:")
    assert image["name"] != default["name"]
    assert image["triggers"] != default["triggers"]
    assert default_graph().container("cache-backup").inputs["image"] == default["name"]


def test_the_folder_that_it_is_built_from_is_complete_and_no_matter_for_git(folder_of_a_project: Path) -> None:
    context = folder_of_a_project / backup_image.write_context()

    assert {path.name for path in context.iterdir()} == {"Dockerfile", "backup.pyz", "digest"}
    assert (context.parent / ".gitignore").read_text() == "*\n"
    assert (context / "backup.pyz").read_bytes() == archive(BACKUPS)
    assert (context / "Dockerfile").read_text().startswith("ARG BASE\nFROM ${BASE}\n")


def test_a_folder_of_other_code_is_written_anew(folder_of_a_project: Path) -> None:
    context = folder_of_a_project / backup_image.write_context()
    (context / "digest").write_text("of something else")
    (context / "backup.pyz").write_text("something else")

    backup_image.write_context()

    assert zipfile.is_zipfile(context / "backup.pyz")


def test_what_is_built_has_a_fingerprint_that_the_same_code_has_everywhere() -> None:
    first = fingerprint(BACKUPS)
    fingerprint.cache_clear()

    assert fingerprint(BACKUPS) == first != fingerprint("remote.program")


def backups_output(**settings: Any) -> Any:
    def program() -> dict[str, pulumi.Output[Any]]:
        cluster = RedisCluster("cache", RedisClusterSettings(**settings))
        return {"backups": cluster.backups}

    return run_program(program).outputs["backups"]


def test_an_output_tells_the_newest_backups_of_the_container() -> None:
    newest = {"name": "of cache-local-backup", "stored_at": "1970-01-01T00:00:00+00:00"}
    assert backups_output() == {"last_good": newest, "last_proven": None}


def test_without_backups_the_output_tells_of_none() -> None:
    assert backups_output(backup=BackupSettings(backups=False)) is None


def run(tmp_path: Path, *arguments: str, orders: Any = None) -> subprocess.CompletedProcess[str]:
    program = tmp_path / "backup.pyz"
    program.write_bytes(archive(BACKUPS))
    return subprocess.run(
        [sys.executable, "-I", program, *arguments],
        input=json.dumps(orders), capture_output=True, text=True, check=False,
    )  # fmt: skip


def written_configuration(folder: Path) -> Path:
    (folder / "secret.json").write_text(
        json.dumps({"passwords": {"backup": "x"}, "ca_certificate": None, "encryption_key": "A" * 43})
    )
    configuration = {
        "deployment": "cache-local",
        "record": {"nodes": [], "sentinels": [], "sentinel": {"master_name": "cache-local"}},
        "store": {"kind": "folder", "path": str(folder / "backups")},
        "schedule": "0 3 * * *",
        "retention": {"days": 7, "weekly": 4, "monthly": 3},
        "encryption": "client",
        "proof": True,
        "secret": str(folder / "secret.json"),
        "scratch": str(folder),
        "heartbeat": str(folder / "heartbeat"),
    }
    (folder / "backup.json").write_text(json.dumps(configuration))
    return folder / "backup.json"


def test_the_program_answers_a_request_in_json(tmp_path: Path) -> None:
    orders = {"request": {"operation": "tidy", "arguments": {}}}
    done = run(tmp_path, "run", str(written_configuration(tmp_path)), orders=orders)

    assert json.loads(done.stdout.splitlines()[-1])["error"]["message"] == "there is no operation tidy"


def test_the_program_says_how_it_is_called(tmp_path: Path) -> None:
    done = run(tmp_path, "sing")

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("usage: backup.pyz service")


def test_the_service_gives_a_sign_of_life(tmp_path: Path) -> None:
    configuration = written_configuration(tmp_path)
    stop = threading.Event()
    stop.set()

    assert serve(configuration, stop) == 0
    assert (tmp_path / "heartbeat").exists()


@pytest.mark.parametrize("wanted", [True, False])
def test_what_is_written_between_backups_is_archived_if_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wanted: bool
) -> None:
    configuration = written_configuration(tmp_path)
    values = json.loads(configuration.read_text())
    configuration.write_text(json.dumps({**values, "point_in_time_recovery": wanted}))
    begun = threading.Event()
    monkeypatch.setattr(Archiver, "run", lambda _, stop: begun.set())
    stop = threading.Event()

    def run_if_due(*_: object) -> None:
        begun.wait(10 if wanted else 0)
        stop.set()

    monkeypatch.setattr(Service, "run_if_due", run_if_due)

    assert serve(configuration, stop) == 0
    assert begun.is_set() == wanted


def test_a_backup_that_cannot_be_taken_is_said_by_the_status(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("components.backups.take._SETTLE_SECONDS", 0)
    service = Service.load(written_configuration(tmp_path))
    with pytest.raises(SourceError, match="most of the Sentinels"):
        service.run_if_due(lambda _: None)
    status = service.catalog.status()
    assert status.last_run_failed
    assert status.last_failure is not None
    assert "most of the Sentinels" in status.last_failure
    # Not again at once.
    assert not service.run_if_due(lambda _: None)
    assert Status.from_json((tmp_path / OBJECT).read_bytes()) == status
