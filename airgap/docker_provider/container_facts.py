"""Turns what the engine says about a container into the resource's outputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airgap.docker_provider.container_request import MEBIBYTE
from airgap.docker_provider.durations import format_duration
from airgap.provider_protocol.resource import in_recorded_order

# Kept as recorded: the engine does not say them in the program's terms (with envs and labels it mixes in the image's).
_NOT_READ = (
    "cgroupnsMode",
    "containerReadRefreshTimeoutMilliseconds",
    "cpuPeriod",
    "cpuQuota",
    "cpus",
    "destroyGraceSeconds",
    "envs",
    "labels",
    "networksAdvanced",
    "pidMode",
    "removeVolumes",
    "start",
    "uploads",
    "wait",
    "waitTimeout",
)


def container_outputs(
    facts: Mapping[str, Any], recorded: Mapping[str, Any], absent: Mapping[str, Any]
) -> dict[str, Any]:
    """The outputs of a container.

    `facts` is the engine's answer to "inspect", `recorded` the outputs known so far (of a new container those planned;
    empty
    for an import) and `absent` the outputs of a resource about which nothing is known. A container that does not run
    has
    `mustRun` false.
    """
    configuration, host = facts["Config"], facts["HostConfig"]
    running = facts["State"]["Running"]
    return {
        **absent,
        **{name: recorded[name] for name in _NOT_READ if name in recorded},
        "bridge": facts["NetworkSettings"].get("Bridge") or "",
        "capabilities": _capabilities(host),
        "command": configuration.get("Cmd") or [],
        "cpuSet": host["CpusetCpus"],
        "cpuShares": host["CpuShares"],
        "dns": _sorted_or_none(host.get("Dns")),
        "dnsOpts": _sorted_or_none(host.get("DnsOptions")),
        "dnsSearches": _sorted_or_none(host.get("DnsSearch")),
        "domainname": configuration["Domainname"],
        "entrypoints": configuration.get("Entrypoint") or [],
        "exitCode": None if running else facts["State"]["ExitCode"],
        "groupAdds": _sorted_or_none(host.get("GroupAdd")),
        "healthcheck": _healthcheck(configuration.get("Healthcheck")),
        "hostname": configuration["Hostname"],
        "hosts": in_recorded_order(_hosts(host.get("ExtraHosts")), recorded.get("hosts"), ("host", "ip")),
        "id": facts["Id"],
        "image": configuration["Image"],
        "init": bool(host.get("Init")),
        "ipcMode": host["IpcMode"],
        "logDriver": host["LogConfig"]["Type"],
        "logOpts": host["LogConfig"].get("Config") or None,
        "maxRetryCount": host["RestartPolicy"]["MaximumRetryCount"],
        "memory": host["Memory"] // MEBIBYTE,
        "memoryReservation": host["MemoryReservation"] // MEBIBYTE,
        "memorySwap": host["MemorySwap"] // MEBIBYTE if host["MemorySwap"] > 0 else host["MemorySwap"],
        "mounts": in_recorded_order(
            _mounts(host.get("Mounts"), recorded.get("mounts")), recorded.get("mounts"), ("target",)
        ),
        "mustRun": recorded.get("mustRun") if running else False,
        "name": facts["Name"].lstrip("/"),
        "networkDatas": _network_datas(facts["NetworkSettings"].get("Networks")),
        "networkMode": host["NetworkMode"],
        "platform": facts.get("Platform", "linux"),
        "ports": in_recorded_order(
            _ports(facts["NetworkSettings"].get("Ports")), recorded.get("ports"), ("internal", "protocol", "ip")
        ),
        "privileged": host["Privileged"],
        "publishAllPorts": host["PublishAllPorts"],
        "readOnly": host["ReadonlyRootfs"],
        "restart": host["RestartPolicy"]["Name"],
        "rm": host["AutoRemove"],
        "runtime": host["Runtime"],
        "securityOpts": sorted(host.get("SecurityOpt") or []),
        "shmSize": host["ShmSize"] // MEBIBYTE,
        "stdinOpen": configuration["OpenStdin"],
        "stopSignal": configuration.get("StopSignal") or "",
        "stopTimeout": configuration.get("StopTimeout") or 0,
        "storageOpts": host.get("StorageOpt") or None,
        "sysctls": host.get("Sysctls") or None,
        "tmpfs": host.get("Tmpfs") or None,
        "tty": configuration["Tty"],
        "ulimits": in_recorded_order(_ulimits(host.get("Ulimits")), recorded.get("ulimits"), ("name",)),
        "user": configuration["User"],
        "usernsMode": host["UsernsMode"],
        "workingDir": configuration["WorkingDir"],
    }


def _sorted_or_none(items: list[str] | None) -> list[str] | None:
    return sorted(items) if items else None


def _capabilities(host: Mapping[str, Any]) -> dict[str, list[str]] | None:
    if not host.get("CapAdd") and not host.get("CapDrop"):
        return None
    return {"adds": sorted(host.get("CapAdd") or []), "drops": sorted(host.get("CapDrop") or [])}


def _healthcheck(check: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if check is None:
        return None
    return {
        "interval": format_duration(check.get("Interval", 0)),
        "retries": check.get("Retries", 0),
        "startInterval": format_duration(check.get("StartInterval", 0)),
        "startPeriod": format_duration(check.get("StartPeriod", 0)),
        "tests": check.get("Test") or [],
        "timeout": format_duration(check.get("Timeout", 0)),
    }


def _hosts(extra_hosts: list[str] | None) -> list[dict[str, Any]]:
    pairs = [entry.partition(":") for entry in extra_hosts or []]
    return [{"host": host, "ip": address} for host, _, address in pairs]


def _ulimits(ulimits: list[Mapping[str, Any]] | None) -> list[dict[str, Any]]:
    return [{"hard": entry["Hard"], "name": entry["Name"], "soft": entry["Soft"]} for entry in ulimits or []]


def _mounts(mounts: list[Mapping[str, Any]] | None, recorded: Any) -> list[dict[str, Any]]:
    known = {entry["target"]: entry for entry in recorded or [] if isinstance(entry, Mapping) and "target" in entry}
    return [_mount(mount, known.get(mount["Target"], {})) for mount in mounts or []]


def _mount(mount: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    bind, volume, tmpfs = mount.get("BindOptions"), mount.get("VolumeOptions"), mount.get("TmpfsOptions")
    return {
        "bindOptions": {"propagation": bind.get("Propagation", "")} if bind else None,
        "readOnly": True if mount.get("ReadOnly") else (None if known.get("readOnly") is None else False),
        "source": mount.get("Source") or known.get("source"),
        "target": mount["Target"],
        "tmpfsOptions": {"mode": tmpfs.get("Mode"), "sizeBytes": tmpfs.get("SizeBytes")}
        if tmpfs
        else known.get("tmpfsOptions"),
        "type": mount["Type"],
        "volumeOptions": known.get("volumeOptions") if volume else None,
    }


def _ports(ports: Mapping[str, list[Mapping[str, str]] | None] | None) -> list[dict[str, Any]]:
    found = []
    for key, bindings in (ports or {}).items():
        internal, _, protocol = key.partition("/")
        for binding in bindings or []:
            found.append(
                {
                    "external": int(binding["HostPort"]),
                    "internal": int(internal),
                    "ip": binding["HostIp"],
                    "protocol": protocol,
                }
            )
    return sorted(found, key=lambda port: (port["internal"], port["protocol"], port["ip"]))


def _network_datas(networks: Mapping[str, Mapping[str, Any]] | None) -> list[dict[str, Any]]:
    return [
        {
            "gateway": endpoint["Gateway"],
            "globalIpv6Address": endpoint["GlobalIPv6Address"],
            "globalIpv6PrefixLength": endpoint["GlobalIPv6PrefixLen"],
            "ipAddress": endpoint["IPAddress"],
            "ipPrefixLength": endpoint["IPPrefixLen"],
            "ipv6Gateway": endpoint["IPv6Gateway"],
            "macAddress": endpoint["MacAddress"],
            "networkName": name,
        }
        for name, endpoint in sorted((networks or {}).items())
    ]
