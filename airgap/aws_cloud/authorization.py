"""Permissions: every call is evaluated against the caller's policies and the bucket's, with resource and conditions.

moto compares names with ``*`` for most services and ignores conditions; signatures and keys are its own check.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from html import unescape
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from moto import settings
from moto.core import DEFAULT_ACCOUNT_ID
from moto.core.exceptions import InvalidClientTokenIdError, JsonRESTError
from moto.core.responses import ActionAuthenticatorMixin
from moto.iam.access_control import IAMRequestBase, PermissionResult, S3IAMRequest
from moto.iam.models import Policy, iam_backends
from moto.kms.models import kms_backends
from moto.s3.exceptions import S3AccessDeniedError
from moto.s3.models import FakeBucket, s3_backends
from moto.secretsmanager.models import secretsmanager_backends
from moto.sts.models import sts_backends

from airgap.aws_cloud.folder import Credentials
from airgap.aws_cloud.patching import around
from airgap.aws_cloud.policies import Decision, Request, decide

ACCOUNT = DEFAULT_ACCOUNT_ID
PARTITION = "aws"
_ADMINISTRATOR = json.dumps({"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}})
_PREFIXES = {"monitoring": "cloudwatch"}
"""Services that policies name otherwise than signatures do."""
_S3_ACTIONS = {"HeadBucket": "ListBucket", "HeadObject": "GetObject"}
"""Permissions that are named otherwise than moto names the calls."""
_REGION_OF_ROLES = "us-east-1"
"""Credentials of roles are valid in every region; moto only wants to be told one."""
_OF_AWS = "alias/aws/"
"""Keys that AWS manages need no permission of the caller."""
_OF_KEYS = {"PutObject": "kms:GenerateDataKey", "GetObject": "kms:Decrypt"}
"""What S3 does with the bucket's key in the caller's name."""


def mint(role: Any, session: str, seconds: int) -> Any:
    """Credentials of a role, as AWS makes them for an instance's profile."""
    return sts_backends[ACCOUNT][PARTITION].assume_role(
        region_name=_REGION_OF_ROLES, role_session_name=session, role_arn=role.arn, policy="", duration=seconds,
        external_id="",
    )  # fmt: skip


def enable(deployer: Credentials) -> None:
    """Make the deployer's user and key, an administrator's, and check every call from now on."""
    iam = iam_backends[ACCOUNT][PARTITION]
    iam.create_user(PARTITION, "deployer")
    iam.put_user_policy("deployer", "administrator", _ADMINISTRATOR)
    key = iam.create_access_key("deployer")
    del iam.access_keys[key.physical_resource_id]
    key.access_key_id, key.secret_access_key = deployer.access_key, deployer.secret_key
    iam.access_keys[key.physical_resource_id] = key
    settings.INITIAL_NO_AUTH_ACTION_COUNT = 0
    ActionAuthenticatorMixin.request_count = 0


@around(ActionAuthenticatorMixin, "_authenticate_and_authorize_action")
def _authenticate(self: Any, original: Any, kind: type, resource: str = "*") -> None:
    """Without a signature nothing is permitted; moto would stumble over it."""
    if "Authorization" not in self.headers:
        raise S3AccessDeniedError if issubclass(kind, S3IAMRequest) else InvalidClientTokenIdError
    original(kind, resource)


@around(IAMRequestBase, "_create_aws_request")
def _create_aws_request(self: Any, original: Any) -> Any:
    """A form is signed as a body; but for a request without any moto takes what it made of the headers."""
    parameters = self._data
    if self._method in ("GET", "HEAD", "DELETE"):
        self._data = {}
    try:
        return original()
    finally:
        self._data = parameters


@around(IAMRequestBase, "check_action_permitted")
def _check_action_permitted(self: Any, original: Any, resource: str) -> None:
    if self._action == "sts:GetCallerIdentity" or all(_is_permitted(self, each) for each in _asked(self, resource)):
        return
    if _speaks_json(self):
        # moto's refusal is XML, which clients of these services do not understand.
        message = f"User: {self._access_key.arn} is not authorized to perform: {self._action}"
        raise JsonRESTError("AccessDeniedException", message)
    self._raise_access_denied()


@dataclass(frozen=True)
class _Asked:
    """One permission that a call needs: the policy of the resource, if it has one, has its say."""

    action: str
    resource: str
    context: Mapping[str, str]
    resource_policy: str | None = None
    must_delegate: bool = False
    """Whether the resource's policy must leave the decision to the account (keys) or may be silent (buckets)."""


def _is_permitted(request: Any, asked: _Asked) -> bool:
    own = _documents(request._access_key)
    of_resource = [json.loads(asked.resource_policy)] if asked.resource_policy else []
    principal = _principal(request._access_key)
    direct = Request(
        action=asked.action,
        resource=asked.resource,
        principals=(request._access_key.arn, principal),
        context={**_context(request, principal), **asked.context},
    )
    with_account = replace(direct, principals=(*direct.principals, request.account_id, _root(request.account_id)))
    if decide([*own, *of_resource], with_account) is Decision.DENY:
        return False
    if asked.must_delegate and decide(of_resource, with_account) is not Decision.ALLOW:
        return False
    return Decision.ALLOW in (decide(own, direct), decide(of_resource, direct))


def _asked(request: Any, resource: str) -> Iterator[_Asked]:
    """What the call needs: its own permission, and the key's when what it reads or writes is encrypted with one."""
    service, _, call = request._action.partition(":")
    parameters = _parameters(request)
    if service == "s3":
        yield from _asked_of_s3(request, _S3_ACTIONS.get(call, call), resource, parameters)
        return
    arn = _resource(request, service, parameters)
    if service == "kms":
        yield _asked_of_key(request, request._action, arn, {})
        return
    context = {"cloudwatch:namespace": str(parameters["Namespace"])} if "Namespace" in parameters else {}
    yield _Asked(f"{_PREFIXES.get(service, service)}:{call}", arn, context)
    if request._action == "secretsmanager:GetSecretValue":
        secret = secretsmanager_backends[request.account_id][request._region].secrets.get(parameters["SecretId"])
        if secret is not None and secret.kms_key_id and not secret.kms_key_id.startswith(_OF_AWS):
            yield _asked_of_key(request, "kms:Decrypt", secret.kms_key_id, _via(request, service))


def _asked_of_s3(request: Any, call: str, resource: str, parameters: Mapping[str, Any]) -> Iterator[_Asked]:
    name, _, key = resource.rpartition(":")[2].partition("/")
    bucket = s3_backends[request.account_id][PARTITION].buckets.get(name)
    policy = bucket.policy.decode() if bucket is not None and bucket.policy else None
    context = {
        f"s3:{each}": str(parameters[each]) for each in ("prefix", "delimiter", "max-keys") if each in parameters
    }
    context |= {
        f"s3:{header.lower()}": value
        for header, value in request._headers.items()
        if header.lower().startswith("x-amz-")
    }
    resources = [resource]
    if call == "DeleteObject" and not key:
        resources = [
            f"{resource}/{unescape(each)}" for each in re.findall(r"<Key>([^<]*)</Key>", request._body.decode())
        ]
    for each in resources:
        yield _Asked(f"s3:{call}", each, context, policy)
    if call in _OF_KEYS and bucket is not None and (encrypting_key := _encrypting_key(bucket)):
        yield _asked_of_key(request, _OF_KEYS[call], encrypting_key, _via(request, "s3"))


def _asked_of_key(request: Any, action: str, key: str, context: Mapping[str, str]) -> _Asked:
    keys = kms_backends[request.account_id][request._region]
    found = keys.keys.get(keys.any_id_to_key_id(key)) if key != "*" else None
    if found is None:
        return _Asked(action, key, context)
    return _Asked(action, found.arn, context, found.policy, must_delegate=True)


def _encrypting_key(bucket: Any) -> str | None:
    """The customer's key that the bucket encrypts with, if it has one."""
    rules = (bucket.encryption or {}).get("Rule", {})
    rule = rules[0] if isinstance(rules, list) else rules
    return rule.get("ApplyServerSideEncryptionByDefault", {}).get("KMSMasterKeyID") if rule else None


def _via(request: Any, service: str) -> dict[str, str]:
    return {"kms:ViaService": f"{service}.{request._region}.amazonaws.com"}


@around(FakeBucket, "get_permission")
def _get_permission(self: Any, original: Any, action: str, resource: str) -> Any:
    """The bucket's policy was part of the decision already; asked again, moto would refuse for its own reasons."""
    return PermissionResult.NEUTRAL


def _documents(access_key: Any) -> list[Mapping[str, Any]]:
    found: list[Mapping[str, Any]] = []
    for policy in access_key.collect_policies():
        if isinstance(policy, Policy):
            document = next(version.document for version in policy.versions if version.is_default)
        else:
            document = policy if isinstance(policy, str) else policy["policy_document"]
        found.append(json.loads(document))
    return found


def _principal(access_key: Any) -> str:
    """The role of an assumed role, the user otherwise: what policies name."""
    arn: str = access_key.arn
    if ":assumed-role/" not in arn:
        return arn
    account, role = access_key.account_id, arn.split("/")[1]
    return str(iam_backends[account][PARTITION].get_role(role).arn)


def _parameters(request: Any) -> dict[str, Any]:
    """The call's parameters, whatever the service's protocol."""
    body = request._body
    if body and _speaks_json(request):
        found = json.loads(body)
        return found if isinstance(found, dict) else {}
    query = dict(parse_qsl(urlsplit(request._path).query))
    form = {key: value[0] if isinstance(value, list) else value for key, value in (request._data or {}).items()}
    return {**form, **query}


def _speaks_json(request: Any) -> bool:
    return str(request._headers.get("Content-Type", "")).startswith("application/x-amz-json")


def _resource(request: Any, service: str, parameters: Mapping[str, Any]) -> str:
    """The ARN that a call is about; ``*`` for services whose calls have none here."""
    region, account = request._region, request.account_id
    prefix = f"arn:{PARTITION}:{service}:{region}:{account}"
    match service:
        case "secretsmanager" if "SecretId" in parameters:
            return _secret_arn(account, region, parameters["SecretId"])
        case "kms" if "KeyId" in parameters:
            return str(parameters["KeyId"])
        case "logs" if "logGroupName" in parameters:
            return f"{prefix}:log-group:{parameters['logGroupName']}:log-stream:{parameters.get('logStreamName', '')}"
        case "sns" if "TopicArn" in parameters:
            return str(parameters["TopicArn"])
        case "ssm" if "Name" in parameters:
            return f"{prefix}:parameter/{str(parameters['Name']).lstrip('/')}"
        case _:
            return "*"


def _secret_arn(account: str, region: str, secret_id: str) -> str:
    secret = secretsmanager_backends[account][region].secrets.get(secret_id)
    if secret is not None:
        return str(secret.arn)
    return (
        secret_id if secret_id.startswith("arn:") else f"arn:aws:secretsmanager:{region}:{account}:secret:{secret_id}"
    )


def _context(request: Any, principal: str) -> dict[str, str]:
    return {
        "aws:PrincipalAccount": request.account_id,
        "aws:PrincipalArn": principal,
        "aws:PrincipalType": "AssumedRole" if ":role/" in principal else "User",
        "aws:RequestedRegion": request._region,
        "aws:ResourceAccount": request.account_id,
        # The look-alike's plain HTTP on loopback stands for AWS's TLS endpoints.
        "aws:SecureTransport": "true",
    }


def _root(account: str) -> str:
    return f"arn:{PARTITION}:iam::{account}:root"
