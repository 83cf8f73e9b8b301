# shellcheck shell=bash
# What goes wrong says what, why and what to do, with its exit code, and leaves
# the old result as it was.
# minutes: 2
# needs: bases go rust crane htpasswd

fresh() {
    user_copy "$MAB_ROOT/examples/go" "$T/go"
    cd "$T/go"
}

test_no_build_file() {
    run_exit 2 as_user mab build
    assert_contains "$ERR" "neither build.yaml nor build.yml"
    run_exit 2 as_user mab build -f nowhere.yaml
    assert_contains "$ERR" nowhere.yaml
}

test_an_unknown_key_has_its_place_and_the_nearest() {
    printf 'version: 1\nbinarys:\n  - go: .\n    to: /x\n' >build.yaml
    run_exit 2 as_user mab build
    assert_contains "$ERR" "build.yaml:2:1"
    assert_contains "$ERR" binaries
}

test_a_base_without_the_platform_says_what_it_has() {
    fresh
    run_exit 2 as_user mab build -f build.debian.yaml --platform linux/riscv64
    assert_contains "$ERR" "linux/riscv64"
    assert_contains "$ERR" "linux/s390x"
}

test_a_base_that_is_not_there() {
    fresh
    run_exit 5 as_user mab build -f build.debian.yaml --set base=localhost:5000/base/none:x
    assert_contains "$ERR" "localhost:5000/base/none"
    run_exit 5 as_user timeout 100 mab build -f build.debian.yaml --set base=localhost:1/base/none:x
    assert_contains "$ERR" "localhost:1"
}

test_a_registry_that_wants_credentials() {
    fresh
    start_registry closed --user me:secret
    run_exit 6 as_user mab build -f build.debian.yaml --platform linux/amd64 --push --image "$REGISTRY/x/y"
    assert_contains "$ERR" "$REGISTRY"
    local auth
    auth=$(printf me:wrong | base64)
    run_exit 6 as_user DOCKER_AUTH_CONFIG="{\"auths\":{\"$REGISTRY\":{\"auth\":\"$auth\"}}}" \
        mab build -f build.debian.yaml --platform linux/amd64 --push --image "$REGISTRY/x/y"
    assert_lacks "$ERR$OUT" "$auth"
    auth=$(printf me:secret | base64)
    run_ok as_user DOCKER_AUTH_CONFIG="{\"auths\":{\"$REGISTRY\":{\"auth\":\"$auth\"}}}" \
        mab build -f build.debian.yaml --platform linux/amd64 --push --image "$REGISTRY/x/y" --progress quiet
}

test_missing_tools_are_told_at_once() {
    user_copy "$MAB_ROOT/examples/both" "$T/both"
    cd "$T/both"
    run_exit 3 as_user PATH=/usr/bin-that-is-not-there "$MAB" build
    assert_contains "$ERR" cargo
    assert_contains "$ERR" "go"
}

# Real compilers with gaps: two standard libraries of five, one linker for the
# others of four, no Go. All of it in one report, and nothing is compiled.
test_everything_that_is_missing_is_in_one_report() {
    user_copy "$MAB_ROOT/examples/both" "$T/both"
    mkdir -p bin sysroot/lib/rustlib
    local real tool
    real=$(rust_prefix) || real=
    real=${real:+$real/bin/}
    for tool in sh env ld as ar sed cat dirname readlink uname dpkg apt-get apt-cache; do
        ! command -v "$tool" >/dev/null || ln -s "$(command -v "$tool")" "bin/$tool"
    done
    # cc by another name would be a linker for this machine alone, and so it is here.
    ln -s "$(command -v cc)" bin/cc
    ln -s "$(command -v aarch64-linux-gnu-gcc)" bin/aarch64-linux-gnu-gcc
    local libraries
    libraries=$(dirname "$("${real}rustc" --print target-libdir --target x86_64-unknown-linux-gnu)")
    libraries=$(dirname "$libraries")
    for tool in x86_64-unknown-linux-gnu s390x-unknown-linux-gnu; do
        ln -s "$libraries/$tool" "sysroot/lib/rustlib/$tool"
    done
    printf '#!/bin/sh\nexec %s --sysroot %s "$@"\n' "$(command -v "${real}rustc")" "$T/sysroot" >bin/rustc
    printf '#!/bin/sh\nexec %s "$@"\n' "$(command -v "${real}cargo")" >bin/cargo
    chmod 755 bin/rustc bin/cargo
    cd "$T/both"
    run_exit 3 as_user PATH="$T/bin" "$MAB" build -o oci:oci \
        --set base="$MAB_TEST_REGISTRY/base/debian:bookworm"
    local part
    for part in "linux/arm64" "linux/arm/v7" "linux/ppc64le" "linux/s390x" aarch64-unknown-linux-gnu \
        armv7-unknown-linux-gnueabihf powerpc64le-unknown-linux-gnu '`go` is not on PATH' gcc-s390x-linux-gnu; do
        assert_contains "$ERR" "$part"
    done
    assert_lacks "$ERR" "Compiling"
    assert_no_path server/target/mab
    assert_no_path oci/index.json
}

test_a_program_that_does_not_compile() {
    fresh
    run_ok as_user mab build --progress quiet --platform linux/amd64
    local old
    old=$(sha256sum <oci/index.json)
    echo 'func broken( {' >>main.go
    run_exit 3 as_user mab build --platform linux/amd64
    assert_contains "$ERR" "main.go"
    assert_equal "$(sha256sum <oci/index.json)" "$old"
}

test_a_file_for_another_architecture_is_refused() {
    fresh
    run as_user GOARCH=arm64 CGO_ENABLED=0 go build -o helper .
    printf 'version: 1\nplatforms: [linux/amd64]\nbinaries:\n  - {file: helper, to: /helper}\n' >build.yaml
    run_exit 4 as_user mab build
    assert_contains "$ERR" "/helper for linux/amd64"
    assert_no_path oci/index.json
    echo text >helper
    run_exit 4 as_user mab build
    assert_contains "$ERR" "not a Linux program"
}

test_a_destination_outside_the_image() {
    printf 'version: 1\nbinaries:\n  - {go: ., to: ../x}\n' >build.yaml
    run_exit 2 as_user mab build
    assert_contains "$ERR" "build.yaml:3"
}

test_an_interrupt_leaves_the_old_layout() {
    fresh
    run_ok as_user mab build --progress quiet --platform linux/amd64
    local old
    old=$(sha256sum <oci/index.json)
    echo '// changed' >>main.go
    # With nothing compiled it takes far longer.
    run_exit 130 as_user GOCACHE="$T/cold" timeout --preserve-status --signal INT 0.3 mab build --set config.env.X=1
    assert_equal "$(sha256sum <oci/index.json)" "$old"
}
