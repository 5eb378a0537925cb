"""Fetches the code from the bucket, proves that it is what was sent, and runs it. Is sent as text within a command."""

import hashlib
import subprocess
import sys
import tempfile
from pathlib import Path

import boto3

region, bucket, key, checksum, *arguments = sys.argv[1:]
code = boto3.client("s3", region_name=region).get_object(Bucket=bucket, Key=key)["Body"].read()
if hashlib.sha256(code).hexdigest() != checksum:
    sys.exit(f"s3://{bucket}/{key} is not what was sent: its checksum is another one")
with tempfile.TemporaryDirectory(prefix="redis-production-") as folder:
    program = Path(folder, "formation.pyz")
    program.write_bytes(code)
    command = [sys.executable, "-I", str(program), region, bucket, *arguments]
    sys.exit(subprocess.run(command, stdin=subprocess.DEVNULL, check=False).returncode)
