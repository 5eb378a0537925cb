"""The instance metadata service, version 2, for every look-alike: it tells instances apart by their address."""

from __future__ import annotations

import base64
import json
import secrets
import socket
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from airgap.aws_cloud import addresses

Tree = Mapping[str, "Tree | str"]
"""Folders and values, as the service lists them."""

_LONGEST_TOKEN_SECONDS = 21600
_CREDENTIAL_SECONDS = 21600
_RENEW_SECONDS = 900
"""Credentials are renewed this long before they expire."""
_VERSIONS = ("1.0", "2018-09-24", "2021-03-23", "2024-10-17", "latest")


class Metadata:
    """What the service says about one instance.

    ``instance`` is moto's, ``role_of`` finds its role, ``mint`` makes credentials of a role: the service runs in moto's
    process because AssumeRole refuses services while permissions are checked.
    """

    def __init__(self, role_of: Callable[[Any], Any], mint: Callable[[Any, str, int], Any]) -> None:
        self._role_of = role_of
        self._mint = mint
        self._credentials: dict[tuple[str, str], Any] = {}

    def tree(self, instance: Any) -> Tree:
        """Everything below /latest except credentials and user data, which are looked up when they are asked for."""
        interface = instance.nics[0]
        zone = interface.subnet
        meta: dict[str, Tree | str] = {
            "ami-id": instance.image_id,
            "ami-launch-index": str(instance.ami_launch_index),
            "hostname": instance.private_dns_name,
            "instance-action": "none",
            "instance-id": instance.id,
            "instance-life-cycle": "on-demand",
            "instance-type": instance.instance_type,
            "local-hostname": instance.private_dns_name,
            "local-ipv4": instance.private_ip_address,
            "mac": interface.mac_address,
            "network": {"interfaces": {"macs": {interface.mac_address: _interface(interface)}}},
            "placement": {
                "availability-zone": zone.availability_zone,
                "availability-zone-id": zone.availability_zone_id,
                "region": instance.region_name,
            },
            "security-groups": "\n".join(sorted(group.name for group in interface.group_set)),
            "services": {"domain": "amazonaws.com", "partition": "aws"},
        }
        role = self._role_of(instance)
        if role is not None:
            meta["iam"] = {"security-credentials": {role.name: ""}}
        if instance.metadata_options.instance_metadata_tags == "enabled":
            meta["tags"] = {"instance": {tag["key"]: tag["value"] for tag in instance.get_tags()}}
        identity = {
            "accountId": instance.owner_id,
            "architecture": instance.architecture,
            "availabilityZone": zone.availability_zone,
            "imageId": instance.image_id,
            "instanceId": instance.id,
            "instanceType": instance.instance_type,
            "pendingTime": instance.launch_time.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "privateIp": instance.private_ip_address,
            "region": instance.region_name,
            "version": "2017-09-30",
        }
        return {"meta-data": meta, "dynamic": {"instance-identity": {"document": json.dumps(identity, indent=2)}}}

    def credentials(self, instance: Any, role_name: str) -> str | None:
        """The role's credentials as the service shows them; None when the instance has no such role."""
        role = self._role_of(instance)
        if role is None or role.name != role_name:
            return None
        key = (instance.id, role.arn)
        minted = self._credentials.get(key)
        now = datetime.now(UTC)
        if minted is None or _aware(minted.expiration) - now < timedelta(seconds=_RENEW_SECONDS):
            minted = self._credentials[key] = self._mint(role, instance.id, _CREDENTIAL_SECONDS)
        return json.dumps(
            {
                "Code": "Success",
                "LastUpdated": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
                "Type": "AWS-HMAC",
                "AccessKeyId": minted.access_key_id,
                "SecretAccessKey": minted.secret_access_key,
                "Token": minted.session_token,
                "Expiration": minted.expiration.strftime("%Y-%m-%dT%H:%M:%SZ"),
            },
            indent=2,
        )


def server(metadata: Metadata, instance_at: Callable[[str], Any]) -> ThreadingHTTPServer:
    """The service, bound and ready to serve. ``instance_at`` finds the running instance with an address, or None."""
    tokens: dict[str, tuple[str, float]] = {}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        server_version = "EC2ws"
        sys_version = ""

        def do_PUT(self) -> None:
            instance = self._instance()
            if instance is None:
                return
            try:
                seconds = int(self.headers.get("X-aws-ec2-metadata-token-ttl-seconds", ""))
            except ValueError:
                seconds = 0
            if self.path.rstrip("/") != "/latest/api/token" or not 1 <= seconds <= _LONGEST_TOKEN_SECONDS:
                self._answer(HTTPStatus.BAD_REQUEST)
                return
            # Behind more hops than the instance allows the answer must not arrive.
            hops = instance.metadata_options.http_put_response_hop_limit
            self.connection.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, hops)
            token = secrets.token_urlsafe(40)
            tokens[token] = (instance.id, time.monotonic() + seconds)
            self._answer(HTTPStatus.OK, token.encode(), {"X-aws-ec2-metadata-token-ttl-seconds": str(seconds)})

        def do_GET(self) -> None:
            instance = self._instance()
            if instance is None:
                return
            token = self.headers.get("X-aws-ec2-metadata-token")
            if (token is None and instance.metadata_options.http_tokens == "required") or (
                token is not None and not _is_valid(token, instance.id)
            ):
                self._answer(HTTPStatus.UNAUTHORIZED)
            else:
                content = _content(metadata, instance, self.path)
                self._answer(HTTPStatus.NOT_FOUND if content is None else HTTPStatus.OK, content or b"")

        def _instance(self) -> Any:
            instance = instance_at(self.client_address[0])
            if instance is None:
                self._answer(HTTPStatus.NOT_FOUND)
            elif instance.metadata_options.http_endpoint == "disabled":
                self._answer(HTTPStatus.FORBIDDEN)
                return None
            return instance

        def _answer(self, status: HTTPStatus, content: bytes = b"", headers: Mapping[str, str] | None = None) -> None:
            self.send_response(status)
            for name, value in {"Content-Type": "text/plain", **(headers or {})}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *arguments: Any) -> None:
            """Say nothing: the paths of every poll would hide what matters in the log."""

    def _is_valid(token: str, instance_id: str) -> bool:
        owner, expires = tokens.get(token, ("", 0.0))
        return owner == instance_id and time.monotonic() < expires

    return ThreadingHTTPServer((addresses.METADATA, 80), Handler)


def _content(metadata: Metadata, instance: Any, path: str) -> bytes | None:
    version, *parts = [part for part in path.partition("?")[0].split("/") if part] or [""]
    if not version:
        return "\n".join(_VERSIONS).encode()
    if version not in _VERSIONS:
        return None
    if parts == ["user-data"]:
        return base64.b64decode(str(instance.user_data)) if instance.user_data else None
    if parts[:3] == ["meta-data", "iam", "security-credentials"] and len(parts) == 4:
        credentials = metadata.credentials(instance, parts[3])
        return credentials.encode() if credentials else None
    found: Tree | str = metadata.tree(instance)
    for part in parts:
        if isinstance(found, str) or part not in found:
            return None
        found = found[part]
    return (found if isinstance(found, str) else _listing(found)).encode()


def _listing(tree: Tree) -> str:
    return "\n".join(name if isinstance(value, str) else f"{name}/" for name, value in tree.items())


def _interface(interface: Any) -> Tree:
    subnet = interface.subnet
    return {
        "device-number": "0",
        "interface-id": interface.id,
        "local-ipv4s": interface.private_ip_address,
        "mac": interface.mac_address,
        "owner-id": interface.owner_id,
        "security-group-ids": "\n".join(sorted(group.id for group in interface.group_set)),
        "subnet-id": subnet.id,
        "subnet-ipv4-cidr-block": subnet.cidr_block,
        "vpc-id": subnet.vpc_id,
        "vpc-ipv4-cidr-block": subnet.ec2_backend.get_vpc(subnet.vpc_id).cidr_block,
    }


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
