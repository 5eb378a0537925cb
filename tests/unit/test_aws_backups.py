"""What the components ask AWS for so that hosts take backups; the hosts' part is shown by test_aws_host."""

from __future__ import annotations

import functools
import hashlib
import json
from typing import Any

import pytest

from components.backup_requests import ask
from components.backup_settings import BackupSettings
from components.formation import FormationError
from components.remote.archive import BACKUPS, plain_archive
from tests.unit.aws_graph import ACCOUNT, REGION, cluster, replicated
from tests.unit.resource_graph import FOLDER, Graph, Registered, plain, shown

BUCKET = f"cache-aws-dev-{ACCOUNT}-{REGION}"
CHECKSUM = hashlib.sha256(plain_archive(BACKUPS)).hexdigest()
CANARY = "canary-of-a-secret-key"
ELSEWHERE: dict[str, Any] = {"backup_target": "s3://archive/redis", "backup_region": "eu-west-1"}


def backed_up(**backup: Any) -> Graph:
    return replicated(backup=BackupSettings(**backup))


@functools.cache
def default_graph() -> Graph:
    return replicated()


def secret_files(name: str, made: Graph) -> dict[str, str]:
    files: dict[str, str] = json.loads(plain(made.of_type(":SecretVersion")[name].inputs["secretString"]))
    return {path.removeprefix(FOLDER): content for path, content in files.items()}


def configuration(made: Graph) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        made.of_type(":BucketObject")["cache-backup-configuration"].inputs["source"]["text"]
    )
    return found


def depends_on(resource: Registered) -> set[str]:
    return {urn.rsplit("::", 1)[-1] for urn in resource.request.dependencies}


def user_data(made: Graph) -> dict[str, str]:
    """Of Redis nodes; that of Sentinels has a fingerprint of certificates, which each run makes anew here."""
    instances = made.of_type(":Instance").items()
    return {name: instance.inputs["userData"] for name, instance in instances if "redis" in name}


def alarm(what: str, made: Graph) -> Registered:
    return made.of_type(":MetricAlarm")[f"cache-backup-{what}"]


def test_hosts_of_redis_nodes_take_backups_and_those_of_sentinels_do_not() -> None:
    units = {"redis-production-backup.service", "redis-production-backup.timer", "backup.source"}
    for ordinal in range(3):
        assert units <= set(secret_files(f"cache-redis-{ordinal}-files", default_graph()))
        assert not units & set(secret_files(f"cache-sentinel-{ordinal}-files", default_graph()))
    assert secret_files("cache-redis-0-files", default_graph())["backup.source"] == "cache-aws-dev/backup"


def test_what_they_take_them_with_comes_when_the_nodes_are_one_deployment() -> None:
    objects = default_graph().of_type(":BucketObject")

    assert set(objects) == {"cache-backup-program", "cache-backup-configuration"}
    for resource in (*objects.values(), alarm("missed", default_graph()), alarm("unproven", default_graph())):
        assert "cache-formation" in depends_on(resource), resource.name
    assert set(objects) <= depends_on(default_graph().of_type(":SecretVersion")["cache-backup"])


def test_hosts_run_nothing_but_what_was_deployed() -> None:
    program = default_graph().of_type(":BucketObject")["cache-backup-program"].inputs
    objects = json.loads(secret_files("cache-backup", default_graph())["backup.objects"])

    assert program["key"] == f"deployed/{CHECKSUM}"
    assert program["kmsKeyId"].endswith("cache-key")
    assert program["bucket"] == objects["bucket"] == BUCKET
    assert objects["keys"][f"{FOLDER}backup.pyz"] == program["key"]
    text = default_graph().of_type(":BucketObject")["cache-backup-configuration"].inputs["source"]["text"]
    assert objects["keys"][f"{FOLDER}backup.json"] == f"deployed/{hashlib.sha256(text.encode()).hexdigest()}"


def test_the_program_is_the_same_whoever_deploys() -> None:
    plain_archive.cache_clear()

    assert hashlib.sha256(plain_archive(BACKUPS)).hexdigest() == CHECKSUM


def test_the_lifecycle_deletes_no_backup_and_nothing_that_hosts_need() -> None:
    rules = default_graph().of_type(":BucketLifecycleConfiguration")["cache-bucket"].inputs["rules"]
    expiring = [rule["filter"]["prefix"] for rule in rules if "days" in rule.get("expiration", {})]

    assert set(expiring) == {"formation/", "cache-aws-dev/formation/"}
    for key in ("deployed/x", "cache-aws-dev/backups/cache-aws-dev/2026-11-26T03-00-00Z/manifest.json"):
        assert not [prefix for prefix in expiring if key.startswith(prefix)]


def test_backups_go_to_the_deployments_own_bucket() -> None:
    found = configuration(default_graph())

    assert found["store"] == {
        "kind": "s3",
        "bucket": BUCKET,
        "prefix": "cache-aws-dev/backups",
        "endpoint": None,
        "region": REGION,
    }
    assert found["scratch"] == "/data/backup"
    assert {member["reach"]["host"] for member in found["record"]["nodes"]} == {
        f"redis-{ordinal}.cache-aws-dev.internal" for ordinal in range(3)
    }


def test_backups_go_elsewhere_by_the_hosts_right_or_with_keys() -> None:
    by_right = backed_up(**ELSEWHERE)
    with_keys = backed_up(**ELSEWHERE, backup_access_key_id="AKIAEXAMPLE", backup_secret_access_key=CANARY)

    for made in (by_right, with_keys):
        store = configuration(made)["store"]
        assert (store["bucket"], store["prefix"], store["region"]) == ("archive", "redis", "eu-west-1")
    policies = [made.of_type(":RolePolicy")["cache-node"].inputs["policy"] for made in (by_right, with_keys)]
    assert ["arn:aws:s3:::archive" in policy for policy in policies] == [True, False]
    assert json.loads(secret_files("cache-backup", with_keys)["secret.json"])["secret_access_key"] == CANARY


def test_no_secret_of_backups_is_shown() -> None:
    made = backed_up(**ELSEWHERE, backup_access_key_id="AKIAEXAMPLE", backup_secret_access_key=CANARY)
    for resource in made.resources:
        if not resource.type.startswith("pulumi-python:"):
            for text in shown(resource.inputs):
                for secret in ("password-of", "key-of-backups", CANARY):
                    assert secret not in text, resource.name


def test_a_change_of_when_they_are_taken_touches_no_node() -> None:
    changed = backed_up(backup_schedule="*/5 * * * *")

    assert configuration(changed)["schedule"] == "*/5 * * * *"
    assert user_data(changed) == user_data(default_graph())


def test_without_backups_nothing_of_them_is_there_and_no_instance_is_another_one() -> None:
    made = backed_up(backups=False)

    assert [each.name for each in made.resources if each.name.startswith("cache-backup")] == ["cache-backup-key"]
    assert "backup.source" not in secret_files("cache-redis-0-files", made)
    assert user_data(made) == user_data(default_graph())


@pytest.mark.parametrize(("schedule", "hours"), [("0 3 * * *", 27), ("0 3 * * 1", 171), ("*/30 * * * *", 3.5)])
def test_an_alarm_tells_of_a_backup_that_is_later_than_the_schedule_allows(schedule: str, hours: float) -> None:
    made = backed_up(backup_schedule=schedule)
    for what, metric in (("missed", "BackupAgeSeconds"), ("unproven", "ProvenBackupAgeSeconds")):
        inputs = alarm(what, made).inputs
        assert inputs["metricName"] == metric
        assert inputs["namespace"] == "redis-production/cache-aws-dev"
        assert inputs["threshold"] == hours * 3600
        assert inputs["statistic"] == "Maximum"
        assert inputs["alarmActions"] == inputs["okActions"]
        assert "dimensions" not in inputs


def test_without_proofs_none_is_missed() -> None:
    alarms = backed_up(backup_proof=False).of_type(":MetricAlarm")

    assert "cache-backup-missed" in alarms
    assert "cache-backup-unproven" not in alarms


def test_the_largest_cluster_fits() -> None:
    made = cluster(component="a" * 32, stack="b" * 18, shards=100, replicas_per_shard=2)
    secret = made.of_type(":SecretVersion")[f"{'a' * 32}-backup"].inputs["secretString"]

    assert len(plain(secret).encode()) <= 65536


AWS: dict[str, Any] = {"aws": {}, "nodes": [], "sentinels": []}


@pytest.mark.parametrize(
    ("record", "operation", "key", "problem"),
    [
        ({**AWS, "runner": {}}, "restore", "a key", "a key of another deployment is not sent to hosts on AWS"),
        (AWS, "take", None, "with formation-runner direct no host can be asked"),
    ],
)
def test_what_cannot_be_asked_for_is_told(
    record: dict[str, Any], operation: str, key: str | None, problem: str
) -> None:
    with pytest.raises(FormationError, match=problem):
        ask(record, operation, {}, lambda _: None, {"encryption_key": key})
