"""What all parts of the platform know of the deployment they are part of."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi

from ...settings import NodeSettings
from .. import aws_names
from .survey import Site


@dataclass(frozen=True)
class Context:
    """A deployment on AWS.

    Attributes:
        name: the component's, which resource names begin with.
        deployment: what names on AWS begin with.
        opts: options of everything that is made, which say whose children they are.
    """

    name: str
    deployment: str
    settings: NodeSettings
    site: Site
    opts: pulumi.ResourceOptions

    def tags(self, resource: str, node: str | None = None) -> dict[str, str]:
        """The tags of a resource: ``redis`` is called ``<deployment>-redis``."""
        return aws_names.tags(self.deployment, f"{self.deployment}-{resource}", node)

    def options(self, more: pulumi.ResourceOptions | None = None) -> pulumi.ResourceOptions:
        """Options of a resource."""
        return pulumi.ResourceOptions.merge(self.opts, more) if more else self.opts
