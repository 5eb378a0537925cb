#!/usr/bin/env bash
# What a practised operator's script does with docker run and redis-cli: three Redis servers and three Sentinels on a network
# and volumes of their own, ports on loopback, the same persistence. Everything that can go side by side does, nothing sleeps
# longer than a moment, and full syncs start at once (Redis's default waits 5 s). No ACLs, no hardening; in plain text, or
# TLS with one certificate for all: as fast as it gets.
# Ends when the replicas are in sync and the Sentinels know each other, agree and confirm the quorum.
# Arguments: name (also the label of all it makes), image, first Redis port, first Sentinel port, down-after and
# failover-timeout in milliseconds, and for TLS a folder for the certificate.
# Prints "containers" when docker run has returned for all of them, and "formed" at the end.
set -euo pipefail
name=$1 image=$2 port=$3 sentinel_port=$4 down_after=$5 failover_timeout=$6 tls_folder=${7:-}
nodes='0 1 2'

# With ndots:1 the engine answers for names without a dot itself: asking for a stopped node must not block a Sentinel.
run() { # container, port, memory, command...
  local container=$1 port=$2 memory=$3
  shift 3
  docker run --detach --name "$container" --hostname "$container" --label "bench=$name" --network "$name" \
    --dns-opt ndots:1 --publish "127.0.0.1:$port:$port" --volume "$container-data:/data" --user 999:999 \
    --memory "$memory" --restart unless-stopped $mount "$image" "$@" >/dev/null
}
mount='' client=''
listen() { echo "port $1"; }
if [ -n "$tls_folder" ]; then
  mount="--volume $tls_folder:/tls:ro" client='--tls --cacert /tls/tls.crt'
  listen() {
    echo "port 0
tls-port $1
tls-cert-file /tls/tls.crt
tls-key-file /tls/tls.key
tls-ca-cert-file /tls/tls.crt
tls-auth-clients no
tls-replication yes"
  }
fi
if command -v redis-cli >/dev/null; then
  client=${client//\/tls\//$tls_folder/}
  ask() { redis-cli $client -p "$2" "${@:3}"; }
else
  ask() { docker exec -i "$1" redis-cli $client -p "$2" "${@:3}"; }
fi
redis() { ask "$name-redis-$1" $((port + $1)) "${@:2}"; }
sentinel() { ask "$name-sentinel-$1" $((sentinel_port + $1)) "${@:2}"; }
until_true() { until "$@" 2>/dev/null; do sleep 0.02; done; }
side_by_side() { # the command is run with each node's number at its end; fails when one fails
  local pids=() pid
  for node in $nodes; do
    "$@" "$node" &
    pids+=($!)
  done
  for pid in "${pids[@]}"; do wait "$pid"; done
}

run_server() { # container, port, memory, configuration, options...
  run "$1" "$2" "$3" sh -c "printf '%s\n' '$4' >/data/node.conf; exec redis-server /data/node.conf ${*:5}"
}
run_redis() {
  run_server "$name-redis-$1" $((port + $1)) 128m "$(listen $((port + $1)))
protected-mode no
dir /data
replica-announce-ip $name-redis-$1
appendonly yes
appendfsync everysec
save 900 1 300 10 60 10000
repl-diskless-sync-delay 0"
}
run_sentinel() {
  run_server "$name-sentinel-$1" $((sentinel_port + $1)) 64m "$(listen $((sentinel_port + $1)))
protected-mode no
sentinel resolve-hostnames yes
sentinel announce-hostnames yes
sentinel announce-ip $name-sentinel-$1" --sentinel
}
redis_answers() { [ "$(redis "$1" PING)" = PONG ]; }
sentinel_answers() { [ "$(sentinel "$1" PING)" = PONG ]; }
in_sync() { redis "$1" INFO replication | grep -q '^master_link_status:up'; }
follow() { # every node but the first
  [ "$1" = 0 ] || { redis "$1" REPLICAOF "$name-redis-0" "$port" >/dev/null && until_true in_sync "$1"; }
}
monitor() {
  {
    echo "SENTINEL MONITOR $name $name-redis-0 $port 2"
    echo "SENTINEL SET $name down-after-milliseconds $down_after failover-timeout $failover_timeout parallel-syncs 1"
  } | sentinel "$1" >/dev/null
}
agrees() {
  sentinel "$1" SENTINEL MASTER "$name" | paste - - |
    awk '$1 == "num-slaves" || $1 == "num-other-sentinels" { if ($2 == 2) right++ } END { exit right != 2 }' &&
    [[ $(sentinel "$1" SENTINEL CKQUORUM "$name") == OK* ]]
}

if [ -n "$tls_folder" ]; then
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 365 -subj "/CN=$name" \
    -addext 'subjectAltName=DNS:localhost,IP:127.0.0.1' -keyout "$tls_folder/tls.key" -out "$tls_folder/tls.crt" 2>/dev/null
  chmod 644 "$tls_folder/tls.key" # read by another user in the containers
fi
docker network create --label "bench=$name" "$name" >/dev/null
side_by_side run_redis &
redis_runs=$!
side_by_side run_sentinel
wait $redis_runs
echo containers
side_by_side until_true redis_answers
side_by_side follow
side_by_side until_true sentinel_answers
side_by_side monitor
side_by_side until_true agrees
echo formed
