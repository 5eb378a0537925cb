"""The image of a backup container: a deployment's own, so that the same server proves its backups, and Python.

It is built from a folder in the project's own, under a path that is the same on every machine.
"""

from __future__ import annotations

import contextlib
import hashlib

from ..backup_files import BACKUPS_FOLDER
from ..remote.archive import BACKUPS, archive, fingerprint
from . import project_folder

CONTEXT = project_folder.FOLDER / "backup-image"
BASE = "BASE"
"""Argument of the build: the image of a deployment."""
_DIGEST = "digest"
"""The file that is written last."""
PROGRAM = "/usr/local/lib/redis-production/backup.pyz"

_AWS_DATA = "/usr/lib/python3/dist-packages/botocore/data"
_SERVICES = ("cloudwatch", "s3", "secretsmanager", "sts")
_KEPT = "\n".join(f"        'path-include={_AWS_DATA}/{service}/*' \\" for service in _SERVICES)
# redis-py needs async_timeout with a Python older than 3.11.3, as Debian 12 has it.
_IMPORTS = "import sys, boto3, cryptography, zstandard; sys.version_info >= (3, 11, 3) or __import__('async_timeout')"
_DOCKERFILE = f"""\
ARG {BASE}
FROM ${{{BASE}}}
USER root
# Documentation and the descriptions of AWS's other services would be most of what is installed.
RUN if python3 -c "{_IMPORTS}" 2> /dev/null; then exit 0; fi; \\
    if ! command -v apt-get > /dev/null; then \\
        echo "backups need Python with boto3, cryptography and zstandard, and this image has no apt-get to install" \\
            "them: set image to one made from Debian, or add them to it, or set backups to false" >&2; \\
        exit 1; \\
    fi; \\
    printf '%s\\n' 'path-exclude=/usr/share/doc/*' 'path-exclude=/usr/share/man/*' \\
        'path-exclude={_AWS_DATA}/*/*' \\
{_KEPT}
        > /etc/dpkg/dpkg.cfg.d/redis-production && \\
    apt-get update && \\
    DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends \\
        python3 python3-async-timeout python3-boto3 python3-cryptography python3-zstandard && \\
    rm -rf /var/lib/apt/lists/*
# A new volume takes over whose folder it covers.
RUN install -d -o 999 -g 999 {BACKUPS_FOLDER}
COPY backup.pyz {PROGRAM}
"""


def digest() -> str:
    """What the image is built from, as SHA-256: the same on every machine with the same code."""
    return hashlib.sha256(f"{fingerprint(BACKUPS)} {_DOCKERFILE}".encode()).hexdigest()


def write_context() -> str:
    """Write the folder to build from, unless it is there; returns its path."""
    if not _is_written():
        project_folder.put(CONTEXT / "Dockerfile", _DOCKERFILE.encode())
        project_folder.put(CONTEXT / "backup.pyz", archive(BACKUPS))
        project_folder.put(CONTEXT / _DIGEST, digest().encode())
    return CONTEXT.as_posix()


def _is_written() -> bool:
    with contextlib.suppress(FileNotFoundError):
        return (CONTEXT / _DIGEST).read_text() == digest()
    return False
