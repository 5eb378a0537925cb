"""The command line of the look-alike of AWS: ``python -m airgap.aws_cloud start|stop|status|reset|env``."""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from importlib.util import find_spec

from airgap import docker_engine
from airgap.aws_cloud import addresses, folder, host_image
from airgap.lane import Lane
from airgap.places import PROJECT
from airgap.problem import Problem

_START_SECONDS = 60
_STOP_SECONDS = 120
_REGION = "eu-central-1"
_LINES_SHOWN = 20


def main(arguments: list[str] | None = None) -> int:
    """Run one command; 0 when it did what it says, 1 after naming what is in the way."""
    parser = argparse.ArgumentParser(prog="python -m airgap.aws_cloud", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("start", help="start it in the background and wait until it answers")
    commands.add_parser("stop", help="stop it and remove everything that it made")
    commands.add_parser("status", help="say whether it runs; exit code 3 when it does not")
    commands.add_parser("reset", help="forget everything that was made in it, and start anew")
    environment = commands.add_parser("env", help="print what a shell must export to use it")
    environment.add_argument("--region", default=_REGION, help="AWS_REGION (default: %(default)s)")
    commands.add_parser("serve", help="run it in the foreground (start does so in the background)")
    chosen = parser.parse_args(arguments)
    lane = Lane("aws")
    try:
        match chosen.command:
            case "start":
                _start(lane)
            case "stop":
                _stop(lane)
                shutil.rmtree(folder.ROOT, ignore_errors=True)
            case "reset":
                _stop(lane)
                _start(lane)
            case "status":
                return _status()
            case "env":
                sys.stdout.write(_exports(chosen.region))
            case "serve":
                from airgap.aws_cloud.server import serve

                serve()
    except Problem as problem:
        lane.say(f"ERROR: {problem}")
        return 1
    return 0


def _start(lane: Lane) -> None:
    if folder.is_ready():
        lane.say(f"the look-alike of AWS runs already at {addresses.ENDPOINT}")
        return
    _require_this_machine()
    docker_engine.prepare(lane)
    host_image.prepare(lane)
    process = None
    if folder.running() is None:
        folder.ROOT.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder.forget_running()
        with folder.LOG.open("wb") as log:
            # A session of its own, no terminal: it stays when this command and its shell end.
            process = subprocess.Popen(
                [sys.executable, "-m", "airgap.aws_cloud", "serve"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=PROJECT, start_new_session=True,
            )  # fmt: skip
    started = time.monotonic()
    while not folder.is_ready():
        if process is not None and process.poll() is not None:
            lines = folder.LOG.read_text(errors="replace").splitlines()[-_LINES_SHOWN:]
            raise Problem("the look-alike of AWS ended at once:\n" + "\n".join(f"    {line}" for line in lines))
        if time.monotonic() - started > _START_SECONDS:
            raise Problem(f"the look-alike of AWS does not answer after {_START_SECONDS} s; its log: {folder.LOG}")
        time.sleep(0.1)
    lane.say(f"the look-alike of AWS answers at {addresses.ENDPOINT}; its log: {folder.LOG}")


def _stop(lane: Lane) -> None:
    pid = folder.running()
    if pid is None:
        _remove_leftovers(lane)
        return
    os.kill(pid, signal.SIGTERM)
    started = time.monotonic()
    while folder.running() == pid:
        if time.monotonic() - started > _STOP_SECONDS:
            raise Problem(f"the look-alike of AWS (process {pid}) does not stop; its log: {folder.LOG}")
        time.sleep(0.1)
    lane.say("the look-alike of AWS is stopped")


def _remove_leftovers(lane: Lane) -> None:
    """What a launcher that was killed left behind."""
    if folder.ROOT.exists() and _can_serve() and docker_engine.is_ready():
        from airgap.aws_cloud.server import remove_everything

        remove_everything()
        addresses.release()
    lane.say("the look-alike of AWS does not run")


def _status() -> int:
    if folder.is_ready():
        print(f"running at {addresses.ENDPOINT} (process {folder.running()}, log {folder.LOG})")
        return 0
    print("not running" if folder.running() is None else "starting")
    return 3


def _exports(region: str) -> str:
    if not folder.is_ready():
        raise Problem("the look-alike of AWS does not run: python -m airgap.aws_cloud start")
    key = folder.credentials()
    variables = {
        "AWS_ENDPOINT_URL": addresses.ENDPOINT,
        "AWS_ACCESS_KEY_ID": key.access_key,
        "AWS_SECRET_ACCESS_KEY": key.secret_key,
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
    }
    # A session token or a profile of the user's real account would be sent along with the key.
    unset = "unset AWS_PROFILE AWS_SESSION_TOKEN\n"
    return unset + "".join(f"export {name}={shlex.quote(value)}\n" for name, value in variables.items())


def _require_this_machine() -> None:
    if sys.platform != "linux" or os.geteuid() != 0:
        raise Problem(
            "the look-alike of AWS needs a Linux machine and root: it makes loop devices and packet-filter rules"
        )
    engine = docker_engine.address()
    if engine is not None and not engine.startswith("unix://"):
        raise Problem(f"the look-alike of AWS needs the Docker engine of this machine, not {engine}")
    if missing := [command for command in ("ip", "losetup") if shutil.which(command) is None]:
        raise Problem(f"the look-alike of AWS needs {', '.join(missing)} (Debian: apt-get install iproute2 mount)")
    if not _can_serve():
        raise Problem(
            "the look-alike of AWS needs the packages of requirements-rehearsal.txt: "
            "pip install -r requirements-rehearsal.txt, in the environment whose Python runs this"
        )


def _can_serve() -> bool:
    return find_spec("moto") is not None and find_spec("dnslib") is not None


if __name__ == "__main__":
    sys.exit(main())
