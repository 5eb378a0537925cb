"""Which instance is asked first, and what is said when AWS says no."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError

from components.formation import FormationError
from components.remote.aws import one_clear_line
from components.remote.instances import Instance, in_order_of_choice

REDIS = [Instance(f"redis-{number}", f"i-{number}") for number in range(2)]
SENTINELS = [Instance(f"sentinel-{number}", f"i-{number + 5}") for number in range(2)]
NAMES = [instance.node for instance in SENTINELS]


@pytest.mark.parametrize(
    ("last", "avoid", "order"),
    [
        (None, (), ["sentinel-0", "sentinel-1", "redis-0", "redis-1"]),
        ("i-6", (), ["sentinel-1", "sentinel-0", "redis-0", "redis-1"]),
        ("i-1", (), ["redis-1", "sentinel-0", "sentinel-1", "redis-0"]),
        ("i-6", ("sentinel-1",), ["sentinel-0", "redis-0", "redis-1", "sentinel-1"]),
    ],
)
def test_who_answered_last_then_sentinels_and_at_last_who_is_about_to_stop(
    last: str | None, avoid: tuple[str, ...], order: list[str]
) -> None:
    found = in_order_of_choice([*REDIS, *SENTINELS], prefer=NAMES, last=last, avoid=avoid)

    assert [instance.node for instance in found] == order


def answered(code: str, message: str = "no") -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, "SendCommand")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            answered("AccessDeniedException", "User x is not authorized"),
            "about: AWS does not allow SendCommand: User x is not authorized; whoever runs Pulumi needs this right",
        ),
        (
            answered("UnauthorizedOperation"),
            "about: AWS does not allow SendCommand: no; whoever runs Pulumi needs this right",
        ),
        (
            answered("NoSuchBucket"),
            "about: the deployment's bucket does not exist; run `pulumi refresh`, then `pulumi up`",
        ),
        (answered("ExpiredToken", "it has expired"), "about: AWS: SendCommand: ExpiredToken: it has expired"),
        (NoCredentialsError(), "AWS: there are no credentials; log in, or set AWS_PROFILE"),
        (
            EndpointConnectionError(endpoint_url="https://nowhere"),
            'about: AWS: Could not connect to the endpoint URL: "https://nowhere"',
        ),
    ],
)
def test_what_aws_says_is_one_clear_line(error: Exception, said: str) -> None:
    with pytest.raises(FormationError) as caught, one_clear_line("about"):
        raise error
    assert str(caught.value) == said
