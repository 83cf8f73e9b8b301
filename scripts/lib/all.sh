# shellcheck shell=bash
# All of the test bed's subjects, and its parts by name. To be sourced.

MAB_ROOT=${MAB_ROOT:-$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)}
. "$MAB_ROOT/scripts/lib/testbed.sh"
. "$MAB_ROOT/scripts/lib/packages.sh"
. "$MAB_ROOT/scripts/lib/apt.sh"
. "$MAB_ROOT/scripts/lib/rust.sh"
. "$MAB_ROOT/scripts/lib/go.sh"
. "$MAB_ROOT/scripts/lib/bases.sh"
. "$MAB_ROOT/scripts/lib/debian.sh"
. "$MAB_ROOT/scripts/lib/zig.sh"
. "$MAB_ROOT/scripts/lib/musl.sh"
. "$MAB_ROOT/scripts/lib/sysroots.sh"
. "$MAB_ROOT/scripts/lib/deny.sh"
. "$MAB_ROOT/scripts/lib/bench-data.sh"
. "$MAB_ROOT/scripts/lib/buildkit.sh"

# testbed_ensure PART: makes it when it is not there. Tools go onto PATH.
testbed_ensure() {
    case $1 in
        packages) ensure_packages_compilers; ensure_packages_tools ;;
        packages-compilers) ensure_packages_compilers ;;
        packages-tools) ensure_packages_tools ;;
        host-rust) ensure_host_rust ;;
        rust) ensure_rust ;;
        rust-arm64) arm64_cargo --version >/dev/null ;;
        go) ensure_go ;;
        bases) ensure_bases ;;
        debian) ensure_debian ;;
        packages-cxx) ensure_packages_cxx ;;
        zig) ensure_zig ;;
        musl) ensure_musl ;;
        rust-musl) ensure_rust_musl ;;
        sysroots) ensure_sysroots ;;
        musl-base) ensure_musl_base ;;
        cargo-deny) ensure_cargo_deny ;;
        distribution) ensure_distribution ;;
        buildkit) ensure_buildkit ;;
        peer-*) ensure_peer "${1#peer-}" ;;
        *) die "the test bed has no part $1" "scripts/testbed --list shows them" ;;
    esac
}

# Puts the tools of the parts that are there onto PATH; makes nothing.
testbed_use() {
    local name dir
    go_path_is_new || { dir=$(part_find go "$(go_hash)") && PATH=$dir/go/bin:$PATH; } || true
    for name in $(peer_names); do
        dir=$(part_find "peer-$name" "$(peer_hash "$name")") && PATH=$dir/bin:$PATH
    done
    dir=$(part_find cargo-deny "$(cargo_deny_hash)") && PATH=$dir/bin:$PATH
    return 0
}
