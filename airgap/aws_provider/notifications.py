"""SNS: topics, their policies and subscriptions."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from typing import Any, ClassVar

from airgap.aws_provider.connection import Aws
from airgap.aws_provider.limits import json_meaning, resource_policy_refusal
from airgap.aws_provider.resource import REGION, TAGS, AwsResource
from airgap.aws_provider.tags import tag_list, tag_map
from airgap.provider_protocol.properties import Property, flag, text

_TOPIC_ATTRIBUTES = {
    "displayName": "DisplayName",
    "kmsMasterKeyId": "KmsMasterKeyId",
    "policy": "Policy",
    "tracingConfig": "TracingConfig",
}
_PROTOCOLS = frozenset({"application", "email", "email-json", "firehose", "http", "https", "lambda", "sms", "sqs"})


class Topic(AwsResource):
    """What messages are published to."""

    type_name = "aws:sns/topic:Topic"
    service = "sns"
    name_property = "name"
    longest_name = 256
    properties: ClassVar[Mapping[str, Property]] = {
        "displayName": text(),
        "kmsMasterKeyId": text(),
        "name": text(replaces=True, pattern=r"[\w-]{1,256}"),
        "policy": text(computed=True, meaning=json_meaning, refusal=resource_policy_refusal),
        "region": REGION,
        "tags": TAGS,
        "tracingConfig": text(computed=True, choices=frozenset({"Active", "PassThrough"})),
    }
    output_only: ClassVar[Mapping[str, Any]] = dict.fromkeys(("arn", "owner", "tagsAll"))

    def make(self, aws: Aws, inputs: Mapping[str, Any], cancelled: threading.Event) -> str:
        """Make the topic."""
        attributes = {name: inputs[key] for key, name in _TOPIC_ATTRIBUTES.items() if inputs.get(key)}
        made = self.client(aws, inputs).create_topic(
            Name=inputs["name"], Attributes=attributes, Tags=tag_list(inputs.get("tags"))
        )
        return str(made["TopicArn"])

    def retag(
        self, aws: Aws, identifier: str, outputs: Mapping[str, Any], put: Mapping[str, str], remove: list[str]
    ) -> None:
        """Put tags on the topic and take others off."""
        client = self.client(aws, outputs)
        if remove:
            client.untag_resource(ResourceArn=identifier, TagKeys=remove)
        if put:
            client.tag_resource(ResourceArn=identifier, Tags=tag_list(put))

    def change(
        self,
        aws: Aws,
        identifier: str,
        outputs: Mapping[str, Any],
        inputs: Mapping[str, Any],
        changed: frozenset[str],
        cancelled: threading.Event,
    ) -> None:
        """Change the topic's attributes."""
        for key in sorted(changed & _TOPIC_ATTRIBUTES.keys()):
            self.client(aws, inputs).set_topic_attributes(
                TopicArn=identifier, AttributeName=_TOPIC_ATTRIBUTES[key], AttributeValue=inputs.get(key) or ""
            )

    def facts(self, aws: Aws, identifier: str, recorded: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """The topic. Its policy counts as its own only where the program gave it here and not as a resource."""
        client = self.client(aws, recorded)
        found = client.get_topic_attributes(TopicArn=identifier)["Attributes"]
        return {
            **{key: found.get(name, "") for key, name in _TOPIC_ATTRIBUTES.items() if key != "policy"},
            "arn": identifier,
            "name": identifier.rpartition(":")[2],
            "owner": found.get("Owner"),
            "policy": found.get("Policy", "") if recorded.get("policy") else None,
            "tags": tag_map(client.list_tags_for_resource(ResourceArn=identifier).get("Tags")),
        }

    def remove(self, aws: Aws, identifier: str, outputs: Mapping[str, Any], cancelled: threading.Event) -> None:
        """Remove the topic."""
        self.client(aws, outputs).delete_topic(TopicArn=identifier)


class TopicPolicy(AwsResource):
    """Who may publish to a topic."""

    type_name = "aws:sns/topicPolicy:TopicPolicy"
    service = "sns"
    deletes_before_replacing = True
    properties: ClassVar[Mapping[str, Property]] = {
        "arn": text(required=True, replaces=True),
        "policy": text(required=True, meaning=json_meaning, refusal=resource_policy_refusal),
        "region": REGION,
    }
    output_only: ClassVar[Mapping[str, Any]] = {"owner": None}

    def make(self, aws: Aws, inputs: Mapping[str, Any], cancelled: threading.Event) -> str:
        """Put the policy."""
        self._put(aws, inputs, inputs["arn"], inputs["policy"])
        return str(inputs["arn"])

    def change(
        self,
        aws: Aws,
        identifier: str,
        outputs: Mapping[str, Any],
        inputs: Mapping[str, Any],
        changed: frozenset[str],
        cancelled: threading.Event,
    ) -> None:
        """Put another policy."""
        self._put(aws, inputs, identifier, inputs["policy"])

    def _put(self, aws: Aws, values: Mapping[str, Any], topic: str, policy: str) -> None:
        self.client(aws, values).set_topic_attributes(TopicArn=topic, AttributeName="Policy", AttributeValue=policy)

    def facts(self, aws: Aws, identifier: str, recorded: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """The topic's policy."""
        found = self.client(aws, recorded).get_topic_attributes(TopicArn=identifier)["Attributes"]
        return {"arn": identifier, "owner": found.get("Owner"), "policy": found["Policy"]}

    def remove(self, aws: Aws, identifier: str, outputs: Mapping[str, Any], cancelled: threading.Event) -> None:
        """Put the policy that a new topic has: only its owner may use it. A topic cannot be without a policy."""
        actions = ("GetTopicAttributes", "SetTopicAttributes", "AddPermission", "RemovePermission", "DeleteTopic")
        more_actions = ("Subscribe", "ListSubscriptionsByTopic", "Publish")
        statement = {
            "Sid": "__default_statement_ID",
            "Effect": "Allow",
            "Principal": {"AWS": "*"},
            "Action": [f"SNS:{action}" for action in actions + more_actions],
            "Resource": identifier,
            "Condition": {"StringEquals": {"AWS:SourceOwner": outputs.get("owner") or aws.account()}},
        }
        policy = {"Version": "2008-10-17", "Id": "__default_policy_ID", "Statement": [statement]}
        self._put(aws, outputs, identifier, json.dumps(policy))


class TopicSubscription(AwsResource):
    """Where a topic's messages go. An address must confirm before it gets any."""

    type_name = "aws:sns/topicSubscription:TopicSubscription"
    service = "sns"
    properties: ClassVar[Mapping[str, Property]] = {
        "endpoint": text(required=True, replaces=True),
        "filterPolicy": text(meaning=json_meaning),
        "protocol": text(required=True, replaces=True, choices=_PROTOCOLS),
        "rawMessageDelivery": flag(default=False),
        "region": REGION,
        "topic": text(required=True, replaces=True),
    }
    output_only: ClassVar[Mapping[str, Any]] = dict.fromkeys(
        ("arn", "confirmationWasAuthenticated", "ownerId", "pendingConfirmation")
    )

    def make(self, aws: Aws, inputs: Mapping[str, Any], cancelled: threading.Event) -> str:
        """Subscribe."""
        attributes = {"RawMessageDelivery": "true"} if inputs["rawMessageDelivery"] else {}
        if inputs.get("filterPolicy"):
            attributes["FilterPolicy"] = inputs["filterPolicy"]
        made = self.client(aws, inputs).subscribe(
            TopicArn=inputs["topic"],
            Protocol=inputs["protocol"],
            Endpoint=inputs["endpoint"],
            Attributes=attributes,
            ReturnSubscriptionArn=True,
        )
        return str(made["SubscriptionArn"])

    def change(
        self,
        aws: Aws,
        identifier: str,
        outputs: Mapping[str, Any],
        inputs: Mapping[str, Any],
        changed: frozenset[str],
        cancelled: threading.Event,
    ) -> None:
        """Change what is delivered, and how."""
        client = self.client(aws, inputs)
        if "rawMessageDelivery" in changed:
            raw = "true" if inputs["rawMessageDelivery"] else "false"
            client.set_subscription_attributes(
                SubscriptionArn=identifier, AttributeName="RawMessageDelivery", AttributeValue=raw
            )
        if "filterPolicy" in changed:
            client.set_subscription_attributes(
                SubscriptionArn=identifier,
                AttributeName="FilterPolicy",
                AttributeValue=inputs.get("filterPolicy") or "{}",
            )

    def facts(self, aws: Aws, identifier: str, recorded: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """The subscription."""
        found = self.client(aws, recorded).get_subscription_attributes(SubscriptionArn=identifier)["Attributes"]
        return {
            "arn": identifier,
            "confirmationWasAuthenticated": found.get("ConfirmationWasAuthenticated") == "true",
            "endpoint": found["Endpoint"],
            "filterPolicy": found.get("FilterPolicy") or "",
            "ownerId": found.get("Owner"),
            "pendingConfirmation": found.get("PendingConfirmation") == "true",
            "protocol": found["Protocol"],
            "rawMessageDelivery": found.get("RawMessageDelivery") == "true",
            "topic": found["TopicArn"],
        }

    def remove(self, aws: Aws, identifier: str, outputs: Mapping[str, Any], cancelled: threading.Event) -> None:
        """Unsubscribe."""
        self.client(aws, outputs).unsubscribe(SubscriptionArn=identifier)
