"""Who may do what, tried on real servers: every user can do its job, and nothing else."""

from __future__ import annotations

import itertools
import shlex
import socket
import ssl
from typing import Any

import pytest
import redis
from redis.exceptions import NoPermissionError

from components.certificates import make_authority
from components.config_files import REDIS_USERS, SENTINEL_USERS
from tests.host.containers import Containers, Server, wait_until

Command = tuple[str, ...]


def commands(text: str) -> list[Command]:
    """Commands from text, separated by ``;``, words quoted as in a shell."""
    lexer = shlex.shlex(text, posix=True, punctuation_chars=";")
    lexer.whitespace_split = True
    return [tuple(words) for separator, words in itertools.groupby(lexer, ";".__eq__) if not separator]


@pytest.fixture(scope="module")
def formed(shared: Containers) -> Containers:
    """The shared deployment, whole; no test here changes it."""
    shared.wait_until_whole()
    return shared


def refused(containers: Containers, server: Server, user: str, tried: list[Command]) -> list[Command]:
    """Those of the commands that the server does not let the user run; whatever it answers to the others is well."""
    found = []
    with containers.client(server, user) as client:
        connection: Any = client.connection_pool.get_connection()
        for command in tried:
            connection.send_command(*command)
            try:
                connection.read_response()
            except NoPermissionError:
                found.append(command)
            except redis.ResponseError as error:
                if "DEBUG command not allowed" in str(error):  # off for everybody
                    found.append(command)
        client.connection_pool.release(connection)
    return found


# The job of each user on a Redis node: what it needs, and what it must not do.

APP = commands(
    """
    PING; ECHO x; SET app:k 1 EX 60; GET app:k; MGET app:k app:l; INCR app:k; DEL app:x; UNLINK app:x; EXISTS app:k;
    EXPIRE app:k 60; TTL app:k; TYPE app:k; SCAN 0; HSET app:h f v; HGETALL app:h; LPUSH app:q 1; BRPOP app:q 0.1;
    SADD app:s 1; SMEMBERS app:s; ZADD app:z 1 m; ZRANGE app:z 0 -1; XADD app:x * f v; XREAD COUNT 1 STREAMS app:x 0;
    XGROUP CREATE app:x g 0; SETBIT app:b 1 1; PFADD app:p 1; GEOADD app:g 1 1 m; RENAME app:k app:l; PUBLISH app:n x;
    EVAL "return redis.call('GET', KEYS[1])" 1 app:k; SCRIPT LOAD "return 1"; WATCH app:k; MULTI; EXEC; WAIT 0 1;
    SELECT 0;
    DBSIZE; TIME; INFO; ROLE; COMMAND COUNT; CLIENT SETNAME me; CLIENT SETINFO LIB-NAME x; CLIENT ID; CLIENT GETNAME;
    HELLO 2; OBJECT ENCODING app:h; MEMORY USAGE app:h; ACL WHOAMI; SPUBLISH app:n x
    """
)
DANGEROUS = commands(
    """
    FLUSHALL; FLUSHDB; SWAPDB 0 1; KEYS *; DEBUG SLEEP 0; SHUTDOWN NOSAVE; CONFIG GET *; CONFIG SET maxclients 5;
    CONFIG REWRITE; CONFIG RESETSTAT; ACL LIST; ACL GETUSER app; ACL SETUSER app +@all; ACL DELUSER monitor; ACL SAVE;
    ACL LOAD; REPLICAOF NO ONE; SLAVEOF NO ONE; FAILOVER; PSYNC ? -1; SYNC; REPLCONF ack 0; MONITOR; SAVE; BGSAVE;
    BGREWRITEAOF; MODULE LIST; MIGRATE 127.0.0.1 1 app:k 0 1; RESTORE app:k 0 x; CLIENT KILL TYPE normal;
    CLIENT PAUSE 1; CLIENT LIST; CLUSTER RESET; LATENCY RESET; SLOWLOG RESET; SCRIPT FLUSH; FUNCTION FLUSH;
    FUNCTION LOAD x; PFDEBUG GETREG app:p
    """
)
DATA = commands("GET app:k; SET app:k v; DEL app:k; SCAN 0; RANDOMKEY; EVAL x 0; PUBLISH app:n x")
MONITOR = commands(
    """
    PING; INFO; INFO commandstats; ROLE; DBSIZE; TIME; LASTSAVE; SLOWLOG GET 5; SLOWLOG LEN; LATENCY LATEST;
    LATENCY HISTORY fork; LATENCY HISTOGRAM; CLIENT LIST; CLIENT ID; CLIENT SETNAME m; CLIENT SETINFO LIB-NAME x;
    MEMORY STATS; COMMAND; HELLO 2
    """
)
BACKUP = commands(
    """
    PING; BGSAVE SCHEDULE; LASTSAVE; INFO persistence; ROLE; DBSIZE; REPLCONF rdb-only 1; CLIENT SETNAME b;
    CLIENT SETINFO LIB-NAME x; ACL LIST
    """
)
SENTINEL = commands(
    "PING; INFO; ROLE; MULTI; EXEC; PUBLISH __sentinel__:hello x; CONFIG REWRITE; CLIENT SETNAME s; SCRIPT KILL"
)
HOST = commands("PING; INFO replication; CONFIG SET latency-monitor-threshold 100; CONFIG REWRITE")
REPLICATION = commands("PING; REPLCONF capa eof; REPLCONF listening-port 1")


def without(all_commands: list[Command], *allowed: str) -> list[Command]:
    """The commands but those that begin with one of these words."""
    return [command for command in all_commands if not " ".join(command).startswith(allowed)]


CAN: dict[str, list[Command]] = {
    "app": APP,
    "monitor": MONITOR,
    "backup": BACKUP,
    "sentinel": SENTINEL,
    "host": HOST,
    "replication": REPLICATION,
}
CANNOT: dict[str, list[Command]] = {
    "app": DANGEROUS,
    "monitor": [*without(DANGEROUS, "CLIENT LIST"), *DATA],
    "backup": [*without(DANGEROUS, "PSYNC", "SYNC", "BGSAVE", "REPLCONF", "ACL LIST"), *DATA],
    "sentinel": [
        *without(DANGEROUS, "REPLICAOF", "SLAVEOF", "CONFIG REWRITE", "CLIENT KILL"),
        *without(DATA, "PUBLISH"),
    ],
    "host": [*without(DANGEROUS, "REPLICAOF", "CONFIG SET", "CONFIG REWRITE"), *DATA],
    "replication": [*without(DANGEROUS, "PSYNC", "REPLCONF"), *DATA, ("INFO",)],
    "admin": commands("FLUSHALL; FLUSHDB; KEYS *; DEBUG SLEEP 0"),
}


@pytest.mark.parametrize("user", CAN)
def test_a_user_can_do_its_job(formed: Containers, user: str) -> None:
    assert refused(formed, formed.primary(), user, CAN[user]) == []


@pytest.mark.parametrize("user", CANNOT)
def test_a_user_can_do_nothing_else(formed: Containers, user: str) -> None:
    primary = formed.primary()

    assert refused(formed, primary, user, CANNOT[user]) == CANNOT[user]
    assert formed.replication(primary)["role"] == "master"


def test_every_user_was_tried() -> None:
    assert {*CAN, "admin"} == set(REDIS_USERS)
    assert set(CANNOT) == set(REDIS_USERS)


FOREIGN = commands(
    """
    GET other; SET other v; DEL other; MGET app:k other; RENAME app:k other; COPY other app:k; EXPIRE other 1;
    EVAL "return redis.call('GET', KEYS[1])" 1 other; XADD other * f v; PUBLISH other x; SUBSCRIBE other; PSUBSCRIBE *
    """
)


@pytest.mark.parametrize("command", FOREIGN, ids=" ".join)
def test_the_application_is_kept_to_its_keys_and_channels(formed: Containers, command: Command) -> None:
    assert refused(formed, formed.primary(), "app", [command]) == [command]


@pytest.mark.parametrize("call", ["'FLUSHALL'", "'KEYS', '*'", "'GET', 'other'", "'CONFIG', 'GET', '*'"])
def test_a_script_may_no_more_than_its_user(formed: Containers, call: str) -> None:
    with pytest.raises(redis.ResponseError, match=r"(?i)permission|ACL|not allowed from script"):
        formed.ask(formed.primary(), "EVAL", f"return redis.call({call})", 0, user="app")


def test_the_application_can_subscribe_to_its_channels(formed: Containers) -> None:
    with formed.client(formed.primary(), "app") as client:
        subscription: Any = client.pubsub(  # type: ignore[no-untyped-call]
            ignore_subscribe_messages=True
        )
        subscription.subscribe("app:news")
        wait_until(lambda: client.publish("app:news", "hello"), "a subscriber")
        message: Any = wait_until(lambda: subscription.get_message(timeout=1), "the message")
        subscription.close()

    assert message["data"] == "hello"


def test_an_application_cannot_write_on_a_replica(formed: Containers) -> None:
    with pytest.raises(redis.ReadOnlyError):
        formed.ask(formed.replicas()[0], "SET", "app:k", "v", user="app")


def test_admin_can_do_what_an_operator_needs(formed: Containers) -> None:
    needed = commands(
        """
        CONFIG GET *; CONFIG SET slowlog-max-len 128; ACL LIST; ACL LOG; CLIENT LIST; CLIENT PAUSE 1; SLOWLOG RESET;
        LATENCY DOCTOR; MEMORY DOCTOR; BGREWRITEAOF; SCAN 0; SET any v; DEL any
        """
    )
    assert refused(formed, formed.primary(), "admin", needed) == []


def test_backup_can_take_a_whole_snapshot(formed: Containers) -> None:
    values = formed.write(20, "app:backup:")
    replica = formed.replicas()[0]
    wait_until(lambda: formed.read(replica, values) == values, "the replica to have every key")
    password = formed.passwords["backup"]
    code, output = formed.run(
        replica,
        "sh",
        "-c",
        f"REDISCLI_AUTH={password} redis-cli --user backup --no-auth-warning --tls "
        f"--cacert /etc/redis-production/tls/ca.crt -p {replica.listener.port} --rdb /tmp/snapshot.rdb && "
        "redis-check-rdb /tmp/snapshot.rdb; outcome=$?; rm -f /tmp/snapshot.rdb; exit $outcome",
    )

    assert code == 0, output
    assert "RDB looks OK" in output


def test_the_users_are_exactly_those_of_the_project(formed: Containers) -> None:
    for server in formed.redis:
        assert sorted(formed.ask(server, "ACL", "USERS")) == sorted([*REDIS_USERS, "default"])
    for server in formed.sentinels:
        assert sorted(formed.ask(server, "ACL", "USERS")) == sorted([*SENTINEL_USERS, "default"])


# Getting in at all


def servers_of(containers: Containers) -> list[Server]:
    return [containers.redis[0], containers.sentinels[0]]


def test_the_default_user_is_off(formed: Containers) -> None:
    for server in servers_of(formed):
        with formed.client(server, username=None, password=None) as client, pytest.raises(redis.AuthenticationError):
            client.ping()
        with (
            formed.client(server, username="default", password="anything") as client,
            pytest.raises(redis.AuthenticationError),
        ):
            client.ping()
        assert "off" in formed.ask(server, "ACL", "GETUSER", "default")[1]


def test_a_wrong_password_is_refused(formed: Containers) -> None:
    for server in servers_of(formed):
        with formed.client(server, password="wrong") as client, pytest.raises(redis.AuthenticationError):
            client.ping()


def test_a_connection_without_tls_is_refused(formed: Containers) -> None:
    for server in servers_of(formed):
        with socket.create_connection(("127.0.0.1", server.listener.port), timeout=5) as plain:
            plain.sendall(b"PING\r\n")
            try:
                answer = plain.recv(100)
            except ConnectionResetError:
                answer = b""
        assert b"PONG" not in answer
        assert b"NOAUTH" not in answer


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_only_tls_1_2_and_1_3_are_spoken(formed: Containers) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    for server in servers_of(formed):
        for version, spoken in ((ssl.TLSVersion.TLSv1_1, False), (ssl.TLSVersion.TLSv1_2, True)):
            context.minimum_version = ssl.TLSVersion.TLSv1
            context.maximum_version = version
            assert can_shake_hands(context, server) is spoken


def can_shake_hands(context: ssl.SSLContext, server: Server) -> bool:
    with socket.create_connection(("127.0.0.1", server.listener.port), timeout=5) as plain:
        try:
            context.wrap_socket(plain).close()
        except ssl.SSLError:
            return False
    return True


def test_a_client_with_another_authority_does_not_connect(formed: Containers) -> None:
    other = make_authority("other", 5).certificate
    for server in servers_of(formed):
        with (
            formed.client(server, ssl_ca_data=other) as client,
            pytest.raises(redis.ConnectionError, match=r"(?i)certificate verify failed"),
        ):
            client.ping()


def test_a_client_checks_the_name_of_the_node(formed: Containers) -> None:
    context = ssl.create_default_context(cadata=formed.ca_certificate)
    for server in servers_of(formed):
        address = ("127.0.0.1", server.listener.port)
        for name in (server.name, "localhost", "127.0.0.1"):
            with socket.create_connection(address, timeout=5) as plain:
                context.wrap_socket(plain, server_hostname=name).close()
        with socket.create_connection(address, timeout=5) as plain, pytest.raises(ssl.SSLCertVerificationError):
            context.wrap_socket(plain, server_hostname="another-host")


# On Sentinels

DISCOVERY = ["GET-MASTER-ADDR-BY-NAME", "MASTER", "REPLICAS", "SLAVES", "SENTINELS", "CKQUORUM"]
CHANGES = commands(
    """
    SENTINEL FAILOVER x; SENTINEL RESET x; SENTINEL REMOVE x; SENTINEL FLUSHCONFIG; SENTINEL MONITOR x 127.0.0.1 1 1;
    SENTINEL SET x quorum 1; SENTINEL CONFIG GET *; SENTINEL CONFIG SET announce-port 1; SENTINEL DEBUG;
    SENTINEL SIMULATE-FAILURE help; SENTINEL IS-MASTER-DOWN-BY-ADDR 127.0.0.1 1 0 *; PUBLISH __sentinel__:hello x;
    SHUTDOWN NOSAVE; ACL LIST; ACL SETUSER app +@all; CLIENT LIST; CLIENT KILL TYPE normal
    """
)


@pytest.mark.parametrize("user", ["app", "monitor", "backup", "host"])
def test_a_client_can_ask_a_sentinel_and_change_nothing(formed: Containers, user: str) -> None:
    asked = commands("PING; SENTINEL MASTERS; SENTINEL MYID")
    asked += [("SENTINEL", command, formed.name) for command in DISCOVERY]
    if user != "host":
        asked += commands("INFO; ROLE; HELLO 2; CLIENT SETNAME x; CLIENT SETINFO LIB-NAME x; CLIENT ID")
    for sentinel in formed.sentinels:
        assert refused(formed, sentinel, user, asked) == []
        assert refused(formed, sentinel, user, CHANGES) == CHANGES


def test_the_application_hears_of_a_new_primary(formed: Containers) -> None:
    with formed.client(formed.sentinels[0], "app") as client:
        subscription: Any = client.pubsub(  # type: ignore[no-untyped-call]
        )
        subscription.subscribe("+switch-master")
        message: Any = wait_until(lambda: subscription.get_message(timeout=1), "the subscription")
        subscription.close()

    assert message["type"] == "subscribe"


def test_only_the_users_of_a_sentinels_job_can_log_in_to_it(formed: Containers) -> None:
    with pytest.raises(redis.AuthenticationError):
        formed.ask(formed.sentinels[0], "PING", user="replication")
