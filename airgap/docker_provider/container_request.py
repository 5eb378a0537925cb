"""Builds what the engine is asked for: a new container's configuration, its network endpoints, its uploaded files."""

from __future__ import annotations

import base64
import binascii
import io
import tarfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from airgap.docker_provider.durations import parse_duration
from airgap.docker_provider.labels import labels_to_map
from airgap.provider_protocol.errors import ProviderError

MEBIBYTE = 1024 * 1024
_VOLUME_OPTIONS_API = (1, 45)
_START_INTERVAL_API = (1, 44)


def container_configuration(inputs: Mapping[str, Any], api_version: tuple[int, int]) -> dict[str, Any]:
    """The body of the engine's "create a container" request.

    Raises ProviderError: an empty string in `command`; options this engine's API is too old for.
    """
    if "" in inputs.get("command", []):
        raise ProviderError("values for command may not be empty")
    exposed, bindings = _ports(inputs.get("ports", []))
    return {
        "Image": inputs["image"],
        "Hostname": inputs.get("hostname", ""),
        "Domainname": inputs.get("domainname", ""),
        "User": inputs.get("user", ""),
        "WorkingDir": inputs.get("workingDir", ""),
        "Tty": inputs.get("tty", False),
        "OpenStdin": inputs.get("stdinOpen", False),
        "Env": sorted(inputs.get("envs", [])),
        "Cmd": inputs.get("command") or None,
        "Entrypoint": inputs.get("entrypoints") or None,
        "ExposedPorts": exposed,
        "Labels": labels_to_map(inputs.get("labels", [])),
        "StopSignal": inputs.get("stopSignal") or None,
        "StopTimeout": inputs.get("stopTimeout") or None,
        "Healthcheck": _healthcheck(inputs.get("healthcheck"), api_version),
        "HostConfig": {
            "Privileged": inputs.get("privileged", False),
            "PublishAllPorts": inputs.get("publishAllPorts", False),
            "RestartPolicy": restart_policy(inputs),
            "AutoRemove": inputs.get("rm", False),
            "ReadonlyRootfs": inputs.get("readOnly", False),
            "LogConfig": {"Type": inputs.get("logDriver", ""), "Config": inputs.get("logOpts") or {}},
            "Mounts": [_mount(mount, api_version) for mount in inputs.get("mounts", [])],
            "Tmpfs": inputs.get("tmpfs") or None,
            "PortBindings": bindings,
            "ExtraHosts": [f"{entry['host']}:{entry['ip']}" for entry in inputs.get("hosts", [])] or None,
            "Ulimits": [
                {"Name": entry["name"], "Soft": entry["soft"], "Hard": entry["hard"]}
                for entry in inputs.get("ulimits", [])
            ],
            "CapAdd": _capabilities(inputs, "adds"),
            "CapDrop": _capabilities(inputs, "drops"),
            "Dns": sorted(inputs.get("dns", [])),
            "DnsOptions": sorted(inputs.get("dnsOpts", [])),
            "DnsSearch": sorted(inputs.get("dnsSearches", [])),
            "SecurityOpt": sorted(inputs.get("securityOpts", [])) or None,
            "Memory": inputs.get("memory", 0) * MEBIBYTE,
            "MemoryReservation": inputs.get("memoryReservation", 0) * MEBIBYTE,
            "MemorySwap": swap_bytes(inputs.get("memorySwap", 0)),
            "ShmSize": inputs.get("shmSize", 0) * MEBIBYTE,
            "CpuShares": inputs.get("cpuShares", 0),
            "CpusetCpus": inputs.get("cpuSet", ""),
            "NanoCpus": round(float(inputs.get("cpus") or 0) * 1_000_000_000),
            "CpuPeriod": 0 if inputs.get("cpus") else inputs.get("cpuPeriod", 0),
            "CpuQuota": 0 if inputs.get("cpus") else inputs.get("cpuQuota", 0),
            "NetworkMode": inputs.get("networkMode", ""),
            "UsernsMode": inputs.get("usernsMode", ""),
            "PidMode": inputs.get("pidMode", ""),
            "IpcMode": inputs.get("ipcMode", ""),
            "CgroupnsMode": inputs.get("cgroupnsMode", ""),
            "Sysctls": inputs.get("sysctls") or None,
            "GroupAdd": sorted(inputs.get("groupAdds", [])) or None,
            "Init": inputs.get("init", False),
            "StorageOpt": inputs.get("storageOpts") or None,
            "Runtime": inputs.get("runtime", ""),
        },
    }


def restart_policy(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The restart policy as the engine takes it."""
    return {"Name": inputs.get("restart", "no"), "MaximumRetryCount": inputs.get("maxRetryCount", 0)}


def swap_bytes(mebibytes: int) -> int:
    """`memorySwap` in bytes; -1 means unlimited and 0 means the engine's default (twice the memory)."""
    return mebibytes * MEBIBYTE if mebibytes > 0 else mebibytes


def endpoint_configuration(network: Mapping[str, Any]) -> dict[str, Any]:
    """How a container is attached to one network (an entry of `networksAdvanced`), as keywords of docker-py.

    Raises ProviderError: a field that docker-py cannot pass on.
    """
    for field in ("gwPriority", "macAddress"):
        if network.get(field):
            raise ProviderError(
                f"networksAdvanced.{field} is not covered by this stand-in; leave it out or install the vendor's plugin"
            )
    return {
        "aliases": sorted(network.get("aliases", [])) or None,
        "ipv4_address": network.get("ipv4Address") or None,
        "ipv6_address": network.get("ipv6Address") or None,
        "link_local_ips": sorted(network.get("linkLocalIps", [])) or None,
        "driver_opt": dict(option.split("=", 1) for option in network.get("driverOpts", []) if "=" in option) or None,
    }


def upload_archive(uploads: Sequence[Mapping[str, Any]]) -> bytes:
    """The tar archive, to be unpacked at "/", with the files of all `uploads`.

    It is one archive, because the engine takes its time for each. A file's mode is 0644, 0744 if `executable`, or
    `permissions`.

    Raises ProviderError: not exactly one of content, contentBase64 and source is set, or it cannot be read.
    """
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for upload in uploads:
            data = _upload_content(upload)
            entry = tarfile.TarInfo(upload["file"].lstrip("/"))
            entry.size = len(data)
            entry.mode = int(upload.get("permissions") or ("0744" if upload.get("executable") else "0644"), 8)
            entry.mtime = int(time.time())
            archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def _upload_content(upload: Mapping[str, Any]) -> bytes:
    given = [name for name in ("content", "contentBase64", "source") if upload.get(name)]
    if not given:
        raise ProviderError("error with upload content: one of 'content', 'content_base64', or 'source' must be set")
    if len(given) > 1:
        raise ProviderError(
            "error with upload content: only one of 'content', 'content_base64', or 'source' can be set"
        )
    if given == ["content"]:
        return str(upload["content"]).encode()
    if given == ["source"]:
        try:
            return Path(upload["source"]).read_bytes()
        except OSError as failure:
            raise ProviderError(f"could not read file: {failure}") from failure
    try:
        return base64.b64decode(upload["contentBase64"])
    except binascii.Error as failure:
        raise ProviderError(f"error with upload content: contentBase64 of {upload['file']} is not base64") from failure


def _ports(ports: list[Mapping[str, Any]]) -> tuple[dict[str, Any], dict[str, Any]]:
    exposed: dict[str, Any] = {}
    bindings: dict[str, list[dict[str, str]]] = {}
    for port in ports:
        key = f"{port['internal']}/{port['protocol']}"
        exposed[key] = {}
        external = port.get("external")
        bindings.setdefault(key, []).append({"HostIp": port["ip"], "HostPort": str(external) if external else ""})
    return exposed, bindings


def _capabilities(inputs: Mapping[str, Any], which: str) -> list[str] | None:
    """The names with their prefix, as they then read back: a program that leaves it out differs ever after."""
    names = (name.upper() for name in inputs.get("capabilities", {}).get(which, []))
    prefixed = [name if name == "ALL" or name.startswith("CAP_") else f"CAP_{name}" for name in names]
    return sorted(prefixed) or None


def _healthcheck(check: Mapping[str, Any] | None, api_version: tuple[int, int]) -> dict[str, Any] | None:
    if check is None:
        return None
    start_interval = parse_duration(check.get("startInterval", "0s"))
    if start_interval and api_version < _START_INTERVAL_API:
        raise ProviderError(_too_old("healthcheck.startInterval", _START_INTERVAL_API, api_version))
    configuration = {
        "Test": check.get("tests", []),
        "Interval": parse_duration(check.get("interval", "0s")),
        "Timeout": parse_duration(check.get("timeout", "0s")),
        "StartPeriod": parse_duration(check.get("startPeriod", "0s")),
        "Retries": check.get("retries", 0),
    }
    return {**configuration, "StartInterval": start_interval} if start_interval else configuration


def _mount(mount: Mapping[str, Any], api_version: tuple[int, int]) -> dict[str, Any]:
    configuration: dict[str, Any] = {
        "Type": mount["type"],
        "Target": mount["target"],
        "Source": mount.get("source", ""),
        "ReadOnly": mount.get("readOnly", False),
    }
    if mount["type"] == "bind" and mount.get("bindOptions"):
        configuration["BindOptions"] = {"Propagation": mount["bindOptions"].get("propagation", "")}
    if mount["type"] == "volume" and mount.get("volumeOptions") is not None:
        if api_version < _VOLUME_OPTIONS_API:
            raise ProviderError(
                _too_old(f"volumeOptions of the mount at {mount['target']}", _VOLUME_OPTIONS_API, api_version)
            )
        configuration["VolumeOptions"] = _volume_options(mount["volumeOptions"])
    if mount["type"] == "tmpfs" and mount.get("tmpfsOptions") is not None:
        options = mount["tmpfsOptions"]
        configuration["TmpfsOptions"] = {"SizeBytes": options.get("sizeBytes", 0), "Mode": options.get("mode", 0)}
    return configuration


def _volume_options(options: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "NoCopy": options.get("noCopy", False),
        "Labels": labels_to_map(options.get("labels", [])),
        "DriverConfig": {"Name": options.get("driverName", ""), "Options": options.get("driverOptions", {})},
        "Subpath": options.get("subpath", ""),
    }


def _too_old(what: str, needed: tuple[int, int], spoken: tuple[int, int]) -> str:
    return (
        f"Unable to create container: {what} needs Docker API {needed[0]}.{needed[1]}, "
        f"but this engine speaks {spoken[0]}.{spoken[1]}: leave it out or use a newer engine"
    )
