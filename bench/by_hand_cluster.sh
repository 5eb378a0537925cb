#!/usr/bin/env bash
# What a practised operator's script does with docker run and `redis-cli --cluster create`: six Redis servers on a network and
# volumes of their own, ports on loopback, the same persistence; three shards with a replica each. The containers start side by
# side, nothing sleeps longer than a moment. No ACLs, no hardening; in plain text, or TLS with one certificate for all.
# Ends when every node says that the cluster is well and every replica is in sync.
# Arguments: name (also the label of all it makes), image, first port, cluster-node-timeout in milliseconds, seconds that a primary
# waits before a full sync (Redis's default: 5), and for TLS a folder for the certificate.
# Prints "containers" when docker run has returned for all of them, and "formed" at the end.
set -euo pipefail
name=$1 image=$2 port=$3 node_timeout=$4 sync_delay=$5 tls_folder=${6:-}
nodes='0 1 2 3 4 5'

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
tls-replication yes
tls-cluster yes"
  }
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 365 -subj "/CN=$name" \
    -addext 'subjectAltName=DNS:localhost,IP:127.0.0.1' -keyout "$tls_folder/tls.key" -out "$tls_folder/tls.crt" 2>/dev/null
  chmod 644 "$tls_folder/tls.key" # read by another user in the containers
fi
inside() { docker exec -i "$name-redis-$1" redis-cli $client "${@:2}"; } # clients of a cluster must reach every node
if command -v redis-cli >/dev/null; then
  outside=${client//\/tls\//$tls_folder/}
  redis() { redis-cli $outside -p $((port + $1)) "${@:2}"; }
else
  redis() { inside "$1" -p $((port + $1)) "${@:2}"; }
fi
until_true() { until "$@" 2>/dev/null; do sleep 0.02; done; }
side_by_side() { # the command is run with each node's number at its end; fails when one fails
  local pids=() pid
  for node in $nodes; do
    "$@" "$node" &
    pids+=($!)
  done
  for pid in "${pids[@]}"; do wait "$pid"; done
}
run_redis() {
  local container=$name-redis-$1 at=$((port + $1))
  docker run --detach --name "$container" --hostname "$container" --label "bench=$name" --network "$name" \
    --publish "127.0.0.1:$at:$at" --volume "$container-data:/data" --user 999:999 --memory 128m \
    --restart unless-stopped $mount "$image" sh -c "printf '%s\n' '$(listen $at)
protected-mode no
dir /data
cluster-enabled yes
cluster-node-timeout $node_timeout
appendonly yes
appendfsync everysec
save 900 1 300 10 60 10000
repl-diskless-sync-delay $sync_delay' >/data/node.conf; exec redis-server /data/node.conf" >/dev/null
}
answers() { [ "$(redis "$1" PING)" = PONG ]; }
is_well() {
  redis "$1" CLUSTER INFO | tr -d '\r' | grep -qx 'cluster_state:ok' &&
    redis "$1" INFO replication | tr -d '\r' | grep -qxE 'master_link_status:up|connected_slaves:1'
}

docker network create --label "bench=$name" "$name" >/dev/null
side_by_side run_redis
echo containers
side_by_side until_true answers
addresses=$(docker inspect --format '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}' \
  $(for node in $nodes; do echo "$name-redis-$node"; done))
at=$port
members=$(for address in $addresses; do echo "$address:$at" && at=$((at + 1)); done)
inside 0 --cluster create $members --cluster-replicas 1 --cluster-yes >/dev/null
side_by_side until_true is_well
echo formed
