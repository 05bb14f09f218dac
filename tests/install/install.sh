#!/usr/bin/env bash
# install.sh BUILD SOURCE CC PROGRAM CORE_ONLY: installs into a folder of its own, and is then somebody outside who has
# only that. PROGRAM is one of ours, for the look at its hardening; CORE_ONLY is a source that uses no pattern.
set -euo pipefail

readonly build=$1 source=$2 cc=$3 ours=$4 core_only=$5
work=$(mktemp -d)
readonly work
trap 'rm -rf "$work"' EXIT

die() {
    printf 'install: %s\n' "$*" >&2
    exit 1
}

# compile OUTPUT SOURCE MODULE...: as a user would.
compile() {
    local output=$1 file=$2 flags
    shift 2
    flags=$(pkg-config --cflags --libs "$@")
    # shellcheck disable=SC2086 # pkg-config answers words
    "$cc" -std=c11 -Wall -Wextra -Werror -o "$work/$output" "$file" $flags
}

# run PROGRAM: in an empty folder.
run() {
    local folder="$work/run-$1"
    mkdir "$folder"
    (cd "$folder" && LD_LIBRARY_PATH=$libdir "$work/$1") || die "$1 failed"
}

needed() {
    readelf -dW "$1" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p'
}

# has_symbol FILE PATTERN: defined there. (Here and below grep gets a here-string: a pipe's writer could die of it.)
has_symbol() {
    local symbols
    symbols=$(nm --defined-only "$1")
    grep -Eq " [A-Za-z] ($2)" <<<"$symbols"
}

check_needed() {
    local name libc=0 sqlite=0 crypto=0
    while read -r name; do
        case $name in
            libc.so.*) libc=1 ;;
            libsqlite3.so.*) sqlite=1 ;;
            libcrypto.so.*) crypto=1 ;;
            ld-linux*) ;; # part of libc: thread-local variables
            *) die "libcdtx.so needs $name" ;;
        esac
    done < <(needed "$libdir/libcdtx.so")
    [ $libc$sqlite$crypto = 111 ] || die "libcdtx.so must need libc, libsqlite3 and libcrypto"
}

check_hardened() {
    local segments dynamic header
    segments=$(readelf -lW "$1")
    dynamic=$(readelf -dW "$1")
    header=$(readelf -hW "$1")
    grep -q GNU_RELRO <<<"$segments" || die "$1: no RELRO"
    grep -Eq 'BIND_NOW|FLAGS.*NOW' <<<"$dynamic" || die "$1: RELRO is not full"
    grep -Eq 'GNU_STACK.* RW +0x' <<<"$segments" || die "$1: executable stack"
    grep -Eq 'Type: +DYN' <<<"$header" || die "$1: not position-independent"
}

# Only the pattern asked for comes along, and no pattern with the core alone.
check_linked_modules() {
    local archive program libraries
    has_symbol "$work/static" cdtx_tcc_add || die "cdtx-tcc did not come along"
    ! has_symbol "$work/static" 'cdtx_+(at|msg|retry|recon|stock)_' || die "cdtx-tcc brings another pattern"
    has_symbol "$work/core_only" cdtx_open || die "core_only has no symbols to look at"
    ! has_symbol "$work/core_only" 'cdtx_+(tcc|at|msg|retry|recon|stock)_' || die "cdtx-core brings a pattern"
    for archive in "$libdir"/libcdtx-*.a; do
        ! grep -q 'mutant:' "$archive" || die "$archive is a test build"
    done
    for program in static core_only; do
        libraries=$(needed "$work/$program")
        [[ $libraries != *cdtx* ]] || die "$program needs the shared library"
    done
    libraries=$(needed "$work/shared")
    grep -qx 'libcdtx.so.0' <<<"$libraries" || die "shared does not need libcdtx.so.0"
}

check_files() {
    local page header
    for page in "$source"/man/*.[1-8]; do
        [ -n "$(find "$work/root" -name "$(basename "$page")*")" ] || die "$page is not installed"
    done
    for header in "$source"/include/cdtx/*.h; do
        [ -n "$(find "$work/root" -path "*/include/cdtx/$(basename "$header")")" ] || die "$header is not installed"
    done
}

# The command line runs from where it was installed, and the shells find its completions.
check_tool() {
    local tool place
    tool=$(find "$work/root" -path '*/bin/cdtx')
    [ "$(LD_LIBRARY_PATH=$libdir "$tool" --version)" = "cdtx $version" ] || die "cdtx does not tell its version"
    for place in bash-completion/completions/cdtx.bash zsh/site-functions/_cdtx; do
        [ -s "$(find "$work/root" -path "*/share/$place")" ] || die "$place is not installed"
    done
    check_hardened "$tool"
}

meson install -C "$build" --no-rebuild --quiet --destdir "$work/root"
PKG_CONFIG_PATH=$(dirname "$(find "$work/root" -name cdtx.pc)")
export PKG_CONFIG_PATH
libdir=$(dirname "$PKG_CONFIG_PATH")

compile shared "$source/examples/first/first.c" cdtx
compile static "$source/examples/first/first.c" cdtx-tcc
compile core_only "$core_only" cdtx-core
run shared
run static
version=$(run core_only)
[ "$version" = "$(pkg-config --modversion cdtx)" ] || die "version $version is not that of pkg-config"

check_files
check_needed
check_linked_modules
check_tool
check_hardened "$libdir/libcdtx.so"
check_hardened "$ours"
echo "installed $version: shared, static and core-only programs run"
