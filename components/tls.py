"""The certificate authority and the nodes' certificates as Pulumi resources."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, Resource, ResourceProvider, UpdateResult

if TYPE_CHECKING:
    from .certificates import KeyPair

_MADE = ("certificate", "private_key")


# The providers load ``cryptography`` where they use it: a program that only registers resources starts sooner without.


class _AuthorityProvider(ResourceProvider):
    def create(self, props: dict[str, Any]) -> CreateResult:
        from .certificates import make_authority

        authority = make_authority(props["common_name"], int(props["lifetime_days"]))
        return CreateResult(str(uuid.uuid4()), {**props, **_made(authority)})

    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        # A new authority would cut every client off: it is made once. Replacing it is a task of its own.
        return DiffResult(changes=False)


class _NodeCertificateProvider(ResourceProvider):
    def create(self, props: dict[str, Any]) -> CreateResult:
        return CreateResult(str(uuid.uuid4()), self._issue(props))

    def update(self, _id: str, _olds: dict[str, Any], news: dict[str, Any]) -> UpdateResult:
        return UpdateResult(self._issue(news))

    def diff(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        from .certificates import needs_renewal

        lifetime = int(olds["lifetime_days"])
        changed = any(olds[name] != news[name] for name in ("names", "lifetime_days", "authority_certificate"))
        return DiffResult(changes=changed or needs_renewal(olds["certificate"], lifetime))

    @staticmethod
    def _issue(props: dict[str, Any]) -> dict[str, Any]:
        from .certificates import KeyPair, issue_certificate

        authority = KeyPair(props["authority_certificate"], props["authority_private_key"])
        return {**props, **_made(issue_certificate(authority, props["names"], int(props["lifetime_days"])))}


class CertificateAuthority(Resource, module="redis-production", name="CertificateAuthority"):
    """The deployment's own certificate authority. Made once; ``private_key`` is secret."""

    certificate: pulumi.Output[str]
    private_key: pulumi.Output[str]

    def __init__(
        self, resource_name: str, common_name: str, lifetime_days: int, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__(
            _AuthorityProvider(),
            resource_name,
            {"common_name": common_name, "lifetime_days": lifetime_days, **dict.fromkeys(_MADE)},
            _secret_key_options(opts),
        )


class NodeCertificate(Resource, module="redis-production", name="NodeCertificate"):
    """A node's certificate; the first ``up`` in its last 30 days (or third) renews it. ``private_key`` is secret."""

    certificate: pulumi.Output[str]
    private_key: pulumi.Output[str]

    def __init__(
        self,
        resource_name: str,
        authority: CertificateAuthority,
        names: Sequence[str],
        lifetime_days: int,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__(
            _NodeCertificateProvider(),
            resource_name,
            {
                "authority_certificate": authority.certificate,
                "authority_private_key": authority.private_key,
                "names": list(names),
                "lifetime_days": lifetime_days,
                **dict.fromkeys(_MADE),
            },
            _secret_key_options(opts),
        )


def _made(pair: KeyPair) -> dict[str, str]:
    return {"certificate": pair.certificate, "private_key": pair.private_key}


def _secret_key_options(opts: pulumi.ResourceOptions | None) -> pulumi.ResourceOptions:
    return pulumi.ResourceOptions.merge(
        opts, pulumi.ResourceOptions(additional_secret_outputs=["private_key", "authority_private_key"])
    )
