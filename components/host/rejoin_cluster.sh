#!/bin/sh
# Gives a node of a Redis Cluster that has just started its links again, without Pulumi. Ends when every member is linked and the
# node is proven: a replica in sync, or a primary with slots.
set -u
config=/etc/redis-production
. "$config/node.env" # NODE_HOST, NODE_PORT
. "$config/ask.sh"
. "$config/members.sh"
say() { printf 'rejoin: %s\n' "$*"; }

# Whether the node holds the deployment's data. As a primary it does: it started as one only because its data are the newest
# (wait.sh), or got its slots since.
holds_data() {
  case $(printf '%s\n' "$nodes" | awk '$3 ~ /myself/ { print ($3 ~ /slave/ ? "replica" : ($9 ~ /^[0-9]/ ? "primary" : "")) }') in
    primary) return 0 ;;
    replica) redis INFO replication | grep -q '^master_link_status:up$' ;;
    *) return 1 ;;
  esac
}

# A member that is not linked, and whose host name says another address than the one known. A node that answers there is
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
  if [ $proven = no ] && holds_data; then
    prove
    rm -f /data/found
    proven=yes
    say "$NODE_HOST:$NODE_PORT holds the data of its place"
  fi
  missing=0
  while read -r id host port bus address _ link _; do
    [ "$link" = disconnected ] || continue
    missing=$((missing + 1))
    meet "$id" "$host" "$port" "$bus" "$address"
  done <<EOF
$(printf '%s\n' "$nodes" | members)
EOF
  [ $proven = no ] || [ $missing -gt 0 ] || exit 0
done
