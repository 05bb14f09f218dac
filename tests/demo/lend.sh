#!/bin/sh
# The example of a host that lends its own connection: what it committed is mailed once, what it rolled back never, and
# a second run finds nothing left to mail. LEND is the built program.
set -eu
lend=$(realpath "$1")

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
for run in 1 2; do
    "$lend" >out || { echo "run $run failed:"; cat out; exit 1; }
    [ "$(cat out)" = "mail: your order is on its way
done" ] || { echo "run $run said:"; cat out; exit 1; }
done
