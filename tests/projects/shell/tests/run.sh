#!/usr/bin/env bash
# Runs one test by its name; --list prints the names.
set -euo pipefail
source "$(dirname "$0")/../rotate.sh"

test_the_first_file_is_renamed() {
    echo new >log
    rotate log 3
    [ "$(cat log.1)" = new ] && [ ! -e log ]
}

test_older_files_move_on() {
    echo 1 >log.1
    echo 2 >log.2
    rotate log 3
    [ "$(cat log.2 log.3)" = "$(printf '1\n2')" ]
}

test_the_oldest_goes() {
    touch log log.1 log.2
    rotate log 2
    [ "$(echo log*)" = 'log.1 log.2' ]
}

test_names_with_blanks() {
    echo new >'a log'
    rotate 'a log' 1
    [ "$(cat 'a log.1')" = new ]
}

if [ "$1" = --list ]; then
    declare -F | sed -n 's/^declare -f test_//p'
    exit
fi
directory=$(mktemp -d)
trap 'rm -r "$directory"' EXIT
cd "$directory"
"test_$1"
echo "ok $1"
