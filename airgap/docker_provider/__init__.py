"""A stand-in for Pulumi's Docker plugin (`pulumi-resource-docker` 5.2.0) where that one cannot be downloaded.

It serves the unchanged vendor SDK `pulumi_docker`: Network, Volume, Container and RemoteImage. What it answers follows
what the
vendor's plugin was seen to answer (tests/airgap/recordings). What it does not cover is refused by name, never ignored.
"""

VERSION = "5.2.0"
