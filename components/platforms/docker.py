"""Nodes as containers on one Docker engine, each with its own volume, on a network of the deployment's own."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pulumi
import pulumi_docker as docker

from ..backup_files import BACKUPS_FOLDER, HEARTBEAT, SCRATCH_FOLDER
from ..backup_settings import VOLUME
from ..config_files import CONFIG_FOLDER, DATA_FOLDER, Listener
from ..newest_backups import newest_backups
from ..nodes import BackupService, Node, NodeSpec, digest_of
from ..settings import MEBIBYTE
from . import backup_image
from .docker_leftovers import IDENTITY_LABEL, remove_leftover_container, remove_leftover_network

if TYPE_CHECKING:
    from ..hooks import RollingGate

_LOOPBACK = "127.0.0.1"
_SERVER_USER = "999:999"  # redis in the official image; a number, so that it also holds where the name is unknown
# Names without a dot are answered by the engine alone: asking for a stopped node must not block Sentinel.
_DNS_OPTIONS = ["ndots:1", "timeout:1", "attempts:1"]
_BACKUP_GRACE_SECONDS = 10
_SILENT_MINUTES = 3
"""Without a sign of life for so long, the service is not healthy."""


class DockerPlatform:
    """Children: a network, the image, and for each node its volumes (``<node>-data``, ``<node>-config``), its files
    (``<node>-files``) and its container (``<node>``). For backups ``<name>-backups`` (their volume),
    ``<name>-backup-image``, ``<name>-backup-scratch``, ``<name>-backup-config``, ``<name>-backup-files`` and
    ``<name>-backup``, likewise.

    Every node listens on a port of its own, the same inside and published on loopback, so that an address differs
    between clients inside the network and on the machine outside in the host only.
    """

    def __init__(
        self, name: str, deployment: str, identity: pulumi.Input[str], image: str, opts: pulumi.ResourceOptions
    ) -> None:
        """``identity`` is random and stays with the stack's state; it tells the stack's own things from others'."""
        self._prefix = name
        self._deployment = deployment
        self._image_name = image
        self._labels: dict[str, pulumi.Input[str]] = {
            "redis-production.deployment": deployment,
            IDENTITY_LABEL: identity,
        }
        self._clear_container = pulumi.ResourceHook(f"{name}-clear-container", remove_leftover_container)
        clear_network = pulumi.ResourceHook(f"{name}-clear-network", remove_leftover_network)
        self._network = docker.Network(
            f"{name}-network",
            name=deployment,
            labels=[docker.NetworkLabelArgs(label=key, value=value) for key, value in self._labels.items()],
            opts=pulumi.ResourceOptions.merge(
                opts, pulumi.ResourceOptions(hooks=pulumi.ResourceHookBinding(before_create=[clear_network]))
            ),
        )
        self._image = docker.RemoteImage(f"{name}-image", name=image, keep_locally=True, opts=opts)

    def listener(self, node_name: str, base_port: int, ordinal: int) -> Listener:
        """At ``<deployment>-<kind>-<ordinal>``: the container's name, resolved by the engine's name service."""
        return Listener(self._host(node_name), base_port + ordinal)

    def fails_with(self, node_name: str) -> str:
        """Nothing to tell apart: all are on one engine."""
        return ""

    def reach(self, listener: Listener) -> Listener:
        """The port published on loopback: containers' addresses have no route on Docker Desktop."""
        return Listener(_LOOPBACK, listener.port)

    def certificate_names(self, listener: Listener) -> list[str]:
        """The host name inside the network; ``localhost`` and loopback outside."""
        return [listener.host, "localhost", _LOOPBACK]

    def record(self) -> dict[str, Any]:
        """Nothing: containers are reached directly."""
        return {}

    def announce(self, listeners: Mapping[str, Listener], after: pulumi.Resource) -> None:
        """Nothing: the engine's name service knows a container as soon as it is there."""

    def give_access(
        self,
        passwords: pulumi.Output[Mapping[str, str]],
        acl: pulumi.Output[dict[str, str]],
        ca_certificate: pulumi.Output[str],
        opts: pulumi.ResourceOptions,
    ) -> Sequence[pulumi.Resource]:
        """Nothing: formation runs on the machine that runs Pulumi."""
        return ()

    def create_node(self, spec: NodeSpec, gate: RollingGate, opts: pulumi.ResourceOptions) -> Node:
        """Make the volume and the container: non-root, read-only root, no capabilities, memory limit, health check."""
        opts = pulumi.ResourceOptions.merge(opts, gate.options)
        data = self._create_volume(f"{spec.name}-data", opts, retained=spec.retain_data)
        config = self._create_volume(f"{spec.name}-config", opts, retained=False)
        config_mount = _mount(CONFIG_FOLDER, config)
        files = self._create_files(spec.name, {**spec.files, **spec.restart_files}, config_mount, opts)
        container = self._create_container(
            spec.name,
            self._image_name,
            ["/bin/sh", spec.start_script],
            ["CMD", "/bin/sh", spec.health_script],
            memory=spec.memory,
            grace_seconds=spec.stop_grace_seconds,
            mounts=[_mount(DATA_FOLDER, data), config_mount],
            ports=[docker.ContainerPortArgs(internal=spec.listener.port, external=spec.listener.port, ip=_LOOPBACK)],
            restart_files=spec.restart_files,
            opts=pulumi.ResourceOptions.merge(opts, self._container_options(self._image, files)),
        )
        return Node(spec, self.reach(spec.listener), container.id, files.id)

    def backup_place(self) -> Mapping[str, Any]:
        """As it is."""
        return {}

    def create_backup_service(self, service: BackupService, opts: pulumi.ResourceOptions) -> Sequence[pulumi.Resource]:
        """Make the container, hardened as a node is, with a scratch volume, as tmpfs would count as its memory."""
        image = self._create_backup_image(service, opts)
        scratch = self._create_volume(f"{service.name}-scratch", opts, retained=False)
        config = self._create_volume(f"{service.name}-config", opts, retained=False)
        mounts = [_mount(SCRATCH_FOLDER, scratch), _mount(CONFIG_FOLDER, config)]
        if service.target in (None, VOLUME):
            backups = self._create_volume(f"{self._prefix}-backups", opts, retained=service.retain_data)
            mounts.append(_mount(BACKUPS_FOLDER, backups))
        files = self._create_files(service.name, service.files, mounts[1], opts)
        container = self._create_container(
            service.name,
            image.name,
            ["python3", backup_image.PROGRAM, "service"],
            ["CMD-SHELL", f'test -n "$(find {HEARTBEAT} -mmin -{_SILENT_MINUTES})"'],
            memory=service.memory,
            grace_seconds=_BACKUP_GRACE_SECONDS,
            mounts=mounts,
            ports=None,
            restart_files=service.files,
            opts=pulumi.ResourceOptions.merge(opts, self._container_options(image, files)),
        )
        return (container,)

    def newest_backups(self, service_name: str) -> pulumi.Output[Mapping[str, Any] | None]:
        """Asked while the program goes on."""
        return pulumi.Output.from_input(asyncio.to_thread(newest_backups, self._host(service_name)))

    def _create_container(
        self,
        name: str,
        image: pulumi.Input[str],
        entrypoints: Sequence[str],
        health_test: Sequence[str],
        *,
        memory: int,
        grace_seconds: int,
        mounts: Sequence[docker.ContainerMountArgs],
        ports: Sequence[docker.ContainerPortArgs] | None,
        restart_files: Mapping[str, pulumi.Input[str]],
        opts: pulumi.ResourceOptions,
    ) -> docker.Container:
        """Non-root, read-only root, no capabilities, memory limit in bytes, health check."""
        host = self._host(name)
        memory //= MEBIBYTE
        return docker.Container(
            name,
            name=host,
            hostname=host,
            image=image,
            entrypoints=entrypoints,
            user=_SERVER_USER,
            init=True,
            read_only=True,
            capabilities=docker.ContainerCapabilitiesArgs(drops=["ALL"]),
            security_opts=["no-new-privileges"],
            memory=memory,
            memory_swap=memory,
            restart="unless-stopped",
            destroy_grace_seconds=grace_seconds,
            dns_opts=_DNS_OPTIONS,
            networks_advanced=[docker.ContainerNetworksAdvancedArgs(name=self._network.name, aliases=[host])],
            ports=ports,
            mounts=mounts,
            tmpfs={"/tmp": "size=16m,mode=1777"},  # noqa: S108 - memory of the container
            healthcheck=docker.ContainerHealthcheckArgs(
                tests=health_test, interval="15s", timeout="3s", retries=3, start_period="30s"
            ),
            labels=[
                *self._container_labels(),
                docker.ContainerLabelArgs(label="redis-production.restart-files", value=digest_of(restart_files)),
            ],
            opts=opts,
        )

    def _create_backup_image(self, service: BackupService, opts: pulumi.ResourceOptions) -> docker.RemoteImage:
        """Have the engine build it. Its name has the digest of what it is built from: a name that moved to a new image
        would be taken from that one when the old resource is deleted.
        """
        digest = hashlib.sha256(f"{self._image_name} {backup_image.digest()}".encode()).hexdigest()
        return docker.RemoteImage(
            f"{service.name}-image",
            name=f"{self._host(service.name)}:{digest[:12]}",
            build=docker.RemoteImageBuildArgs(
                context=backup_image.write_context(),
                build_args={backup_image.BASE: self._image_name},
                labels=self._labels,
                force_remove=True,
            ),
            triggers={"digest": digest},
            force_remove=True,
            opts=pulumi.ResourceOptions.merge(
                pulumi.ResourceOptions(depends_on=[self._image]), pulumi.ResourceOptions(parent=opts.parent)
            ),
        )

    def _host(self, resource_name: str) -> str:
        """What the engine calls it: ``<component>-...`` becomes ``<deployment>-...``."""
        return self._deployment + resource_name.removeprefix(self._prefix)

    def _create_files(
        self,
        owner: str,
        files: Mapping[str, pulumi.Input[str]],
        config_mount: docker.ContainerMountArgs,
        opts: pulumi.ResourceOptions,
    ) -> docker.Container:
        """Put a container's files on its configuration volume, by way of a container that is made for it and never
        started.

        The container itself cannot take them: its root is read-only. And so a changed file does not replace it. In
        the volume they belong to root, so that the server cannot change them; no other container has the volume.
        """
        return docker.Container(
            f"{owner}-files",
            name=f"{self._host(owner)}-files",
            image=self._image_name,
            entrypoints=["true"],
            start=False,
            must_run=False,
            network_mode="none",
            mounts=[config_mount],
            uploads=[
                docker.ContainerUploadArgs(file=path, content=content, permissions="0444")
                for path, content in files.items()
            ],
            labels=self._container_labels(),
            opts=pulumi.ResourceOptions.merge(
                self._container_options(self._image), pulumi.ResourceOptions(parent=opts.parent)
            ),
        )

    def _container_options(self, *needs: pulumi.Resource) -> pulumi.ResourceOptions:
        return pulumi.ResourceOptions(
            delete_before_replace=True,
            depends_on=list(needs),
            hooks=pulumi.ResourceHookBinding(before_create=[self._clear_container]),
        )

    def _container_labels(self) -> list[docker.ContainerLabelArgs]:
        return [docker.ContainerLabelArgs(label=key, value=value) for key, value in self._labels.items()]

    def _create_volume(self, name: str, opts: pulumi.ResourceOptions, *, retained: bool) -> docker.Volume:
        return docker.Volume(
            name,
            name=self._host(name),
            labels=[docker.VolumeLabelArgs(label=key, value=value) for key, value in self._labels.items()],
            # A change of any of these would replace the volume, and with it the data: they are set once.
            opts=pulumi.ResourceOptions(
                parent=opts.parent, retain_on_delete=retained, ignore_changes=["labels", "name", "driver"]
            ),
        )


def _mount(folder: str, volume: docker.Volume) -> docker.ContainerMountArgs:
    return docker.ContainerMountArgs(target=folder, source=volume.name, type="volume")
