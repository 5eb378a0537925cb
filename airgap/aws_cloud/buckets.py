"""S3: what moto stumbles over."""

from __future__ import annotations

from typing import Any

from moto.s3.models import FakeDeleteMarker


def _dispose(self: Any) -> None:
    """A delete marker holds nothing that would have to be given back.

    moto asks it to all the same, when versions are removed after versioning was suspended.
    """


FakeDeleteMarker.dispose = _dispose
