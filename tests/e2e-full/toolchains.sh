# shellcheck shell=bash
# Programs with C in them, for other platforms: a sample of scripts/toolchain-matrix,
# and what the binaries say of themselves.
# needs: docker bases rust go crane jq zig

matrix_copy() { user_copy "$MAB_ROOT/testdata/matrix/$1" "$2"; }

# with_zig COMMAND…: as_user, with zig on PATH.
with_zig() { as_user PATH="$(zig_prefix)/bin:$(user_path)" "$@"; }

# build_file PLATFORMS BASE SOURCE
build_file() {
    printf 'version: 1\nimage: %s/toolchains/app\nplatforms: [%s]\nbase: %s\nbinaries:\n  - %s\n    to: /usr/bin/app\n' \
        "$MAB_TEST_REGISTRY" "$1" "$2" "$3"
}

# says REFERENCE PROGRAM PLATFORM…: each image prints what is expected.
says() {
    local reference=$1 program=$2 platform
    shift 2
    for platform in "$@"; do
        assert_equal "$(docker_run "$reference" "$platform")" "$(<"$MAB_ROOT/testdata/matrix/$program/expected")" \
            "what $program prints on $platform"
    done
}

test_sqlite_in_a_crate_with_the_cross_gcc() {
    matrix_copy sqlite "$T/app"
    cd "$T/app"
    build_file "linux/arm64, linux/s390x" "$MAB_TEST_REGISTRY/base/debian:merged" 'rust: .' >build.yaml
    run_ok as_user mab build --push --progress quiet
    assert_lacks "$ERR" warning
    says "$OUT" sqlite linux/arm64 linux/s390x
}

# max_glibc FILE: the newest version of glibc that a program wants.
max_glibc() { readelf -W -V "$1" | grep -o 'GLIBC_2\.[0-9]*' | sort -Vu | tail -n 1; }

# The floor is what the file says, not what the machine has (2.36): zig links against it.
test_a_glibc_floor_is_met_by_the_binary_itself() {
    matrix_copy zlib "$T/app"
    cd "$T/app"
    build_file "linux/amd64, linux/arm64, linux/arm/v7" "$MAB_TEST_REGISTRY/base/debian:merged" 'rust: {path: ., glibc: "2.28"}' >build.yaml
    run_ok with_zig mab build --push --progress plain --verbose
    assert_contains "$ERR" "is linked by zig"
    says "$OUT" zlib linux/amd64 linux/arm64 linux/arm/v7
    local platform found
    for platform in linux/amd64 linux/arm64 linux/arm/v7; do
        crane export --platform "$platform" "$OUT" - | tar -xOf - usr/bin/app >app
        found=$(max_glibc app)
        assert_matches "$found" '^GLIBC_2\.[0-9]+$'
        [[ $(printf '%s\nGLIBC_2.28\n' "$found" | sort -V | tail -n 1) == GLIBC_2.28 ]] || fail "$platform wants $found"
    done
}

# C in a Go program, without zig and with it alone.
test_c_in_a_go_program() {
    mkdir app
    printf 'module example.com/c\n\ngo 1.22\n' >app/go.mod
    printf 'package main\n\n// #include <string.h>\n// static unsigned long length(const char *text) { return strlen(text); }\nimport "C"\n\nimport "fmt"\n\nfunc main() { fmt.Println("length", C.length(C.CString("abc"))) }\n' >app/main.go
    chown -R 65534:65534 app
    cd app
    build_file "linux/arm64, linux/s390x" "$MAB_TEST_REGISTRY/base/debian:merged" 'go: .' >build.yaml
    run_ok as_user mab build --push --progress quiet
    assert_equal "$(docker_run "$OUT" linux/s390x)" "length 3"
    matrix_tools "$T/no-cc" NO-CC
    # Where C is not optimized zig would check it, with calls of what go does not link.
    build_file "linux/arm64, linux/s390x" "$MAB_TEST_REGISTRY/base/debian:merged" \
        'go: {path: ., env: {CGO_CFLAGS: "-O0"}}' >build.yaml
    run_ok as_user PATH="$MAB_RUN/bin:$(dirname "$(readlink -f "$(command -v go)")"):$(zig_prefix)/bin:$T/no-cc" \
        mab build --push --progress quiet --set base=static
    assert_equal "$(docker_run "$OUT" linux/arm64)" "length 3"
}

# Build scripts and macros too: zlib's crate has both a script and C. The floor holds for this machine's own
# platform, whose linker the scripts share.
test_rust_and_zig_are_enough() {
    matrix_copy zlib "$T/app"
    cd "$T/app"
    matrix_tools "$T/no-cc" NO-CC
    build_file "linux/amd64, linux/arm64" "$MAB_TEST_REGISTRY/base/debian:merged" 'rust: {path: ., glibc: "2.28"}' >build.yaml
    run_ok as_user PATH="$MAB_RUN/bin:$(rust_prefix)/bin:$(zig_prefix)/bin:$T/no-cc" \
        mab build --push --progress plain --verbose
    assert_equal "$(grep -c 'is linked by zig' <<<"$ERR")" 2
    says "$OUT" zlib linux/amd64 linux/arm64
    crane export --platform linux/amd64 "$OUT" - | tar -xOf - usr/bin/app >app
    [[ $(printf '%s\nGLIBC_2.28\n' "$(max_glibc app)" | sort -V | tail -n 1) == GLIBC_2.28 ]] || fail "it wants $(max_glibc app)"
}

# A module whose C knows the name of its own file.
go_module() { # DIRECTORY
    mkdir -p "$1"
    printf 'module example.com/c\n\ngo 1.22\n' >"$1/go.mod"
    printf 'const char *where(void) { return __FILE__; }\n' >"$1/where.c"
    printf 'package main\n\n// const char *where(void);\nimport "C"\n\nimport "fmt"\n\nfunc main() { fmt.Println(C.GoString(C.where())) }\n' >"$1/main.go"
    chown -R 65534:65534 "$1"
}

# C included: whatever the checkout, the home and cargo's home.
test_programs_with_c_are_the_same_bytes_elsewhere() {
    local first place
    for place in "$T/one" "$T/deeper/place/two"; do
        matrix_copy zlib "$place"
        go_module "$place/c"
        build_file "linux/arm64, linux/arm/v7" static 'rust: {path: ., libc: gnu, link: static}' >"$place/build.yaml"
        printf '  - go: ./c\n    to: /usr/bin/where\n' >>"$place/build.yaml"
    done
    cd "$T/one"
    run_ok as_user mab build --progress quiet
    assert_lacks "$ERR" "holds a path"
    first=$OUT
    fresh_home
    cd "$T/deeper/place/two"
    run_ok as_user CARGO_HOME="$TEST_HOME/elsewhere" TZ=Asia/Tokyo mab build --progress quiet --jobs 1
    assert_equal "$OUT" "$first"
}
