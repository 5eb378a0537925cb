#!/bin/sh
# Starts a Sentinel. What it learnt (monitored primary, epochs, other Sentinels) stays in its data volume; addresses, access
# and certificates come from the deployed file, which it includes.
set -eu
umask 077
config=/etc/redis-production
cd /data
touch sentinel.conf
{
  printf 'include %s/sentinel.conf\n' "$config"
  grep -E '^sentinel (myid|monitor|auth-user|auth-pass|down-after-milliseconds|parallel-syncs|failover-timeout|config-epoch|leader-epoch|current-epoch|known-replica|known-sentinel) ' sentinel.conf || true
} >sentinel.conf.new
mv sentinel.conf.new sentinel.conf
exec redis-server /data/sentinel.conf --sentinel
