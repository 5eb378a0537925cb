#!/bin/sh
# Runs once, when an instance first boots: installs what its image lacks, and starts the node's units. An image that has it all
# needs no package mirror.
set -eu
. /usr/local/lib/redis-production/host.env # NODE, REGION, DNS_SUFFIX, SSM_AGENT
FOR_BACKUPS="python3-async-timeout python3-cryptography python3-zstandard"
fail() {
  echo "redis-production: $NODE cannot start: $*" >&2
  exit 1
}
has() { command -v "$1" >/dev/null 2>&1; }
lacks() { # whether anything is missing
  missing=
  has redis-server && has redis-cli || missing="$missing redis"
  has python3 && python3 -c 'import boto3' 2>/dev/null || missing="$missing boto3"
  [ "$SSM_AGENT" = no ] || has amazon-ssm-agent || missing="$missing amazon-ssm-agent"
  [ -n "$missing" ]
}
install_on_debian() {
  export DEBIAN_FRONTEND=noninteractive
  apt-get -qq update
  apt-get -qq -y --no-install-recommends install redis-server redis-tools python3-boto3 $FOR_BACKUPS ca-certificates
  [ "$SSM_AGENT" = no ] || has amazon-ssm-agent || {
    deb=/var/tmp/amazon-ssm-agent.deb
    url=https://s3.$REGION.$DNS_SUFFIX/amazon-ssm-$REGION/latest/debian_$(dpkg --print-architecture)/amazon-ssm-agent.deb
    python3 -c 'import sys, urllib.request; urllib.request.urlretrieve(*sys.argv[1:])' "$url" "$deb"
    dpkg -i "$deb" && rm "$deb"
  }
}
install_on_amazon_linux() { dnf -q -y install redis python3-boto3 amazon-ssm-agent; }

# The image's own units would start servers of their own, on ports that are open. And nobody logs in.
for unit in redis-server.service redis-sentinel.service redis.service; do
  systemctl -q disable --now $unit 2>/dev/null || true
  systemctl -q mask $unit 2>/dev/null || true
done
for unit in ssh.socket ssh.service sshd.service; do systemctl -q disable --now $unit 2>/dev/null || true; done

attempts=0
while lacks; do
  attempts=$((attempts + 1))
  [ $attempts -le 5 ] ||
    fail "no$missing in the image, and it cannot be installed; give the network a way to the package mirror (nat), or use an image that has it (ami-id)"
  [ $attempts -eq 1 ] || sleep 10
  if has apt-get; then (install_on_debian) || true; elif has dnf; then (install_on_amazon_linux) || true; fi
done
version=$(redis-server --version | sed -n 's/.* v=\([0-9]*\)\..*/\1/p')
[ "${version:-0}" -ge 7 ] || fail "the image has Redis ${version:-of an unknown version}, but 7 or later is needed; use another image (ami-id)"

systemctl daemon-reload
[ "$SSM_AGENT" = no ] || systemctl -q enable --now amazon-ssm-agent.service ||
  echo "redis-production: amazon-ssm-agent cannot be started; formation cannot use $NODE" >&2
for unit in kernel data files; do systemctl -q enable redis-production-$unit.service; done
systemctl -q enable redis-production.service
systemctl -q enable --now redis-production-files.timer redis-production-watch.timer
# The server starts when its files are there (files.py) and its volume is mounted.
systemctl --no-block start redis-production-kernel.service redis-production-files.service

# Nor does it wait for what only backups need.
can_back_up() { python3 -c 'import sys, cryptography, zstandard; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }
can_back_up || { has apt-get && apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq -y install $FOR_BACKUPS; } ||
  echo "redis-production: $NODE takes no backups: the image has no Python 3.11 with cryptography and zstandard" >&2
