"""SSM Run Command: shell scripts that are run in the look-alike instances, asynchronously as in AWS."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime
from typing import Any

from docker.errors import APIError
from moto.core.responses import ActionResult
from moto.ec2.models import ec2_backends
from moto.ssm.exceptions import SSMException
from moto.ssm.models import Command, SimpleSystemManagerBackend
from moto.ssm.responses import SimpleSystemManagerResponse

from airgap.aws_cloud import machines
from airgap.aws_cloud.patching import around

DOCUMENT = "AWS-RunShellScript"
_OUTPUT_CHARACTERS = 24_000
_LISTED_CHARACTERS = 2_500
_ERROR_CHARACTERS = 8_000
_LONGEST_SECONDS = 172_800
_DEFAULT_SECONDS = 3_600
_UNDER_WAY = ("InProgress", "Cancelling")
_TIMED_OUT = 124
"""The exit code of ``timeout`` when time ran out."""


@around(SimpleSystemManagerBackend, "send_command")
def _send_command(self: Any, original: Any, **request: Any) -> Command:
    if request["document_name"] != DOCUMENT:
        raise SSMException("InvalidDocument", f"The look-alike of AWS runs {DOCUMENT} only.")
    if request["output_s3_bucket_name"]:
        raise SSMException("ValidationException", "The look-alike of AWS does not write a command's output to S3.")
    parameters = request["parameters"] or {}
    if unknown := parameters.keys() - {"commands", "executionTimeout", "workingDirectory"}:
        raise SSMException("InvalidParameters", f"{DOCUMENT} has no parameter {', '.join(sorted(unknown))}.")
    if not parameters.get("commands"):
        raise SSMException("InvalidParameters", f"{DOCUMENT} needs the parameter commands.")
    seconds = _seconds(parameters)
    running = _running(self)
    named = list(request["instance_ids"] or [])
    if not all(each in running and machines.is_managed(each) for each in named):
        raise SSMException("InvalidInstanceId", "Instances not in a valid state for account")
    targets = [each for each in _targeted(running, request["targets"] or []) if machines.is_managed(each)]
    # moto's own search takes every instance of the account where no target is given.
    command = original(**{**request, "instance_ids": list(dict.fromkeys([*named, *targets])), "targets": []})
    command.targets = request["targets"] or []
    _begin(command, seconds)
    return command


@around(Command, "_get_instance_ids_from_targets")
def _get_instance_ids_from_targets(self: Any, original: Any) -> list[str]:
    """Targets were turned into instances before."""
    return []


def _begin(command: Any, seconds: int) -> None:
    command.status = command.status_details = "InProgress" if command.invocations else "Success"
    command.completed_count = 0
    command.target_count = len(command.invocations)
    for invocation in command.invocations:
        invocation |= {
            "Status": "InProgress", "StatusDetails": "InProgress", "ResponseCode": -1,
            "ExecutionEndDateTime": "", "ExecutionElapsedTime": "", "CloudWatchOutputConfig": {},
        }  # fmt: skip
        threading.Thread(target=_run, args=(command, invocation, seconds), daemon=True).start()


def _run(command: Any, invocation: dict[str, Any], seconds: int) -> None:
    script = "\n".join(command.parameters["commands"])
    directory = next(iter(command.parameters.get("workingDirectory", [])), None)
    started = time.monotonic()
    try:
        code, output, errors = machines.run_command(
            invocation["InstanceId"], command.command_id, script, seconds, directory
        )
        timed_out = code == _TIMED_OUT and time.monotonic() - started >= seconds
    except (APIError, OSError) as error:
        # The instance was stopped under the command.
        code, output, errors, timed_out = 1, "", f"the instance does not answer any more: {error}", False
    status = "TimedOut" if timed_out else "Success" if code == 0 else "Failed"
    if invocation["Status"] == "Cancelling":
        status = "Cancelled"
    invocation |= {
        "ResponseCode": code,
        "StandardOutputContent": output[:_OUTPUT_CHARACTERS],
        "StandardErrorContent": errors[:_ERROR_CHARACTERS],
        "ExecutionEndDateTime": datetime.now(UTC).isoformat(),
        "ExecutionElapsedTime": f"PT{time.monotonic() - started:.3f}S",
        "StatusDetails": status,
        "Status": status,
    }
    states = [each["Status"] for each in command.invocations]
    command.completed_count = sum(state not in _UNDER_WAY for state in states)
    command.error_count = sum(state in ("Failed", "TimedOut") for state in states)
    if command.completed_count == len(states):
        command.status = command.status_details = next((each for each in states if each != "Success"), "Success")


def _list_command_invocations(self: Any) -> ActionResult:
    """ListCommandInvocations, which moto does not have."""
    command_id, instance_id = self._get_param("CommandId"), self._get_param("InstanceId")
    details = self._get_param("Details", False)
    listed = []
    for command in self.ssm_backend.list_commands(command_id, instance_id):
        for invocation in command.invocations:
            if instance_id and invocation["InstanceId"] != instance_id:
                continue
            entry = {key: invocation[key] for key in ("CommandId", "InstanceId", "Comment", "Status", "StatusDetails")}
            entry |= {"DocumentName": command.document_name, "RequestedDateTime": command.requested_date_time}
            if details:
                output = invocation["StandardOutputContent"] + invocation["StandardErrorContent"]
                entry["CommandPlugins"] = [
                    {
                        "Name": invocation["PluginName"],
                        "Status": invocation["Status"],
                        "StatusDetails": invocation["StatusDetails"],
                        "ResponseCode": invocation["ResponseCode"],
                        "Output": output[:_LISTED_CHARACTERS],
                    }
                ]
            listed.append(entry)
    return ActionResult({"CommandInvocations": listed})


def _cancel_command(self: Any) -> ActionResult:
    """CancelCommand, which moto does not have."""
    chosen = self._get_param("InstanceIds", [])
    for invocation in self.ssm_backend.get_command_by_id(self._get_param("CommandId")).invocations:
        if invocation["Status"] == "InProgress" and (not chosen or invocation["InstanceId"] in chosen):
            invocation["Status"] = invocation["StatusDetails"] = "Cancelling"
            machines.cancel_command(invocation["InstanceId"], invocation["CommandId"])
    return ActionResult({})


def _describe_instance_information(self: Any) -> ActionResult:
    """DescribeInstanceInformation, which moto does not have: the instances that take commands."""
    filters = [(each["Key"], set(each["Values"])) for each in self._get_param("Filters", [])]
    for key, _ in filters:
        if key not in {"InstanceIds", "PingStatus"} and not key.startswith("tag:"):
            raise SSMException("InvalidFilterKey", f"The look-alike of AWS cannot filter instances by {key}.")
    listed = []
    for instance in _running(self.ssm_backend).values():
        tags = {f"tag:{tag['key']}": tag["value"] for tag in instance.get_tags()}
        facts = {"InstanceIds": instance.id, "PingStatus": "Online", **tags}
        if all(facts.get(key) in values for key, values in filters) and machines.is_managed(instance.id):
            listed.append(
                {
                    "InstanceId": instance.id,
                    "PingStatus": "Online",
                    "LastPingDateTime": datetime.now(UTC),
                    "AgentVersion": "3.3.0.0",
                    "IsLatestVersion": True,
                    "PlatformType": "Linux",
                    "PlatformName": "Debian GNU/Linux",
                    "PlatformVersion": "13",
                    "ResourceType": "EC2Instance",
                    "IPAddress": instance.private_ip_address,
                    "ComputerName": instance.private_dns_name,
                }
            )
    return ActionResult({"InstanceInformationList": listed})


SimpleSystemManagerResponse.cancel_command = _cancel_command
SimpleSystemManagerResponse.list_command_invocations = _list_command_invocations
SimpleSystemManagerResponse.describe_instance_information = _describe_instance_information


def _running(ssm: Any) -> dict[str, Any]:
    return {each.id: each for each in ec2_backends[ssm.account_id][ssm.region_name].all_running_instances()}


def _targeted(running: dict[str, Any], targets: list[dict[str, Any]]) -> list[str]:
    """The running instances that every target names."""
    if not targets:
        return []
    chosen = set(running)
    for target in targets:
        key, values = target["Key"], set(target["Values"])
        if key == "InstanceIds":
            chosen &= values
        elif key.startswith("tag:"):
            name = key.removeprefix("tag:")
            chosen = {
                each for each in chosen
                if any(tag["key"] == name and tag["value"] in values for tag in running[each].get_tags())
            }  # fmt: skip
        else:
            raise SSMException("InvalidTarget", f"The look-alike of AWS has no target {key}.")
    return sorted(chosen)


def _seconds(parameters: dict[str, list[str]]) -> int:
    text = next(iter(parameters.get("executionTimeout", [])), str(_DEFAULT_SECONDS))
    if not text.isdigit() or not 1 <= int(text) <= _LONGEST_SECONDS:
        raise SSMException("InvalidParameters", f"executionTimeout is 1 to {_LONGEST_SECONDS} seconds, not {text}.")
    return int(text)
