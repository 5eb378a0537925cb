"""Started by the Pulumi engine as `python -m airgap.docker_provider ENGINE_ADDRESS`."""

from airgap.docker_provider.process import main

if __name__ == "__main__":
    main()
