#!/usr/bin/env bash
# Drives a farm of this machine with the command line of Polyaxon, as it was published: nothing in it is changed.
#
#   tests/clients/polyaxon.sh [VERSION]     the default is 0.5.6
#
# It downloads the command line from PyPI, so it is no part of ./check. It needs git and a Python with venv: PYTHON, else
# python3; versions before 0.5 need Python 3.6. CLUSTERRUNNER_PROGRAM is the program, by default that of the debug build.
# All it makes is in a temporary directory, and goes at the end.
set -euo pipefail

version=${1:-0.5.6}
python=${PYTHON:-python3}
# shellcheck source=farm.bash
source "$(dirname "$0")/farm.bash"

# The client, and what of its time it needs: the newest releases of these two do not work with it.
"$python" -m venv "$work/venv"
pip=("$work/venv/bin/python" -m pip --quiet --disable-pip-version-check install)
era=('markupsafe<2.1')
case $version in
    0.2.*) ;;
    *) era+=('websocket-client==0.54.0') ;;
esac
if "$work/venv/bin/python" -c 'import sys; sys.exit(sys.version_info < (3, 9))'; then
    era+=('setuptools<81')
    # Python 3.9 and 3.10 have dropped old names that the client uses. It is left as it is, and Python gets them back.
    packages=$("$work/venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
    cat > "$packages/old_names.py" <<'PYTHON'
import collections
import collections.abc
import threading

for name in collections.abc.__all__:
    if not hasattr(collections, name):
        setattr(collections, name, getattr(collections.abc, name))
threading.Thread.isAlive = threading.Thread.is_alive
PYTHON
    echo 'import old_names' > "$packages/old_names.pth"
fi
"${pip[@]}" "${era[@]}" "polyaxon-cli==$version" 2> "$work/pip.log" || { cat "$work/pip.log" >&2; exit 1; }
echo "polyaxon-cli $version, $("$work/venv/bin/python" --version)"

# The farm: a master and a slave, on loopback and ports of their own.
read -r port slave_port <<< "$(free_ports 2)"
mkdir "$work/home" "$work/code"
export HOME=$work/home
start_farm <<CONF
[master]
port = $port
[slave]
port = $slave_port
master_hostname = 127.0.0.1
master_port = $port
num_executors = 1
CONF
"$program" user create ann --password-stdin --quiet --master-url "127.0.0.1:$port" <<< 'correct horse battery staple'

# shown CODE TEXT ARGUMENT...: runs polyaxon with these arguments. It must exit with this code, and print the text.
shown() {
    local code=$1 text=$2 output got=0
    shift 2
    output=$("$work/venv/bin/polyaxon" "$@" 2>&1) || got=$?
    printf '$ polyaxon %s\n%s\n' "$*" "$output" | sed -e "s|$work|DIR|g" -e "s|$port|PORT|g" -e '/^ *$/d'
    if [ "$got" != "$code" ] || ! grep -qF -- "$text" <<< "$output"; then
        echo "expected exit code $code and this text: $text; got exit code $got" >&2
        exit 1
    fi
    checks=$((checks + 1))
}

# until_it TEXT ARGUMENT...: runs polyaxon again and again until it prints the text.
until_it() {
    local text=$1
    shift
    for _ in $(seq 60); do
        if "$work/venv/bin/polyaxon" "$@" < /dev/null 2>&1 | grep -qF -- "$text"; then
            return
        fi
        sleep 1
    done
    echo "in vain: polyaxon $* does not print: $text" >&2
    exit 1
}

cd "$work/code"
echo 'code that was uploaded' > code.txt
steps="    - cat code.txt
    - echo greeting \$GREETING
    - until [ -e '$work/go' ]; do sleep 0.1; done
    - echo the last line"
case $version in
    0.2.* | 0.3.*)
        where=(--http_port="$port" --ws_port="$port")
        file=polyaxonfile.yml
        printf 'version: 1\nkind: build\nbuild:\n  image: busybox\n  env_vars:\n    - [GREETING, hello]\n  build_steps:\n%s\n' "$steps" > "$work/$file"
        ;;
    *)
        where=(--port="$port")
        file=polyaxonfile.yaml
        printf 'version: 1\nkind: build\nimage: busybox\nenv_vars:\n  - [GREETING, hello]\nbuild_steps:\n%s\n' "${steps//    - /  - }" > "$work/$file"
        ;;
esac

shown 0 'Config was update' config set --host=127.0.0.1 "${where[@]}"
shown 1 'Could not login' login --username=ann --password=wrong
shown 0 'ogin' login --username=ann --password='correct horse battery staple'
shown 0 'Username: ann' whoami
shown 0 'was created successfully' project create --name=cats --description='pictures' --tags=a,b
# Older versions exit with 1 where they make a file of their own.
cp "$work/$file" .
shown 0 'initialized' init cats
shown 0 'Files uploaded' upload
shown 0 'cats' project list
shown 0 'was created' run -f "$file" --name=first --tags=x,y --description='a build'

# The log is followed while the build runs: its lines are there before it goes on.
"$work/venv/bin/polyaxon" build -b 1 logs > "$work/followed" 2>&1 &
follower=$!
for _ in $(seq 300); do
    grep -qF 'greeting hello' "$work/followed" && break
    sleep 0.1
done
grep -qF 'code that was uploaded' "$work/followed"
grep -qF 'greeting hello' "$work/followed"
if grep -qF 'the last line' "$work/followed"; then
    echo "the last line is there before it was printed" >&2
    exit 1
fi
shown 0 'running' build -b 1 get
shown 0 'greeting hello' build -b 1 logs --past
touch "$work/go"
followed=0
wait "$follower" || followed=$?
echo '$ polyaxon build -b 1 logs'
sed -e "s|$work|DIR|g" -e "s|$port|PORT|g" -e '/^ *$/d' "$work/followed"
[ "$followed" = 0 ]
grep -qF 'the last line' "$work/followed"
grep -qF 'succeeded ...' "$work/followed"
checks=$((checks + 1))

until_it 'succeeded' build -b 1 get
shown 0 'succeeded' build -b 1 get
shown 0 'scheduled' build -b 1 statuses
shown 0 'the last line' build -b 1 logs --past
shown 0 'the last line' build -b 1 logs
shown 0 'Build updated' build -b 1 update --name=renamed --tags=z
shown 0 'bookmarked' build -b 1 bookmark
shown 0 'cats.builds.1' bookmark builds
shown 0 'unbookmarked' build -b 1 unbookmark
shown 0 'cats.builds.1' project builds
shown 0 'cats.builds.1' project builds -q 'status:succeeded' -s '-created_at'

# Another build is stopped while it runs. Its steps differ: an equal one has its template already.
rm "$work/go"
sed -i 's/the last line/the very last line/' "$file"
shown 0 'was created' run -f "$file"
until_it 'running' build -b 2 get
shown 0 'being stopped' build -b 2 stop -y
until_it 'stopped' build -b 2 get
shown 0 'stopped' build -b 2 statuses
shown 0 'stopped' build -b 2 logs
shown 0 'successfully' build -b 2 delete <<< y
shown 1 'Could not get' build -b 2 get
shown 0 'logged out' logout
shown 1 'Could not get' build -b 1 get
echo "$checks checks of polyaxon-cli $version: all as they should be"
