"""The properties of docker:index/container:Container that are covered, and what a change of each means."""

from airgap.docker_provider.labels import labels_rule
from airgap.provider_protocol.properties import Kind, Property, flag, number, text

_DURATION = r"(\d+(\.\d+)?(ns|us|µs|ms|s|m|h))+|0"

_HEALTHCHECK = Property(
    Kind.OBJECT,
    computed=True,
    fields={
        "interval": text(default="0s", pattern=_DURATION),
        "retries": number(minimum=0, absent=0),
        "startInterval": text(default="0s", pattern=_DURATION),
        "startPeriod": text(default="0s", pattern=_DURATION),
        "tests": Property(Kind.LIST),
        "timeout": text(default="0s", pattern=_DURATION),
    },
)

_MOUNTS = Property(
    Kind.OBJECTS,
    replaces=True,
    absent=[],
    identity=("target",),
    fields={
        "bindOptions": Property(
            Kind.OBJECT, replaces=True, fields={"propagation": text(replaces=True, pattern="r?(private|shared|slave)")}
        ),
        "readOnly": flag(),  # reported as an update; the engine cannot change it
        "source": text(replaces=True),
        "target": text(required=True, replaces=True),
        "tmpfsOptions": Property(
            Kind.OBJECT, replaces=True, fields={"mode": number(replaces=True), "sizeBytes": number(replaces=True)}
        ),
        "type": text(required=True, replaces=True, pattern="bind|volume|tmpfs"),
        "volumeOptions": Property(
            Kind.OBJECT,
            replaces=True,
            fields={
                "driverName": text(replaces=True),
                "driverOptions": Property(Kind.MAP, replaces=True),
                "labels": labels_rule(absent=[]),
                "noCopy": flag(replaces=True),
                "subpath": text(replaces=True),
            },
        ),
    },
)

_NETWORKS = Property(
    Kind.OBJECTS,
    replaces=True,
    absent=[],
    identity=("name",),
    fields={
        "aliases": Property(Kind.SET, replaces=True, absent=[]),
        "driverOpts": Property(Kind.SET, replaces=True, absent=[]),
        "gwPriority": number(replaces=True),
        "ipv4Address": text(replaces=True, absent=""),
        "ipv6Address": text(replaces=True, absent=""),
        "linkLocalIps": Property(Kind.SET, replaces=True, absent=[]),
        "macAddress": text(replaces=True, absent=""),
        "name": text(required=True, replaces=True),
    },
)

_PORTS = Property(
    Kind.OBJECTS,
    replaces=True,
    absent=[],
    identity=("internal", "protocol", "ip"),
    fields={
        "external": number(replaces=True, computed=True, minimum=0, absent=0),
        "internal": number(required=True, replaces=True, minimum=0),
        "ip": text(replaces=True, default="0.0.0.0"),  # noqa: S104 the vendor's and Docker's default
        "protocol": text(replaces=True, default="tcp", pattern="tcp|udp|sctp"),
    },
)

_UPLOADS = Property(
    Kind.OBJECTS,
    kept_in_place=True,
    replaces=True,
    absent=[],
    identity=("file",),
    fields={
        "content": text(replaces=True, absent=""),
        "contentBase64": text(replaces=True, absent="", pattern=r"[A-Za-z0-9+/\s]*={0,2}\s*"),
        "executable": flag(replaces=True, absent=False),
        "file": text(required=True, replaces=True),
        "permissions": text(replaces=True, absent="", pattern="(0[0-7]{3})?"),
        "source": text(replaces=True, absent=""),
        "sourceHash": text(replaces=True, absent=""),
    },
)

_CAPABILITIES = Property(
    Kind.OBJECT,
    replaces=True,
    fields={
        "adds": Property(Kind.SET, replaces=True, absent=[]),
        "drops": Property(Kind.SET, replaces=True, absent=[]),
    },
)

_HOSTS = Property(
    Kind.OBJECTS,
    replaces=True,
    absent=[],
    identity=("host", "ip"),
    fields={"host": text(required=True, replaces=True), "ip": text(required=True, replaces=True)},
)

_ULIMITS = Property(
    Kind.OBJECTS,
    replaces=True,
    absent=[],
    identity=("name",),
    fields={
        "hard": number(required=True, replaces=True),
        "name": text(required=True, replaces=True),
        "soft": number(required=True, replaces=True),
    },
)

PROPERTIES = {
    "capabilities": _CAPABILITIES,
    "cgroupnsMode": text(replaces=True, pattern="private|host"),
    "command": Property(Kind.LIST, replaces=True, computed=True, absent=[]),
    "containerReadRefreshTimeoutMilliseconds": number(default=15000, minimum=0),
    "cpuPeriod": number(minimum=0),
    "cpuQuota": number(minimum=0),
    "cpuSet": text(absent="", pattern=r"(\d+([,-]\d+)*)?"),
    "cpuShares": number(minimum=0, absent=0),
    "cpus": text(replaces=True, pattern=r"(\d+(\.\d+)?)?"),
    "destroyGraceSeconds": number(),
    "dns": Property(Kind.SET, replaces=True),
    "dnsOpts": Property(Kind.SET, replaces=True),
    "dnsSearches": Property(Kind.SET, replaces=True),
    "domainname": text(replaces=True, absent=""),
    "entrypoints": Property(Kind.LIST, replaces=True, computed=True, absent=[]),
    "envs": Property(Kind.SET, replaces=True, computed=True),
    "groupAdds": Property(Kind.SET, replaces=True),
    "healthcheck": _HEALTHCHECK,
    "hostname": text(replaces=True, computed=True, absent=""),
    "hosts": _HOSTS,
    "image": text(required=True, replaces=True),
    "init": flag(computed=True, absent=False),
    "ipcMode": text(replaces=True, computed=True, absent=""),
    "labels": labels_rule(computed=True, absent=[]),
    "logDriver": text(replaces=True, computed=True, absent=""),
    "logOpts": Property(Kind.MAP, replaces=True),
    "maxRetryCount": number(minimum=0, absent=0),
    "memory": number(minimum=0, absent=0),
    "memoryReservation": number(minimum=0, absent=0),
    "memorySwap": number(minimum=-1, absent=0),
    "mounts": _MOUNTS,
    "mustRun": flag(default=True),
    "name": text(replaces=True),
    "networkMode": text(replaces=True, default="bridge"),
    "networksAdvanced": _NETWORKS,
    "pidMode": text(replaces=True),
    "ports": _PORTS,
    "privileged": flag(replaces=True, absent=False),
    "publishAllPorts": flag(replaces=True, absent=False),
    "readOnly": flag(replaces=True, absent=False),
    "removeVolumes": flag(default=True),
    "restart": text(default="no", pattern="no|on-failure|always|unless-stopped"),
    "rm": flag(absent=False),
    "runtime": text(replaces=True, computed=True, absent=""),
    "securityOpts": Property(Kind.SET, replaces=True, computed=True, absent=[]),
    "shmSize": number(replaces=True, computed=True, minimum=0, absent=0),
    "start": flag(default=True),
    "stdinOpen": flag(replaces=True, absent=False),
    "stopSignal": text(replaces=True, computed=True, absent=""),
    "stopTimeout": number(replaces=True, computed=True, absent=0),
    "storageOpts": Property(Kind.MAP, replaces=True),
    "sysctls": Property(Kind.MAP, replaces=True),
    "tmpfs": Property(Kind.MAP),  # reported as an update; the engine cannot change it
    "tty": flag(replaces=True, absent=False),
    "ulimits": _ULIMITS,
    "uploads": _UPLOADS,
    # An absent user or working folder is the image's own, so taking it out of a program is no difference.
    "user": text(replaces=True, computed=True, absent=""),
    "usernsMode": text(replaces=True, absent=""),
    "wait": flag(absent=False),
    "waitTimeout": number(default=60, minimum=0),
    "workingDir": text(replaces=True, computed=True, absent=""),
}

OUTPUT_ONLY = {
    # What no program set, or what this stand-in does not cover as an input, with the values the vendor shows then.
    "attach": False,
    "bridge": "",
    "cgroupParent": None,
    "containerLogs": None,
    "deviceReadBps": [],
    "deviceReadIops": [],
    "deviceRequests": [],
    "deviceWriteBps": [],
    "deviceWriteIops": [],
    "devices": [],
    "exitCode": None,
    "gpus": None,
    "logs": False,
    "networkDatas": [],
    "platform": "linux",
    "volumes": [],
}

FROM_ENGINE = frozenset({"bridge", "exitCode", "networkDatas", "platform"})
"""The outputs that only the engine knows."""
