#!/bin/sh
# The example of a job and a schedule: a mail that fails twice is sent at the third attempt, and one whose program was
# killed in between is sent by the next run. LATER is the built program.
set -eu
later=$(realpath "$1")

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

# check SAYS NAME: the output of a run, without its last line, which tells a time.
check() {
    sed '$d' out >said
    [ "$(cat said)" = "$1" ] && tail -n 1 out | grep -q '^the next report: ... ... .* ..:30:00 ....$' ||
        { echo "$2 said:"; cat out; exit 1; }
}

"$later" ann >out
check "attempt 1 at the mail to ann: no answer
attempt 2 at the mail to ann: no answer
attempt 3 at the mail to ann: sent" "the first run"

# On a busy machine the kill may come when all is done: then another customer is tried. One that comes within the third
# attempt makes a fourth.
for customer in bob cid dan eve flo; do
    "$later" $customer >out &
    pid=$!
    for tick in $(seq 400); do
        ! grep -q 'attempt 1' out || break
        sleep 0.01
    done
    kill -9 $pid
    wait $pid 2>/dev/null || true
    grep -q sent out || break
done
grep -q "attempt 1 at the mail to $customer: no answer" out || { echo "no first attempt after $tick ticks"; exit 1; }
! grep -q sent out || { echo "sent before it was killed, five times"; exit 1; }
"$later" >out
grep -Eq "^attempt [34] at the mail to $customer: sent\$" out ||
    { echo "the run after the kill said:"; cat out; exit 1; }
"$later" >out
check "" "a run with nothing to do"
