#!/bin/sh
# Gives a node of a Redis Cluster that has just started its links again, without Pulumi, and lets it serve all it has once it is
# proven: as a replica in sync, or as a primary that a majority of the primaries knows as the owner of its slots. Ends when it is
# proven and has heard every member.
# Argument: min-replicas-to-write as it should be, if start.sh gave the node more than it can have, so that it accepts no write.
set -u
config=/etc/redis-production
write_replicas=$1
. "$config/node.env" # NODE_HOST, NODE_PORT
. "$config/ask.sh"
. "$config/members.sh"
say() { printf 'rejoin: %s\n' "$*"; }

# Whether a majority of the primaries, this one included, knows it as the owner of slots, and as well: as long as they take it
# for failed, its replica may be elected. Redis itself takes every member for reachable until one cluster-node-timeout has passed,
# and a primary that was replaced while it was away would accept writes that long.
is_confirmed() {
  own=$(printf '%s\n' "$nodes" | awk '$3 ~ /myself/ { print $1 }')
  agree=1
  while read -r id host port _ _ _ heard slots; do
    [ "$slots" = yes ] && [ "$heard" = yes ] || continue
    ! echo CLUSTER NODES | ask "$host" "$port" | grep -qE "^$own [^ ]+ master - ([^ ]+ ){4}[0-9]" || agree=$((agree + 1))
  done <<EOF
$(printf '%s\n' "$nodes" | members)
EOF
  [ $((agree * 2)) -gt "$(printf '%s\n' "$nodes" | primaries)" ]
}

is_proven() {
  case $(printf '%s\n' "$nodes" | awk '$3 ~ /myself/ { print ($3 ~ /slave/ ? "replica" : ($9 ~ /^[0-9]/ ? "primary" : "")) }') in
    primary) is_confirmed ;;
    replica) redis INFO replication | grep -q '^master_link_status:up$' ;;
    *) return 1 ;;
  esac
}

# A member that has not been heard, and whose host name says another address than the one known. A node that answers there is
# introduced (Redis then corrects the address of a node it knows) only if it is that member: it has a certificate of the
# deployment's authority and answers with the member's id, so that neither a stranger nor a node that has left is let in.
meet() { # id host port bus-port address
  address=$(resolve "$2")
  [ -n "$address" ] && [ "$address" != "$5" ] || return 0
  [ "$(echo CLUSTER MYID | ask "$address" "$3")" = "$1" ] || return 0
  say "$2 is now at $address, no longer at $5"
  redis CLUSTER MEET "$address" "$3" "$4" >/dev/null
}

proven=no pause=0.5 rounds=0
while :; do
  sleep "$pause"
  rounds=$((rounds + 1))
  [ $rounds -lt 60 ] || pause=5 # it is not over in a moment: leave the machine to others
  nodes=$(redis CLUSTER NODES)
  case $nodes in *myself*) ;; *) continue ;; esac # it does not answer yet
  if [ $proven = no ] && is_proven; then
    prove ${write_replicas:+min-replicas-to-write "$write_replicas"}
    rm -f /data/found
    proven=yes
    say "$NODE_HOST:$NODE_PORT is proven"
  fi
  missing=0
  while read -r id host port bus address _ heard _; do
    [ "$heard" = no ] || continue
    missing=$((missing + 1))
    meet "$id" "$host" "$port" "$bus" "$address"
  done <<EOF
$(printf '%s\n' "$nodes" | members)
EOF
  [ $proven = no ] || [ $missing -gt 0 ] || exit 0
done
