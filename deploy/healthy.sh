#!/bin/sh
# healthy.sh PID COMMAND...: a health check that also ends an unhealthy container. Compose restarts a container that has
# exited, but not one that is unhealthy. So after three consecutive failures of COMMAND, the children of PID are ended.
# PID is 1, the container's init, which then exits. Before the first success, ten failures are allowed for startup.
set -u
main=$1
shift
counter="${TMPDIR:-/tmp}/importer-failed-checks"
failed=$(cat "$counter" 2>/dev/null || echo -7)

children() {
    cat "/proc/$main/task/$main/children" 2>/dev/null
}

end() {
    echo "importer-healthy: ended, since its health check failed again and again" >&2
    for child in $(children); do kill -TERM "$child" 2>/dev/null; done
    for _ in 1 2 3 4 5; do
        [ -n "$(children)" ] || return
        sleep 1
    done
    for child in $(children); do kill -KILL "$child" 2>/dev/null; done
}

if [ "$failed" -ge 3 ]; then
    rm -f "$counter"
    end
    exit 1
fi
# Counted in advance, because a check that hangs is killed together with this script.
echo $((failed + 1)) >"$counter"
"$@" || exit 1
echo 0 >"$counter"
