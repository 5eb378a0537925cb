"""What the look-alike of AWS allows and refuses."""

from __future__ import annotations

from typing import Any

import pytest

from airgap.aws_cloud.policies import Decision, Request, decide

SECRET = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:cache/nodes/a-Ab12Cd"
OBJECT = "arn:aws:s3:::bucket/cache/file"


def policy(effect: str = "Allow", **statement: Any) -> dict[str, Any]:
    action = {} if "NotAction" in statement else {"Action": "*"}
    resource = {} if "NotResource" in statement else {"Resource": "*"}
    return {"Statement": [{"Effect": effect, **action, **resource, **statement}]}


def outcome(*documents: dict[str, Any], **request: Any) -> Decision:
    return decide(documents, Request(**{"action": "s3:PutObject", "resource": OBJECT, **request}))


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ({"Action": "s3:PutObject"}, Decision.ALLOW),
        ({"Action": "s3:putobject"}, Decision.ALLOW),
        ({"Action": ["s3:Get*", "s3:Put*"]}, Decision.ALLOW),
        ({"Action": "s3:Get*"}, Decision.SILENT),
        ({"NotAction": "s3:Put*"}, Decision.SILENT),
        ({"NotAction": "s3:Get*"}, Decision.ALLOW),
        ({"Resource": "arn:aws:s3:::bucket/cache/*"}, Decision.ALLOW),
        ({"Resource": "arn:aws:s3:::bucket/cache/fil?"}, Decision.ALLOW),
        ({"Resource": "arn:aws:s3:::bucket/cache"}, Decision.SILENT),
        ({"Resource": "arn:aws:s3:::bucket/Cache/*"}, Decision.SILENT),
        ({"NotResource": "arn:aws:s3:::bucket/cache/*"}, Decision.SILENT),
    ],
)
def test_actions_and_resources(statement: dict[str, Any], expected: Decision) -> None:
    assert outcome(policy(**statement)) is expected


def test_a_refusal_outweighs_every_permission() -> None:
    assert outcome(policy(), policy("Deny", Action="s3:PutObject")) is Decision.DENY
    assert outcome(policy("Deny", Action="s3:PutObject"), policy()) is Decision.DENY
    assert outcome(policy(), policy("Deny", Action="s3:GetObject")) is Decision.ALLOW


def test_nothing_said_is_no_permission() -> None:
    assert outcome() is Decision.SILENT
    assert outcome({"Statement": []}) is Decision.SILENT


def test_one_statement_may_stand_without_a_list() -> None:
    assert outcome({"Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}) is Decision.ALLOW


@pytest.mark.parametrize(
    ("condition", "context", "holds"),
    [
        ({"Bool": {"aws:SecureTransport": "false"}}, {"aws:SecureTransport": "true"}, False),
        ({"Bool": {"aws:SecureTransport": False}}, {"aws:securetransport": "false"}, True),
        ({"StringEquals": {"s3:prefix": ["a/", "b/"]}}, {"s3:prefix": "b/"}, True),
        ({"StringEquals": {"s3:prefix": "a/"}}, {}, False),
        ({"StringEqualsIfExists": {"s3:prefix": "a/"}}, {}, True),
        ({"StringNotEquals": {"s3:prefix": ["a/", "b/"]}}, {"s3:prefix": "b/"}, False),
        ({"StringNotEquals": {"s3:prefix": "a/"}}, {}, True),
        ({"StringLike": {"s3:prefix": "a/*"}}, {"s3:prefix": "a/b"}, True),
        ({"StringNotLike": {"s3:prefix": "a/*"}}, {"s3:prefix": "a/b"}, False),
        (
            {"ArnLike": {"aws:PrincipalArn": "arn:aws:iam::*:role/r"}},
            {"aws:PrincipalArn": "arn:aws:iam::1:role/r"},
            True,
        ),
        ({"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}, {"aws:SourceIp": "10.1.2.3"}, True),
        ({"NotIpAddress": {"aws:SourceIp": "10.0.0.0/8"}}, {"aws:SourceIp": "10.1.2.3"}, False),
        ({"NumericLessThan": {"s3:TlsVersion": "1.2"}}, {"s3:TlsVersion": "1.3"}, False),
        ({"NumericGreaterThanEquals": {"s3:TlsVersion": "1.2"}}, {"s3:TlsVersion": "1.2"}, True),
        ({"Null": {"s3:prefix": "true"}}, {}, True),
        ({"Null": {"s3:prefix": "false"}}, {}, False),
        ({"ForAllValues:StringEquals": {"aws:TagKeys": "a"}}, {}, True),
        ({"ForAnyValue:StringEquals": {"aws:TagKeys": "a"}}, {}, False),
        ({"StringEquals": {"a": "1", "b": "2"}}, {"a": "1", "b": "3"}, False),
    ],
)
def test_conditions(condition: dict[str, Any], context: dict[str, str], *, holds: bool) -> None:
    assert outcome(policy(Condition=condition), context=context) is (Decision.ALLOW if holds else Decision.SILENT)
    assert outcome(policy("Deny", Condition=condition), context=context) is (
        Decision.DENY if holds else Decision.SILENT
    )


def test_a_condition_that_cannot_be_evaluated_is_an_error() -> None:
    with pytest.raises(ValueError, match="DateLessThan"):
        outcome(policy(Condition={"DateLessThan": {"aws:CurrentTime": "2030-01-01"}}))


def test_variables_in_resources_and_conditions() -> None:
    own = policy(Resource="arn:aws:s3:::bucket/${aws:PrincipalAccount}/*")
    context = {"aws:PrincipalAccount": "cache"}
    assert outcome(own, context=context) is Decision.ALLOW
    assert outcome(own) is Decision.SILENT
    same = policy(Condition={"StringEquals": {"aws:ResourceAccount": "${aws:PrincipalAccount}"}})
    assert outcome(same, context={**context, "aws:ResourceAccount": "cache"}) is Decision.ALLOW
    assert outcome(same, context={**context, "aws:ResourceAccount": "other"}) is Decision.SILENT


@pytest.mark.parametrize(
    ("principal", "expected"),
    [
        ("*", Decision.ALLOW),
        ({"AWS": "*"}, Decision.ALLOW),
        ({"AWS": ["arn:aws:iam::1:role/other", "arn:aws:iam::1:role/r"]}, Decision.ALLOW),
        ({"AWS": "arn:aws:iam::1:root"}, Decision.SILENT),
        ({"Service": "logs.amazonaws.com"}, Decision.SILENT),
    ],
)
def test_principals_of_a_resources_policy(principal: Any, expected: Decision) -> None:
    assert outcome(policy(Principal=principal), principals=("arn:aws:iam::1:role/r",)) is expected


def test_everybody_but_one() -> None:
    others = policy(NotPrincipal={"AWS": "arn:aws:iam::1:role/r"})
    assert outcome(others, principals=("arn:aws:iam::1:role/r",)) is Decision.SILENT
    assert outcome(others, principals=("arn:aws:iam::1:role/s",)) is Decision.ALLOW


def test_a_secret_is_named_by_its_arn() -> None:
    document = policy(Action="secretsmanager:GetSecretValue", Resource=SECRET)
    assert outcome(document, action="secretsmanager:GetSecretValue", resource=SECRET) is Decision.ALLOW
    assert outcome(document, action="secretsmanager:GetSecretValue", resource=SECRET + "x") is Decision.SILENT
