# What a node's data volume holds and what of it the next run goes on with. Sourced in the data folder by start.sh and
# start_cluster.sh, which know where the deployed files are ($config).

# How the last run kept its data, as far as CONFIG REWRITE noted it; nothing on a new volume.
touch node.conf
appendonly_before=$(sed -n 's/^appendonly //p' node.conf)
appendfsync_before=$(sed -n 's/^appendfsync //p' node.conf)

# A file of the data volume goes on with what was changed live, as long as it comes from the same seed.
seed=$(cat "$config/live.conf" "$config/users.acl" "$config/redis.conf" | sha256sum | cut -d ' ' -f 1)
kept=node.conf
if [ "$(cat seed 2>/dev/null || true)" != "$seed" ]; then
  rm -f users.acl
  kept=/dev/null
fi
[ -s users.acl ] || { cp "$config/users.acl" users.acl.new && mv users.acl.new users.acl; }

# Where the data are ($appendonly), and what the scripts that give the node its place have to know about them ($loaded:
# complete, partial, nothing, or ephemeral: nothing, and the settings ask for no persistence). Redis reads one of its two files
# only, and starts empty when that one is missing: the one to read is the one that was kept last, not the one that the settings
# ask for from now on. While an append-only file is turned on it is not complete before its first rewrite is; until then Redis
# writes to a temporary one (Redis source, aof.c: temp-appendonly.aof.incr).
find_data() { # unproven, if nobody has proven the node since the last start
  appendonly=$(sed -n 's/^appendonly //p' "$config/live.conf")
  manifest=appendonlydir/appendonly.aof.manifest
  if [ -s "$manifest" ] && [ "$appendonly_before" != no ] && [ ! -e appendonlydir/temp-appendonly.aof.incr ]; then
    appendonly=yes
    loaded=partial
    if [ "$appendfsync_before" = always ] || [ "$(cat boot 2>/dev/null || true)" = "$(cat /proc/sys/kernel/random/boot_id)" ]; then
      # Every write reached the kernel before it was replicated, and the kernel has not restarted since. (With everysec and a
      # disk that hangs, the last 2 s may be missing: what that setting allows.)
      loaded=complete
    fi
  elif [ -s dump.rdb ]; then
    appendonly=no # turned on when the snapshot is loaded and the node is proven
    loaded=partial
  elif [ -s "$manifest" ]; then
    appendonly=yes
    loaded=partial
  elif grep -qE '^(appendonly yes|save "?[0-9])' "$config/live.conf"; then
    loaded=nothing
  else
    loaded=ephemeral
  fi
  # What the last start found still holds if nobody has proven the node since: what Redis wrote meanwhile (an append-only file
  # of no data, for one) is no better.
  if [ "$1" = unproven ]; then
    case $(cat found 2>/dev/null || true) in
      nothing) loaded=nothing ;;
      ephemeral) loaded=ephemeral ;;
      partial) [ $loaded != complete ] || loaded=partial ;;
    esac
  fi
  echo $loaded >found.new && mv found.new found && sync found .
}

# The live settings: as CONFIG REWRITE left them, else as deployed; then what is given.
write_node_conf() { # lines of the configuration
  {
    awk 'FILENAME == ARGV[1] { deployed[$1]; next } $1 in deployed && $1 != "appendonly"' "$config/live.conf" "$kept"
    awk 'FILENAME == ARGV[1] { kept[$1]; next } !($1 in kept) && $1 != "appendonly"' "$kept" "$config/live.conf"
    # After them: of several `save` lines that follow an include, Redis keeps only one.
    printf 'include %s/redis.conf\n' "$config"
    printf '%s\n' "appendonly $appendonly" "$@"
  } >node.conf.new
  mv node.conf.new node.conf
  printf '%s\n' "$seed" >seed.new && mv seed.new seed
}
