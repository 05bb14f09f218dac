#!/bin/sh
# The example in cdtx-tcc(7) compiles without a warning and buys, as it says. Arguments: the page, the folder of the
# headers, the shared library, the command of the compiler.
set -eu
page=$1
include=$2
library=$(realpath "$3")
shift 3

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
sed -n '/^\.Bd -literal$/,/^\.Ed$/p' "$page" | sed '1d;$d;s/\\e/\\/g;s/\\&//g' >"$folder/example.c"
grep -q 'int main' "$folder/example.c"
"$@" -std=c11 -Wall -Wextra -Werror -I"$include" -o "$folder/example" "$folder/example.c" "$library" \
    -Wl,-rpath,"$(dirname "$library")"
cd "$folder"
for run in 1 2; do
    [ "$(./example)" = bought ] || { echo "purchase $run did not go through"; exit 1; }
done
if answer=$(./example); then
    echo "an empty purse bought a third time"
    exit 1
fi
[ "$answer" = "money: not enough" ] || { echo "the third purchase said: $answer"; exit 1; }
