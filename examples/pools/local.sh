#!/bin/sh
# Slaves of a pool as processes of this machine: to try pools out, and as a pattern for other tools (docs/pools.md).
#
#   [pool local]
#   provider = command
#   max_slaves = 2
#   start_command = /path/to/local.sh start
#   stop_command = /path/to/local.sh stop
#   list_command = /path/to/local.sh list
#
# Each slave has a directory below $POOL_DIRECTORY, where its token and what it prints are. $CLUSTERRUNNER is the program, and
# $SLAVE_OPTIONS what `clusterrunner slave` is given, for example `-c /etc/clusterrunner/slave.conf`.
set -eu
umask 077
directory=${POOL_DIRECTORY:-/var/tmp/clusterrunner-pool-$(id -u)}
program=${CLUSTERRUNNER:-clusterrunner}

# Whether the process that a slave was started as is still that slave.
is_there() {
    [ -s "$directory/$1/pid" ] || return 1
    grep -qz "^CLUSTERRUNNER_BASE_DIRECTORY=$directory/$1\$" "/proc/$(cat "$directory/$1/pid")/environ" 2>/dev/null
}

start() {
    # Prints the name, and writes the variables and the token.
    name=$(python3 -c '
import json, os, shlex, sys
order = json.load(sys.stdin)
place = os.path.join(sys.argv[1], order["name"])
os.makedirs(place)
with open(os.path.join(place, "join_token"), "w") as file:
    file.write(order["join_token"] + "\n")
with open(os.path.join(place, "environment"), "w") as file:
    for name, value in order["environment"].items():
        file.write("export %s=%s\n" % (name, shlex.quote(value)))
print(order["name"])
' "$directory")
    place=$directory/$name
    . "$place/environment"
    export CLUSTERRUNNER_BASE_DIRECTORY="$place" CLUSTERRUNNER_JOIN_TOKEN_FILE="$place/join_token"
    # shellcheck disable=SC2086
    setsid "$program" slave ${SLAVE_OPTIONS:-} </dev/null >"$place/output" 2>&1 &
    echo $! >"$place/pid"
}

stop() {
    python3 -c 'import json, sys
for slave in json.load(sys.stdin)["slaves"]: print(slave["name"])' | while read -r name; do
        if is_there "$name"; then
            kill -TERM "$(cat "$directory/$name/pid")"
            tries=0
            while is_there "$name" && [ $tries -lt 50 ]; do
                sleep 0.1
                tries=$((tries + 1))
            done
            if is_there "$name"; then kill -KILL "$(cat "$directory/$name/pid")"; fi
        fi
        rm -rf "${directory:?}/$name"
    done
}

list() {
    prefix=$(python3 -c 'import json, sys; print(json.load(sys.stdin)["prefix"])')
    comma=
    printf '{"slaves": ['
    for place in "$directory/$prefix"*; do
        name=${place##*/}
        # What has ended is not listed, and removed. What it printed stays until the next one has ended.
        if is_there "$name"; then
            printf '%s{"name": "%s", "id": "%s", "state": "running"}' "$comma" "$name" "$(cat "$place/pid")"
            comma=', '
        elif [ -s "$place/pid" ]; then
            mv "$place/output" "$directory/last_output"
            rm -rf "${place:?}"
        fi
    done
    printf ']}\n'
}

mkdir -p "$directory"
case ${1:-} in
start | stop | list) "$1" ;;
*)
    echo "usage: local.sh start|stop|list, with JSON on the standard input" >&2
    exit 2
    ;;
esac
