"""CloudWatch: alarms and log groups."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from airgap.aws_provider.connection import Aws
from airgap.aws_provider.limits import retention_refusal
from airgap.aws_provider.resource import REGION, TAGS, AwsResource, answer, only, request
from airgap.aws_provider.tags import tag_list, tag_map, without_aws
from airgap.provider_protocol.errors import CheckError
from airgap.provider_protocol.properties import Kind, Property, flag, fraction, number, text
from airgap.provider_protocol.resource import in_recorded_order

_COMPARISONS = frozenset(
    {
        "GreaterThanOrEqualToThreshold",
        "GreaterThanThreshold",
        "LessThanOrEqualToThreshold",
        "LessThanThreshold",
    }
)
_STATISTICS = frozenset({"Average", "Maximum", "Minimum", "SampleCount", "Sum"})
_MISSING_DATA = frozenset({"breaching", "ignore", "missing", "notBreaching"})
_NAMED = {
    "alarmActions": "AlarmActions",
    "insufficientDataActions": "InsufficientDataActions",
    "okActions": "OKActions",
}
_SAME = (
    "actionsEnabled",
    "alarmDescription",
    "comparisonOperator",
    "datapointsToAlarm",
    "evaluationPeriods",
    "extendedStatistic",
    "metricName",
    "namespace",
    "period",
    "statistic",
    "threshold",
    "treatMissingData",
    "unit",
)
_METRIC_FIELDS = {
    "dimensions": Property(Kind.MAP),
    "metricName": text(required=True),
    "namespace": text(required=True),
    "period": number(required=True, minimum=1),
    "stat": text(required=True),
    "unit": text(),
}


def _period_refusal(value: int) -> str:
    return "" if value in (10, 20, 30) or (value > 0 and value % 60 == 0) else "must be 10, 20, 30 or a multiple of 60"


class MetricAlarm(AwsResource):
    """Tells when a metric passes a threshold."""

    type_name = "aws:cloudwatch/metricAlarm:MetricAlarm"
    service = "cloudwatch"
    name_property = "name"
    properties: ClassVar[Mapping[str, Property]] = {
        "actionsEnabled": flag(default=True),
        "alarmActions": Property(Kind.SET),
        "alarmDescription": text(),
        "comparisonOperator": text(required=True, choices=_COMPARISONS),
        "datapointsToAlarm": number(minimum=1),
        "dimensions": Property(Kind.MAP),
        "evaluationPeriods": number(required=True, minimum=1),
        "extendedStatistic": text(pattern=r"p\d{1,2}(\.\d+)?|p100|t[mcs]\d.*|iqm|wm\d.*|pr\(.*\)"),
        "insufficientDataActions": Property(Kind.SET),
        "metricName": text(),
        "metricQueries": Property(
            Kind.OBJECTS,
            identity=("id",),
            fields={
                "expression": text(),
                "id": text(required=True),
                "label": text(),
                "metric": Property(Kind.OBJECT, fields=_METRIC_FIELDS),
                "period": number(minimum=1),
                "returnData": flag(),
            },
        ),
        "name": text(replaces=True),
        "namespace": text(),
        "okActions": Property(Kind.SET),
        "period": number(refusal=_period_refusal),
        "region": REGION,
        "statistic": text(choices=_STATISTICS),
        "tags": TAGS,
        "threshold": fraction(),
        "treatMissingData": text(default="missing", choices=_MISSING_DATA),
        "unit": text(),
    }
    output_only: ClassVar[Mapping[str, Any]] = dict.fromkeys(("arn", "tagsAll"))

    def refusals(self, inputs: Mapping[str, Any]) -> Iterator[CheckError]:
        """It watches one metric by one statistic, or what queries make of several."""
        if bool(inputs.get("metricQueries")) == (inputs.get("metricName") is not None):
            yield CheckError("metricName", f"{self.type_name}: give metricName or metricQueries, one of them")
        if inputs.get("metricName") is not None:
            if (inputs.get("statistic") is None) == (inputs.get("extendedStatistic") is None):
                yield CheckError("statistic", f"{self.type_name}: give statistic or extendedStatistic, one of them")
            for name in ("namespace", "period"):
                if inputs.get(name) is None:
                    yield CheckError(name, f"{self.type_name}: the property '{name}' is missing: set it")
        if inputs.get("threshold") is None:
            yield CheckError("threshold", f"{self.type_name}: the property 'threshold' is missing: set it")

    def make(self, aws: Aws, inputs: Mapping[str, Any], cancelled: threading.Event) -> str:
        """Make the alarm."""
        self._put(aws, inputs, Tags=tag_list(inputs.get("tags")))
        return str(inputs["name"])

    def change(
        self,
        aws: Aws,
        identifier: str,
        outputs: Mapping[str, Any],
        inputs: Mapping[str, Any],
        changed: frozenset[str],
        cancelled: threading.Event,
    ) -> None:
        """Put the alarm anew: AWS takes it only as a whole."""
        if changed:
            self._put(aws, inputs)

    def _put(self, aws: Aws, inputs: Mapping[str, Any], **more: Any) -> None:
        queries = [
            {
                **request(query, "expression", "id", "label", "period", "returnData"),
                **({"MetricStat": _metric_request(query["metric"])} if query.get("metric") else {}),
            }
            for query in inputs.get("metricQueries") or []
        ]
        self.client(aws, inputs).put_metric_alarm(
            AlarmName=inputs["name"],
            **request(inputs, *_SAME, **_NAMED),
            **({"Metrics": queries} if queries else {}),
            **({"Dimensions": _dimensions(inputs)} if inputs.get("dimensions") else {}),
            **more,
        )

    def retag(
        self, aws: Aws, identifier: str, outputs: Mapping[str, Any], put: Mapping[str, str], remove: list[str]
    ) -> None:
        """Put tags on the alarm and take others off."""
        client = self.client(aws, outputs)
        if remove:
            client.untag_resource(ResourceARN=outputs["arn"], TagKeys=remove)
        if put:
            client.tag_resource(ResourceARN=outputs["arn"], Tags=tag_list(put))

    def facts(self, aws: Aws, identifier: str, recorded: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """The alarm."""
        client = self.client(aws, recorded)
        found = only(client.describe_alarms(AlarmNames=[identifier], AlarmTypes=["MetricAlarm"])["MetricAlarms"])
        if found is None:
            return None
        queries = [_query_answer(query) for query in found.get("Metrics", [])]
        return {
            **answer(found, *_SAME),
            **{key: sorted(found.get(name, [])) for key, name in _NAMED.items()},
            "arn": found["AlarmArn"],
            "dimensions": {one["Name"]: one["Value"] for one in found.get("Dimensions", [])},
            "metricQueries": in_recorded_order(queries, recorded.get("metricQueries"), ("id",)),
            "name": identifier,
            "tags": tag_map(client.list_tags_for_resource(ResourceARN=found["AlarmArn"])["Tags"]),
            "treatMissingData": found.get("TreatMissingData") or "missing",
        }

    def remove(self, aws: Aws, identifier: str, outputs: Mapping[str, Any], cancelled: threading.Event) -> None:
        """Remove the alarm."""
        self.client(aws, outputs).delete_alarms(AlarmNames=[identifier])


def _dimensions(values: Mapping[str, Any]) -> list[dict[str, str]]:
    return [{"Name": name, "Value": value} for name, value in sorted((values.get("dimensions") or {}).items())]


def _metric_request(metric: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "Metric": {**request(metric, "metricName", "namespace"), "Dimensions": _dimensions(metric)},
        **request(metric, "period", "stat", "unit"),
    }


def _query_answer(query: Mapping[str, Any]) -> dict[str, Any]:
    found = answer(query, "expression", "id", "label", "period")
    found["returnData"] = query.get("ReturnData") in (True, "true")
    if stat := query.get("MetricStat"):
        found["metric"] = {
            **answer(stat, "period", "stat", "unit"),
            **answer(stat["Metric"], "metricName", "namespace"),
            "dimensions": {one["Name"]: one["Value"] for one in stat["Metric"].get("Dimensions", [])},
        }
    return found


class LogGroup(AwsResource):
    """Where logs are kept, and for how long."""

    type_name = "aws:cloudwatch/logGroup:LogGroup"
    service = "logs"
    name_property = "name"
    longest_name = 512
    properties: ClassVar[Mapping[str, Property]] = {
        "kmsKeyId": text(),
        "logGroupClass": text(
            replaces=True, computed=True, choices=frozenset({"DELIVERY", "INFREQUENT_ACCESS", "STANDARD"})
        ),
        "name": text(replaces=True, pattern=r"[\w./#-]{1,512}"),
        "region": REGION,
        "retentionInDays": number(default=0, refusal=retention_refusal),
        "skipDestroy": flag(default=False),
        "tags": TAGS,
    }
    output_only: ClassVar[Mapping[str, Any]] = dict.fromkeys(("arn", "tagsAll"))

    def make(self, aws: Aws, inputs: Mapping[str, Any], cancelled: threading.Event) -> str:
        """Make the group."""
        self.client(aws, inputs).create_log_group(
            **request(inputs, kmsKeyId="kmsKeyId", logGroupClass="logGroupClass", name="logGroupName", tags="tags")
        )
        return str(inputs["name"])

    def set_up(self, aws: Aws, identifier: str, inputs: Mapping[str, Any], cancelled: threading.Event) -> None:
        """Say how long logs are kept."""
        if inputs["retentionInDays"]:
            self._keep(aws, identifier, inputs)

    def _keep(self, aws: Aws, identifier: str, inputs: Mapping[str, Any]) -> None:
        client = self.client(aws, inputs)
        if inputs["retentionInDays"]:
            client.put_retention_policy(logGroupName=identifier, retentionInDays=inputs["retentionInDays"])
        else:
            client.delete_retention_policy(logGroupName=identifier)

    def retag(
        self, aws: Aws, identifier: str, outputs: Mapping[str, Any], put: Mapping[str, str], remove: list[str]
    ) -> None:
        """Put tags on the group and take others off."""
        client = self.client(aws, outputs)
        if remove:
            client.untag_resource(resourceArn=outputs["arn"], tagKeys=remove)
        if put:
            client.tag_resource(resourceArn=outputs["arn"], tags=dict(put))

    def change(
        self,
        aws: Aws,
        identifier: str,
        outputs: Mapping[str, Any],
        inputs: Mapping[str, Any],
        changed: frozenset[str],
        cancelled: threading.Event,
    ) -> None:
        """Change the key, and how long logs are kept."""
        client = self.client(aws, inputs)
        if "kmsKeyId" in changed and inputs.get("kmsKeyId"):
            client.associate_kms_key(logGroupName=identifier, kmsKeyId=inputs["kmsKeyId"])
        elif "kmsKeyId" in changed:
            client.disassociate_kms_key(logGroupName=identifier)
        if "retentionInDays" in changed:
            self._keep(aws, identifier, inputs)

    def facts(self, aws: Aws, identifier: str, recorded: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """The group."""
        client = self.client(aws, recorded)
        pages = client.get_paginator("describe_log_groups").paginate(logGroupNamePrefix=identifier)
        for group in (one for page in pages for one in page["logGroups"]):
            if group["logGroupName"] == identifier:
                arn = group["arn"].removesuffix(":*")
                return {
                    "arn": arn,
                    "kmsKeyId": group.get("kmsKeyId", ""),
                    "logGroupClass": group.get("logGroupClass", "STANDARD"),
                    "name": identifier,
                    "retentionInDays": group.get("retentionInDays", 0),
                    "tags": without_aws(client.list_tags_for_resource(resourceArn=arn).get("tags")),
                }
        return None

    def remove(self, aws: Aws, identifier: str, outputs: Mapping[str, Any], cancelled: threading.Event) -> None:
        """Remove the group with its logs, unless `skipDestroy` says that it stays."""
        if not outputs.get("skipDestroy"):
            self.client(aws, outputs).delete_log_group(logGroupName=identifier)
