"""All resource types that are covered."""

from __future__ import annotations

from airgap.aws_provider.bucket_settings import (
    BucketLifecycleConfiguration,
    BucketOwnershipControls,
    BucketPolicy,
    BucketPublicAccessBlock,
    BucketServerSideEncryptionConfiguration,
    BucketVersioning,
)
from airgap.aws_provider.buckets import Bucket, BucketObject
from airgap.aws_provider.dns import Record, Zone
from airgap.aws_provider.endpoints import VpcEndpoint
from airgap.aws_provider.flow_logs import FlowLog
from airgap.aws_provider.identities import InstanceProfile, Role, RolePolicy, RolePolicyAttachment
from airgap.aws_provider.instances import Instance
from airgap.aws_provider.keys import Alias, Key
from airgap.aws_provider.network_interfaces import NetworkInterface
from airgap.aws_provider.notifications import Topic, TopicPolicy, TopicSubscription
from airgap.aws_provider.observation import LogGroup, MetricAlarm
from airgap.aws_provider.resource import AwsResource
from airgap.aws_provider.routes import Route, RouteTable, RouteTableAssociation
from airgap.aws_provider.secret_store import Secret, SecretVersion
from airgap.aws_provider.security_groups import (
    DefaultSecurityGroup,
    SecurityGroup,
    SecurityGroupEgressRule,
    SecurityGroupIngressRule,
)
from airgap.aws_provider.volumes import Volume, VolumeAttachment
from airgap.aws_provider.vpc import Eip, InternetGateway, NatGateway, Subnet, Vpc

RESOURCE_TYPES: tuple[AwsResource, ...] = (
    Alias(),
    Bucket(),
    BucketLifecycleConfiguration(),
    BucketObject(),
    BucketOwnershipControls(),
    BucketPolicy(),
    BucketPublicAccessBlock(),
    BucketServerSideEncryptionConfiguration(),
    BucketVersioning(),
    DefaultSecurityGroup(),
    Eip(),
    FlowLog(),
    Instance(),
    InstanceProfile(),
    InternetGateway(),
    Key(),
    LogGroup(),
    MetricAlarm(),
    NatGateway(),
    NetworkInterface(),
    Record(),
    Role(),
    RolePolicy(),
    RolePolicyAttachment(),
    Route(),
    RouteTable(),
    RouteTableAssociation(),
    Secret(),
    SecretVersion(),
    SecurityGroup(),
    SecurityGroupEgressRule(),
    SecurityGroupIngressRule(),
    Subnet(),
    Topic(),
    TopicPolicy(),
    TopicSubscription(),
    Volume(),
    VolumeAttachment(),
    Vpc(),
    VpcEndpoint(),
    Zone(),
)
