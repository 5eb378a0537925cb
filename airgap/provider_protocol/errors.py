"""The errors that a resource operation reports to the Pulumi engine."""

from collections.abc import Mapping
from typing import Any


class ProviderError(Exception):
    """An operation failed and nothing is to be recorded. The text is shown to the user, so it must hold no secret."""


class CheckError(Exception):
    """An input is refused before anything is done.

    `property_path` is like `uploads[0].file`; empty: the whole resource.
    """

    def __init__(self, property_path: str, reason: str) -> None:
        super().__init__(reason)
        self.property_path = property_path
        self.reason = reason


class InitializationError(Exception):
    """The resource was made but did not come up: Pulumi records it with `initErrors`."""

    def __init__(self, identifier: str, outputs: Mapping[str, Any], reason: str) -> None:
        super().__init__(reason)
        self.identifier = identifier
        self.outputs = dict(outputs)
        self.reason = reason
