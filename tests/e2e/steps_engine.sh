# shellcheck shell=bash
# The engine of build steps on Debian bases, native and emulated, as an ordinary user and as root.
# minutes: 2
# needs: bases qemu jq

test_emulated_steps_are_as_native_ones() {
    local tests
    tests=$(cd "$MAB_ROOT" && cargo test --locked -q -p mab --test steps --no-run --message-format json |
        jq -r 'select(.target.name == "steps" and .executable) | .executable')
    [[ -x $tests ]] || fail "the tests were not compiled"
    run_ok as_user env MAB_TEST_BASES="$(bases_dir)/merged" "$tests" --show-output bases
    if [[ $OUT == *'users cannot make sandboxes here'* ]]; then skip "users cannot make sandboxes here"; fi
    assert_contains "$OUT" '1 passed'
    [[ $OUT$ERR != *SKIPPED* ]] || fail "$OUT"
    run_ok env MAB_TEST_BASES="$(bases_dir)/merged" "$tests" bases
}
