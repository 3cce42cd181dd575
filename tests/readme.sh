#!/usr/bin/env bash
# Follows README.md from an empty home, word for word, but for the names of machines and repositories, which mean this
# machine here, and for what needs other machines. In a network and a process table of its own: the README names ports,
# and all that was started ends with this script. A block of commands that this script does not know is an error.
#
# CLUSTERRUNNER_PROGRAM is the program in place of the one that `cargo run` would build.
set -euo pipefail

if [ "${1-}" != --inside ]; then
    root=()
    if (($(id -u) != 0)); then root=(--map-root-user); fi
    exec unshare "${root[@]}" --net --mount --pid --fork --kill-child --mount-proc "$0" --inside
fi

source=$(cd "$(dirname "$0")/.." && pwd)
program=${CLUSTERRUNNER_PROGRAM:-$source/target/debug/clusterrunner}
unset CLUSTERRUNNER_PROGRAM
work=$(mktemp -d)
# All that runs in this process table goes first: a slave may still be clearing its directories away.
trap 'kill -KILL -1 2>/dev/null || true; wait; rm -rf "$work"' EXIT
mkdir "$work"/{home,bin,clone,blocks,served}
export HOME=$work/home
# curl fails where the master refuses.
printf '%s\n' fail silent show-error >"$HOME/.curlrc"
ip link set lo up
# With this directory the home would not be what counts.
if [ -d /var/lib/clusterrunner ]; then mount -t tmpfs none /var/lib; fi

ln -s "$program" "$work/bin/clusterrunner"
cat >"$work/bin/cargo" <<'END'
#!/bin/sh
# What `cargo run` would build is there already.
[ "$1" = run ] || exit 1
while [ "$1" != -- ]; do shift; done
shift
exec clusterrunner "$@"
END
chmod +x "$work/bin/cargo"
export PATH=$work/bin:$PATH
cp -r "$source/examples" "$source/README.md" "$work/clone"
cd "$work/clone"

say() { printf '\n== %s\n' "$*"; }
fail() {
    say "NOT AS README.md SAYS: $*"
    tail -n 50 "$HOME"/.clusterrunner/log/*.log "$work"/*.out 2>/dev/null || true
    exit 1
}
# Until a command succeeds.
await() {
    local tries
    for ((tries = 0; tries < 300; tries++)); do
        if "$@" >/dev/null 2>&1; then return; fi
        sleep 0.1
    done
    fail "in 30 s: $*"
}

# The blocks of a language, in files; machines and repositories become those that are here.
blocks() {
    awk -v language="$1" -v directory="$work/blocks" '
        $0 == "```" language { inside = 1; number++; next }
        /^```/ { inside = 0 }
        inside { print > sprintf("%s/%s-%02d", directory, language, number) }' README.md
}
here() { sed -i -e 's/MASTER/localhost/g' -e 's#https://example\.org/project\.git#git://localhost/project.git#g' "$@"; }
blocks sh
blocks yaml
here "$work"/blocks/sh-*

say "the project of the README"
cp "$work/blocks/yaml-01" "$work/served/clusterrunner.yaml"
(
    cd "$work/served"
    clusterrunner validate
    # No machine here has a GPU.
    sed -i '/labels:/d' clusterrunner.yaml
    : >requirements.txt
    mkdir tests
    printf 'import unittest\n\n\nclass One(unittest.TestCase):\n    def test(self):\n        pass\n' >tests/test_one.py
    git init --quiet --initial-branch=main
    git add --all
    git -c user.name=x -c user.email=x@localhost commit --quiet --message=first
    mkdir "$work/repositories"
    git clone --quiet --bare . "$work/repositories/project.git"
)
git daemon --export-all --listen=127.0.0.1 --base-path="$work/repositories" "$work/repositories" >"$work/git.out" 2>&1 &
await git ls-remote git://localhost/project.git

# Lines of daemons go on running, all others have to end well.
farm() {
    local line
    while read -r line; do
        line=${line%%#*}
        case $line in
        "clusterrunner master"*)
            say "$line"
            $line >"$work/master.out" 2>&1 &
            await clusterrunner status
            ;;
        "clusterrunner slave "*)
            say "$line"
            $line >"$work/slave.out" 2>&1 &
            await sh -c 'clusterrunner slaves | grep -q alive'
            ;;
        *)
            say "$line"
            $line || fail "$line"
            ;;
        esac
    done <"$1"
}

for block in "$work"/blocks/sh-*; do
    first=$(head -n 1 "$block")
    case $first in
    "cargo run "*" build examples/hello")
        say "$first"
        bash -euo pipefail "$block" || fail "$first"
        cat examples/hello/build_results/latest/artifact_*/greeting.txt || fail "no results"
        stop=$(grep -o '`cargo run [^`]* -- stop`' README.md | tr -d '`')
        say "$stop"
        $stop || fail "$stop"
        ;;
    ./check) ;;
    "clusterrunner master"*) farm "$block" ;;
    "clusterrunner deploy "*) ;;
    # The repository is elsewhere: tests/cluster/launching.rs does the same with one of its own.
    "clusterrunner launch "*) ;;
    "secret="*)
        say "without the command"
        bash -euo pipefail "$block" | tee "$work/curl.out" || fail "$(cat "$block")"
        grep -q '^{"build_id":[0-9]*,"status":"SUCCESS","STATUS":"SUCCESS"}' "$work/curl.out" || fail "another answer"
        tar -tzf artifacts.tar.gz >/dev/null || fail "no archive"
        ;;
    "printf 'a long passphrase"*)
        say "as Polyaxon"
        bash -euo pipefail "$block" >"$work/polyaxon.out" || fail "$(cat "$block")"
        grep -q '"status": *"created"' "$work/polyaxon.out" || fail "no status"
        ;;
    "clusterrunner user create ann"*)
        say "an app"
        cp -r examples/web "$work/app"
        (
            cd "$work/app"
            git init --quiet --initial-branch=main
            git add --all
            git -c user.name=x -c user.email=x@localhost commit --quiet --message=first
            # The user is there since the block about Polyaxon. Nothing would end the last command.
            sed -i -e '/^clusterrunner user create /d' -e 's/ -f$//' "$block"
            bash -euo pipefail "$block" || fail "$(cat "$block")"
        )
        await sh -c 'test "$(clusterrunner app info hello | grep -c "web.* up")" = 3'
        ;;
    *) fail "a block of commands that tests/readme.sh does not know: $first" ;;
    esac
done
say "README.md is right"
