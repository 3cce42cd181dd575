#!/bin/sh
# Prints a greeting for a name with the mark of the atom, in this case.
text="$1, $2$MARK"
case "$3" in
    upper) printf '%s\n' "$text" | tr '[:lower:]' '[:upper:]' ;;
    lower) printf '%s\n' "$text" | tr '[:upper:]' '[:lower:]' ;;
    *) printf '%s\n' "$text" ;;
esac
