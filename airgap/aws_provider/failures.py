"""What the errors of AWS's services mean."""

from __future__ import annotations

import traceback

from airgap.provider_protocol.errors import CheckError, InitializationError, ProviderError

_GONE = frozenset(
    {
        "404",
        "NoSuchBucket",
        "NoSuchBucketPolicy",
        "NoSuchEntity",
        "NoSuchHostedZone",
        "NoSuchLifecycleConfiguration",
        "NoSuchPublicAccessBlockConfiguration",
    }
)


def error_code(failure: Exception) -> str:
    """The service's code for what went wrong, as `InvalidVpcID.NotFound`; empty for any other failure."""
    response = getattr(failure, "response", None)
    return str(response.get("Error", {}).get("Code", "")) if isinstance(response, dict) else ""


def is_gone(failure: Exception) -> bool:
    """Whether a service says that what it was asked about does not exist."""
    code = error_code(failure)
    return code in _GONE or "NotFound" in code


def describe_failure(failure: Exception) -> str:
    """One line for the user about any failure of an operation.

    Of an unexpected one it says where it happened and not its own text, which may quote a secret input.
    """
    from botocore.exceptions import ClientError, EndpointConnectionError, HTTPClientError, NoCredentialsError

    if isinstance(failure, ProviderError | CheckError | InitializationError):
        return str(failure)
    if isinstance(failure, ClientError):
        error = failure.response.get("Error", {})
        return f"{failure.operation_name}: {error.get('Code', 'Unknown')}: {error.get('Message', '')}"
    if isinstance(failure, EndpointConnectionError):
        return f"{failure}: is AWS_ENDPOINT_URL right and does it run?"
    if isinstance(failure, NoCredentialsError):
        return "no AWS credentials were found: set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
    if isinstance(failure, HTTPClientError):
        return f"the connection to AWS broke ({type(failure).__name__})"
    place = traceback.extract_tb(failure.__traceback__)[-1]
    where = f"{place.name}, {place.filename}:{place.lineno}"
    return f"internal error of the AWS stand-in: {type(failure).__name__} in {where}"
