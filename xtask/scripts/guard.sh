#!/bin/sh
# Runs a database server until it ends by itself or our standard input ends. The chore that started us holds
# the other end of that, so however it ends (a Ctrl-C and a kill -9 too), the server does not outlive it.
#   guard.sh FOLDER remove|keep INPUT PROGRAM ARGUMENTS...
folder=$1 fate=$2 input=$3
shift 3
exec 3<&0
"$@" <"$input" 3<&- &
server=$!
(
    while read -r _; do :; done <&3
    # From here on it must not be stopped half-way by what stands below.
    trap '' TERM
    if [ "$fate" = remove ]; then
        kill -KILL "$server"
    else
        kill -TERM "$server"
    fi
    exit 7
) 2>/dev/null &
watch=$!
exec 3<&-
wait "$server"
code=$?
kill -TERM "$watch" 2>/dev/null
wait "$watch"
# A server that ended by itself leaves its log to be read.
if [ $? -eq 7 ] && [ "$fate" = remove ]; then
    rm -rf "$folder"
fi
exit "$code"
