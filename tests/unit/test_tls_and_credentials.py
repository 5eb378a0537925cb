"""The dynamic providers of certificates and passwords, called as Pulumi calls them."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography import x509

from components import certificates
from components.credentials import _CredentialsProvider
from components.tls import _AuthorityProvider, _NodeCertificateProvider


@pytest.fixture(scope="module")
def authority() -> dict[str, Any]:
    return _AuthorityProvider().create({"common_name": "test", "lifetime_days": 3650.0}).outs or {}


@pytest.fixture
def node_properties(authority: dict[str, Any]) -> dict[str, Any]:
    """What the program asks for; what is made is not known yet."""
    return {
        "authority_certificate": authority["certificate"],
        "authority_private_key": authority["private_key"],
        "names": ["cache-local-redis-0", "localhost"],
        "lifetime_days": 365.0,
        "certificate": None,
        "private_key": None,
    }


def test_an_authority_is_made(authority: dict[str, Any]) -> None:
    certificate = x509.load_pem_x509_certificate(authority["certificate"].encode())

    assert certificate.subject.rfc4514_string() == "CN=test"
    assert authority["private_key"].startswith("-----BEGIN PRIVATE KEY-----")
    assert authority["common_name"] == "test"


def test_an_authority_is_never_made_again(authority: dict[str, Any]) -> None:
    diff = _AuthorityProvider().diff("id", authority, {"common_name": "other", "lifetime_days": 10.0})

    assert diff.changes is False


def test_a_node_certificate_is_issued_and_stays(node_properties: dict[str, Any]) -> None:
    provider = _NodeCertificateProvider()
    made = provider.create(node_properties).outs or {}

    assert made["certificate"].startswith("-----BEGIN CERTIFICATE-----")
    assert made["private_key"].startswith("-----BEGIN PRIVATE KEY-----")
    assert provider.diff("id", made, node_properties).changes is False


@pytest.mark.parametrize(
    "change",
    [{"names": ["cache-local-redis-1"]}, {"lifetime_days": 90.0}, {"authority_certificate": "another"}],
    ids=["names", "lifetime", "authority"],
)
def test_a_changed_request_is_a_change_of_the_certificate(
    node_properties: dict[str, Any], change: dict[str, Any]
) -> None:
    provider = _NodeCertificateProvider()
    made = provider.create(node_properties).outs or {}
    diff = provider.diff("id", made, {**node_properties, **change})

    assert diff.changes is True
    assert not diff.replaces


def test_a_certificate_near_its_end_is_renewed(
    node_properties: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    provider = _NodeCertificateProvider()
    made = provider.create(node_properties).outs or {}
    asked: list[tuple[str, int]] = []

    def in_its_last_days(certificate: str, lifetime_days: int) -> bool:
        asked.append((certificate, lifetime_days))
        return True

    monkeypatch.setattr(certificates, "needs_renewal", in_its_last_days)

    assert provider.diff("id", made, node_properties).changes is True
    assert asked == [(made["certificate"], 365)]


def test_an_update_issues_a_new_certificate_of_the_same_authority(
    authority: dict[str, Any], node_properties: dict[str, Any]
) -> None:
    provider = _NodeCertificateProvider()
    made = provider.create(node_properties).outs or {}
    renewed = provider.update("id", made, {**node_properties, "names": ["new-name"]}).outs or {}

    assert renewed["certificate"] != made["certificate"]
    assert renewed["private_key"] != made["private_key"]
    issuer = x509.load_pem_x509_certificate(authority["certificate"].encode())
    x509.load_pem_x509_certificate(renewed["certificate"].encode()).verify_directly_issued_by(issuer)
    assert certificates.expires(renewed["certificate"]) <= certificates.expires(authority["certificate"])


def test_every_user_gets_a_long_password_without_characters_that_need_quoting() -> None:
    users = ["app", "admin", "sentinel"]
    made = _CredentialsProvider().create({"users": users, "passwords": None}).outs or {}

    assert list(made["passwords"]) == users
    assert len(set(made["passwords"].values())) == 3
    for password in made["passwords"].values():
        assert len(password) >= 43  # 256 bits in base 64
        assert password.replace("-", "").replace("_", "").isalnum()


def test_a_user_that_stays_keeps_its_password() -> None:
    provider = _CredentialsProvider()
    made = provider.create({"users": ["app", "admin"], "passwords": None}).outs or {}
    changed = provider.update("id", made, {"users": ["app", "default"], "passwords": None}).outs or {}

    assert changed["passwords"]["app"] == made["passwords"]["app"]
    assert set(changed["passwords"]) == {"app", "default"}


@pytest.mark.parametrize(
    ("users", "changes"), [(["app", "admin"], False), (["admin", "app"], False), (["app"], True), (["app", "x"], True)]
)
def test_credentials_change_with_their_users_only(users: list[str], changes: bool) -> None:
    provider = _CredentialsProvider()
    made = provider.create({"users": ["app", "admin"], "passwords": None}).outs or {}

    assert provider.diff("id", made, {"users": users, "passwords": None}).changes is changes


def test_providers_have_nothing_of_their_own_that_would_be_stored_in_the_state() -> None:
    for provider in (_AuthorityProvider(), _NodeCertificateProvider(), _CredentialsProvider()):
        assert vars(provider) == {}
