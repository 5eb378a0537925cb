#!/bin/sh
# Starts a Redis node. Whatever happened before, it starts unformed: a replica of nobody that Sentinel may not promote and
# that serves no stale data. rejoin.sh, Sentinel or formation give it its role. No role is remembered on disk.
set -eu
umask 077
config=/etc/redis-production
cd /data
. "$config/data.sh"

case $(sed -n 's/^replica-priority //p' node.conf) in
  '' | 0) find_data unproven ;;
  *) find_data proven ;;
esac
write_node_conf 'replicaof 127.0.0.1 1' 'replica-priority 0' 'replica-serve-stale-data no'

(/bin/sh "$config/rejoin.sh" "$loaded" &) # not Redis's child: Redis takes every child for its own
exec redis-server /data/node.conf
