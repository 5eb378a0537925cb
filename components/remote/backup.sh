program_of_backups=/etc/redis-production/backup.pyz
if [ ! -e "$program_of_backups" ]; then
    echo "it has nothing to take backups with; is \`backups\` true, and has \`pulumi up\` finished since?" >&2
    exit 1
fi
# As the node's own user, who may read the passwords of backups and write to the data volume.
as_redis="setpriv --reuid=redis --regid=redis --clear-groups --no-new-privs"
export HOME=/nonexistent
umask 077
cd /
$as_redis mkdir -p /data/backup
exec $as_redis python3 -I -c "$program" python3 "$@"
