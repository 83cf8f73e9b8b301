# shellcheck shell=bash
# The test bed itself: what the other files rely on.
# needs: no-mab docker bases rust go

test_bases_run_on_every_platform() {
    local kind name machine
    for kind in plain merged; do
        for name in $(bases_names); do
            machine=$(docker_run "$MAB_TEST_REGISTRY/base/debian:$kind" "$(bases_platform "$name")" /bin/sh -c 'uname -m')
            assert_equal "$machine" "$(bases_machine "$name")" "uname -m of $kind $name"
        done
    done
}

test_merged_base_has_links() {
    local dir
    dir=$(bases_dir)
    tar -tvzf "$dir/merged/amd64.tar.gz" >listing
    assert_contains "$(<listing)" "./bin -> usr/bin"
    assert_contains "$(<listing)" "./lib -> /usr/lib"
    assert_matches "$(<listing)" 'drwxrwxrwt 0/0 [^/]* \./tmp/'
    assert_matches "$(<listing)" 'drwx------ 0/0 [^/]* \./root/'
}

test_the_user_has_no_privileges() {
    assert_equal "$(as_user id -u)" 65534
    assert_equal "$(as_user sh -c 'grep CapEff /proc/self/status')" $'CapEff:\t0000000000000000'
    assert_equal "$(as_user sh -c 'ls -A "$HOME"')" ""
    run as_user touch /etc/x
    assert_differ "$STATUS" 0
}

test_the_user_compiles_for_every_platform() {
    as_user cargo init -q --name hello "$T/hello"
    local target
    for target in "${MAB_RUST_TARGETS[@]}"; do
        as_user cargo check -q --manifest-path "$T/hello/Cargo.toml" --target "$target"
    done
    as_user go version
}

test_a_registry_wants_a_password() {
    start_registry password --user me:secret
    run crane catalog "$REGISTRY"
    assert_differ "$STATUS" 0
    DOCKER_CONFIG=$T crane auth login -u me -p secret "$REGISTRY"
    DOCKER_CONFIG=$T crane catalog "$REGISTRY"
}
