"""Permissions: every call is evaluated against the caller's policies and the bucket's, with resource and conditions.

moto compares names with ``*`` for most services and ignores conditions; signatures and keys are its own check.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from moto import settings
from moto.core import DEFAULT_ACCOUNT_ID
from moto.core.responses import ActionAuthenticatorMixin
from moto.iam.access_control import IAMRequestBase
from moto.iam.models import Policy, iam_backends
from moto.kms.models import kms_backends
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


def mint(role: Any, session: str, seconds: int) -> Any:
    """Credentials of a role, as AWS makes them for an instance's profile."""
    return sts_backends[ACCOUNT][PARTITION].assume_role(
        region_name=_region_of_roles(), role_session_name=session, role_arn=role.arn, policy="", duration=seconds,
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


@around(IAMRequestBase, "check_action_permitted")
def _check_action_permitted(self: Any, original: Any, resource: str) -> None:
    if self._action == "sts:GetCallerIdentity":
        return
    service, _, call = self._action.partition(":")
    action = f"{_PREFIXES.get(service, service)}:{_S3_ACTIONS.get(call, call) if service == 's3' else call}"
    parameters = _parameters(self)
    request = Request(
        action=action,
        resource=resource if service == "s3" else _resource(self, service, parameters),
        principals=(self._access_key.arn, principal := _principal(self._access_key)),
        context=_context(self, service, parameters, principal),
    )
    if decide(_documents(self._access_key), request) is Decision.DENY:
        self._raise_access_denied()
    documents = [*_documents(self._access_key), *_bucket_policy(self, service, resource)]
    if decide(documents, request) is not Decision.ALLOW:
        self._raise_access_denied()


@around(FakeBucket, "get_permission")
def _get_permission(self: Any, original: Any, action: str, resource: str) -> Any:
    """The bucket's policy was part of the decision already; asked again, moto would refuse for its own reasons."""
    from moto.iam.access_control import PermissionResult

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


def _bucket_policy(request: Any, service: str, resource: str) -> list[Mapping[str, Any]]:
    if service != "s3":
        return []
    name = resource.rpartition(":")[2].partition("/")[0]
    bucket = s3_backends[request.account_id][PARTITION].buckets.get(name)
    return [json.loads(bucket.policy)] if bucket is not None and bucket.policy else []


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
    if body and str(request._headers.get("Content-Type", "")).startswith("application/x-amz-json"):
        found = json.loads(body)
        return found if isinstance(found, dict) else {}
    query = dict(parse_qsl(urlsplit(request._path).query))
    form = {key: value[0] if isinstance(value, list) else value for key, value in (request._data or {}).items()}
    return {**form, **query}


def _resource(request: Any, service: str, parameters: Mapping[str, Any]) -> str:
    """The ARN that a call is about; ``*`` for services whose calls have none here."""
    region, account = request._region, request.account_id
    prefix = f"arn:{PARTITION}:{service}:{region}:{account}"
    match service:
        case "secretsmanager" if "SecretId" in parameters:
            return _secret_arn(account, region, parameters["SecretId"])
        case "kms" if "KeyId" in parameters:
            keys = kms_backends[account][region]
            key_id = keys.any_id_to_key_id(parameters["KeyId"])
            return str(keys.keys[key_id].arn) if key_id in keys.keys else f"{prefix}:key/{key_id}"
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


def _context(request: Any, service: str, parameters: Mapping[str, Any], principal: str) -> dict[str, str]:
    context = {
        "aws:PrincipalAccount": request.account_id,
        "aws:PrincipalArn": principal,
        "aws:PrincipalType": "AssumedRole" if ":role/" in principal else "User",
        "aws:RequestedRegion": request._region,
        "aws:ResourceAccount": request.account_id,
        # The look-alike's plain HTTP on loopback stands for AWS's TLS endpoints.
        "aws:SecureTransport": "true",
    }
    if service == "s3":
        context |= {"s3:ResourceAccount": request.account_id, "s3:TlsVersion": "1.3"}
        context |= {
            f"s3:{key}": str(parameters[key]) for key in ("prefix", "delimiter", "max-keys") if key in parameters
        }
        context |= {
            f"s3:{name.lower()}": value for name, value in request._headers.items() if name.lower().startswith("x-amz-")
        }
    if service == "monitoring" and "Namespace" in parameters:
        context["cloudwatch:namespace"] = str(parameters["Namespace"])
    return context


def _region_of_roles() -> str:
    """Credentials of roles are valid in every region; moto only wants to be told one."""
    return "us-east-1"
