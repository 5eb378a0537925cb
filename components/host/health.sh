#!/bin/sh
# Whether the server answers. A node that loads its data or waits for its primary is alive: restarting it would not help.
. /etc/redis-production/node.env
[ ! -e /data/waiting ] || exit 0 # it starts when others have had their say
answer=$({ cat /etc/redis-production/host.auth; echo PING; } |
  timeout 2 redis-cli --tls --cacert /etc/redis-production/tls/ca.crt -h 127.0.0.1 -p "$NODE_PORT" 2>&1 | grep . | tail -n 1)
case $answer in PONG* | LOADING* | MASTERDOWN* | BUSY*) ;; *) echo "$answer" && exit 1 ;; esac
