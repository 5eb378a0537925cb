"""The authority and the nodes' certificates, checked as a TLS client checks them."""

from __future__ import annotations

import datetime
import ipaddress

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from components.certificates import KeyPair, expires, issue_certificate, make_authority, needs_renewal

NAMES = ["cache-local-redis-0", "localhost", "127.0.0.1"]
DAY = datetime.timedelta(days=1)


@pytest.fixture(scope="module")
def authority() -> KeyPair:
    return make_authority("cache-local certificate authority", 3650)


@pytest.fixture(scope="module")
def node(authority: KeyPair) -> KeyPair:
    return issue_certificate(authority, NAMES, 365)


def load(pair: KeyPair) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pair.certificate.encode())


def policy(authority: KeyPair) -> PolicyBuilder:
    return PolicyBuilder().store(Store([load(authority)]))


@pytest.mark.parametrize(
    "name", [x509.DNSName(NAMES[0]), x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
)
def test_a_client_accepts_the_node_under_each_of_its_names(
    authority: KeyPair, node: KeyPair, name: x509.DNSName | x509.IPAddress
) -> None:
    chain = policy(authority).build_server_verifier(name).verify(load(node), [])

    assert chain == [load(node), load(authority)]


def test_a_client_refuses_the_node_under_another_name(authority: KeyPair, node: KeyPair) -> None:
    with pytest.raises(VerificationError):
        policy(authority).build_server_verifier(x509.DNSName("cache-local-redis-1")).verify(load(node), [])


def test_a_node_is_also_accepted_as_a_client(authority: KeyPair, node: KeyPair) -> None:
    verified = policy(authority).build_client_verifier().verify(load(node), [])

    assert verified.chain == [load(node), load(authority)]


def test_another_deployments_authority_is_refused(node: KeyPair) -> None:
    other = make_authority("cache-local certificate authority", 3650)

    with pytest.raises(VerificationError):
        policy(other).build_server_verifier(x509.DNSName(NAMES[0])).verify(load(node), [])


def test_the_keys_belong_to_the_certificates(authority: KeyPair, node: KeyPair) -> None:
    for pair in (authority, node):
        key = serialization.load_pem_private_key(pair.private_key.encode(), password=None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        assert isinstance(key.curve, ec.SECP256R1)
        assert key.public_key() == load(pair).public_key()


def test_the_authority_may_sign_nodes_and_nothing_else(authority: KeyPair) -> None:
    extensions = load(authority).extensions
    constraints = extensions.get_extension_for_class(x509.BasicConstraints)
    usage = extensions.get_extension_for_class(x509.KeyUsage)

    assert constraints.critical
    assert constraints.value == x509.BasicConstraints(ca=True, path_length=0)
    assert usage.critical
    assert usage.value.key_cert_sign
    assert usage.value.crl_sign
    assert not usage.value.digital_signature


def test_a_node_may_sign_nothing(node: KeyPair) -> None:
    extensions = load(node).extensions
    usage = extensions.get_extension_for_class(x509.KeyUsage).value
    extended = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value

    assert extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False
    assert usage.digital_signature
    assert not usage.key_cert_sign
    assert not usage.crl_sign
    assert list(extended) == [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]


def test_a_nodes_names(authority: KeyPair, node: KeyPair) -> None:
    names = load(node).extensions.get_extension_for_class(x509.SubjectAlternativeName).value

    assert names.get_values_for_type(x509.DNSName) == ["cache-local-redis-0", "localhost"]
    assert names.get_values_for_type(x509.IPAddress) == [ipaddress.ip_address("127.0.0.1")]
    assert load(node).issuer == load(authority).subject


def test_a_common_name_has_64_characters_at_most(authority: KeyPair) -> None:
    long_name = f"{'n' * 40}.{'m' * 40}"
    certificate = load(issue_certificate(authority, [long_name], 30))

    assert certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == long_name[:64]
    policy(authority).build_server_verifier(x509.DNSName(long_name)).verify(certificate, [])


@pytest.mark.parametrize("days", [2, 365, 825])
def test_lifetimes(authority: KeyPair, days: int) -> None:
    pair = issue_certificate(authority, NAMES, days)
    now = datetime.datetime.now(datetime.UTC)

    assert abs(expires(pair.certificate) - now - days * DAY) < datetime.timedelta(minutes=1)
    assert datetime.timedelta(minutes=4) < now - load(pair).not_valid_before_utc < datetime.timedelta(minutes=6)


def test_a_node_does_not_outlive_its_authority() -> None:
    short = make_authority("short", 10)

    assert expires(issue_certificate(short, NAMES, 365).certificate) == expires(short.certificate)


@pytest.mark.parametrize(
    ("lifetime_days", "left", "renewed"),
    [
        (365, 31 * DAY, False),
        (365, 30 * DAY, False),
        (365, 30 * DAY - datetime.timedelta(seconds=1), True),
        (365, -1 * DAY, True),
        (30, 10 * DAY, False),
        (30, 10 * DAY - datetime.timedelta(seconds=1), True),
        (90, 30 * DAY, False),
        (2, 16 * datetime.timedelta(hours=1), False),
        (2, 15 * datetime.timedelta(hours=1), True),
    ],
)
def test_the_last_30_days_or_third_are_for_renewal(
    authority: KeyPair, lifetime_days: int, left: datetime.timedelta, renewed: bool
) -> None:
    certificate = issue_certificate(authority, NAMES, lifetime_days).certificate

    assert needs_renewal(certificate, lifetime_days, now=expires(certificate) - left) is renewed


def test_a_new_certificate_needs_no_renewal(authority: KeyPair) -> None:
    assert not needs_renewal(issue_certificate(authority, NAMES, 2).certificate, 2)


def test_serial_numbers_and_keys_are_never_the_same(authority: KeyPair) -> None:
    pairs = [issue_certificate(authority, NAMES, 30) for _ in range(3)]

    assert len({load(pair).serial_number for pair in pairs}) == 3
    assert len({pair.private_key for pair in pairs}) == 3


def test_a_printed_key_pair_shows_no_key(authority: KeyPair) -> None:
    assert repr(authority) == "KeyPair(...)"
    assert "PRIVATE" not in f"{authority}"
