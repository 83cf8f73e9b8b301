# shellcheck shell=bash
# cargo-deny, which checks licences, sources and advisories of dependencies.
# To be sourced after testbed.sh and rust.sh.

MAB_CARGO_DENY=0.20.2

cargo_deny_make() {
    # Unoptimized: it takes longer to build than it ever runs.
    CARGO_PROFILE_DEV_DEBUG=0 timeout "$MAB_TOOL_BUILD_TIMEOUT" cargo install -q --debug --locked --root "$1" \
        --target-dir "$1/target" "cargo-deny@$MAB_CARGO_DENY" >&2
    rm -rf "$1/target"
}
cargo_deny_hash() { part_hash cargo_deny_make "$MAB_CARGO_DENY"; }
ensure_cargo_deny() {
    local prefix
    if ! part_find cargo-deny "$(cargo_deny_hash)" >/dev/null; then
        ensure_host_rust
        part_make cargo-deny "$(cargo_deny_hash)" \
            "building cargo-deny $MAB_CARGO_DENY with cargo install into $MAB_TESTBED/cargo-deny (about two minutes)" \
            cargo_deny_make
    fi
    prefix=$(part_find cargo-deny "$(cargo_deny_hash)")
    PATH=$prefix/bin:$PATH
}
