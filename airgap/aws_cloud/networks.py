"""One container network for each VPC that has instances, with the VPC's own addresses."""

from __future__ import annotations

import ipaddress
import threading

from docker.errors import APIError, NotFound
from docker.types import IPAMConfig, IPAMPool

from airgap.aws_cloud import engine
from airgap.problem import Problem

_one_at_a_time = threading.Lock()


def name_of(vpc_id: str) -> str:
    """The network's name on the engine."""
    return f"aws-{vpc_id}"


def bridge_of(vpc_id: str) -> str:
    """The name of the network's bridge on this machine: at most 15 characters."""
    return f"aws-{vpc_id[-11:]}"


def ensure(vpc_id: str, cidr: str) -> str:
    """Make the VPC's network unless it exists; its name.

    Raises Problem when the machine or another network uses these addresses already.
    """
    name = name_of(vpc_id)
    with _one_at_a_time:
        if not engine.client().networks.list(names=[name]):
            # The first address is the router's, in AWS as here.
            gateway = str(ipaddress.ip_network(cidr)[1])
            try:
                engine.client().networks.create(
                    name,
                    driver="bridge",
                    ipam=IPAMConfig(pool_configs=[IPAMPool(subnet=cidr, gateway=gateway)]),
                    options={"com.docker.network.bridge.name": bridge_of(vpc_id)},
                    labels={engine.LABEL: vpc_id},
                )
            except APIError as error:
                raise Problem(
                    f"{vpc_id} with {cidr} cannot be shown on this machine ({engine.explain(error)}): "
                    "choose addresses that nothing else here uses (docker network ls, ip route)"
                ) from error
    return name


def remove(vpc_id: str) -> None:
    """Remove the VPC's network, if there is one."""
    try:
        engine.client().networks.get(name_of(vpc_id)).remove()
    except NotFound:
        return
