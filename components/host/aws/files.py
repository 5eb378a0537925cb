"""Puts the node's files, which Secrets Manager keeps, where its server reads them.

Redis takes a new certificate at once. Without files this program tries until it has them, then starts the server. With
the files of an earlier time a node starts by itself, so that it only tries once.
"""

from __future__ import annotations

import grp
import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

FOLDER = Path("/etc/redis-production")
UNITS = Path("/run/redis-production-units")
LOADED = Path("/run/redis-production-certificate")
BACKUP = ("backup.json", "backup.objects", "backup.pyz", "secret.json")
CERTIFICATE = {"tls-cert-file": "tls/node.crt", "tls-key-file": "tls/node.key", "tls-ca-cert-file": "tls/ca.crt"}
SERVER = "redis-production.service"
CONFIG = Config(connect_timeout=5, read_timeout=10, retries={"total_max_attempts": 3})


def client(service: str) -> Any:
    """A client of an AWS service."""
    return boto3.client(service, region_name=os.environ["REGION"], config=CONFIG)


def fetched() -> dict[str, bytes]:
    """Absolute path -> content. Backups' files are those of before when they cannot be had."""
    files = of_secret(os.environ["SECRET"])
    source = files.get(str(FOLDER / "backup.source"))
    if source:
        try:
            backup = of_secret(source.decode())
            backup |= of_bucket(**json.loads(backup[str(FOLDER / "backup.objects")]))
        except (BotoCoreError, ClientError, ValueError) as error:
            print(f"files of backups, which come when the deployment is formed, cannot be fetched: {error}", flush=True)
            found = [FOLDER / name for name in BACKUP]
            backup = {str(path): path.read_bytes() for path in found if path.exists()}
        files |= backup
    return files


def of_secret(name: str) -> dict[str, bytes]:
    """Absolute path -> content."""
    files = json.loads(client("secretsmanager").get_secret_value(SecretId=name)["SecretString"])
    if any(FOLDER not in Path(path).parents or ".." in Path(path).parts for path in files):
        raise ValueError(f"the secret names files outside {FOLDER}")
    return {path: content.encode() for path, content in files.items()}


def of_bucket(bucket: str, keys: dict[str, str]) -> dict[str, bytes]:
    """Absolute path -> content: the very bytes that were deployed, as a key ends in their checksum."""
    files = {}
    for path, key in keys.items():
        content, checksum = Path(path).read_bytes() if Path(path).exists() else b"", key.rpartition("/")[2]
        if hashlib.sha256(content).hexdigest() != checksum:
            content = client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
        if hashlib.sha256(content).hexdigest() != checksum:
            raise ValueError(f"s3://{bucket}/{key} is not what was deployed")
        files[path] = content
    return files


def put(files: dict[str, bytes], group: int) -> None:
    """Make the folder hold exactly these files: readable by the server, changed by nobody but this program."""
    for path in map(Path, files):
        for folder in [*reversed(path.parents[: len(path.relative_to(FOLDER).parts)])]:
            folder.mkdir(exist_ok=True)
            os.chown(folder, 0, group)
            folder.chmod(0o750)
        content = files[str(path)]
        if path.exists() and path.read_bytes() == content:
            continue
        new = path.with_name(f".{path.name}.new")
        with new.open("wb") as file:
            os.chown(new, 0, group)
            new.chmod(0o640)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    for path in FOLDER.rglob("*"):
        if path.is_file() and str(path) not in files:
            path.unlink()


def use_units() -> None:
    """Starts the timers that come with the files. Those whose files are gone find nothing to do."""
    for timer in FOLDER.glob("*.timer"):
        service = timer.with_suffix(".service")
        text = timer.read_bytes() + service.read_bytes()
        seen = UNITS / timer.name
        if not seen.exists() or seen.read_bytes() != text:
            subprocess.run(["systemctl", "--quiet", "link", str(service)], check=True)
            subprocess.run(["systemctl", "--quiet", "enable", "--now", str(timer)], check=True)
            UNITS.mkdir(exist_ok=True)
            seen.write_bytes(text)


def let_redis_load_certificate() -> None:
    """Tell a running Redis of a certificate that it has not seen; one that is not running reads it when it starts."""
    seen = hashlib.sha256(b"".join((FOLDER / name).read_bytes() for name in CERTIFICATE.values())).hexdigest()
    if LOADED.exists() and LOADED.read_text() == seen:
        return
    running = subprocess.run(["systemctl", "--quiet", "is-active", SERVER], check=False).returncode == 0
    if running and os.environ["KIND"] == "redis":
        settings = " ".join(f"{setting} {FOLDER / name}" for setting, name in CERTIFICATE.items())
        script = f'config={FOLDER}; . "$config/node.env"; . "$config/ask.sh"; does CONFIG SET {settings}'
        if subprocess.run(["/bin/sh", "-c", script], check=False).returncode:
            print("the certificate could not be loaded yet; it is tried again", flush=True)
            return
        print("the certificate was loaded", flush=True)
    LOADED.write_text(seen)


def main() -> int:
    """Fetch, put, load. Returns the exit code."""
    os.umask(0o077)
    first = not (FOLDER / "start.sh").exists()
    while True:
        try:
            files = fetched()
        except (BotoCoreError, ClientError, ValueError) as error:
            print(f"the node's files cannot be fetched: {error}", flush=True)
            if not first:
                return 1
            time.sleep(5)
        else:
            break
    put(files, grp.getgrnam("redis").gr_gid)
    use_units()
    if first:
        subprocess.run(["systemctl", "--no-block", "start", SERVER], check=True)
    else:
        let_redis_load_certificate()
    return 0


if __name__ == "__main__":
    sys.exit(main())
