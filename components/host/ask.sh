# How a node's own scripts ask nodes. Sourced, after node.env, by scripts that know where the deployed files are ($config).

# Commands go through standard input, so that no password is on a command line.
auth=$(cat "$config/host.auth")
ask() { # host port, commands on standard input
  answer=$({ printf '%s\n' "$auth"; cat; } |
    timeout 3 redis-cli --tls --cacert "$config/tls/ca.crt" -h "$1" -p "$2" 2>/dev/null | tr -d '\r')
  printf '%s\n' "${answer#*OK
}"
}
redis() { printf '%s\n' "$*" | ask 127.0.0.1 "$NODE_PORT"; }

# The node holds the deployment's data: from now on its files count as they are found, and it may serve what it has. It is tried
# until Redis has noted it all: with an append-only file that is on, and not noted as such, the next start would read an old snapshot.
prove() { # further CONFIG SET parameters
  until { ! grep -q '^appendonly yes' "$config/live.conf" || does CONFIG SET appendonly yes; } &&
    does CONFIG SET replica-serve-stale-data yes "$@" && does CONFIG REWRITE; do
    sleep 0.5
  done
  cat /proc/sys/kernel/random/boot_id >/data/boot.new && mv /data/boot.new /data/boot
}
does() { [ "$(redis "$@")" = OK ]; }
