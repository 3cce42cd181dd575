#!/usr/bin/env bash
# Asks a farm of this machine whatever its own description allows, and much that it does not, with schemathesis. Nothing may
# be answered with a status of 500 or more, or with a status, a media type or a body that is not described.
#
#   tests/clients/schemathesis.sh [SECONDS [PATHS]]     for 600 seconds, paths that '^/v2' fits
#
# It installs schemathesis from PyPI, so it is no part of ./check. It needs git, curl and python3. CLUSTERRUNNER_PROGRAM is
# the program, by default that of the debug build; SCHEMATHESIS the command, where it is installed already. All it makes is
# in a temporary directory, and goes at the end.
set -euo pipefail

seconds=${1:-600}
paths=${2:-^/v2}
# shellcheck source=farm.bash
source "$(dirname "$0")/farm.bash"

show_farm() {
    echo "Not as it should be. What the master and the slave say of errors:" >&2
    grep -h ERROR "$work"/*.log | tail -n 15 >&2 || true
}

schemathesis=${SCHEMATHESIS:-}
if [ -z "$schemathesis" ]; then
    python3 -m venv "$work/venv"
    "$work/venv/bin/pip" --quiet --disable-pip-version-check install 'schemathesis==4.32.5'
    schemathesis=$work/venv/bin/schemathesis
fi

# The farm: a master and a slave, on loopback and ports of their own.
mkdir "$work/home" "$work/project"
read -r port slave_port <<< "$(free_ports 2)"
export HOME=$work/home
start_farm <<CONF
[master]
port = $port
app_domain = apps.example.com
[slave]
port = $slave_port
hostname = 127.0.0.1
master_hostname = 127.0.0.1
master_port = $port
num_executors = 1
templates_path = $work/t
CONF
farm=127.0.0.1:$port
for _ in $(seq 300); do
    if curl --silent "http://$farm/v2/slaves" | grep -q '"is_alive":true'; then
        break
    fi
    sleep 0.1
done

# Something to ask about: a build with two atoms, a user with a token, an app.
cat > "$work/project/clusterrunner.yaml" <<'JOB'
Hello:
    setup_build: [echo ready]
    commands: ['echo "hello $NAME" | tee "$ARTIFACT_DIR/hello.txt"']
    atomizers: [{NAME: 'printf "one\ntwo\n"'}]
JOB
(cd "$work/project" && "$program" build --master-url "$farm" > "$work/build.log")
"$program" user create root --superuser --password-stdin --quiet --master-url "$farm" <<< 'correct horse battery staple'
token=$("$program" token create --user root --name fuzz --role admin --quiet --master-url "$farm")
CLUSTERRUNNER_TOKEN=$token "$program" app create hill --master-url "$farm" > "$work/app.log"

# What schemathesis sends where a body is no JSON: it knows only the media types that it is told.
cat > "$work/bodies.py" <<'PYTHON'
import schemathesis
from hypothesis import strategies

schemathesis.openapi.media_type(
    "application/x-git-pack", strategies.binary(max_size=64).map(lambda rest: b"PACK" + rest)
)
PYTHON

# A 503 is the answer where too much is asked at once, 502 where a slave does not answer, which only a farm can say. What
# deletes the account that asks is left out, and streams, which do not end.
cd "$work"
SCHEMATHESIS_HOOKS=bodies PYTHONPATH=$work "$schemathesis" run "http://$farm/v2/openapi.json" --include-path-regex "$paths" --max-time "$seconds" \
    --exclude-path-regex '(/events|/logs/stream|/resources|^/v1/auth/cancel|^/builds/repo)$' \
    --checks not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance \
    --header "Authorization: Bearer $token" --continue-on-failure --request-timeout 40 --suppress-health-check all \
    --warnings off
