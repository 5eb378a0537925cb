"""Started by the Pulumi engine as `python -m airgap.aws_provider ENGINE_ADDRESS`."""

from airgap.aws_provider.provider import AwsProvider
from airgap.provider_protocol.process import serve

if __name__ == "__main__":
    serve(AwsProvider())
