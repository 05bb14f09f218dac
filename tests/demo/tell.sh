#!/bin/sh
# The example of messages between two databases: each order has one letter, also where the program was killed on the
# way. TELL is the built program.
set -eu
tell=$(realpath "$1")

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
[ "$("$tell")" = "3 orders, 3 letters" ] || { echo "the first run did not write three letters"; exit 1; }
for life in 1 2 3 4 5 6; do
    "$tell" >/dev/null 2>&1 &
    pid=$!
    sleep 0.0$((life * 2 - 1))
    kill -9 $pid 2>/dev/null || true
    wait $pid 2>/dev/null || true
done
"$tell" >out || { echo "the last run failed:"; cat out; exit 1; }
grep -Eqx '([0-9]+) orders, \1 letters' out || { echo "the last run said:"; cat out; exit 1; }
