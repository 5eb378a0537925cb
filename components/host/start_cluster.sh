#!/bin/sh
# Starts a node of a Redis Cluster with the place that its own nodes.conf gives it, or, on a new volume, with none: then
# formation gives it one. A primary whose data may not be the newest first waits (wait.sh) until that is settled, and one that
# may have been replaced while it was away accepts no write before a majority says that it was not (rejoin.sh).
set -eu
umask 077
config=/etc/redis-production
cd /data
. "$config/node.env" # NODE_HOST, NODE_PORT
. "$config/data.sh"
. "$config/members.sh"

rm -f waiting
find_data unproven # what the last start found is gone if the node was proven since
if [ -s nodes.conf ]; then
  /bin/sh "$config/wait.sh" "$loaded"
  # Members may have other addresses than before, all of them at once; their host names stay. A name that is unknown now gets
  # an address to which no connection is ever made (Linux refuses broadcast at once): the old one may be somebody else's by now,
  # whose data a replica would copy. And nobody counts as failed, or as heard of, because of what was before this start.
  {
    echo "$NODE_HOST:$NODE_PORT $(resolve "$NODE_HOST")"
    members <nodes.conf | while read -r id host _; do echo "$id $(resolve "$host")"; done
  } >addresses
  awk 'FILENAME == ARGV[1] { address[$1] = $2; if (FNR == 1) own = $2; next }
    NF >= 8 && $3 ~ /myself/ { sub(/^.*:/, own ":", $2) }
    NF >= 8 && $1 in address {
      if ($3 !~ /noaddr/) sub(/^.*:/, (address[$1] ? address[$1] : "255.255.255.255") ":", $2)
      gsub(/,fail[?]?/, "", $3)
      $6 = 0
    }
    { print }' addresses nodes.conf >nodes.conf.new
  sync nodes.conf.new && mv nodes.conf.new nodes.conf
fi

# A node that knows no other has perhaps lost its data. Its replicas find it at its old address and would copy that it has none,
# so it waits this long before it sends them anything: formation ends that when it gives the node its place.
withheld=86400
if grep -qvE '^vars |myself' nodes.conf 2>/dev/null; then
  delay=$(sed -n 's/^repl-diskless-sync-delay //p' "$kept" "$config/live.conf" | grep -vx $withheld | head -n 1)
else
  delay=$withheld
fi

set -- 'replica-serve-stale-data no' "repl-diskless-sync-delay $delay"
locked=2147483647 # so many replicas nobody has
write_replicas=
if grep -qE '^[^ ]+ [^ ]+ myself,master ([^ ]+ ){5}[0-9]' nodes.conf 2>/dev/null; then
  write_replicas=$(sed -n 's/^min-replicas-to-write //p' "$kept" "$config/live.conf" | grep -vx $locked | head -n 1)
  set -- "$@" "min-replicas-to-write $locked"
fi
write_node_conf "$@"

(/bin/sh "$config/rejoin.sh" "$write_replicas" &) # not Redis's child: Redis takes every child for its own
exec redis-server /data/node.conf
