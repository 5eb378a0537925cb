"""What instances run: the scripts, with stand-ins for what only a host has. A real boot is shown elsewhere."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from botocore.exceptions import ClientError

from components.platforms.aws.user_data import Host, fetched_programs, user_data

HOST = Path(__file__).parents[2] / "components" / "host" / "aws"
HOST_ENV = "/usr/local/lib/redis-production/host.env"
BOOTSTRAP = (HOST / "bootstrap.sh").read_text()
DATA = (HOST / "data.sh").read_text()


class Machine:
    """A folder of commands that note how they are called, and nothing else on PATH."""

    def __init__(self, folder: Path) -> None:
        self.commands = folder / "bin"
        self.commands.mkdir()
        self.calls = folder / "calls"
        self.calls.touch()
        self.environment_file = folder / "host.env"
        for name in ("sed", "cat", "sleep", "rm", "head", "wc", "tr", "mktemp", "mkdir", "sh"):
            found = shutil.which(name)
            assert found is not None
            self.commands.joinpath(name).symlink_to(found)
        self.provide("systemctl")
        self.provide("sleep")

    def provide(self, name: str, script: str = "") -> None:
        path = self.commands / name
        path.unlink(missing_ok=True)
        path.write_text(f'#!/bin/sh\necho "{name} $*" >>{self.calls}\n{script}\n')
        path.chmod(0o755)

    def run(self, script: str, environment: Mapping[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
        self.environment_file.write_text("".join(f"{name}={value}\n" for name, value in environment.items()))
        script = script.replace(HOST_ENV, str(self.environment_file))
        return subprocess.run(
            ["/bin/sh", "-s", *arguments], input=script, capture_output=True, text=True, check=False,
            env={"PATH": str(self.commands)}, timeout=60,
        )  # fmt: skip

    def called(self) -> list[str]:
        return self.calls.read_text().splitlines()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


ENVIRONMENT = {"NODE": "cache-redis-0", "REGION": "eu-central-1", "DNS_SUFFIX": "amazonaws.com", "SSM_AGENT": "yes"}


def with_everything(machine: Machine, version: str = "8.0.2") -> None:
    machine.provide("redis-server", f"echo 'Redis server v={version} sha=00000000:0 malloc=jemalloc bits=64'")
    for name in ("redis-cli", "python3", "amazon-ssm-agent"):
        machine.provide(name)


def test_an_image_that_has_everything_needs_no_mirror(machine: Machine) -> None:
    with_everything(machine)
    machine.provide("apt-get", "exit 1")

    assert machine.run(BOOTSTRAP, ENVIRONMENT).returncode == 0
    called = machine.called()
    assert not [call for call in called if call.startswith("apt-get")]
    for unit in ("redis-server", "redis-sentinel"):
        assert called.index(f"systemctl -q mask {unit}.service") < called.index("systemctl daemon-reload")
    started = "systemctl --no-block start redis-production-kernel.service redis-production-files.service"
    assert [call for call in called if not call.startswith("python3")][-1] == started


def test_redis_starts_before_what_only_backups_need_is_there(machine: Machine) -> None:
    with_everything(machine)
    machine.provide("python3", "case $* in *zstandard*) exit 1 ;; esac")
    machine.provide("apt-get", "exit 100")

    done = machine.run(BOOTSTRAP, ENVIRONMENT)
    assert done.returncode == 0
    assert done.stderr.startswith("redis-production: cache-redis-0 takes no backups: the image has no Python 3.11 with")
    called = machine.called()
    started = "systemctl --no-block start redis-production-kernel.service redis-production-files.service"
    assert called.index(started) < called.index("apt-get -qq update")


def test_what_is_missing_is_installed_after_the_images_own_units_are_masked(machine: Machine) -> None:
    machine.provide("redis-cli")
    machine.provide("python3")
    machine.provide("amazon-ssm-agent")
    server = machine.commands / "redis-server"
    installs = f"echo 'echo \"server v=8.0.2 x\"' >{server} && /bin/chmod 755 {server}"
    script = f"case $* in *install*redis-server*) {installs} ;; esac"
    machine.provide("apt-get", script)

    done = machine.run(BOOTSTRAP, ENVIRONMENT)
    called = machine.called()
    installed = next(i for i, call in enumerate(called) if "install redis-server redis-tools python3-boto3" in call)
    assert done.returncode == 0, done.stderr
    assert called.index("systemctl -q mask redis-server.service") < installed


def test_nothing_to_install_from_is_told_in_one_line(machine: Machine) -> None:
    machine.provide("apt-get", "exit 100")

    done = machine.run(BOOTSTRAP, ENVIRONMENT)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(
        "redis-production: cache-redis-0 cannot start: no redis boto3 amazon-ssm-agent in the image, and it cannot be"
    )
    assert not [call for call in machine.called() if "redis-production" in call]


def test_an_old_redis_is_told_in_one_line(machine: Machine) -> None:
    with_everything(machine, "6.2.14")

    done = machine.run(BOOTSTRAP, ENVIRONMENT)
    assert done.returncode == 1
    assert done.stderr == (
        "redis-production: cache-redis-0 cannot start: the image has Redis 6, but 7 or later is needed; use another "
        "image (ami-id)\n"
    )


def test_without_ssm_no_agent_is_needed(machine: Machine) -> None:
    with_everything(machine)
    (machine.commands / "amazon-ssm-agent").unlink()

    assert machine.run(BOOTSTRAP, ENVIRONMENT | {"SSM_AGENT": "no"}).returncode == 0


@pytest.mark.parametrize(
    ("content", "made"), [(b"", True), (b"\0" * 1024 + b"\x53\xef", False), (b"\0" * 1048575 + b"x", False)]
)
def test_a_file_system_is_made_only_on_a_volume_that_was_never_written_to(
    machine: Machine, tmp_path: Path, content: bytes, made: bool
) -> None:
    device = tmp_path / "device"
    device.write_bytes(content + b"\0" * (1048576 - len(content)))
    for name in ("mkfs.ext4", "mount", "chown", "chmod", "resize2fs"):
        machine.provide(name)
    machine.provide("mountpoint", "exit 1")
    machine.provide("findmnt", "echo ext4")
    script = re.sub(r"^device=.*$", f"device={device}", DATA, flags=re.MULTILINE).replace("[ -b ", "[ -e ")
    script = script.replace("/data", f"{tmp_path}/data")

    done = machine.run(script, {"VOLUME": "vol-0123456789abcdef0"})
    assert done.returncode == 0, done.stderr
    called = [call.split()[0] for call in machine.called()]
    assert ("mkfs.ext4" in called) is made
    assert "mount" in called


def test_the_device_is_named_after_the_volume(machine: Machine) -> None:
    (line,) = re.findall(r"^device=.*$", DATA, flags=re.MULTILINE)
    done = machine.run(f"VOLUME=vol-0123456789abcdef0\n{line}\necho $device", {})

    assert done.stdout == "/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_vol0123456789abcdef0\n"


# files.py


def loaded(program: str) -> ModuleType:
    specification = importlib.util.spec_from_file_location(program, HOST / f"{program}.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = loaded("files")
    monkeypatch.setattr(module, "FOLDER", tmp_path / "etc")
    monkeypatch.setattr(module, "LOADED", tmp_path / "loaded")
    monkeypatch.setattr(module, "UNITS", tmp_path / "units")
    monkeypatch.setattr(module.os, "chown", lambda *_: None)
    monkeypatch.setattr(module.grp, "getgrnam", lambda _: type("Group", (), {"gr_gid": os.getgid()}))
    monkeypatch.setenv("REGION", "eu-central-1")
    monkeypatch.setenv("SECRET", "cache/nodes/cache-redis-0")
    monkeypatch.setenv("KIND", "redis")
    return module


class Commands:
    """Notes the commands that a program runs; ``fails`` are words of those that fail."""

    def __init__(self, *fails: str) -> None:
        self.fails = fails
        self.run_commands: list[list[str]] = []

    def __call__(self, command: list[str], **_: Any) -> Any:
        self.run_commands.append(command)
        failed = any(word in " ".join(command) for word in self.fails)
        return type("Completed", (), {"returncode": int(failed)})


def content(files: ModuleType, **more: str) -> dict[str, bytes]:
    names = ["start.sh", "tls/node.crt", "tls/node.key", "tls/ca.crt"]
    return {str(files.FOLDER / name): f"{name}\n".encode() for name in names} | {
        str(files.FOLDER / name): text.encode() for name, text in more.items()
    }


def test_files_are_put_where_the_server_reads_them(files: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    commands = Commands()
    monkeypatch.setattr(files.subprocess, "run", commands)
    monkeypatch.setattr(files, "fetched", lambda: content(files, old="x"))
    files.main()
    assert commands.run_commands == [["systemctl", "--no-block", "start", "redis-production.service"]]
    monkeypatch.setattr(files, "fetched", lambda: content(files, new="y"))
    files.main()

    found = {str(path): path.read_bytes() for path in files.FOLDER.rglob("*") if path.is_file()}
    assert found == content(files, new="y")
    assert {path.stat().st_mode & 0o777 for path in files.FOLDER.rglob("*") if path.is_file()} == {0o640}
    assert {path.stat().st_mode & 0o777 for path in files.FOLDER.rglob("*") if path.is_dir()} == {0o750}


def test_a_running_redis_loads_a_changed_certificate_once(files: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "fetched", lambda: content(files))
    monkeypatch.setattr(files.subprocess, "run", Commands())
    files.main()
    loading = Commands()
    monkeypatch.setattr(files.subprocess, "run", loading)
    files.main()
    files.main()

    (_, (_, _, script)) = loading.run_commands
    assert f"CONFIG SET tls-cert-file {files.FOLDER}/tls/node.crt tls-key-file {files.FOLDER}/tls/node.key" in script


def test_a_certificate_that_could_not_be_loaded_is_tried_again(
    files: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "fetched", lambda: content(files))
    monkeypatch.setattr(files.subprocess, "run", Commands())
    files.main()
    failing = Commands("CONFIG SET")
    monkeypatch.setattr(files.subprocess, "run", failing)
    files.main()
    files.main()

    assert len([command for command in failing.run_commands if command[0] == "/bin/sh"]) == 2


def test_a_node_keeps_the_files_that_it_has(files: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable() -> dict[str, bytes]:
        raise ValueError("unreachable")

    files.put(content(files), os.getgid())
    monkeypatch.setattr(files, "fetched", unreachable)

    assert files.main() == 1
    assert (files.FOLDER / "start.sh").exists()


def test_a_node_without_files_tries_until_it_has_them(files: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    answers: list[Any] = [ValueError("not yet"), ValueError("not yet"), content(files)]

    def fetched() -> dict[str, bytes]:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return dict(answer)

    monkeypatch.setattr(files, "fetched", fetched)
    monkeypatch.setattr(files.time, "sleep", lambda _: None)
    monkeypatch.setattr(files.subprocess, "run", Commands())
    files.main()

    assert (files.FOLDER / "start.sh").exists()


@pytest.mark.parametrize("path", ["/etc/passwd", "/etc/redis-production/../passwd", "/etc/redis-production"])
def test_a_secret_cannot_name_files_elsewhere(path: str, monkeypatch: pytest.MonkeyPatch, files: ModuleType) -> None:
    monkeypatch.setattr(files, "FOLDER", Path("/etc/redis-production"))
    answer = {"SecretString": json.dumps({path: "x"})}
    client = type("Client", (), {"get_secret_value": lambda *_, **__: answer})()
    monkeypatch.setattr(files.boto3, "client", lambda *_, **__: client)

    with pytest.raises(ValueError, match="files outside"):
        files.fetched()


class Aws:
    """Secrets and objects by name; what is not there is refused."""

    def __init__(self, **secrets: dict[str, str]) -> None:
        self.secrets: dict[str, dict[str, str]] = secrets
        self.objects: dict[str, bytes] = {}
        self.asked: list[str] = []

    def get_secret_value(self, SecretId: str) -> dict[str, str]:
        return {"SecretString": json.dumps(self._found(self.secrets, SecretId))}

    def get_object(self, Bucket: str, Key: str) -> dict[str, Any]:
        return {"Body": io.BytesIO(self._found(self.objects, Key))}

    def _found(self, things: Mapping[str, Any], name: str) -> Any:
        self.asked.append(name)
        if name not in things:
            raise ClientError({"Error": {"Code": "ResourceNotFoundException"}}, "Get")
        return things[name]


@pytest.fixture
def aws(files: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Aws:
    """A node whose deployment takes backups, which it has nothing for yet."""
    found = Aws()
    found.secrets["cache/nodes/cache-redis-0"] = {str(files.FOLDER / "backup.source"): "cache/backup"}
    monkeypatch.setattr(files.boto3, "client", lambda *_, **__: found)
    return found


def deploy_backups(files: ModuleType, aws: Aws, program: bytes) -> None:
    key = f"deployed/{hashlib.sha256(program).hexdigest()}"
    keys = {"bucket": "bucket", "keys": {str(files.FOLDER / "backup.pyz"): key}}
    aws.objects[key] = program
    aws.secrets["cache/backup"] = {
        str(files.FOLDER / "secret.json"): "passwords",
        str(files.FOLDER / "backup.objects"): json.dumps(keys),
    }


def test_files_of_backups_come_when_the_deployment_is_formed(files: ModuleType, aws: Aws) -> None:
    assert set(files.fetched()) == {str(files.FOLDER / "backup.source")}
    deploy_backups(files, aws, b"program")
    files.put(found := files.fetched(), os.getgid())

    assert found[str(files.FOLDER / "backup.pyz")] == b"program"
    assert found[str(files.FOLDER / "secret.json")] == b"passwords"
    # What it has it does not fetch again.
    aws.objects.clear()
    assert files.fetched() == found


def test_backups_go_on_with_the_files_of_before(files: ModuleType, aws: Aws) -> None:
    deploy_backups(files, aws, b"program")
    files.put(found := files.fetched(), os.getgid())
    del aws.secrets["cache/backup"]

    assert files.fetched() == found


def test_a_program_that_was_not_deployed_is_not_taken(
    files: ModuleType, aws: Aws, capsys: pytest.CaptureFixture[str]
) -> None:
    deploy_backups(files, aws, b"program")
    files.put(found := files.fetched(), os.getgid())
    deploy_backups(files, aws, b"next")
    aws.objects = dict.fromkeys(aws.objects, b"something else")

    assert files.fetched() == found
    assert "is not what was deployed" in capsys.readouterr().out


def test_without_backups_their_files_are_gone(files: ModuleType, aws: Aws) -> None:
    deploy_backups(files, aws, b"program")
    files.put(files.fetched(), os.getgid())
    aws.secrets["cache/nodes/cache-redis-0"] = {str(files.FOLDER / "start.sh"): "start"}
    files.put(files.fetched(), os.getgid())

    assert [path.name for path in files.FOLDER.iterdir()] == ["start.sh"]


def test_a_timer_that_comes_with_the_files_is_started_once(files: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    units = {"redis-production-backup.service": "service", "redis-production-backup.timer": "timer"}
    monkeypatch.setattr(files, "fetched", lambda: content(files, **units))
    commands = Commands()
    monkeypatch.setattr(files.subprocess, "run", commands)
    files.main()
    files.main()

    unit = f"{files.FOLDER}/redis-production-backup"
    expected = [
        ["systemctl", "--quiet", "link", f"{unit}.service"],
        ["systemctl", "--quiet", "enable", "--now", f"{unit}.timer"],
    ]
    assert [each for each in commands.run_commands if "redis-production-backup" in " ".join(each)] == expected
    units["redis-production-backup.service"] = "changed"
    files.main()
    assert commands.run_commands[-3:-1] == expected or commands.run_commands[-2:] == expected


# watch.py


@pytest.fixture
def watch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = loaded("watch")
    monkeypatch.setattr(module, "BACKUP_CONFIGURATION", str(tmp_path / "backup.json"))
    monkeypatch.setattr(module, "BACKUP_STATUS", str(tmp_path / "status.json"))
    monkeypatch.setattr(module.time, "time", lambda: 10_000.0)
    return module


def configured(tmp_path: Path, *, proof: bool) -> None:
    """Since 4,000 seconds."""
    (tmp_path / "backup.json").write_text(json.dumps({"proof": proof}))
    os.utime(tmp_path / "backup.json", (6000, 6000))


def test_a_host_that_takes_no_backups_says_nothing_of_them(watch: ModuleType) -> None:
    assert watch.backup_ages() == {}


@pytest.mark.parametrize(
    ("status", "ages"),
    [
        (None, (4000, 4000)),
        ({"last_good_at": None, "last_proven_stored_at": None}, (4000, 4000)),
        ({"last_good_at": 9900.0, "last_proven_stored_at": None}, (100, 4000)),
        ({"last_good_at": 9900.0, "last_proven_stored_at": 9000.0}, (100, 1000)),
    ],
)
def test_hosts_say_how_old_backups_are_and_how_long_there_was_none(
    watch: ModuleType, tmp_path: Path, status: dict[str, Any] | None, ages: tuple[float, float]
) -> None:
    configured(tmp_path, proof=True)
    if status is not None:
        (tmp_path / "status.json").write_text(json.dumps(status))

    assert watch.backup_ages() == dict(zip(("BackupAgeSeconds", "ProvenBackupAgeSeconds"), ages, strict=True))


def test_without_proofs_none_is_missed(watch: ModuleType, tmp_path: Path) -> None:
    configured(tmp_path, proof=False)

    assert watch.backup_ages() == {"BackupAgeSeconds": 4000}


def test_a_server_that_has_files_does_not_wait_for_new_ones() -> None:
    unit = (HOST / "redis-production.service").read_text()

    assert "redis-production-files" not in unit
    assert "Requires=redis-production-data.service\n" in unit
    assert "AssertPathIsMountPoint=/data\n" in unit


def test_a_backup_gives_way_to_the_nodes_server_and_makes_its_folder_itself() -> None:
    unit = (HOST / "redis-production-backup.service").read_text()

    assert {"User=redis", "MemoryMax=50%", "OOMPolicy=continue", "CapabilityBoundingSet="} <= set(unit.splitlines())
    # A folder that is not there yet cannot be one of these.
    assert "ReadWritePaths=/data\n" in unit
    assert "ExecStartPre=mkdir -p -m 700 /data/backup\n" in unit


# User data


def test_user_data_is_the_same_for_the_same_host_and_brings_every_program() -> None:
    host = Host(environment={"B": "2", "A": "1"}, memory=1, stop_grace_seconds=2)
    text = user_data(host)
    written = {file["path"] for file in json.loads(text.partition("\n")[2])["write_files"]}
    brought = {Path(path).name for path in written} | set(fetched_programs(backups=True))

    assert text == user_data(Host(environment={"A": "1", "B": "2"}, memory=1, stop_grace_seconds=2))
    assert {path.name for path in HOST.iterdir() if path.is_file()} <= brought


def test_user_data_that_is_too_large_is_refused() -> None:
    with pytest.raises(ValueError, match="EC2 takes 16384"):
        user_data(Host(environment={"A": "x" * 9000}, memory=1, stop_grace_seconds=2))
