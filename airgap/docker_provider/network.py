"""The resource type docker:index/network:Network."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any, ClassVar

from airgap.docker_provider.engine import Engine, explain, remove_when_free
from airgap.docker_provider.labels import labels_from_map, labels_rule, labels_to_map
from airgap.provider_protocol.errors import ProviderError
from airgap.provider_protocol.properties import Kind, Property, flag, text
from airgap.provider_protocol.resource import Record, ResourceType, in_recorded_order


class Network(ResourceType[Engine]):
    """A Docker network. Nothing of it can be changed in place: every change replaces it."""

    type_name = "docker:index/network:Network"
    name_property = "name"
    output_only: ClassVar[Mapping[str, Any]] = {"scope": ""}
    computed_outputs = frozenset({"scope"})
    properties: ClassVar[Mapping[str, Property]] = {
        "attachable": flag(replaces=True, absent=False),
        "driver": text(replaces=True, computed=True),
        "ingress": flag(replaces=True, absent=False),
        "internal": flag(replaces=True, computed=True),
        "ipamConfigs": Property(
            Kind.OBJECTS,
            replaces=True,
            computed=True,
            absent=[],
            identity=("subnet",),
            fields={
                "auxAddress": Property(Kind.MAP, replaces=True, absent={}),
                "gateway": text(replaces=True, absent=""),
                "ipRange": text(replaces=True, absent=""),
                "subnet": text(replaces=True, absent=""),
            },
        ),
        "ipamDriver": text(replaces=True, default="default"),
        "ipamOptions": Property(Kind.MAP, replaces=True, computed=True),
        "ipv6": flag(replaces=True, absent=False),
        "labels": labels_rule(absent=[]),
        "name": text(replaces=True),
        "options": Property(Kind.MAP, replaces=True, computed=True, absent={}),
    }

    def create(self, engine: Engine, inputs: Mapping[str, Any], cancelled: threading.Event) -> Record:
        """Make the network. A network of the same name is an error ("already exists"), unlike with volumes."""
        from docker.errors import APIError
        from docker.types import IPAMConfig, IPAMPool

        pools = [
            IPAMPool(
                subnet=pool.get("subnet"),
                iprange=pool.get("ipRange"),
                gateway=pool.get("gateway"),
                aux_addresses=pool.get("auxAddress"),
            )
            for pool in inputs.get("ipamConfigs", [])
        ]
        try:
            answer = engine.client().create_network(
                inputs["name"],
                driver=inputs.get("driver"),
                options=inputs.get("options"),
                ipam=IPAMConfig(driver=inputs["ipamDriver"], pool_configs=pools, options=inputs.get("ipamOptions")),
                check_duplicate=True,
                internal=inputs.get("internal", False),
                labels=labels_to_map(inputs.get("labels", [])),
                enable_ipv6=inputs.get("ipv6", False),
                attachable=inputs.get("attachable"),
                ingress=inputs.get("ingress"),
            )
        except APIError as failure:
            raise ProviderError(f"Unable to create network: {explain(failure)}") from failure
        record = self.read(engine, answer["Id"], inputs)
        if record is None:
            raise ProviderError(f"Unable to create network: {inputs['name']} vanished right after it was made")
        return record

    def read(self, engine: Engine, identifier: str, outputs: Mapping[str, Any]) -> Record | None:
        """The network as the engine has it."""
        from docker.errors import NotFound

        try:
            facts = engine.client().inspect_network(identifier)
        except NotFound:
            return None
        pools = [
            {
                "auxAddress": pool.get("AuxiliaryAddresses") or {},
                "gateway": pool.get("Gateway", ""),
                "ipRange": pool.get("IPRange", ""),
                "subnet": pool.get("Subnet", ""),
            }
            for pool in facts["IPAM"].get("Config") or []
        ]
        read = {
            **self.absent_outputs(),
            "attachable": facts["Attachable"],
            "driver": facts["Driver"],
            "id": facts["Id"],
            "ingress": facts["Ingress"],
            "internal": facts["Internal"],
            "ipamConfigs": in_recorded_order(pools, outputs.get("ipamConfigs"), ("subnet",)),
            "ipamDriver": facts["IPAM"]["Driver"],
            "ipamOptions": outputs.get("ipamOptions"),
            "ipv6": facts["EnableIPv6"],
            "labels": in_recorded_order(labels_from_map(facts.get("Labels")), outputs.get("labels"), ("label",)),
            "name": facts["Name"],
            "options": facts.get("Options") or {},
            "scope": facts["Scope"],
        }
        return Record(facts["Id"], read)

    def delete(self, engine: Engine, identifier: str, outputs: Mapping[str, Any], cancelled: threading.Event) -> None:
        """Remove the network; while containers are still leaving it, try again for up to 30 s."""
        client = engine.client()
        remove_when_free(lambda: client.remove_network(identifier), busy="has active endpoints", what="network")
