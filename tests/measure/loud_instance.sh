#!/usr/bin/env bash
# Launches an instance that prints 1 GB and then serves, and shows what that costs: disk and memory of master and slave.
#
#   tests/measure/loud_instance.sh [MEGABYTES]     the default is 1024
#
# It needs git, curl and python3. CLUSTERRUNNER_PROGRAM is the program, by default that of the release build. All it makes
# is in a temporary directory, and goes at the end.
set -euo pipefail

megabytes=${1:-1024}
here=$(cd "$(dirname "$0")/../.." && pwd)
program=${CLUSTERRUNNER_PROGRAM:-$here/target/release/clusterrunner}
work=$(mktemp -d)
daemons=()

end() {
    local code=$?
    for daemon in "${daemons[@]}"; do
        kill "$daemon" 2>/dev/null || true
    done
    wait
    if [ "$code" != 0 ]; then
        tail -n 15 "$work"/*.log >&2 || true
    fi
    rm -rf "$work"
    exit "$code"
}
trap end EXIT

mkdir "$work/base" "$work/home" "$work/loud"
read -r port slave_port <<< "$(python3 -c '
import socket
sockets = [socket.socket() for _ in range(2)]
for one in sockets:
    one.bind(("127.0.0.1", 0))
print(*[one.getsockname()[1] for one in sockets])')"
(umask 077; cat > "$work/base/clusterrunner.conf" <<CONF
[general]
secret = 'a secret of this farm alone, $RANDOM$RANDOM$RANDOM'
bind_address = 127.0.0.1
[master]
port = $port
allow_local_sources = True
[slave]
port = $slave_port
hostname = 127.0.0.1
master_hostname = 127.0.0.1
master_port = $port
num_executors = 1
allow_local_sources = True
templates_path = $work/t
CONF
)
cat > "$work/loud/loud.py" <<'PYTHON'
import os, sys
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
line = "x" * 99 + "\n"
for _ in range(int(os.environ["MEGABYTES"])):
    sys.stdout.write(line * 10486)
sys.stdout.flush()
ThreadingHTTPServer(("", int(os.environ["PORT"])), SimpleHTTPRequestHandler).serve_forever()
PYTHON
echo "web: exec python3 loud.py" > "$work/loud/Procfile"
git -C "$work/loud" init -q
git -C "$work/loud" add .
git -C "$work/loud" -c user.name=a -c user.email=a@b commit -qm "A loud program"

export CLUSTERRUNNER_BASE_DIRECTORY=$work/base HOME=$work/home LC_ALL=C.UTF-8
"$program" master > "$work/master.log" 2>&1 &
daemons+=($!)
"$program" slave > "$work/slave.log" 2>&1 &
daemons+=($!)
master=${daemons[0]} slave=${daemons[1]}
for _ in $(seq 100); do
    curl -fs "http://127.0.0.1:$slave_port/v1/slave" > /dev/null && break
    sleep 0.1
done

memory() { awk '/VmRSS|VmHWM/ {printf "%s %d MiB  ", $1, $2 / 1024}' "/proc/$1/status"; }
# The bytes on the disk of all directories of this name.
disk() {
    find "$work/base" -type d -name "$1" -prune -exec du -sm {} + | awk '{sum += $1} END {print sum + 0 " MiB"}'
}
tell() {
    echo "$1: master $(memory "$master")logs $(disk instance_logs); slave $(memory "$slave")instances $(disk instances)"
}
tell "before"
began=$(date +%s.%N)
"$program" launch "$work/loud" --env "MEGABYTES=$megabytes" --master-url "http://127.0.0.1:$port" > "$work/launch.log" 2>&1 &
launching=$!
while kill -0 "$launching" 2>/dev/null; do
    sleep 2
    tell "  after $(awk -v a="$began" -v b="$(date +%s.%N)" 'BEGIN {printf "%.0f", b - a}') s"
done
wait "$launching"
echo "it answers $(awk -v a="$began" -v b="$(date +%s.%N)" 'BEGIN {printf "%.1f", b - a}') s after the launch began"
sleep 5
tell "five seconds later"
"$program" instance logs 1 --master-url "http://127.0.0.1:$port" | tail -c 1000 | tail -n 1 | wc -c
