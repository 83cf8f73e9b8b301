# shellcheck shell=bash
# What end-to-end tests say about results. To be sourced.
# A test ends at the first thing that is not so.

fail() {
    printf 'FAIL: %s\n' "$*" >&2
    exit 1
}

# skip REASON: the test says nothing about this machine.
skip() {
    printf '%s\n' "$*" >"$MAB_SKIP_FILE"
    exit 77
}
# tell LINE…: shown below the test's result, also when it passes.
tell() { printf '%s\n' "$@" >>"$MAB_TOLD_FILE"; }
needs_root() { is_root || skip "needs root"; }

# run COMMAND…: sets STATUS, OUT (standard output) and ERR (standard error).
run() {
    local out err
    out=$(mktemp "$MAB_RUN/out.XXXXXX")
    err=$(mktemp "$MAB_RUN/err.XXXXXX")
    STATUS=0
    "$@" >"$out" 2>"$err" </dev/null || STATUS=$?
    OUT=$(<"$out")
    ERR=$(<"$err")
    rm -f "$out" "$err"
    # For the log that is shown when the test fails.
    printf '$ %s\n' "$*"
    [[ -z $OUT ]] || printf '%s\n' "$OUT"
    [[ -z $ERR ]] || printf '%s\n' "$ERR"
    printf '(exit %s)\n' "$STATUS"
}

# run_ok COMMAND…, run_exit CODE COMMAND…
run_exit() {
    local want=$1
    shift
    run "$@"
    [[ $STATUS -eq $want ]] || fail "exit code $STATUS, wanted $want: $*"
}
run_ok() { run_exit 0 "$@"; }

assert_equal() { # GOT WANTED [WHAT]
    [[ $1 == "$2" ]] || fail "${3:-value}: got '$1', wanted '$2'"
}
assert_differ() { # ONE OTHER [WHAT]
    [[ $1 != "$2" ]] || fail "${3:-value}: both are '$1'"
}
assert_contains() { # TEXT PART [WHAT]
    [[ $1 == *"$2"* ]] || fail "${3:-text}: '$2' is not in: $1"
}
assert_lacks() { # TEXT PART [WHAT]
    [[ $1 != *"$2"* ]] || fail "${3:-text}: '$2' is in: $1"
}
assert_matches() { # TEXT REGEX [WHAT]
    [[ $1 =~ $2 ]] || fail "${3:-text}: '$2' does not match: $1"
}
assert_file() { [[ -f $1 ]] || fail "no file $1"; }
assert_no_path() { [[ ! -e $1 && ! -L $1 ]] || fail "$1 exists"; }
assert_mode() { # PATH OCTAL
    assert_equal "$(stat -c %a "$1")" "$2" "mode of $1"
}
