"""Makes up the name of a resource that was given none, as the vendor does: its logical name, "-" and seven digits."""

import hashlib
import secrets
from collections.abc import Mapping
from typing import Any

from pulumi.runtime.proto import provider_pb2

_RANDOM_DIGITS = 7


def automatic_name(request: provider_pb2.CheckRequest, old_inputs: Mapping[str, Any]) -> str | None:
    """The name to use, or None if the engine is set to make up no names. A name made up before is kept."""
    if "name" in old_inputs.get("__defaults", []) and isinstance(old_inputs.get("name"), str):
        return str(old_inputs["name"])
    if request.HasField("autonaming"):
        if request.autonaming.mode == provider_pb2.CheckRequest.AutonamingOptions.DISABLE:
            return None
        if request.autonaming.proposed_name:
            return request.autonaming.proposed_name
    digits = hashlib.sha256(request.randomSeed).hexdigest() if request.randomSeed else secrets.token_hex(_RANDOM_DIGITS)
    return f"{request.urn.rpartition('::')[2]}-{digits[:_RANDOM_DIGITS]}"
