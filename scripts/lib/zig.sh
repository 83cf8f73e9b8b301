# shellcheck shell=bash
# zig, as people get it: out of the Python package index. To be sourced after
# testbed.sh. It is on no PATH unless a test puts it there: mab takes it where
# no cross GCC is.

MAB_ZIG_WHEEL='ziglang==0.17.1'

zig_make() {
    have python3 || die "zig comes with pip, and there is no python3"
    timeout "$MAB_DOWNLOAD_TIMEOUT" python3 -m pip install -q --disable-pip-version-check \
        --no-compile --target "$1/lib" "$MAB_ZIG_WHEEL" >&2
    mkdir "$1/bin"
    ln -s ../lib/ziglang/zig "$1/bin/zig"
    "$1/bin/zig" version >&2
}
zig_hash() { part_hash zig_make "$MAB_ZIG_WHEEL"; }
# The directory with bin/zig; fails when it is not made.
zig_prefix() { part_find zig "$(zig_hash)"; }
ensure_zig() {
    part_make zig "$(zig_hash)" "fetching zig with pip ($MAB_ZIG_WHEEL, about 100 MB) into $MAB_TESTBED/zig" zig_make
}
