#!/bin/sh
# Greets $1. Greeting the moon fails while there is a file fail-moon beside this script.
set -eu

if [ "$1" = moon ] && [ -e "$(dirname "$0")/fail-moon" ]; then
    echo "the moon is not at home" >&2
    exit 1
fi
echo "hello, $1"
# What an atom leaves in $ARTIFACT_DIR comes back with the results.
echo "hello, $1" > "$ARTIFACT_DIR/greeting.txt"
