"""Debian packages, installed when the user is root; a clear line when not."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from collections.abc import Sequence

from airgap.lane import Lane
from airgap.problem import Problem

# Lanes run side by side, but apt-get and dpkg allow one at a time.
_one_at_a_time = threading.Lock()
_package_lists_are_fresh = False


def can_install() -> bool:
    """Whether packages can be installed here: root, on a Debian-like system."""
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def install(lane: Lane, packages: Sequence[str], purpose: str) -> None:
    """Install Debian packages with what they depend on, without recommendations.

    ``purpose`` says what the packages are needed for. Raises Problem when the user is not root on Debian, or apt-get
    fails.
    """
    global _package_lists_are_fresh  # noqa: PLW0603 - once per run is enough
    by_hand = f"apt-get install {' '.join(packages)}"
    if not can_install():
        raise Problem(f"{purpose}: missing; on Debian or Ubuntu run as root: {by_hand}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    # Another program's apt-get (unattended upgrades, say) is waited for.
    apt_get = ["apt-get", "--yes", "-o", "DPkg::Lock::Timeout=300"]
    with _one_at_a_time:
        if _dpkg_was_interrupted():
            lane.say("finishing an interrupted installation of Debian packages (dpkg --configure -a)")
            lane.run(
                ["dpkg", "--configure", "-a"],
                "finishing interrupted installations",
                advice="Run dpkg --configure -a by hand and look at its messages.",
                interruptible=False,
                environment=environment,
            )
        if not _package_lists_are_fresh:
            lane.say("reading the Debian mirror's package lists (apt-get update)")
            try:
                lane.run(
                    [*apt_get, "update"],
                    "reading package lists",
                    advice="Check the entries under /etc/apt.",
                    interruptible=False,
                    environment=environment,
                )
            except Problem as problem:
                # One broken third-party entry must not stop what the Debian mirror can serve: the installation decides.
                lane.say(f"apt-get update was not complete, going on: {problem.reason}")
            _package_lists_are_fresh = True
        lane.say(f"installing Debian packages for {purpose}: {' '.join(packages)}")
        lane.run(
            [*apt_get, "install", "--no-install-recommends", *packages],
            f"installing {' '.join(packages)}",
            advice=f"Needed for {purpose}. Run {by_hand} by hand and look at its messages.",
            interruptible=False,
            environment=environment,
        )


def _dpkg_was_interrupted() -> bool:
    audit = subprocess.run(["dpkg", "--audit"], capture_output=True, text=True, check=False)
    return bool(audit.stdout.strip())
