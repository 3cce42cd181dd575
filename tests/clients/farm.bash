# What the scripts beside have in common: they source this file. It makes a directory `$work`, which goes at the end with all
# that runs; `start_farm` starts a farm in there, of the program `$program`.

program=${CLUSTERRUNNER_PROGRAM:-$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)/target/debug/clusterrunner}
work=$(mktemp -d)
daemons=()
# How much was found as it should be; the scripts count.
# shellcheck disable=SC2034
checks=0

# What is shown of the farm where a script fails.
show_farm() {
    echo "Not as it should be. The end of the master's and the slave's output:" >&2
    tail -n 15 "$work"/*.log >&2 || true
}

end() {
    local code=$?
    for daemon in "${daemons[@]}"; do
        kill "$daemon" 2>/dev/null || true
    done
    wait
    if [ "$code" != 0 ]; then
        show_farm
    fi
    rm -rf "$work"
    exit "$code"
}
trap end EXIT

# free_ports NUMBER: so many ports of loopback that nobody listens on.
free_ports() {
    python3 -c '
import socket, sys
sockets = [socket.socket() for _ in range(int(sys.argv[1]))]
for one in sockets:
    one.bind(("127.0.0.1", 0))
print(*[one.getsockname()[1] for one in sockets])' "$1"
}

# start_farm: starts a master, on port $port or the usual one, and a slave, both on loopback, and waits until the master answers. Their settings
# but the secret and the address come from the input.
start_farm() {
    mkdir "$work/base"
    (
        umask 077
        {
            echo '[general]'
            echo "secret = 'a secret of this farm alone, $RANDOM$RANDOM$RANDOM'"
            echo 'bind_address = 127.0.0.1'
            cat
        } > "$work/base/clusterrunner.conf"
    )
    export CLUSTERRUNNER_BASE_DIRECTORY=$work/base LC_ALL=C.UTF-8 LANG=C.UTF-8
    "$program" master > "$work/master.log" 2>&1 &
    daemons+=($!)
    "$program" slave > "$work/slave.log" 2>&1 &
    daemons+=($!)
    curl --silent --output "$work/version" --retry 60 --retry-delay 1 --retry-connrefused \
        "http://127.0.0.1:${port:-43000}/v1/version"
}
