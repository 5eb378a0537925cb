"""Nodes as EC2 instances, each with its own data volume, spread over availability zones."""

from .platform import AwsPlatform
from .survey import Site, survey

__all__ = ["AwsPlatform", "Site", "survey"]
