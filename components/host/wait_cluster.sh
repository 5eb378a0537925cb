#!/bin/sh
# Before a node of a Redis Cluster starts: whether it may go on as the primary that it was. As long as it waits it does not
# serve, so that the cluster sees it as failed and a replica takes over its slots (Redis documentation: "Redis cluster
# specification", replica election). Ends when the node may start, be it as that replica's replica.
# Argument: what find_data (data.sh) found: complete, partial, nothing, or ephemeral.
set -u
config=/etc/redis-production
loaded=$1
cd /data
. "$config/node.env" # NODE_HOST, NODE_PORT
. "$config/ask.sh"
. "$config/members.sh"

told=
say() { # once
  [ "$told" = "$*" ] || printf 'wait: %s\n' "$*"
  told=$*
}
field() { printf '%s\n' "$view" | sed -n "s/^$1://p"; }
finish() {
  rm -f waiting
  say "$1"
  exit 0
}

# This node's id, configuration epoch and first slot, as it was when it last ran; a replica and a node without slots just start.
read -r own epoch slot <<EOF
$(awk '$3 ~ /myself/ && $3 ~ /master/ && $9 ~ /^[0-9]/ { split($9, slot, "-"); print $1, $7, slot[1] }' nodes.conf)
EOF
[ -n "$own" ] && [ "$loaded" != complete ] || exit 0
touch waiting # for health.sh
rm -f go-on   # made by an operator who knows that this node has the best data left

# When it wrote last: what a replica that was linked then does not have is not in this node's files either.
wrote=0
[ "$loaded" != partial ] || wrote=$(stat -c %Y dump.rdb appendonlydir/*.aof 2>/dev/null | sort -n | tail -n 1)
timeout=$(sed -n 's/^cluster-node-timeout //p' node.conf)
patience=$((${timeout:-15000} * 3 / 1000 + 10)) # seconds; a replica needs one timeout, and a second attempt two more

# The line of the node that owns the slot in a member's view, when that is newer than what this node knows.
successor() {
  printf '%s\n' "$view" | awk -v own="$own" -v epoch="$epoch" -v slot="$slot" '
    NF >= 9 && $1 != own && $7 > epoch + 0 {
      for (i = 9; i <= NF; i++) { split($i, range, "-"); if (range[1] <= slot + 0 && slot <= (range[2] "" ? range[2] : range[1]) + 0) print }
    }' | head -n 1
}

# From now on a replica of the node that a line of CLUSTER NODES describes.
follow() {
  printf '%s\n' "$1" | awk -v own="$own" '
    NR == FNR {
      primary = $1
      sub(/myself,/, "", $3)
      for (i = NF; $i ~ /^\[/; i--) NF-- # slots on their way are noted with the node that is asked
      print
      next
    }
    $1 == own { $3 = "myself,slave"; $4 = primary; NF = 8 }
    $1 != primary { print }' - nodes.conf >nodes.conf.new
  sync nodes.conf.new && mv nodes.conf.new nodes.conf
}

# Asks every member. What it finds: replicas that do not answer ($silent); of the others the one to hand over to, if any may have
# newer data ($best); whether one holds keys, as old as they may be ($holder); how many primaries answer, this one included ($answering).
look() {
  silent= best= best_offset=-1 holder= holder_offset=-1 answering=1
  while read -r id host port _ _ primary _ slots; do
    [ -n "$id" ] || continue
    view=$(printf 'CLUSTER MYID\nCLUSTER NODES\nINFO replication\nINFO keyspace\n' | ask "$host" "$port")
    case $(printf '%s\n' "$view" | head -n 1) in
      "$id") ;;
      *[!0-9a-f]* | '') # no answer, or not yet
        [ "$primary" != "$own" ] || silent="$silent $host:$port"
        continue
        ;;
      *) continue ;; # another node: the volume of this one was lost
    esac
    line=$(successor)
    if [ -n "$line" ]; then
      follow "$line"
      finish "another node has taken over: following $(printf '%s\n' "$line" | cut -d ' ' -f 2)"
    fi
    [ "$slots" = no ] || answering=$((answering + 1))
    printf '%s\n' "$view" | grep -q " myself,slave $own " || continue
    offset=$(field slave_repl_offset)
    if field db0 | grep -q . && [ "${offset:-0}" -gt "$holder_offset" ]; then
      holder="$host:$port" holder_offset=$offset
    fi
    # It never was linked since it started (-1), or no more when this node still wrote.
    down=$(field master_link_down_since_seconds)
    if [ "${down:--1}" -ge 0 ] && [ $(($(date +%s) - down + 1)) -ge "${wrote:-0}" ] && [ "${offset:-0}" -gt "$best_offset" ]; then
      best="$host:$port" best_offset=$offset
    fi
  done <<EOF
$(members <nodes.conf)
EOF
}

began=$(date +%s) pause=0.5
while :; do
  look
  waited=$(($(date +%s) - began))
  case $loaded in
    partial) heir=$best ;;
    *) heir=$holder ;;
  esac
  if [ -e go-on ]; then
    rm -f go-on
    finish "an operator says so: going on as the primary"
  elif [ -z "$heir$silent" ]; then
    finish "no replica can have newer data than this node ($loaded): going on as the primary"
  elif [ $waited -lt $patience ] || { [ -n "$heir" ] && [ -n "$silent" ]; }; then
    say "its data ($loaded) may not be the newest: waiting for a replica to take over (newer: ${heir:-none}; do not answer:${silent:- none})"
  elif [ -n "$heir" ]; then
    # No replica is elected, perhaps because too many primaries wait as this one does. All replicas answer, and none was elected
    # behind this node's back: so the slots are this node's to hand over.
    say "no replica has taken over in $waited s: handing over to $heir"
    echo CLUSTER FAILOVER TAKEOVER | ask "${heir%:*}" "${heir##*:}" >/dev/null
  elif [ "$loaded" = partial ] && [ $((answering * 2)) -gt "$(primaries <nodes.conf)" ]; then
    finish "not within $waited s:$silent; a majority of the primaries knows of no other owner: going on as the primary"
  else
    say "its data ($loaded) may not be the newest: waiting for$silent"
  fi
  [ $waited -lt 30 ] || pause=2 # it is not over in a moment: leave the machine to others
  sleep $pause
done
