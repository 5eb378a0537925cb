"""Names of what a deployment has on AWS, within AWS's limits, and its tags. Pure: nothing here knows of Pulumi."""

from __future__ import annotations

import hashlib

DEPLOYMENT_TAG = "redis-production:deployment"
"""Carried by everything of a deployment that can carry tags."""
NODE_TAG = "redis-production:node"
"""Carried by a node's instance and volumes: the node's resource name."""

LONGEST_BUCKET_NAME = 63
LONGEST_ROLE_NAME = 64


def bucket_name(deployment: str, account: str, region: str) -> str:
    """The deployment's bucket; bucket names are unique in the world, and 63 characters at most."""
    return shortened(f"{deployment}-{account}-{region}", LONGEST_BUCKET_NAME)


def role_name(deployment: str, purpose: str, region: str) -> str:
    """A role of the deployment; role names are unique in an account, and 64 characters at most."""
    return shortened(f"{deployment}-{purpose}-{region}", LONGEST_ROLE_NAME)


def zone_name(deployment: str) -> str:
    """The private zone that holds the nodes' host names."""
    return f"{deployment}.internal"


def node_secret_name(deployment: str, node: str) -> str:
    """The secret that holds a node's files: a JSON object, absolute path to content."""
    return f"{deployment}/nodes/{node}"


def formation_secret_name(deployment: str) -> str:
    """The secret that holds what formation needs to log in."""
    return f"{deployment}/formation"


def backup_secret_name(deployment: str) -> str:
    """The secret that holds the files of whoever takes backups, in the same form."""
    return f"{deployment}/backup"


def backups_prefix(deployment: str) -> str:
    """Where backups are in the deployment's own bucket."""
    return f"{deployment}/backups"


def metrics_namespace(deployment: str) -> str:
    """The CloudWatch namespace of what hosts say of themselves."""
    return f"redis-production/{deployment}"


def log_group_name(deployment: str, purpose: str) -> str:
    """A CloudWatch log group of the deployment."""
    return f"/redis-production/{deployment}/{purpose}"


def tags(deployment: str, name: str, node: str | None = None) -> dict[str, str]:
    """The tags of something called ``name``, which belongs to ``node`` if that is given."""
    of_node = {NODE_TAG: node} if node else {}
    return {"Name": name, DEPLOYMENT_TAG: deployment, **of_node}


def shortened(name: str, longest: int) -> str:
    """The name, or where it is too long its beginning and a fingerprint of all of it."""
    if len(name) <= longest:
        return name
    fingerprint = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{name[: longest - 9].rstrip('-')}-{fingerprint}"
