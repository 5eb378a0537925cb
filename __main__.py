"""The Pulumi program: settings of the stack -> component -> outputs."""

from components.stack import deploy

deploy()
