"""Data of every type, and all that a server has, so that a copy can be compared with what it is of."""

from __future__ import annotations

import time
from typing import Any

FUNCTION = "#!lua name={name}\nredis.register_function('{name}', function() return 1 end)"


def fill_with_every_type(client: Any, *, large_bytes: int = 0) -> None:
    """Each type in each of its encodings, with times to live, groups of consumers, and functions."""
    large: dict[Any, Any] = {f"member:{number}": number for number in range(1000)}
    client.mset({"string": "text", "number": 12345, "empty": "", "binary": bytes(range(256)), "long": "x" * 10_000})
    client.set("expiring", "value", ex=10_000)
    client.set("expired", "value", px=1)
    client.setbit("bits", 100_000, 1)
    client.pfadd("hyperloglog", *large)
    client.rpush("list", *"abc")
    client.rpush("large list", *large, "x" * 20_000)
    client.sadd("integers", *range(100))
    client.sadd("set", *"abc")
    client.sadd("large set", *large)
    client.zadd("sorted set", {"a": 1.5, "b": float("inf")})
    client.zadd("large sorted set", large)
    client.geoadd("places", (13.361389, 38.115556, "Palermo"))
    client.hset("hash", mapping={"a": "1", "b": "2"})
    client.hset("large hash", mapping={**large, "long": "x" * 5000})
    client.expire("large hash", 20_000)
    for number in range(300):
        client.xadd("stream", {"number": number, "text": "x" * (number % 7)})
    client.xgroup_create("stream", "group", id="0")
    client.xgroup_create("stream", "idle group", id="$")
    entries = client.xreadgroup("group", "consumer", {"stream": ">"}, count=10)
    client.xack("stream", "group", entries[0][1][0][0])
    client.xdel("stream", entries[0][1][5][0])
    client.execute_command("FUNCTION LOAD REPLACE", FUNCTION.format(name="one"))
    client.execute_command("FUNCTION LOAD REPLACE", FUNCTION.format(name="two"))
    if has_field_expiry(client):
        for name in ("hash", "large hash"):
            client.hset(f"{name} with times", mapping={**large, "a": "1"} if name == "large hash" else {"a": "1"})
            client.execute_command("HEXPIRE", f"{name} with times", 10_000, "FIELDS", 2, "a", "member:7")
    if large_bytes:
        client.set("large value", bytes(range(256)) * (large_bytes // 256))
    while client.exists("expired"):
        time.sleep(0.001)


def has_field_expiry(client: Any) -> bool:
    return bool(client.execute_command("COMMAND", "INFO", "HEXPIRE"))


def contents(client: Any) -> dict[tuple[int, bytes], Any]:
    """Every key of every database: its type, its value, and when it expires. ``client`` answers with bytes."""
    found: dict[tuple[int, bytes], Any] = {}
    with client.client() as connection:
        numbers = [int(name[2:]) for name in connection.info("keyspace")]
        for database in numbers:
            if database:
                connection.execute_command("SELECT", database)
            for key in connection.scan_iter(count=1000):
                kind = connection.type(key)
                found[database, key] = (kind, _value(connection, kind, key), connection.pexpiretime(key))
        connection.execute_command("SELECT", 0)  # it goes back to the others
    return found


def _value(client: Any, kind: bytes, key: bytes) -> Any:
    match kind:
        case b"string":
            return client.get(key)
        case b"list":
            return client.lrange(key, 0, -1)
        case b"set":
            return client.smembers(key)
        case b"zset":
            return client.zrange(key, 0, -1, withscores=True)
        case b"hash":
            fields: dict[bytes, bytes] = client.hgetall(key)
            names = sorted(fields)
            times = has_field_expiry(client) and client.execute_command(
                "HPEXPIRETIME", key, "FIELDS", len(names), *names
            )
            return fields, times
        case b"stream":
            return _stream(client, key)
    raise AssertionError(f"{key!r} is of type {kind!r}")


def _stream(client: Any, key: bytes) -> Any:
    """Without when consumers were seen, which each server knows for itself."""
    state = client.xinfo_stream(key)
    groups = client.xinfo_groups(key)
    pending = [
        (each["message_id"], each["consumer"], each["times_delivered"])
        for group in groups
        for each in client.xpending_range(key, group["name"], "-", "+", 100)
    ]
    numbers = [state[name] for name in ("last-generated-id", "max-deleted-entry-id", "entries-added")]
    return client.xrange(key), numbers, groups, pending
