# shellcheck shell=bash
# Compilers that are not there, misbehave or run out of room: the message, the
# exit code (3, or 8 for the disk), and nothing written.
# needs: root rust go

app() {
    mkdir -p app/src
    printf '[package]\nname = "app"\nversion = "0.1.0"\nedition = "2021"\n%s' "${1:-}" >app/Cargo.toml
    printf 'fn main() {}\n' >app/src/main.rs
    printf 'version: 1\nplatforms: [linux/amd64]\nbase: static\nbinaries:\n  - rust: {path: ., libc: gnu}\n    to: /app\n' >app/build.yaml
    chown -R 65534:65534 app
    cd app
}

# fake NAME TEXT: a tool in front of the real ones.
fake() {
    mkdir -p "$T/bin"
    printf '#!/bin/sh\n%s\n' "$2" >"$T/bin/$1"
    chmod 755 "$T/bin" "$T/bin/$1"
}
build() { as_user PATH="$T/bin:$(user_path)" mab build --progress plain "$@"; }
fails() { # CODE OPTION…
    run_exit "$1" build "${@:2}"
    assert_no_path oci/index.json
}
real_rustc() { printf '%s\n' "$(rust_prefix)/bin/rustc"; }

test_a_compiler_that_is_too_old() {
    app $'rust-version = "1.999"\n'
    fails 3
    assert_contains "$ERR" "1.999"
    assert_contains "$ERR" "cargo build failed for linux/amd64"
}

test_a_compiler_that_crashes() {
    app
    fake rustc "case \"\$*\" in *--crate-name\ app*) kill -SEGV \$\$ ;; *) exec $(real_rustc) \"\$@\" ;; esac"
    RUSTC=$T/bin/rustc run_exit 3 as_user RUSTC="$T/bin/rustc" PATH="$T/bin:$(user_path)" mab build --progress plain
    assert_contains "$ERR" "SIGSEGV"
    assert_contains "$ERR" "cargo build failed for linux/amd64"
}

test_a_compiler_that_is_killed_for_memory() {
    app
    fake rustc "case \"\$*\" in *--crate-name\ app*) kill -KILL \$\$ ;; *) exec $(real_rustc) \"\$@\" ;; esac"
    run_exit 3 as_user RUSTC="$T/bin/rustc" PATH="$T/bin:$(user_path)" mab build --progress plain
    assert_contains "$ERR" "fewer --jobs"
}

test_a_compiler_that_prints_megabytes() {
    app
    printf 'fn main() { for _ in 0..3 { println!("cargo:warning={}", "x".repeat(1_000_000)); } eprintln!("{}", "y".repeat(3_000_000)); std::process::exit(7) }\n' >build.rs
    local status=0
    build >"$T/out" 2>"$T/err" || status=$?
    assert_equal "$status" 3
    tail -c 2000 "$T/err" >"$T/end"
    assert_contains "$(<"$T/end")" "cargo build failed for linux/amd64"
    grep -q "custom build command" "$T/err" || fail "cargo's own words are gone"
}

test_messages_of_cargo_that_are_cut_off() {
    app
    fake cargo "case \$1 in build) echo '{\"reason\":\"compiler-art' ;; *) exec $(rust_prefix)/bin/cargo \"\$@\" ;; esac"
    fails 3
    assert_contains "$ERR" "cargo's message cannot be read"
}

# What the build file names is not what it says: its own fault, shown at its place.
test_a_workspace_that_does_not_parse() {
    app
    printf '[package\n' >Cargo.toml
    fails 2
    assert_contains "$ERR" "cargo cannot read the package in"
    assert_contains "$ERR" "Cargo.toml:1"
}

test_a_binary_that_does_not_exist() {
    app
    fails 2 --set 'binaries[0].rust.bin=ap'
    assert_contains "$ERR" "there is no binary \`ap\`"
    assert_contains "$ERR" "there is only \`app\`"
}

test_a_target_directory_that_cannot_be_written() {
    app
    mkdir "$T/shared"
    chmod 755 "$T/shared"
    chown 0:0 "$T/shared"
    run_exit 3 as_user CARGO_TARGET_DIR="$T/shared" mab build --progress plain
    assert_contains "$ERR" "$T/shared"
    assert_contains "$ERR" "Permission denied"
}

# Two builds of one target directory: one waits for the other.
test_a_target_directory_that_is_shared() {
    app
    local first
    build >"$T/first" 2>"$T/first.err" &
    first=$!
    run_ok build -o oci:second
    wait "$first" || fail "$(<"$T/first.err")"
    assert_equal "${OUT##*@}" "$(sed 's/.*@//' "$T/first")"
}

# A build script has no terminal and no input: it is told so at once.
test_a_build_script_that_asks_for_input() {
    app
    printf 'fn main() { let mut line = String::new(); std::io::stdin().read_line(&mut line).unwrap(); assert!(!line.is_empty(), "no answer"); }\n' >build.rs
    chown 65534:65534 build.rs
    local status=0
    build < <(sleep 100) >"$T/out" 2>"$T/err" || status=$?
    assert_equal "$status" 3
    assert_contains "$(<"$T/err")" "no answer"
}

test_a_build_script_that_hangs_until_interrupted() {
    app
    printf 'fn main() { std::fs::write("%s", std::process::id().to_string()).unwrap(); std::thread::sleep(std::time::Duration::from_secs(900)); }\n' "$T/pid" >build.rs
    local mab status=0 i
    build >"$T/out" 2>"$T/err" &
    mab=$!
    for ((i = 0; i < 1200; i++)); do
        [[ ! -s $T/pid ]] || break
        sleep 0.1
    done
    [[ -s $T/pid ]] || fail "the build script did not start: $(<"$T/err")"
    pkill -INT -P "$mab" -x mab 2>/dev/null || kill -INT "$mab"
    wait "$mab" || status=$?
    assert_equal "$status" 130
    for ((i = 0; i < 100; i++)); do
        [[ -e /proc/$(<"$T/pid") ]] || return 0
        sleep 0.1
    done
    fail "the build script still runs"
}

test_a_go_module_without_a_main_package() {
    mkdir app
    printf 'module example.com/x\n\ngo 1.22\n' >app/go.mod
    printf 'package x\n' >app/x.go
    printf 'version: 1\nbinaries:\n  - go: .\n    to: /app\n' >app/build.yaml
    chown -R 65534:65534 app
    cd app
    fails 2
    assert_contains "$ERR" "is not a program: its package is not \`main\`"
}

test_a_disk_that_is_full_in_mid_compile() {
    app
    printf 'pub static X: [u8; 30_000_000] = [1; 30_000_000];\nfn main() { println!("{}", X[std::env::args().count()]); }\n' >src/main.rs
    mkdir target
    mount -t tmpfs -o size=6m,uid=65534 tmpfs target
    run build
    umount target
    assert_equal "$STATUS" 8
    assert_contains "$ERR" "make room on the disk"
    assert_no_path oci/index.json
}
