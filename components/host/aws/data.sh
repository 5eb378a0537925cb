#!/bin/sh
# Mounts the node's own data volume, which is found by its id; makes a file system on it only if it was never written to. With
# the argument grow: lets the file system have all of a volume that has grown.
set -eu
. /usr/local/lib/redis-production/host.env # VOLUME
device=/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_$(printf %s "$VOLUME" | tr -d -)
grow() {
  case $(findmnt -n -o FSTYPE /data) in
    ext4) resize2fs "$device" >/dev/null 2>&1 ;;
    xfs) xfs_growfs /data >/dev/null ;;
  esac
}
if [ "${1:-}" = grow ]; then
  grow
  exit
fi

waited=0
until [ -b "$device" ]; do
  [ $((waited % 60)) -ne 0 ] || echo "waiting for $VOLUME to be attached"
  waited=$((waited + 1))
  sleep 1
done
if ! mountpoint -q /data; then
  # A new volume reads as zeros; whatever has ever been on one (file system, partitions, ...) left something at its beginning.
  beginning=$(mktemp)
  head -c 1048576 "$device" >"$beginning"
  if [ "$(wc -c <"$beginning")" -eq 1048576 ] && [ "$(tr -d '\0' <"$beginning" | head -c 1 | wc -c)" -eq 0 ]; then
    echo "$VOLUME is new: making a file system"
    mkfs.ext4 -q -m 0 -L redis "$device"
  fi
  rm -f "$beginning"
  mkdir -p /data
  mount -o noatime,nodev,nosuid,noexec "$device" /data
fi
grow
chown redis:redis /data
chmod 0700 /data
