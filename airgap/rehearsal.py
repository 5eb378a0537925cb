"""Rehearsals: stacks of AWS, deployed to the look-alike of AWS on this machine (``make rehearse``)."""

from __future__ import annotations

import shutil
from collections.abc import Mapping

from airgap.aws_cloud import addresses, folder
from airgap.lane import Lane
from airgap.places import PROJECT, STATE, VIRTUAL_ENVIRONMENT

_REGION = "eu-central-1"
_ENDPOINT = "AWS_ENDPOINT_URL"
# What a shell of the user's own may say of a real account: it would be sent along with the look-alike's key.
_OTHER_ACCESS = ("AWS_PROFILE", "AWS_SESSION_TOKEN")
_ACCESS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_DEFAULT_REGION")


def begin(lane: Lane, environment: Mapping[str, str]) -> None:
    """Start the look-alike unless it runs. What an earlier one held is gone, and so is the state of its stacks.

    Raises Problem: it cannot run here.
    """
    if folder.is_ready():
        return
    if STATE.exists():
        lane.say("what was rehearsed before is gone with the look-alike of AWS: a new rehearsal begins")
        shutil.rmtree(STATE)
    lane.run(
        [VIRTUAL_ENVIRONMENT / "bin" / "python", "-m", "airgap.aws_cloud", "start"],
        "starting the look-alike of AWS",
        advice="Its own message above says why.",
        folder=PROJECT,
        environment=environment,
    )


def variables() -> dict[str, str]:
    """What leads every AWS client of a shell to the look-alike."""
    key = folder.credentials()
    access = (key.access_key, key.secret_key, _REGION, _REGION)
    return {_ENDPOINT: addresses.ENDPOINT, **dict(zip(_ACCESS, access, strict=True))}


def without_access(environment: Mapping[str, str], *, rehearsing: bool) -> dict[str, str]:
    """The environment without what leads to the look-alike; when rehearsing, also without what leads elsewhere."""
    leads_here = environment.get(_ENDPOINT) == addresses.ENDPOINT
    names = (*((_ENDPOINT, *_ACCESS) if leads_here or rehearsing else ()), *(_OTHER_ACCESS if rehearsing else ()))
    return {name: value for name, value in environment.items() if name not in names}
