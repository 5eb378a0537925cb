"""Instances as containers that boot systemd and cloud-init: started, stopped and given volumes as moto's are."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path
from typing import Any

from docker.errors import APIError, NotFound
from docker.models.containers import Container

from airgap.aws_cloud import addresses, engine, folder, host_image, networks, volumes
from airgap.problem import Problem

_SHUTDOWN_SECONDS = 20
"""How long an instance may take to shut down before it is switched off."""
_SHUTDOWN_SIGNAL = "SIGRTMIN+3"
"""systemd's signal for a clean halt."""


def create(instance: Any) -> None:
    """Boot a new instance. Raises Problem with the engine's words when it cannot be started."""
    vpc = instance.ec2_backend.get_vpc(instance.vpc_id)
    network = networks.ensure(vpc.id, vpc.cidr_block)
    own = _folder(instance.id)
    own.mkdir(parents=True)
    (own / "devices").touch()
    _write_memory(instance)
    try:
        engine.client().containers.run(
            host_image.name(),
            name=_name(instance.id),
            hostname=instance.private_dns_name.partition(".")[0],
            detach=True,
            network=network,
            networking_config={
                network: engine.client().api.create_endpoint_config(ipv4_address=instance.private_ip_address)
            },
            dns=[addresses.RESOLVER],
            labels={engine.LABEL: instance.id},
            # systemd mounts, and sets its units' limits; --privileged would be more than it needs.
            cap_add=["SYS_ADMIN"],
            security_opt=["seccomp=unconfined", "apparmor=unconfined"],
            cgroupns="host",
            device_cgroup_rules=[f"b {volumes.LOOP_MAJOR}:* rwm"],
            environment={"container": "docker", "SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE": "1"},
            tmpfs={"/run": "", "/run/lock": ""},
            volumes=[
                "/sys/fs/cgroup:/sys/fs/cgroup:rw",
                f"{own}:/etc/look-alike:ro",
                f"{own / 'meminfo'}:/proc/meminfo:ro",
            ],
            stop_signal=_SHUTDOWN_SIGNAL,
            # An instance that reboots from inside ends its container.
            restart_policy={"Name": "always"},
        )
    except APIError as error:
        destroy(instance.id)
        raise Problem(f"{instance.id} cannot be started as a container: {engine.explain(error)}") from error


def start(instance: Any) -> None:
    """Boot a stopped instance again, with the memory of the type that it has by now."""
    _write_memory(instance)
    _container(instance.id).start()


def stop(instance_id: str) -> None:
    """Shut an instance down; its disk and volumes stay."""
    _container(instance_id).stop(timeout=_SHUTDOWN_SECONDS)


def reboot(instance_id: str) -> None:
    """Shut an instance down and boot it again."""
    _container(instance_id).restart(timeout=_SHUTDOWN_SECONDS)


def terminate(instance_id: str) -> None:
    """Shut an instance down and remove it with its disk."""
    with contextlib.suppress(NotFound):
        _container(instance_id).stop(timeout=_SHUTDOWN_SECONDS)
    destroy(instance_id)


def destroy(instance_id: str) -> None:
    """Remove an instance at once; nothing happens when it is gone."""
    with contextlib.suppress(NotFound):
        _container(instance_id).remove(force=True, v=True)
    shutil.rmtree(_folder(instance_id), ignore_errors=True)


def exists(instance_id: str) -> bool:
    """Whether the instance has a machine, running or stopped."""
    return _folder(instance_id).exists()


def show_volumes(instance_id: str, volume_ids: list[str]) -> None:
    """Make exactly these volumes appear in an instance, in this order; a stopped one sees them when it boots."""
    devices = [volumes.device_of(volume_id) for volume_id in volume_ids]
    lines = [
        f"nvme{number}n1 {volumes.LOOP_MAJOR} {device.minor} {device.volume_id.replace('-', '')}\n"
        for number, device in enumerate(devices, start=1)
    ]
    (_folder(instance_id) / "devices").write_text("".join(lines))
    if _container(instance_id).status == "running":
        code, _, errors = _execute(instance_id, ["/usr/local/sbin/look-alike-devices"])
        if code != 0:
            raise Problem(f"volumes of {instance_id}: {errors.strip()}")


def is_managed(instance_id: str) -> bool:
    """Whether the instance takes commands: its stand-in for the SSM agent runs."""
    try:
        return _execute(instance_id, ["systemctl", "is-active", "--quiet", "amazon-ssm-agent"])[0] == 0
    except APIError:
        return False


def run_command(
    instance_id: str, identity: str, script: str, seconds: int, working_directory: str | None
) -> tuple[int, str, str]:
    """Run a shell script as root for at most so many seconds: exit code (124: time ran out), output, errors."""
    begin = 'echo $$ >"$1"; exec timeout --kill-after=5 "$2" sh -c "$3"'
    return _execute(
        instance_id,
        ["sh", "-c", begin, "sh", _pid_file(identity), str(seconds), script],
        environment={"AWS_ENDPOINT_URL": addresses.ENDPOINT, "HOME": "/root"},
        workdir=working_directory or "/usr/bin",
    )


def cancel_command(instance_id: str, identity: str) -> None:
    """End a script that runs, with what it started."""
    _execute(instance_id, ["sh", "-c", 'kill "$(cat "$1")"', "sh", _pid_file(identity)])


def _pid_file(identity: str) -> str:
    return f"/run/look-alike/command-{identity}"


def _execute(instance_id: str, command: list[str], **options: Any) -> tuple[int, str, str]:
    """Run a command in an instance: exit code, output, errors. Raises APIError when it is not running."""
    answer: Any = _container(instance_id).exec_run(command, demux=True, **options)
    output, errors = answer.output
    return answer.exit_code, (output or b"").decode(errors="replace"), (errors or b"").decode(errors="replace")


def _container(instance_id: str) -> Container:
    return engine.client().containers.get(_name(instance_id))


def _name(instance_id: str) -> str:
    return f"aws-{instance_id}"


def _folder(instance_id: str) -> Path:
    return folder.INSTANCES / instance_id


def _write_memory(instance: Any) -> None:
    """/proc/meminfo of the instance's type: what the host's own programs take for its memory."""
    from moto.ec2.models.instance_types import INSTANCE_TYPES

    kibibytes = INSTANCE_TYPES[instance.instance_type]["MemoryInfo"]["SizeInMiB"] * 1024
    figures = {"MemTotal": kibibytes, "MemFree": kibibytes * 9 // 10, "MemAvailable": kibibytes * 9 // 10}
    zeros = ("Buffers", "Cached", "SwapCached", "SwapTotal", "SwapFree", "Shmem", "SReclaimable")
    lines = [f"{name}: {value:>12} kB\n" for name, value in {**figures, **dict.fromkeys(zeros, 0)}.items()]
    # In place: the container sees this very file.
    (_folder(instance.id) / "meminfo").write_text("".join(lines))
