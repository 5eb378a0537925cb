#!/bin/sh
# Gives a node that has just started its place again, without Pulumi: follows the primary that a majority of the Sentinels
# names, or goes on as that primary when its data are known to be the newest. Ends when the node is in sync (or primary).
# Argument: what start.sh found on the data volume: complete, partial, nothing, or ephemeral (nothing, and the settings ask
# for no persistence).
set -u
config=/etc/redis-production
loaded=$1
. "$config/node.env" # NODE_HOST, NODE_PORT, MASTER_NAME, SENTINELS
. "$config/ask.sh"

say() { printf 'rejoin: %s\n' "$*"; }
field() { printf '%s\n' "$replication" | sed -n "s/^$1://p"; }

# Every Sentinel's answer as "address number-of-Sentinels flags", one line each; Sentinels that the named ones know count too.
votes() {
  asked=' '
  waiting=$SENTINELS
  while [ -n "$waiting" ]; do
    more=
    for sentinel in $waiting; do
      case $asked in *" $sentinel "*) continue ;; esac
      asked="$asked$sentinel "
      answer=$(printf 'SENTINEL MASTER %s\n' "$MASTER_NAME" | ask "${sentinel%:*}" "${sentinel##*:}" |
        awk 'NR % 2 { key = $0; next } { value[key] = $0 }
             END { if ("ip" in value) print value["ip"] ":" value["port"], value["num-other-sentinels"] + 1, value["flags"] }')
      [ -n "$answer" ] || continue
      printf '%s\n' "$answer"
      more="$more $(printf 'SENTINEL SENTINELS %s\n' "$MASTER_NAME" | ask "${sentinel%:*}" "${sentinel##*:}" |
        awk '$0 == "ip" { getline ip } $0 == "port" { getline port; print ip ":" port }' | tr '\n' ' ')"
    done
    waiting=$(printf '%s' "$more" | tr -s ' ' '\n' | sort -u | grep -v '^$' | while read -r sentinel; do
      case $asked in *" $sentinel "*) ;; *) printf '%s ' "$sentinel" ;; esac
    done)
  done
}

# The address that a majority of all Sentinels names, or nothing; nothing while a failover is going on.
primary_by_majority() {
  votes | awk -v total="$(printf '%s\n' $SENTINELS | wc -l)" '
    $3 ~ /failover/ { busy = 1 } { count[$1]++; if ($2 > total) total = $2 }
    END { if (!busy) for (address in count) if (count[address] * 2 > total) print address }'
}

# Whether every other node that a majority of the Sentinels knows answers and has just started too, so that none can have
# newer data. The nodes are asked themselves: what a Sentinel knows of them is up to 10 s old.
no_other_has_newer_data() {
  asked=0 answered=0 others=
  for sentinel in $SENTINELS; do
    asked=$((asked + 1))
    answer=$(printf 'SENTINEL REPLICAS %s\nPING\n' "$MASTER_NAME" | ask "${sentinel%:*}" "${sentinel##*:}")
    case $answer in
      ERR* | NOAUTH* | WRONGPASS*) ;;
      *PONG)
        answered=$((answered + 1))
        others="$others $(printf '%s\n' "$answer" |
          awk '$0 == "ip" { getline ip } $0 == "port" { getline port; print ip ":" port }' | tr '\n' ' ')"
        ;;
    esac
  done
  [ $((answered * 2)) -gt "$asked" ] || return 1
  for other in $(printf '%s' "$others" | tr -s ' ' '\n' | sort -u); do
    [ "$other" != "$NODE_HOST:$NODE_PORT" ] || continue
    echo INFO replication | ask "${other%:*}" "${other##*:}" | grep -q '^slave_priority:0$' || return 1
  done
}

is_primary() { echo INFO replication | ask "${1%:*}" "${1##*:}" | grep -q '^role:master$'; }

may_go_on_as_primary() {
  case $loaded in
    complete) return 0 ;;
    nothing) return 1 ;; # its data are lost: the others' must win
    *) no_other_has_newer_data ;;
  esac
}

finish() { # the node has its place: it may serve, and be promoted
  prove replica-priority 100
  say "$1"
  exit 0
}

told=no pause=0.5 rounds=0
while :; do
  sleep "$pause"
  rounds=$((rounds + 1))
  [ $rounds -lt 60 ] || pause=2 # it is not over in a moment: leave the machine to others
  replication=$(redis INFO replication)
  [ -n "$replication" ] || continue
  [ "$(field role)" != master ] || finish "$NODE_HOST:$NODE_PORT is the primary"
  [ "$(field master_link_status)" != up ] || finish "in sync with $(field master_host):$(field master_port)"
  following="$(field master_host):$(field master_port)"
  [ "$following" != 127.0.0.1:2 ] || exit 0 # retired: it is being removed
  [ "$(redis PING)" != "LOADING Redis is loading the dataset in memory" ] || continue
  primary=$(primary_by_majority)
  if [ -z "$primary" ] || [ "$primary" = "$following" ]; then
    continue
  elif [ "$primary" != "$NODE_HOST:$NODE_PORT" ]; then
    is_primary "$primary" || continue # until it is, Redis would try again and again without a pause
    say "the Sentinels name $primary: following it"
    redis REPLICAOF "${primary%:*}" "${primary##*:}" >/dev/null
  elif [ "$following" = 127.0.0.1:1 ]; then
    if may_go_on_as_primary; then
      say "the Sentinels name this node, and no other can have newer data: going on as the primary"
      redis REPLICAOF NO ONE >/dev/null
    elif [ $told = no ]; then
      told=yes
      say "the Sentinels name this node, but its data ($loaded) may not be the newest: waiting for a failover"
    fi
  fi
done
