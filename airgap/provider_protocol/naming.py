"""Makes up the name of a resource that was given none, as the vendor does: its logical name, "-" and seven digits."""

import hashlib
import secrets
from collections.abc import Mapping
from typing import Any

from pulumi.runtime.proto import provider_pb2

_RANDOM_DIGITS = 7


def automatic_name(
    request: provider_pb2.CheckRequest, old_inputs: Mapping[str, Any], name_property: str = "name", longest: int = 255
) -> str | None:
    """The name to use, or None if the engine is set to make up no names. A name made up before is kept.

    `longest`: how many characters it may have; the logical name is cut to fit.
    """
    # The engine's seed is another one in the preview than in the operation itself: only the old name is sure to stay.
    if name_property in old_inputs.get("__defaults", []) and isinstance(old_inputs.get(name_property), str):
        return str(old_inputs[name_property])
    if request.HasField("autonaming"):
        if request.autonaming.mode == provider_pb2.CheckRequest.AutonamingOptions.DISABLE:
            return None
        if request.autonaming.proposed_name:
            return request.autonaming.proposed_name
    digits = hashlib.sha256(request.randomSeed).hexdigest() if request.randomSeed else secrets.token_hex(_RANDOM_DIGITS)
    logical_name = request.urn.rpartition("::")[2][: longest - _RANDOM_DIGITS - 1]
    return f"{logical_name}-{digits[:_RANDOM_DIGITS]}"
