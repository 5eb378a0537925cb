"""Says once how the host is: how full disk and memory are, how old the newest backups are as far as it knows, and what
its units have logged since the last time.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
from operator import itemgetter
from typing import Any

import boto3
from botocore.config import Config

BACKUP_CONFIGURATION = "/etc/redis-production/backup.json"
BACKUP_STATUS = "/data/backup/status.json"
CURSOR = "/var/lib/redis-production-watch/cursor"
MOST_EVENTS = 1000  # of at most 900 bytes each: CloudWatch takes 1 MiB at once
CONFIG = Config(connect_timeout=5, read_timeout=10, retries={"total_max_attempts": 2})


def client(service: str) -> Any:
    """A client of an AWS service."""
    return boto3.client(service, region_name=os.environ["REGION"], config=CONFIG)


def used_percent() -> dict[str, float]:
    """Metric -> percent."""
    disk = os.statvfs("/data")
    with open("/proc/meminfo") as file:
        memory = {name: int(value.split()[0]) for name, value in (line.split(":") for line in file)}
    return {
        "DiskUsedPercent": 100 * (1 - disk.f_bavail / disk.f_blocks),
        "MemoryUsedPercent": 100 * (1 - memory["MemAvailable"] / memory["MemTotal"]),
    }


def backup_ages() -> dict[str, float]:
    """Metric -> seconds, none without backups. Before the first one it is how long one could have been taken."""
    try:
        with open(BACKUP_CONFIGURATION) as file:
            proof, since = json.load(file)["proof"], os.fstat(file.fileno()).st_mtime
    except FileNotFoundError:
        return {}
    stored: dict[str, Any] = {}
    with contextlib.suppress(OSError, ValueError), open(BACKUP_STATUS) as file:
        stored = json.load(file)
    times = {
        "BackupAgeSeconds": "last_good_at",
        **({"ProvenBackupAgeSeconds": "last_proven_stored_at"} if proof else {}),
    }
    return {metric: time.time() - float(stored.get(moment) or since) for metric, moment in times.items()}


def put_metrics() -> None:
    """Put them into the deployment's own namespace. Ages of backups are the deployment's, not the node's."""
    dimensions = [{"Name": "Node", "Value": os.environ["NODE"]}]
    usage: list[dict[str, Any]] = [
        {"MetricName": name, "Dimensions": dimensions, "Value": value, "Unit": "Percent"}
        for name, value in used_percent().items()
    ]
    ages = [{"MetricName": name, "Value": value, "Unit": "Seconds"} for name, value in backup_ages().items()]
    client("cloudwatch").put_metric_data(Namespace=os.environ["NAMESPACE"], MetricData=usage + ages)


def put_logs() -> None:
    """Put what is new in the journal into the deployment's log; the node has a stream of its own there."""
    new = CURSOR + ".new"
    if os.path.exists(CURSOR):
        with open(CURSOR) as old, open(new, "w") as copy:
            copy.write(old.read())
    units = ["--unit=redis-production.service", "--unit=redis-production-*", "--unit=cloud-final.service"]
    command = ["journalctl", "--quiet", "--boot", f"--cursor-file={new}", "--output=json", *units]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    entries = [json.loads(line) for line in lines[-MOST_EVENTS:]]
    events: list[dict[str, Any]] = [
        {"timestamp": int(entry["__REALTIME_TIMESTAMP"]) // 1000, "message": str(entry["MESSAGE"])[:900]}
        for entry in entries
        if entry.get("MESSAGE")
    ]
    if events:
        logs = client("logs")
        stream = {"logGroupName": os.environ["LOG_GROUP"], "logStreamName": os.environ["NODE"]}
        with contextlib.suppress(logs.exceptions.ResourceAlreadyExistsException):
            logs.create_log_stream(**stream)
        logs.put_log_events(**stream, logEvents=sorted(events, key=itemgetter("timestamp")))
    os.replace(new, CURSOR)


if __name__ == "__main__":
    try:
        put_metrics()
    finally:
        put_logs()
