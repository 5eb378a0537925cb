#!/bin/sh
# Kernel settings that Redis wants (Redis documentation: "Redis administration"): snapshots must be able to fork however much memory
# is in use, huge pages make a fork's copies large and slow, and many clients may connect at once. Redis runs without them too.
failed=0
put() { # value, file
  echo "$1" 2>/dev/null >"$2" || { failed=1 && echo "$2 cannot be set to $1"; }
}
put never /sys/kernel/mm/transparent_hugepage/enabled
put 1 /proc/sys/vm/overcommit_memory
put 1 /proc/sys/vm/swappiness
put 65535 /proc/sys/net/core/somaxconn
put 65535 /proc/sys/net/ipv4/tcp_max_syn_backlog
exit $failed
