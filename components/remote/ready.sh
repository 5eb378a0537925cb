set -eu
# Until the host's first boot is over, packages and files are missing.
if command -v cloud-init >/dev/null; then
    outcome=0
    cloud-init status --wait >/dev/null 2>&1 || outcome=$?
    # 2 is a boot with warnings
    if [ "$outcome" -eq 1 ]; then
        echo "its first boot failed; the end of what cloud-init said:" >&2
        tail -n 15 /var/log/cloud-init-output.log >&2
        exit 1
    fi
fi
