#!/usr/bin/env bash
# Drives a farm of this machine with the command line of the Deis controller, as it was published: nothing in it is
# changed. It is a program for Python 2.7; Jython runs it where no other Python 2.7 is to be had.
#
#   tests/clients/deis.sh     the version is 1.0.2
#
# It downloads the client from PyPI, so it is no part of ./check. It needs jython (Debian has a package), pip, git, ssh,
# curl, and a kernel that lets it make a network namespace: the client pushes to port 2222 and no other, so the farm has
# a network of its own. CLUSTERRUNNER_PROGRAM is the program, by default that of the debug build. All it makes is in a
# temporary directory, and goes at the end.
set -euo pipefail

# First the downloads, then all of it once more in a network of its own.
if [ -z "${DEIS_CLIENT:-}" ]; then
    DEIS_CLIENT=$(mktemp -d)
    trap 'rm -rf "$DEIS_CLIENT"' EXIT
    fetch() { python3 -m pip --quiet --disable-pip-version-check download --no-deps --dest "$DEIS_CLIENT" "$@"; }
    # The client and the releases that it asks for; python-dateutil takes any six.
    fetch --no-binary :all: deis==1.0.2 docopt==0.6.2 python-dateutil==2.2 termcolor==1.1.0
    fetch requests==2.4.3 six==1.16.0
    (
        cd "$DEIS_CLIENT"
        for package in *.zip *.whl; do
            python3 -m zipfile --extract "$package" .
        done
        for package in *.tar.gz; do
            tar -xzf "$package"
        done
        cp deis-1.0.2/deis.py docopt-0.6.2/docopt.py termcolor-1.1.0/termcolor.py .
        cp -r python-dateutil-2.2/dateutil .
    )
    export DEIS_CLIENT
    unshare --net --map-root-user -- "$0"
    exit
fi

ip link set lo up
# shellcheck source=farm.bash
source "$(dirname "$0")/farm.bash"

echo "deis 1.0.2, $(jython --version 2>&1 | grep Jython)"

# The farm: a master and a slave, all settings but these at their defaults.
mkdir "$work/ann" "$work/bob" "$work/site" "$work/elsewhere"
start_farm <<CONF
[master]
app_domain = apps.example.com
[slave]
hostname = 127.0.0.1
master_hostname = 127.0.0.1
labels = rack=1
templates_path = $work/t
CONF
farm=127.0.0.1:43000
export DEIS_HIDE_PROGRESS=1 JYTHONPATH=$DEIS_CLIENT
# Half of the time goes otherwise into making programs fast that end at once.
export JAVA_TOOL_OPTIONS='-XX:+UseSerialGC -XX:TieredStopAtLevel=1'
curl -s --retry 50 --retry-connrefused --retry-delay 1 -o "$work/version" "http://$farm/v1/version"

# become NAME: who uses the command line from here on.
become() {
    export HOME=$work/$1
    export GIT_SSH_COMMAND="ssh -i $HOME/key -o UserKnownHostsFile=$HOME/known_hosts -o StrictHostKeyChecking=accept-new"
}

deis() {
    jython -c 'import sys; sys.argv[0] = "deis"; import deis; deis.main()' "$@" 2>&1 | { grep -vE '^Picked up JAVA|MacAddressUtil' || true; }
}

# shown CODE TEXT ARGUMENT...: runs deis with these arguments. It must exit with this code, and print the text.
shown() {
    local code=$1 text=$2 output got=0
    shift 2
    output=$(deis "$@") || got=$?
    printf '$ deis %s\n%s\n' "$*" "$output" | sed -e "s|$work|DIR|g" -e 's/\x1b\[[0-9]*m//g' -e '/^ *$/d'
    if [ "$got" != "$code" ] || ! grep -qF -- "$text" <<< "$output"; then
        echo "expected exit code $code and this text: $text; got exit code $got" >&2
        exit 1
    fi
    checks=$((checks + 1))
}

# answers HOST TEXT: what the farm answers to requests for this host.
answers() {
    local got
    got=$(curl -s -H "Host: $1" "http://$farm/")
    if [ "$got" != "$2" ]; then
        echo "expected from $1: $2; got: $got" >&2
        exit 1
    fi
    checks=$((checks + 1))
}

# The client knows keys of the types RSA and ECDSA.
ssh-keygen -q -t ecdsa -N '' -C ann@laptop -f "$work/ann/key"
ssh-keygen -q -t rsa -b 2048 -N '' -C bob@laptop -f "$work/bob/key"

# Users.
become bob
shown 1 'Could not find token' apps
become ann
shown 0 'Logged in as ann' register "http://$farm" --username=ann --password=secret123 --email=ann@example.org
shown 0 'ann' whoami
shown 1 'already exists' register "$farm" --username=ann --password=secret123 --email=ann@example.org
shown 1 'did not match' passwd --password=wrong --new-password=secret456
shown 0 'succeeded' passwd --password=secret123 --new-password=secret456
shown 0 'Logged out' logout
shown 1 'Unable to log in' login "$farm" --username=ann --password=secret123
shown 0 'Logged in as ann' login "$farm" --username=ann --password=secret456
become bob
shown 0 'Logged in as bob' register "$farm" --username=bob --password=secret123 --email=bob@example.org
become ann

# Keys.
shown 0 'done' keys:add "$HOME/key.pub"
shown 1 'already exists' keys:add "$HOME/key.pub"
shown 0 'ann@laptop ecdsa-sha2-nistp' keys:list
shown 0 'done' keys:remove ann@laptop
shown 0 'No keys found' keys
shown 0 'done' keys:add "$HOME/key.pub"

# An app, in a repository: the client sets the remote, and fetches from it.
cd "$work/site"
git init --quiet --initial-branch master
git config user.name ann && git config user.email ann@example.org
echo 'hello from the farm' > index.html
# shellcheck disable=SC2016
printf '%s\n' 'web: exec python3 -m http.server --bind 127.0.0.1 $PORT' \
    'worker: echo "$GREETING from $DEIS_RELEASE"; exec sleep 1000' > Procfile
git add . && git commit --quiet --message 'Say hello'
shown 0 'Git remote deis added' create hill
shown 1 'App with this Id already exists' create hill --no-remote
shown 1 'App IDs can only contain' create Hill_2 --no-remote
shown 0 'hill' apps
shown 1 'No build associated with this release' scale web=1
git push deis master 2>&1 | tee "$work/pushed"
grep -q 'hill:v2 deployed' "$work/pushed"
checks=$((checks + 1))
answers hill.apps.example.com 'hello from the farm'
shown 0 'web.1 up (v2)' ps
shown 0 '"url": "hill.apps.example.com"' info
shown 0 '=== hill Builds' builds

# Config, limits, tags.
shown 0 'No configuration' config
shown 0 'done, v3' config:set GREETING=hello N=7
shown 0 'N: 7' config:set 'TEXT=two words, ümlaut'
shown 0 'GREETING=hello N=7' config:list --oneline
shown 0 'done, v5' config:unset N TEXT NEVER_SET
shown 0 '' config:pull
grep -qx 'GREETING=hello' .env && rm .env

shown 0 'web      512M' limits:set web=512M
shown 0 'web      256' limits:set --cpu web=256
shown 0 '--- CPU' limits
shown 1 'Limit format' limits:set web=much
shown 0 'done' limits:unset web
shown 0 'Unlimited' limits:unset --cpu web
shown 0 'rack      1' tags:set rack=1
shown 0 'rack      1' tags
shown 0 'No tags defined' tags:unset rack

# Processes.
shown 0 'worker.1 up' scale web=2 worker=1
shown 1 'does not exist in application' scale nope=1
shown 1 'greater than or equal to zero' scale web=-1
shown 0 'hill[worker.1]: hello from v' logs
shown 0 'deis[api]: hill: ann scaled containers web=2 worker=1' logs

# Commands: output and exit code.
shown 3 'hello' run 'echo $GREETING; exit 3'
shown 0 'Procfile' run -- ls -la
shown 143 'Running' run 'kill -TERM $$'

# Releases.
shown 0 'ann created initial release' releases
shown 0 '"summary": "ann deployed' releases:info v2
shown 1 'Not found' releases:info v99
shown 0 'done, v12' rollback v2
shown 0 'done, v13' rollback
shown 1 'Not found' rollback v99
shown 0 'hello from v13' logs

# A release that does not come up leaves the one before it in place.
shown 0 'done, v14' pull nobody/has-this
answers hill.apps.example.com 'hello from the farm'
shown 0 'web.1 error (v14)' ps
shown 0 'done, v15' rollback v13
shown 0 'web.1 up (v15)' ps

# An app made of a release of another one, outside of a repository.
cd "$work/elsewhere"
shown 0 'done, created copy' create copy
shown 0 'done, v2' pull hill:v2 --app copy
answers copy.apps.example.com 'hello from the farm'
shown 0 'done' destroy --app copy --confirm=copy
cd "$work/site"

# Domains.
shown 0 'No domains' domains
shown 0 'done' domains:add hill.example.com
answers hill.example.com 'hello from the farm'
shown 1 'already in use' domains:add hill.example.com
shown 1 'wildcard' domains:add '*.example.com'
shown 0 'hill.example.com' domains
shown 0 'done' domains:remove hill.example.com
shown 1 'Not found' domains:remove hill.example.com
# Jython starts no browsers, so `deis open` is left out: it opens the URL that `info` has shown above.

# Others.
become bob
shown 1 'Not found' info --app hill
become ann
shown 0 'done' perms:create bob
shown 0 '"bob"' perms:list
shown 1 'Not found' perms:create nobody
become bob
shown 0 'web.1 up' ps --app hill
shown 1 'permission' destroy --app hill --confirm=hill
shown 1 'permission' perms:create bob --admin
become ann
shown 0 'done' perms:delete bob
shown 1 '404' perms:delete bob
shown 0 'done' perms:create bob --admin
shown 0 '"username": "bob"' perms:list --admin
shown 0 'done' perms:delete bob --admin
shown 1 '400 Bad Request' perms:delete ann --admin

# The end of it.
shown 0 'Git remote deis removed' destroy --confirm=hill
shown 1 'Not found' info --app hill
become bob
shown 0 'Account cancelled' auth:cancel <<< $'bob\nsecret123\ny'
shown 1 'Unable to log in' login "$farm" --username=bob --password=secret123
echo "$checks checks, all as they should be."
