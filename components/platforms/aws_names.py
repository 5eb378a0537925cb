"""Names of AWS resources that several parts of the project must agree on."""

from __future__ import annotations

import hashlib

_LONGEST_BUCKET_NAME = 63


def bucket_name(deployment: str, account: str, region: str) -> str:
    """``<deployment>-<account>-<region>``; where that is too long for S3, a hash of the deployment's name stands for
    its end.
    """
    rest = f"-{account}-{region}"
    space = _LONGEST_BUCKET_NAME - len(rest)
    if len(deployment) > space:
        digest = hashlib.sha256(deployment.encode()).hexdigest()[:8]
        deployment = f"{deployment[: space - len(digest) - 1].rstrip('-')}-{digest}"
    return deployment + rest
