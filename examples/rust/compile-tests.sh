#!/bin/sh
# Compiles the tests and puts the program that holds them at target/clusterrunner/tests.
# With --list it prints the names of the tests, and nothing else: each line becomes an atom.
set -eu
cd "$(dirname "$0")"
mkdir -p target/clusterrunner

# What cargo says is shown only if it fails: warnings are no names of tests.
log=target/clusterrunner/cargo.$$
trap 'rm -f "$log"' EXIT
if ! messages=$(cargo test --lib --no-run --message-format=json 2>"$log"); then
    cat "$log" >&2
    exit 1
fi
program=$(printf '%s\n' "$messages" | sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' | tail -n 1)
test -n "$program"
# Put there by renaming: another slave on this machine may be doing the same in this directory.
cp "$program" "target/clusterrunner/tests.$$"
mv "target/clusterrunner/tests.$$" target/clusterrunner/tests

if [ "${1-}" = --list ]; then
    target/clusterrunner/tests --list | sed -n 's/: test$//p'
fi
