# What a node of a Redis Cluster knows of the others. Sourced in the data folder by the cluster's scripts.

# Every other member that has a host name, as "id host port bus-port address primary heard slots": primary is the id of the
# primary that a replica has, else "-"; heard is yes if it is linked and has answered since this node started; slots is yes or no.
members() { # CLUSTER NODES or nodes.conf on standard input
  awk 'NF < 8 || $3 ~ /myself|handshake/ { next }
    split($2, part, ",") < 2 || part[2] == "" { next }
    {
      last = split(part[1], piece, /[:@]/)
      address = substr(part[1], 1, length(part[1]) - length(piece[last - 1] piece[last]) - 2)
      if (address == "") address = "-"
      port = piece[last - 1]
      if (match($2, /,tls-port=[0-9]+/)) port = substr($2, RSTART + 10, RLENGTH - 10) # nodes.conf says it there
      print $1, part[2], port, piece[last], address, $4, ($6 > 0 && $8 == "connected" ? "yes" : "no"), ($9 ~ /^[0-9]/ ? "yes" : "no")
    }'
}

resolve() { timeout 3 getent ahosts "$1" | awk '{ print $1; exit }'; } # host

primaries() { awk 'NF >= 9 && $9 ~ /^[0-9]/' | wc -l; } # how many own slots; CLUSTER NODES or nodes.conf on standard input
