"""moto's EC2 with real machines behind it, and with the checks of AWS that moto leaves out."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models import EC2Backend, ec2_backends, nat_gateways, vpcs
from moto.ec2.models.instance_types import INSTANCE_TYPES
from moto.ec2.models.instances import Instance
from moto.ec2.responses import EC2Response

from airgap.aws_cloud import amis, firewall, machines, networks, volumes
from airgap.aws_cloud.authorization import ACCOUNT
from airgap.aws_cloud.patching import around
from airgap.problem import Problem

_USER_DATA_BYTES = 16 * 1024
_DEFAULT_ROOT = "/dev/sda1"
"""What moto calls the root disk when a request does not describe it."""


def running() -> Iterator[Any]:
    """Every running instance of every region."""
    for backend in list(ec2_backends[ACCOUNT].values()):
        yield from backend.all_running_instances()


def at(address: str) -> Any:
    """The running instance with this private address, or None."""
    return next((each for each in running() if each.private_ip_address == address), None)


def vpc_at(address: str) -> str | None:
    """The VPC of the running instance with this private address."""
    instance = at(address)
    return None if instance is None else str(instance.vpc_id)


def role_of(instance: Any) -> Any:
    """The role of the instance's profile, or None."""
    association = instance.ec2_backend.iam_instance_profile_associations.get(instance.id)
    roles = association.iam_instance_profile.roles if association is not None else []
    return roles[0] if roles else None


@around(EC2Response, "call_action")
def _call_action(self: Any, original: Any) -> Any:
    answer = original()
    if not self._get_action().startswith("Describe"):
        firewall.apply([interface for instance in running() for interface in instance.nics.values()])
    return answer


@around(EC2Backend, "run_instances")
def _run_instances(
    self: Any, original: Any, image_id: str, count: int, user_data: Any, security_group_names: list[str], **kwargs: Any
) -> Any:
    if not amis.is_debian(image_id, self.region_name):
        raise EC2ClientError(
            "InvalidAMIID.NotFound", f"The look-alike of AWS boots Debian 13's images only, not '{image_id}'."
        )
    _check_type(kwargs["instance_type"])
    if user_data is not None and len(base64.b64decode(str(user_data))) > _USER_DATA_BYTES:
        raise EC2ClientError("InvalidParameterValue", "User data is limited to 16384 bytes")
    nics = kwargs.get("nics") or []
    given = [self.get_network_interface(nic["NetworkInterfaceId"]) for nic in nics if nic.get("NetworkInterfaceId")]
    for interface in given:
        if interface.attachment_id:
            raise EC2ClientError("InvalidNetworkInterface.InUse", f"Interface: [{interface.id}] in use.")
    if given:
        kwargs["placement"] = given[0].availability_zone
    _check_address(self, kwargs.get("private_ip"))
    reservation = original(image_id, count, user_data, security_group_names, **kwargs)
    for instance in reservation.instances:
        if given:
            # moto takes the interface, but neither its subnet nor its groups.
            instance._subnet_id = given[0].subnet.id
            instance.security_groups = list(given[0]._group_set)
            instance.associate_public_ip = False
        for interface in instance.nics.values():
            if interface not in given and not any("DeleteOnTermination" in nic for nic in nics):
                interface.delete_on_termination = True
        try:
            machines.create(instance)
            _show_volumes(instance)
        except Problem as problem:
            instance.terminate()
            raise EC2ClientError("InternalError", str(problem)) from problem
    return reservation


@around(Instance, "start")
def _start(self: Any, original: Any) -> Any:
    if self.state == "stopped":
        machines.start(self)
    elif self.state != "running":
        raise _wrong_state(self, "started")
    return original()


@around(Instance, "stop")
def _stop(self: Any, original: Any) -> Any:
    if self.state == "running":
        machines.stop(self.id)
    elif self.state != "stopped":
        raise _wrong_state(self, "stopped")
    return original()


@around(Instance, "reboot")
def _reboot(self: Any, original: Any) -> None:
    if self.state != "running":
        raise _wrong_state(self, "rebooted")
    machines.reboot(self.id)
    original()


@around(Instance, "terminate")
def _terminate(self: Any, original: Any) -> Any:
    if self.state == "terminated":
        return self._state
    # Before moto gives its volumes and addresses to others.
    machines.terminate(self.id)
    for interface in self.nics.values():
        interface.attachment_id = interface.instance = interface.device_index = None
        interface.status = "available"
    return original()


@around(EC2Backend, "modify_instance_attribute")
def _modify_instance_attribute(self: Any, original: Any, instance_id: str, key: str, value: Any) -> Any:
    if key in ("instance_type", "user_data"):
        if self.get_instance(instance_id).state != "stopped":
            raise EC2ClientError(
                "IncorrectInstanceState", f"The instance '{instance_id}' is not in the 'stopped' state."
            )
        if key == "instance_type":
            _check_type(value)
    return original(instance_id, key, value)


@around(EC2Backend, "modify_instance_security_groups")
def _modify_instance_security_groups(self: Any, original: Any, instance_id: str, groups: list[str]) -> Any:
    instance = original(instance_id, groups)
    instance.nics[0]._group_set = list(instance.security_groups)
    return instance


@around(EC2Backend, "modify_network_interface_attribute")
def _modify_network_interface_attribute(
    self: Any, original: Any, eni_id: str, group_ids: list[str], *arguments: Any, **named: Any
) -> None:
    original(eni_id, group_ids, *arguments, **named)
    interface = self.get_network_interface(eni_id)
    if group_ids and interface.instance is not None:
        interface.instance.security_groups = list(interface._group_set)


@around(EC2Backend, "create_network_interface")
def _create_network_interface(
    self: Any, original: Any, subnet: Any, private_ip_address: Any, private_ip_addresses: Any = None,
    *arguments: Any, **named: Any
) -> Any:  # fmt: skip
    subnet = self.get_subnet(subnet) if isinstance(subnet, str) else subnet
    primary = [each["PrivateIpAddress"] for each in private_ip_addresses or [] if each.get("Primary")]
    address = private_ip_address or next(iter(primary), None)
    if address is None:
        # moto would take any address of the subnet, another interface's among them.
        address = subnet.get_available_subnet_ip(None)
    else:
        _check_address(self, address)
        if address not in subnet._subnet_ips:
            try:
                subnet.request_ip(address, None)
            except Exception as error:  # what moto raises is a plain Exception
                raise EC2ClientError("InvalidParameterValue", f"{address}: {error}") from error
    return original(subnet, address, private_ip_addresses, *arguments, **named)


# For gateways and endpoints moto asks for some private address, which is not one of their subnet; asked for none, it is
# given one that is.
nat_gateways.random_private_ip = vpcs.random_private_ip = lambda: None


@around(EC2Backend, "delete_nat_gateway")
def _delete_nat_gateway(self: Any, original: Any, nat_gateway_id: str) -> Any:
    gateway = original(nat_gateway_id)
    if gateway._eni.id in self.enis:
        self.delete_network_interface(gateway._eni.id)
    return gateway


@around(EC2Backend, "delete_network_interface")
def _delete_network_interface(self: Any, original: Any, eni_id: str) -> None:
    interface = self.get_network_interface(eni_id)
    if interface.attachment_id:
        raise EC2ClientError("InvalidParameterValue", f"Network interface '{eni_id}' is currently in use.")
    original(eni_id)
    interface.subnet.del_subnet_ip(interface.private_ip_address)


@around(EC2Backend, "delete_subnet")
def _delete_subnet(self: Any, original: Any, subnet_id: str) -> Any:
    if any(interface.subnet.id == subnet_id for interface in self.enis.values()):
        raise _in_use("subnet", subnet_id)
    return original(subnet_id)


@around(EC2Backend, "delete_security_group")
def _delete_security_group(self: Any, original: Any, name: str | None = None, group_id: str | None = None) -> Any:
    if group_id is not None:
        groups = [group for of_vpc in self.groups.values() for group in of_vpc.values() if group.id != group_id]
        rules = [rule for group in groups for rule in (*group.ingress_rules, *group.egress_rules)]
        if any(group_id == group.id for interface in self.enis.values() for group in interface.group_set) or any(
            rule.source_group.get("GroupId") == group_id for rule in rules
        ):
            raise EC2ClientError("DependencyViolation", f"resource {group_id} has a dependent object")
    return original(name=name, group_id=group_id)


@around(EC2Backend, "delete_vpc")
def _delete_vpc(self: Any, original: Any, vpc_id: str) -> Any:
    vpc = original(vpc_id)
    networks.remove(vpc_id)
    return vpc


@around(EC2Backend, "attach_volume")
def _attach_volume(
    self: Any, original: Any, volume_id: str, instance_id: str, device_path: str, *arguments: Any, **named: Any
) -> Any:
    volume, instance = self.get_volume(volume_id), self.get_instance(instance_id)
    if volume.attachment is not None:
        raise EC2ClientError("VolumeInUse", f"{volume_id} is already attached to an instance")
    if volume.zone.name != instance.placement.zone:
        raise EC2ClientError(
            "InvalidVolume.ZoneMismatch", f"The volume '{volume_id}' is not in the same availability zone as instance"
        )
    if device_path in instance.block_device_mapping:
        raise EC2ClientError("InvalidParameterValue", f"Invalid value '{device_path}': already in use")
    attachment = original(volume_id, instance_id, device_path, *arguments, **named)
    _show_volumes(instance)
    return attachment


@around(EC2Backend, "detach_volume")
def _detach_volume(self: Any, original: Any, volume_id: str, instance_id: str, device_path: str) -> Any:
    volume = self.get_volume(volume_id)
    # AWS finds the instance by the volume; moto needs it.
    instance_id = instance_id or (volume.attachment.instance.id if volume.attachment is not None else instance_id)
    attachment = original(volume_id, instance_id, device_path)
    if volumes.exists(volume_id):
        _show_volumes(attachment.instance)
        volumes.release(volume_id)
    return attachment


@around(EC2Backend, "delete_volume")
def _delete_volume(self: Any, original: Any, volume_id: str) -> Any:
    deleted = original(volume_id)
    if volumes.exists(volume_id):
        volumes.delete(volume_id)
    return deleted


@around(EC2Backend, "modify_volume")
def _modify_volume(self: Any, original: Any, volume_id: str, target_size: int | None = None, **named: Any) -> Any:
    volume = self.get_volume(volume_id)
    if target_size is not None and int(target_size) < volume.size:
        raise EC2ClientError("InvalidParameterValue", f"New size cannot be smaller than existing size ({volume.size})")
    modified = original(volume_id, target_size=target_size, **named)
    if volumes.exists(volume_id):
        volumes.grow(volume_id, int(modified.size))
    return modified


@around(EC2Backend, "create_volume")
def _create_volume(self: Any, original: Any, size: Any, *arguments: Any, **named: Any) -> Any:
    if size is not None and int(size) < 1:
        raise EC2ClientError("InvalidParameterValue", f"The volume size {size} is less than 1 GiB")
    return original(size, *arguments, **named)


@around(EC2Backend, "create_snapshot")
def _create_snapshot(self: Any, original: Any, volume_id: str, *arguments: Any, **named: Any) -> Any:
    snapshot = original(volume_id, *arguments, **named)
    if volumes.exists(volume_id):
        volumes.snapshot(volume_id, snapshot.id)
    return snapshot


@around(EC2Backend, "delete_snapshot")
def _delete_snapshot(self: Any, original: Any, snapshot_id: str) -> Any:
    deleted = original(snapshot_id)
    if volumes.exists(snapshot_id):
        volumes.delete(snapshot_id)
    return deleted


def _show_volumes(instance: Any) -> None:
    """Make the instance's data volumes appear in its machine, if it has one: the root disk is the container's own."""
    if not machines.exists(instance.id):
        return
    roots = (instance.root_device_name, _DEFAULT_ROOT)
    attached = [block.volume_id for device, block in instance.block_device_mapping.items() if device not in roots]
    for volume_id in attached:
        if not volumes.exists(volume_id):
            volume = instance.ec2_backend.get_volume(volume_id)
            volumes.create(
                volume_id,
                int(volume.size),
                volumes.path_of_snapshot(volume.snapshot_id) if volume.snapshot_id else None,
            )
    machines.show_volumes(instance.id, attached)


def _check_type(name: str) -> None:
    if name not in INSTANCE_TYPES:
        raise EC2ClientError("InvalidInstanceType", f"The following supplied instance types do not exist: [{name}]")


def _check_address(backend: Any, address: str | None) -> None:
    if address is not None and any(each.private_ip_address == address for each in backend.enis.values()):
        raise EC2ClientError("InvalidIPAddress.InUse", f"The specified address is already in use: {address}")


def _wrong_state(instance: Any, verb: str) -> EC2ClientError:
    return EC2ClientError(
        "IncorrectInstanceState",
        f"The instance '{instance.id}' is not in a state from which it can be {verb}: it is {instance.state}.",
    )


def _in_use(kind: str, identity: str) -> EC2ClientError:
    return EC2ClientError("DependencyViolation", f"The {kind} '{identity}' has dependencies and cannot be deleted.")
