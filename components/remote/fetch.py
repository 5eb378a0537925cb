"""Fetches the code from the bucket, proves that it is what was sent, and runs it. Is sent as text within a command."""

import hashlib
import runpy
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
    # In this process, which has loaded boto3 already: a host's memory and time are Redis's.
    sys.argv = [str(program), region, bucket, *arguments]
    runpy.run_path(str(program), run_name="__main__")
