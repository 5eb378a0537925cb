"""What the resource types of EC2 have in common."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from airgap.aws_provider.connection import Aws, wait_until
from airgap.aws_provider.failures import error_code
from airgap.aws_provider.resource import AwsResource
from airgap.aws_provider.tags import tag_list

_RELEASE_SECONDS = 300.0


class Ec2Resource(AwsResource):
    """Its id is EC2's own and its tags are EC2's."""

    service = "ec2"
    kind: ClassVar[str]
    """EC2's name for what it is, as in tag specifications and ARNs: `vpc`, `route-table`."""

    def retag(
        self, aws: Aws, identifier: str, outputs: Mapping[str, Any], put: Mapping[str, str], remove: list[str]
    ) -> None:
        """Put tags on the resource and take others off."""
        client = self.client(aws, outputs)
        if put:
            client.create_tags(Resources=[identifier], Tags=tag_list(put))
        if remove:
            client.delete_tags(Resources=[identifier], Tags=[{"Key": key} for key in remove])

    def arn(self, aws: Aws, identifier: str, recorded: Mapping[str, Any], owner: str = "") -> str:
        """The resource's ARN."""
        return aws.arn("ec2", f"{self.kind}/{identifier}", str(recorded.get("region") or ""), owner)


def tagged_as(kind: str, inputs: Mapping[str, Any], tags: str = "tags") -> dict[str, Any]:
    """The argument by which EC2 tags a resource while it makes it; none without tags."""
    given = inputs.get(tags)
    return {"TagSpecifications": [{"ResourceType": kind, "Tags": tag_list(given)}]} if given else {}


def remove_when_free(remove: Callable[[], object], what: str, cancelled: threading.Event) -> None:
    """Call `remove` until nothing depends on the thing any more, for up to five minutes.

    Raises ProviderError: something still does. Any other refusal is raised as it is.
    """

    def is_removed() -> bool:
        try:
            remove()
        except Exception as failure:
            if error_code(failure) in ("DependencyViolation", "DeleteConflict", "VolumeInUse"):
                return False
            if error_code(failure) == "InvalidParameterValue" and "in use" in str(failure):
                return False
            raise
        return True

    wait_until(is_removed, f"nothing uses {what} any more and it can be removed", cancelled, _RELEASE_SECONDS)
