"""The VPC's resolver: private zones of moto's Route 53 for the instances of the zone's VPCs, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from dnslib import QTYPE, RCODE, RR, DNSRecord
from dnslib.server import DNSServer

from airgap.aws_cloud import addresses


class Resolver:
    """Answers from the private zones that the asker's VPC sees; a name outside them does not exist.

    ``vpc_of`` finds the VPC of an instance's address, ``zones`` the private zones of moto.
    """

    def __init__(self, vpc_of: Callable[[str], str | None], zones: Callable[[], Iterable[Any]]) -> None:
        self._vpc_of = vpc_of
        self._zones = zones

    def resolve(self, request: Any, handler: Any) -> Any:
        """The answer to one question (the interface that dnslib's server calls)."""
        answer: DNSRecord = request.reply()
        name = str(request.q.qname).lower().rstrip(".") + "."
        records = [record for zone in self._seen_by(handler.client_address[0], name) for record in zone.rrsets]
        named = [record for record in records if record.name.lower().rstrip(".") + "." == name]
        for record in named:
            if record.type == "CNAME" or QTYPE[request.q.qtype] in (record.type, "ANY"):
                for value in record.records:
                    answer.add_answer(*RR.fromZone(f"{name} {record.ttl or 60} {record.type} {value}"))
        if not named:
            answer.header.rcode = RCODE.NXDOMAIN
        return answer

    def _seen_by(self, address: str, name: str) -> list[Any]:
        vpc = self._vpc_of(address)
        zones = [
            zone
            for zone in self._zones()
            if zone.private_zone
            and any(each.get("vpc_id") == vpc for each in zone.vpcs)
            and f".{name}".endswith(f".{zone.name.lower().rstrip('.')}.")
        ]
        # The most specific zone answers alone.
        return sorted(zones, key=lambda zone: len(zone.name), reverse=True)[:1]


def servers(resolver: Resolver) -> list[Any]:
    """The resolver on UDP and TCP, bound and ready to be started in threads."""
    return [
        DNSServer(resolver, address=addresses.RESOLVER, port=53, tcp=tcp, logger=_Silent()) for tcp in (False, True)
    ]


class _Silent:
    """dnslib's logger without a word: every question would hide what matters in the log."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_arguments: None
