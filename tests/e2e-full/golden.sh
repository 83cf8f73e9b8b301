# shellcheck shell=bash
# Golden digests on another architecture: a cross-compiled writer, run by QEMU.
# needs: no-mab root compilers qemu

test_golden_digests_on_arm64() {
    arm64_cargo build --release --locked -q -p oci-layout --example torture --manifest-path "$MAB_ROOT/Cargo.toml"
    local program=${CARGO_TARGET_DIR:-$MAB_ROOT/target}/aarch64-unknown-linux-gnu/release/examples/torture
    assert_equal "$(qemu-aarch64-static -L /usr/aarch64-linux-gnu "$program" on 2 2>/dev/null)" \
        "$(<"$MAB_ROOT/tests/lib/torture.golden")"
}
