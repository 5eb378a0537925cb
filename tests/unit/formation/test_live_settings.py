"""Which spellings of a value are the same to Redis."""

from __future__ import annotations

import pytest

from components.formation.live_settings import differing, equal, shown


@pytest.mark.parametrize(
    ("directive", "wanted", "found"),
    [
        ("maxmemory", "64mb", "67108864"),
        ("maxmemory", "1gb", "1073741824"),
        ("maxmemory", "1g", "1000000000"),
        ("maxmemory", "0", "0"),
        ("save", "900 1 300 10", "900 1 300 10"),
        ("save", "300 10 900 1", "900 1 300 10"),
        ("save", "", ""),
        ("save", '""', ""),
        ("appendonly", "YES", "yes"),
        ("maxmemory-policy", "AllKeys-LRU", "allkeys-lru"),
        ("notify-keyspace-events", "KEA", "AKE"),
        ("notify-keyspace-events", "Kg$lshzxetd", "AK"),
        ("client-output-buffer-limit", "normal 0 0 0", "normal 0 0 0 slave 268435456 67108864 60 pubsub 3 8 60"),
        ("client-output-buffer-limit", "replica 256mb 64mb 60", "normal 0 0 0 slave 268435456 67108864 60"),
    ],
)  # fmt: skip
def test_the_same_in_other_words(directive: str, wanted: str, found: str) -> None:
    assert equal(directive, wanted, found)


@pytest.mark.parametrize(
    ("directive", "wanted", "found"),
    [
        ("maxmemory", "64mb", "64000000"),
        ("save", "900 1", "900 1 300 10"),
        ("save", "", "900 1"),
        ("notify-keyspace-events", "KE", "K"),
        ("notify-keyspace-events", "k", "K"),
        ("client-output-buffer-limit", "replica 0 0 0", "normal 0 0 0 slave 268435456 67108864 60"),
        ("appendfsync", "always", "everysec"),
    ],
)
def test_different(directive: str, wanted: str, found: str) -> None:
    assert not equal(directive, wanted, found)


def test_only_what_differs_is_changed() -> None:
    wanted = {"maxmemory": "1mb", "maxclients": "100", "unknown-one": "1"}
    assert differing(wanted, {"maxmemory": "1048576", "maxclients": "99"}) == {"maxclients": "100", "unknown-one": "1"}


@pytest.mark.parametrize("directive", ["masterauth", "requirepass", "tls-key-file-pass", "masteruser-password"])
def test_secrets_are_not_shown(directive: str) -> None:
    assert shown(directive, "canary-4711") == "(secret)"
    assert shown("maxmemory", "1mb") == "1mb"
    assert shown("save", "") == '""'
