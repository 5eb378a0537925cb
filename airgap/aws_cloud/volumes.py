"""EBS volumes of the look-alike: sparse files that appear to containers as loop devices."""

from __future__ import annotations

import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path

from airgap.aws_cloud import folder
from airgap.problem import Problem

LOOP_MAJOR = 7
_GIB = 1024**3


@dataclass(frozen=True)
class Device:
    """A loop device that carries a volume: the device's minor number, and the volume."""

    minor: int
    volume_id: str


_one_at_a_time = threading.Lock()


def create(volume_id: str, gibibytes: int, source: Path | None = None) -> None:
    """Make an empty volume, or one with a snapshot's content. It takes no room on the disk until it is written to."""
    path = _path(volume_id)
    path.parent.mkdir(parents=True, exist_ok=True)
    if source is None:
        path.touch()
    else:
        _run(["cp", "--sparse=always", "--reflink=auto", str(source), str(path)], f"copying {source.name}")
    _resize(path, gibibytes)


def snapshot(volume_id: str, snapshot_id: str) -> None:
    """Keep the volume's content of this moment under the snapshot's name; what is not yet written to it is missing."""
    create(snapshot_id, 0, source=_path(volume_id))


def path_of_snapshot(snapshot_id: str) -> Path | None:
    """Where a snapshot's content lies; None for the snapshots of images, which hold nothing."""
    path = _path(snapshot_id)
    return path if path.exists() else None


def grow(volume_id: str, gibibytes: int) -> None:
    """Make a volume larger; an attached one grows at once."""
    _resize(_path(volume_id), gibibytes)
    for name in _loops_of(_path(volume_id)):
        _run(["losetup", "--set-capacity", name], f"growing {volume_id}")


def exists(volume_id: str) -> bool:
    """Whether the volume is one of ours (an instance's root disk is part of its container)."""
    return _path(volume_id).exists()


def delete(volume_id: str) -> None:
    """Remove a volume and its loop device; nothing happens when there is none."""
    release(volume_id)
    _path(volume_id).unlink(missing_ok=True)


def device_of(volume_id: str) -> Device:
    """The volume's loop device, made when there is none yet.

    Raises Problem when the machine has no loop device to give.
    """
    with _one_at_a_time:
        names = _loops_of(_path(volume_id))
        name = names[0] if names else _run(
            ["losetup", "--find", "--show", str(_path(volume_id))], f"a loop device for {volume_id}"
        )  # fmt: skip
    return Device(minor=int(name.removeprefix("/dev/loop")), volume_id=volume_id)


def release(volume_id: str) -> None:
    """Give the volume's loop device back. While something still uses it the kernel does so later, by itself."""
    for name in _loops_of(_path(volume_id)):
        _run(["losetup", "--detach", name], f"detaching {volume_id}")


def remove_all() -> None:
    """Remove every volume and loop device of this life or an earlier one."""
    if folder.VOLUMES.is_dir():
        for path in folder.VOLUMES.iterdir():
            delete(path.name)


def _path(volume_id: str) -> Path:
    return folder.VOLUMES / volume_id


def _resize(path: Path, gibibytes: int) -> None:
    size = gibibytes * _GIB
    if size > path.stat().st_size:
        with path.open("r+b") as file:
            file.truncate(size)


def _loops_of(path: Path) -> list[str]:
    listed = _run(["losetup", "--noheadings", "--raw", "--output", "NAME", "--associated", str(path)], "loop devices")
    return listed.split()


def _run(command: list[str], doing: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Problem(f"{doing}: {done.stderr.strip() or f'exit code {done.returncode}'}")
    return done.stdout.strip()
