"""Started by the Pulumi engine as `python -m airgap.docker_provider ENGINE_ADDRESS`."""

from airgap.docker_provider.provider import DockerProvider
from airgap.provider_protocol.process import serve

if __name__ == "__main__":
    serve(DockerProvider())
