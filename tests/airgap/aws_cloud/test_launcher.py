"""The launcher of the look-alike of AWS.

A file of its own: a launcher that is killed takes with it what other tests have in it. Never two files at once use one
(`launcher.running`).
"""

from __future__ import annotations

import os
import signal
import uuid

import pytest

pytest.importorskip("boto3", reason="requirements-rehearsal.txt is not installed")

from airgap.aws_cloud import addresses, engine, folder, volumes
from tests.airgap.aws_cloud.launcher import launcher
from tests.airgap.aws_cloud.look_alike import ZONES, Account, until

pytestmark = [pytest.mark.docker, pytest.mark.long]

OURS: dict[str, str | list[str] | bool] = {"label": engine.LABEL}


def test_env_prints_what_a_shell_exports(is_ours: bool) -> None:
    lines = launcher("env", "--region", "eu-west-1").splitlines()
    assert lines[0] == "unset AWS_PROFILE AWS_SESSION_TOKEN"
    exported = dict(line.removeprefix("export ").split("=", 1) for line in lines[1:])
    assert exported == {
        "AWS_ENDPOINT_URL": addresses.ENDPOINT,
        "AWS_ACCESS_KEY_ID": folder.credentials().access_key,
        "AWS_SECRET_ACCESS_KEY": folder.credentials().secret_key,
        "AWS_REGION": "eu-west-1",
        "AWS_DEFAULT_REGION": "eu-west-1",
    }


def test_start_of_one_that_runs_changes_nothing(is_ours: bool) -> None:
    pid = folder.running()
    launcher("start")
    assert folder.running() == pid


def test_what_a_killed_launcher_left_is_removed_by_the_next(is_ours: bool) -> None:
    if not is_ours:
        pytest.skip("the look-alike of AWS was running before the tests")
    lost = Account(f"aws-test-{uuid.uuid4().hex[:8]}")
    volume = lost.ec2.create_volume(Size=1, AvailabilityZone=ZONES[0])["VolumeId"]
    lost.ec2.attach_volume(VolumeId=volume, InstanceId=lost.instances[0], Device="/dev/sdf")
    assert volumes.exists(volume)
    pid = folder.running()
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    until(lambda: folder.running() is None, "the launcher is gone")
    launcher("start")
    assert not engine.client().containers.list(all=True, filters=OURS)
    assert not engine.client().networks.list(filters=OURS)
    assert not volumes.exists(volume)
