"""A stand-in for Pulumi's AWS plugin (`pulumi-resource-aws`) where that one cannot be downloaded.

It serves the unchanged vendor SDK `pulumi_aws` 7.x on the services that AWS_ENDPOINT_URL names. Its resource types are
tables of properties with the few calls each needs. What it does not cover is refused by name, never ignored.
"""

VERSION = "7.51.1"
