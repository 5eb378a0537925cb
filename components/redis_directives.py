"""What Redis 8.0 knows of redis.conf: which directives exist, which can be changed live, which belong to the component.

The tables were read off a running Redis 8.0.2: every name of ``CONFIG GET *``, whether ``CONFIG SET`` accepts it, and
every name of ``COMMAND LIST`` (Redis documentation: "CONFIG SET"). They decide at preview whether a pass-through
directive exists at all, and whether a change of it is applied live or needs a restart.
"""

from __future__ import annotations

RESTART_DIRECTIVES = frozenset(
    """
    always-show-logo aof-rewrite-cpulist bgsave-cpulist bio-cpulist databases disable-thp enable-debug-command
    enable-module-command enable-protected-configs io-threads rdbchecksum server-cpulist set-proc-title socket-mark-id
    syslog-enabled syslog-facility syslog-ident tcp-backlog
    """.split()
)
"""Directives that Redis reads only when it starts: a change replaces the node, one node at a time."""

LIVE_DIRECTIVES = frozenset(
    """
    acllog-max-len active-defrag-cycle-max active-defrag-cycle-min active-defrag-ignore-bytes
    active-defrag-max-scan-fields active-defrag-threshold-lower active-defrag-threshold-upper active-expire-effort
    activedefrag activerehashing aof-load-truncated aof-rewrite-incremental-fsync aof-timestamp-enabled
    aof-use-rdb-preamble appendfsync appendonly auto-aof-rewrite-min-size auto-aof-rewrite-percentage
    busy-reply-threshold client-output-buffer-limit client-query-buffer-limit cluster-allow-pubsubshard-when-down
    cluster-allow-reads-when-down cluster-allow-replica-migration cluster-compatibility-sample-ratio
    cluster-link-sendbuf-limit cluster-migration-barrier cluster-node-timeout cluster-replica-validity-factor
    cluster-require-full-coverage crash-log-enabled crash-memcheck-enabled dynamic-hz hash-max-listpack-entries
    hash-max-listpack-value hide-user-data-from-log hll-sparse-max-bytes hz jemalloc-bg-thread
    latency-monitor-threshold latency-tracking latency-tracking-info-percentiles lazyfree-lazy-eviction
    lazyfree-lazy-expire lazyfree-lazy-server-del lazyfree-lazy-user-del lazyfree-lazy-user-flush lfu-decay-time
    lfu-log-factor list-compress-depth list-max-listpack-size locale-collate loglevel lua-time-limit
    max-new-connections-per-cycle max-new-tls-connections-per-cycle maxclients maxmemory maxmemory-clients
    maxmemory-eviction-tenacity maxmemory-policy maxmemory-samples min-replicas-max-lag min-replicas-to-write
    no-appendfsync-on-rewrite notify-keyspace-events oom-score-adj oom-score-adj-values propagation-error-behavior
    proto-max-bulk-len rdb-del-sync-files rdb-save-incremental-fsync rdbcompression repl-backlog-size repl-backlog-ttl
    repl-disable-tcp-nodelay repl-diskless-load repl-diskless-sync repl-diskless-sync-delay
    repl-diskless-sync-max-replicas repl-ping-replica-period repl-timeout replica-full-sync-buffer-limit
    replica-ignore-disk-write-errors replica-ignore-maxmemory replica-lazy-flush sanitize-dump-payload save
    set-max-intset-entries set-max-listpack-entries set-max-listpack-value shutdown-timeout slowlog-log-slower-than
    slowlog-max-len stop-writes-on-bgsave-error stream-node-max-bytes stream-node-max-entries tcp-keepalive timeout
    tls-ciphers tls-ciphersuites tls-prefer-server-ciphers tls-protocols tls-session-cache-size
    tls-session-cache-timeout tls-session-caching tracking-table-max-keys zset-max-listpack-entries
    zset-max-listpack-value
    """.split()
)
"""Directives that ``CONFIG SET`` changes on a running server."""

GUARDED_DIRECTIVES = frozenset(
    """
    acl-pubsub-default aclfile appenddirname appendfilename bind bind-source-addr cluster-announce-bus-port
    cluster-announce-hostname cluster-announce-human-nodename cluster-announce-ip cluster-announce-port
    cluster-announce-tls-port cluster-config-file cluster-enabled cluster-port cluster-preferred-endpoint-type
    cluster-replica-no-failover cluster-slave-no-failover cluster-slave-validity-factor daemonize dbfilename dir
    include loadmodule logfile masterauth masteruser pidfile port proc-title-template protected-mode rename-command
    replica-announce-ip replica-announce-port replica-announced replica-priority replica-read-only
    replica-serve-stale-data replicaof requirepass shutdown-on-sigint shutdown-on-sigterm slave-announce-ip
    slave-announce-port slave-priority slave-read-only slave-serve-stale-data slaveof supervised tls-auth-clients
    tls-ca-cert-dir tls-ca-cert-file tls-cert-file tls-client-cert-file tls-client-key-file tls-client-key-file-pass
    tls-cluster tls-dh-params-file tls-key-file tls-key-file-pass tls-port tls-replication unixsocket unixsocketperm
    user ignore-warnings
    """.split()
)
"""Directives that carry the component's safety (roles, addresses, access, files): a pass-through may not set them."""

DIRECTIVES_WITH_A_SETTING = {
    "maxmemory": "maxmemory",
    "maxmemory-policy": "maxmemory-policy",
    "maxclients": "maxclients",
    "save": "save-points",
    "appendonly": "persistence",
    "appendfsync": "appendfsync",
    "slowlog-log-slower-than": "slowlog-log-slower-than",
    "slowlog-max-len": "slowlog-max-len",
    "min-replicas-to-write": "min-replicas-to-write",
    "min-replicas-max-lag": "min-replicas-max-lag",
}
"""Directives that have a setting of their own, by directive: one place for each value."""

BOOLEAN_DIRECTIVES = frozenset(
    """
    activedefrag activerehashing always-show-logo aof-load-truncated aof-rewrite-incremental-fsync
    aof-timestamp-enabled aof-use-rdb-preamble cluster-allow-pubsubshard-when-down cluster-allow-reads-when-down
    cluster-allow-replica-migration cluster-require-full-coverage crash-log-enabled crash-memcheck-enabled disable-thp
    dynamic-hz hide-user-data-from-log jemalloc-bg-thread latency-tracking lazyfree-lazy-eviction lazyfree-lazy-expire
    lazyfree-lazy-server-del lazyfree-lazy-user-del no-appendfsync-on-rewrite rdb-del-sync-files
    rdb-save-incremental-fsync rdbchecksum rdbcompression repl-disable-tcp-nodelay repl-diskless-sync
    replica-ignore-disk-write-errors replica-ignore-maxmemory replica-lazy-flush set-proc-title
    stop-writes-on-bgsave-error syslog-enabled tls-prefer-server-ciphers tls-session-caching
    """.split()
)
"""Directives whose value is ``yes`` or ``no``."""

INTEGER_DIRECTIVES = frozenset(
    """
    acllog-max-len active-defrag-cycle-max active-defrag-cycle-min active-defrag-max-scan-fields
    active-defrag-threshold-lower active-defrag-threshold-upper active-expire-effort auto-aof-rewrite-percentage
    busy-reply-threshold cluster-migration-barrier cluster-node-timeout cluster-replica-validity-factor databases
    hash-max-listpack-entries hash-max-listpack-value hz io-threads latency-monitor-threshold lfu-decay-time
    lfu-log-factor list-compress-depth lua-time-limit maxmemory-eviction-tenacity maxmemory-samples repl-backlog-ttl
    repl-diskless-sync-delay repl-diskless-sync-max-replicas repl-ping-replica-period repl-timeout
    set-max-intset-entries set-max-listpack-entries set-max-listpack-value shutdown-timeout tcp-backlog tcp-keepalive
    timeout tls-session-cache-size tls-session-cache-timeout tracking-table-max-keys zset-max-listpack-entries
    zset-max-listpack-value
    """.split()
)
"""Directives whose value is a whole number."""

MEMORY_DIRECTIVES = frozenset(
    """
    active-defrag-ignore-bytes auto-aof-rewrite-min-size client-query-buffer-limit cluster-link-sendbuf-limit
    proto-max-bulk-len repl-backlog-size replica-full-sync-buffer-limit stream-node-max-bytes
    """.split()
)
"""Directives whose value is a number of bytes, with or without a unit (``kb``, ``mb``, ``gb``)."""

COMMANDS_THE_COMPONENT_NEEDS = frozenset(
    """
    acl auth bgrewriteaof bgsave client cluster config dbsize exec failover hello info lastsave multi ping psync
    publish readonly replconf replicaof role script select slaveof subscribe sync
    """.split()
)
"""Commands that formation, replication and Sentinel send: renaming one would break them."""

COMMANDS_THE_CLUSTER_NEEDS = frozenset(
    """
    asking del dump exists memory migrate readwrite reset restore restore-asking scan unlink wait
    """.split()
)
"""What a cluster needs beside them: MIGRATE sends RESTORE-ASKING, clients ask for slots that are on the move."""

CLUSTER_DIRECTIVES = {
    "cluster-allow-replica-migration": "is guarded by the component (a node stays in its shard)",
    "cluster-migration-barrier": "has no effect, because a node stays in its shard",
    "databases": "has no effect, because a cluster has one database",
}
"""Directives that a node of a cluster may not pass through, and why."""

REDIS_COMMANDS = frozenset(
    """
    acl append asking auth bgrewriteaof bgsave bitcount bitfield bitfield_ro bitop bitpos blmove blmpop blpop brpop
    brpoplpush bzmpop bzpopmax bzpopmin client cluster command config copy dbsize debug decr decrby del discard dump
    echo eval eval_ro evalsha evalsha_ro exec exists expire expireat expiretime failover fcall fcall_ro flushall
    flushdb function geoadd geodist geohash geopos georadius georadius_ro georadiusbymember georadiusbymember_ro
    geosearch geosearchstore get getbit getdel getex getrange getset hdel hello hexists hexpire hexpireat hexpiretime
    hget hgetall hgetdel hgetex hincrby hincrbyfloat hkeys hlen hmget hmset hpersist hpexpire hpexpireat hpexpiretime
    hpttl hrandfield hscan hset hsetex hsetnx hstrlen httl hvals incr incrby incrbyfloat info keys lastsave latency
    lcs lindex linsert llen lmove lmpop lolwut lpop lpos lpush lpushx lrange lrem lset ltrim memory mget migrate
    module monitor move mset msetnx multi object persist pexpire pexpireat pexpiretime pfadd pfcount pfdebug pfmerge
    pfselftest ping psetex psubscribe psync pttl publish pubsub punsubscribe quit randomkey readonly readwrite rename
    renamenx replconf replicaof reset restore restore-asking role rpop rpoplpush rpush rpushx sadd save scan scard
    script sdiff sdiffstore select set setbit setex setnx setrange shutdown sinter sintercard sinterstore sismember
    slaveof slowlog smembers smismember smove sort sort_ro spop spublish srandmember srem sscan ssubscribe strlen
    subscribe substr sunion sunionstore sunsubscribe swapdb sync time touch ttl type unlink unsubscribe unwatch wait
    waitaof watch xack xadd xautoclaim xclaim xdel xgroup xinfo xlen xpending xrange xread xreadgroup xrevrange
    xsetid xtrim zadd zcard zcount zdiff zdiffstore zincrby zinter zintercard zinterstore zlexcount zmpop zmscore
    zpopmax zpopmin zrandmember zrange zrangebylex zrangebyscore zrangestore zrank zrem zremrangebylex
    zremrangebyrank zremrangebyscore zrevrange zrevrangebylex zrevrangebyscore zrevrank zscan zscore zunion
    zunionstore
    """.split()
)
"""Every command of the server itself, as ``COMMAND LIST`` names them: what ``rename-command`` may rename."""
