"""Carries out one request; the shipped code's main program. Knows nothing of AWS.

Reads the request and the deployment's secret from standard input, writes a line of JSON for each line of progress, and
one with the answer. No password leaves it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from ..formation import FormationError
from ..live_deployment import LiveDeployment, Progress, live_deployment
from . import answers


def main() -> int:
    """Returns the exit code: 0 also for an operation that failed, which is an answer."""
    orders = json.load(sys.stdin)
    request, secret = orders["request"], orders["secret"]
    clean = answers.cleaner(secret["passwords"].values())
    channel, sys.stdout = sys.stdout, sys.stderr

    def say(values: Mapping[str, Any]) -> None:
        print(clean(json.dumps(values)), file=channel, flush=True)

    try:
        answer = answers.of_result(_carried_out(request, secret, lambda line: say({"line": line})))
    except FormationError as error:
        answer = answers.of_error(error)
    except Exception as error:  # whatever it is, the caller has to hear of it
        answer = answers.of_error(FormationError(f"{type(error).__name__}: {error}"))
    say(answer)
    return 0


def _carried_out(request: Mapping[str, Any], secret: Mapping[str, Any], progress: Progress) -> Any:
    record = {key: value for key, value in request["record"].items() if key != "runner"}
    live = live_deployment(record, secret["passwords"], secret["ca_certificate"])
    if request["earlier"]:
        live = live.after(request["earlier"])
    return carry_out(live, request["operation"], request["arguments"], secret["acl"], progress)


def carry_out(
    live: LiveDeployment, operation: str, arguments: Mapping[str, Any], acl: Mapping[str, str], progress: Progress
) -> Any:
    """The operation's result, JSON-able. Raises FormationError."""
    match operation:
        case "forecast":
            return live.forecast(frozenset(arguments["joining"])).to_dict()
        case "form":
            return live.form(acl, progress)
        case "disband":
            return live.disband()
        case "is_needed":
            return live.is_needed(arguments["name"])
        case "still_needed":
            return live.still_needed(arguments["name"], arguments["host"], int(arguments["port"]))
        case "next_to_stop":
            return live.next_to_stop(arguments["names"])
        case "make_safe_to_stop":
            return live.make_safe_to_stop(arguments["name"], arguments["replaced"], progress)
        case "wait_until_back":
            return live.wait_until_back(arguments["name"], progress)
        case "status":
            return asdict(live.status())
        case "verify":
            return live.verify()
        case "hand_over":
            return live.hand_over(arguments["name"], progress)
        case "promote":
            return live.promote(arguments["name"], progress)
        case "rebalance":
            return live.rebalance(progress)
    raise FormationError(f"there is no operation {operation}")
