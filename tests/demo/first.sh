#!/bin/sh
# The README's first program, as a reader would run it: three payments succeed, the fourth is refused, and neither a
# kill nor a repeat loses money. FIRST is the built program.
set -eu
first=$(realpath "$1")
readme=$2
source=$3

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

# The first code block of the README must be the very file that was built.
sed -n '/^```c$/,/^```$/{p;/^```$/q}' "$readme" | sed '1d;$d' >"$folder/block.c"
cmp "$folder/block.c" "$source"
[ "$(wc -l <"$source")" -lt 60 ]

cd "$folder"
for run in 1 2 3; do
    [ "$("$first")" = "moved 30 from Ann to Bob" ] || { echo "payment $run did not go through"; exit 1; }
done
if answer=$("$first"); then
    echo "the fourth payment went through"
    exit 1
fi
[ "$answer" = "ann.pays: there is not enough money" ] || { echo "the fourth payment said: $answer"; exit 1; }
