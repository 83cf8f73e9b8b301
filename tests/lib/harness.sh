# shellcheck shell=bash
# Runs the parts of scripts/test, counts, and keeps what they printed. To be
# sourced after scripts/lib/all.sh and services.sh.
#
# Each result is a line in $MAB_RESULTS: passed|failed|skipped, part, seconds,
# count, name or reason. A subshell can write there too.

MAB_TEST_TIMEOUT=${MAB_TEST_TIMEOUT:-900} # seconds that one end-to-end test may take, beside another

now() { printf '%s' "$EPOCHREALTIME"; }
since() { awk -v from="$1" -v to="$EPOCHREALTIME" 'BEGIN { printf "%.1f", to - from }'; }

# result STATUS PART SECONDS COUNT [TEXT]
result() { printf '%s\t%s\t%s\t%s\t%s\n' "$1" "$2" "$3" "$4" "${5:-}" >>"$MAB_RESULTS"; }

part_passed() { result passed "$1" "$2" "${3:-1}"; printf 'ok      %s (%s s)\n' "$1" "$2"; }
part_failed() { result failed "$1" "$2" 1 "${3:-}"; printf 'FAILED  %s (%s s)%s\n' "$1" "$2" "${3:+: $3}"; }
part_skipped() { # PART REASON [SECONDS]
    if [[ ${MAB_TEST_ALL:-} == 1 ]]; then
        result failed "$1" "${3:-0.0}" 1 "skipped: $2"
        printf 'FAILED: %s: skipped, which MAB_TEST_ALL=1 forbids: %s\n' "$1" "$2"
    else
        result skipped "$1" "${3:-0.0}" 1 "$2"
        printf 'SKIPPED: %s: %s\n' "$1" "$2"
    fi
}

show_log() { tail -n "${2:-300}" "$1" | sed 's/^/    | /'; }

# run_step PART COMMAND…: one command, one result. With exit code 77 it is
# skipped, for the reason that it printed last.
run_step() {
    local part=$1 log started status=0
    shift
    log=$MAB_LOGS/${part//\//-}.log
    started=$(now)
    printf '        %s …\n' "$part"
    "$@" >"$log" 2>&1 </dev/null || status=$?
    if [[ $status -eq 0 ]]; then
        part_passed "$part" "$(since "$started")"
    elif [[ $status -eq 77 ]]; then
        part_skipped "$part" "$(tail -n 1 "$log")" "$(since "$started")"
    else
        part_failed "$part" "$(since "$started")" "exit code $status"
        show_log "$log"
    fi
}

# Cargo's own counts: every "test result:" line of its output.
run_unit() {
    local log=$MAB_LOGS/unit.log started status=0 passed failed
    ensure_go # the tests of toolchains run it
    started=$(now)
    printf '        unit …\n'
    cargo test --workspace --locked --no-fail-fast >"$log" 2>&1 </dev/null || status=$?
    read -r passed failed < <(awk '
        /^test result:/ { for (i = 1; i < NF; i++) { if ($(i + 1) == "passed;") p += $i; if ($(i + 1) == "failed;") f += $i } }
        END { print p + 0, f + 0 }' "$log")
    local seconds
    seconds=$(since "$started")
    [[ $passed -eq 0 ]] || result passed unit "$seconds" "$passed"
    if [[ $status -eq 0 && $failed -eq 0 && $passed -gt 0 ]]; then
        printf 'ok      unit: %s tests (%s s)\n' "$passed" "$seconds"
        return
    fi
    [[ $passed -ne 0 ]] || result failed unit "$seconds" 0
    result failed unit 0.0 "$((failed > 0 ? failed : 1))" "exit code $status"
    printf 'FAILED  unit: %s passed, %s failed (%s s), exit code %s\n' "$passed" "$failed" "$seconds" "$status"
    show_log "$log"
}

run_deny() {
    (ensure_cargo_deny) || { part_failed deny 0.0 "no cargo-deny"; return; }
    ensure_cargo_deny
    run_step deny cargo deny --locked check bans licenses sources
    # The database of advisories is a git repository elsewhere: it may be out of reach.
    if GIT_TERMINAL_PROMPT=0 timeout 60 cargo deny fetch db >"$MAB_LOGS/deny-db.log" 2>&1 </dev/null; then
        run_step deny-advisories cargo deny --locked check --disable-fetch advisories
    else
        printf 'note    deny: advisories were not checked: their database could not be fetched from here\n'
    fi
}

run_docs() {
    local check found=
    if is_root; then ensure_node || true; fi # the check says that it is missing
    for check in "$MAB_ROOT"/tests/docs/*; do
        [[ -f $check && -x $check ]] || continue
        found=1
        if [[ $check == */build-file-schema ]] && ! { have node && have npm; }; then
            part_skipped docs/build-file-schema "node and npm are missing (as root: apt-get install nodejs npm)"
            continue
        fi
        run_step "docs/$(basename "$check")" "$check"
    done
    [[ -n $found ]] || printf 'note    docs: tests/docs/ holds no checks\n'
}

# early_begin PART…: gets, in the background and at a low priority, what the later of these parts
# will want. Whatever fails is tried again, and told, by the part that wants it.
early_begin() {
    local part wanted=() words
    for part; do
        case $part in
            docs) wanted+=(node-schema) ;;
            deny) wanted+=(cargo-deny) ;;
            examples) wanted+=(rust) ;;
            e2e)
                words=" $(cat "$MAB_ROOT"/tests/e2e/*.sh | sed -n 's/^# needs://p' | tr '\n' ' ') "
                wanted+=(packages-tools rust bases)
                for part in distribution musl-base; do [[ $words != *" $part "* ]] || wanted+=("$part"); done
                for part in $(peer_names); do [[ $words != *" $part "* ]] || wanted+=("peer-$part"); done
                ;;
        esac
    done
    [[ ${#wanted[@]} -gt 0 ]] || return 0
    set -m # a process group of its own, for services_stop
    (
        set +m
        trap - EXIT INT TERM HUP # the services are not this shell's
        renice -n 10 "$BASHPID" >/dev/null 2>&1
        for part in "${wanted[@]}"; do
            if [[ $part == node-schema ]]; then
                if is_root; then ensure_node || true; fi
                "$MAB_ROOT/tests/docs/build-file-schema" --fetch || true
            else
                (testbed_ensure "$part") || true
            fi
        done
    ) >"$MAB_LOGS/early.log" 2>&1 </dev/null &
    MAB_EARLY=$!
    set +m
}

# The examples as their readers find them: with the oldest Rust that they promise.
run_examples() {
    local directory word
    for word in rust go; do
        need "$word" && continue
        if [[ -n $NEED_REASON ]]; then part_skipped examples "$NEED_REASON"; else part_failed examples 0.0 "$NEED_BROKEN"; fi
        return 0
    done
    local cargo target=${CARGO_TARGET_DIR:-$MAB_ROOT/target}/examples # one, for what both depend on
    cargo=$(rust_prefix)/bin/cargo
    for directory in rust both/server; do
        run_step "examples/$directory" "$cargo" test --locked --manifest-path "examples/$directory/Cargo.toml" \
            --target-dir "$target"
    done
    for directory in go both/query; do
        run_step "examples/$directory" go test -C "examples/$directory" -mod=readonly ./...
    done
}

# --- end-to-end tests -------------------------------------------------------

# e2e_needs FILE: the words of its "# needs:" lines.
e2e_needs() { sed -n 's/^# needs://p' "$1" | tr '\n' ' '; }
e2e_tests() { sed -nE 's/^(test_[A-Za-z0-9_]+) *\(\).*/\1/p' "$1"; }

# need WORD: sees to it, in this shell. Fails with NEED_REASON when an ordinary
# user cannot have it (a skip), and with NEED_BROKEN when it ought to work.
need() {
    NEED_REASON='' NEED_BROKEN=''
    [[ -z ${NEED_DONE[$1]:-} ]] || return 0
    case $1 in
        no-mab) ;;
        root) is_root || { NEED_REASON="needs root"; return 1; } ;;
        mab) need_mab || return 1 ;;
        compilers) need_packages packages-compilers || return 1 ;;
        tools | skopeo | umoci | buildah | strace | jq | qemu | htpasswd | bsdtar) need_packages packages-tools || return 1 ;;
        rust) need compilers && need_part rust || return 1 ;;
        zig) need_part zig || return 1 ;;
        go | musl-base | bases-part | debian | distribution | buildkit) need_part "${1%-part}" || return 1 ;;
        crane | regctl | oras | ko) need_part "peer-$1" || return 1 ;;
        registry)
            need_packages packages-tools || return 1
            start_registry main --port "${MAB_TEST_REGISTRY_PORT:-5000}" || { NEED_BROKEN="no registry"; return 1; }
            MAB_TEST_REGISTRY=$REGISTRY
            MAB_TEST_REGISTRY_LOG=$(registry_log main)
            MAB_TEST_REGISTRY_FILES=$(registry_files main)
            export MAB_TEST_REGISTRY MAB_TEST_REGISTRY_LOG MAB_TEST_REGISTRY_FILES
            ;;
        bases)
            need crane && need bases-part && need registry || return 1
            push_base "$MAB_TEST_REGISTRY/base/debian:plain" plain >/dev/null \
                && push_base "$MAB_TEST_REGISTRY/base/debian:merged" merged >/dev/null \
                && base_is merged \
                || { NEED_BROKEN="the bases could not be pushed"; return 1; }
            ;;
        binfmt)
            need root && need tools || return 1
            register_binfmt || { NEED_BROKEN="binfmt_misc"; return 1; }
            ;;
        docker)
            need root && need tools && need binfmt || return 1
            start_docker || { NEED_BROKEN="no Docker daemon"; return 1; }
            ;;
        *) NEED_BROKEN="unknown need $1"; return 1 ;;
    esac
    NEED_DONE[$1]=1
}
declare -A NEED_DONE=()

need_part() {
    (testbed_ensure "$1") || { NEED_BROKEN="the test bed's part $1 cannot be made"; return 1; }
    testbed_ensure "$1"
}
need_packages() {
    if is_root; then
        need_part "$1"
    else
        (testbed_ensure "$1") 2>"$MAB_LOGS/need.log" && return 0
        NEED_REASON="packages are missing (as root: scripts/testbed $1)"
        return 1
    fi
}

# base_is plain|merged: which of them base/debian:bookworm names, the examples' base.
# Debian's own images of that release are merged.
base_is() { crane tag --insecure "$MAB_TEST_REGISTRY/base/debian:$1" bookworm >/dev/null 2>&1; }

# Built once, as the unit tests have mostly built it already: with the overflow checks that a
# release has not. Copied to where every user may run it.
need_mab() {
    local log=$MAB_LOGS/build-mab.log started
    [[ -z ${MAB_BUILD_FAILED:-} ]] || { NEED_BROKEN="mab does not build"; return 1; }
    started=$(now)
    if [[ -n ${MAB_TEST_MAB:-} ]]; then
        :
    elif ! cargo build --locked -p mab >"$log" 2>&1 </dev/null; then
        MAB_BUILD_FAILED=1
        NEED_BROKEN="mab does not build"
        show_log "$log"
        return 1
    fi
    mkdir -p "$MAB_RUN/bin"
    install -m 755 "${MAB_TEST_MAB:-${CARGO_TARGET_DIR:-$MAB_ROOT/target}/debug/mab}" "$MAB_RUN/bin/mab"
    MAB=$MAB_RUN/bin/mab
    PATH=$MAB_RUN/bin:$PATH
    export MAB
    result passed build-mab "$(since "$started")" 0
    printf 'ok      build-mab (%s s)\n' "$(since "$started")"
}

# run_e2e_files DIRECTORY: every file of it, two at a time, since compilers and readers leave
# a core idle for a quarter of the time. A file with a line `# alone: WHY` has the machine to
# itself, before the others; those with the largest `# minutes:` begin.
run_e2e_files() {
    local file word lane alone=() queue=() lanes=()
    while IFS=$'\t' read -r _ file; do
        if grep -q '^# alone:' "$file"; then alone+=("$file"); else queue+=("$file"); fi
        # The services are this shell's, for both lanes. What cannot be had is told by the file's own run.
        for word in mab $(e2e_needs "$file"); do need "$word" || true; done
    done < <(e2e_minutes "$1"/*.sh | sort -rn)
    for file in "${alone[@]}"; do run_e2e "$file"; done
    [[ ${#queue[@]} -gt 0 ]] || return 0
    printf 0 >"$MAB_LOGS/next"
    for lane in 1 2; do
        (
            set +e
            trap 'exit 143' TERM
            while file=$(e2e_next "${queue[@]}"); do run_e2e "$file"; done
        ) &
        lanes+=($!)
    done
    # An interrupt of the terminal does not reach what runs in the background.
    trap 'kill -TERM "${lanes[@]}" 2>/dev/null; wait; exit 130' INT
    trap 'kill -TERM "${lanes[@]}" 2>/dev/null; wait; exit 143' TERM HUP
    for lane in "${lanes[@]}"; do
        wait "$lane" || part_failed "$(basename "$1")" 0.0 "a lane ended with exit code $?"
    done
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
}

# The files with the minutes that they say they take.
e2e_minutes() {
    local file minutes
    for file; do
        [[ -e $file ]] || continue
        minutes=$(sed -n 's/^# minutes: *//p' "$file")
        printf '%s\t%s\n' "${minutes:-1}" "$file"
    done
}

# The file that no lane has taken yet; fails when there is none.
e2e_next() {
    local next
    {
        flock 8
        next=$(<"$MAB_LOGS/next")
        printf '%s' "$((next + 1))" >"$MAB_LOGS/next"
    } 8>"$MAB_LOGS/next.lock"
    shift "$next" 2>/dev/null && [[ $# -gt 0 ]] && printf '%s' "$1"
}

# run_e2e FILE [TEST]
run_e2e() {
    local file=$1 only=${2:-} part word words
    part=$(basename "$(dirname "$file")")/$(basename "$file" .sh)
    words=$(e2e_needs "$file")
    [[ " $words " == *" no-mab "* ]] || words="mab $words"
    [[ " $words " != *" root "* && " $words " != *" docker "* ]] || words="root $words"
    local started
    started=$(now)
    for word in $words; do
        if ! need "$word"; then
            if [[ -n $NEED_REASON ]]; then
                part_skipped "$part" "$NEED_REASON"
            else
                part_failed "$part" "$(since "$started")" "$NEED_BROKEN"
            fi
            return 0
        fi
    done
    result passed "$part" "$(since "$started")" 0 # what it needed, for the table
    set +e
    (
        set -e
        services_begin "$MAB_RUN"
        cd "$MAB_ROOT"
        # shellcheck disable=SC1090
        . "$file"
        if declare -F before_all >/dev/null; then
            set +e
            (set -e; before_all) >"$MAB_LOGS/before_all.log" 2>&1 </dev/null
            status=$?
            set -e
            if [[ $status -ne 0 ]]; then
                part_failed "$part: before_all" 0.0 "exit code $status"
                show_log "$MAB_LOGS/${part//\//-}-before_all.log"
                exit 0
            fi
        fi
        local test ran=
        for test in $(e2e_tests "$file"); do
            [[ -z $only || $test == "$only" ]] || continue
            ran=1
            run_e2e_test "$part" "$test"
        done
        [[ -n $ran ]] || part_failed "$part" 0.0 "no test ${only:-in this file}"
    )
    local status=$?
    set -e
    [[ $status -eq 0 ]] || part_failed "$part" 0.0 "the file could not be run (exit code $status)"
}

# In a process group of its own, so that nothing outlives the test; with a time
# limit; in a fresh directory T that as_user owns, and with a fresh home.
run_e2e_test() {
    local part=$1 test=$2 log started seconds status=0 pid watchdog
    log=$MAB_LOGS/${part//\//-}-$test.log
    MAB_SKIP_FILE=$log.skip MAB_TOLD_FILE=$log.told
    rm -f "$MAB_SKIP_FILE" "$MAB_TOLD_FILE"
    T=$(user_dir)
    fresh_home
    started=$(now)
    set -m
    (
        set +m
        set -euo pipefail
        cd "$T"
        "$test"
    ) >"$log" 2>&1 </dev/null &
    pid=$!
    (sleep "$MAB_TEST_TIMEOUT"; printf 'FAIL: more than %s s\n' "$MAB_TEST_TIMEOUT" >>"$log"; kill -KILL -- "-$pid") >/dev/null 2>&1 &
    watchdog=$!
    set +m
    # shellcheck disable=SC2064
    trap "kill -KILL -- -$pid -$watchdog 2>/dev/null; exit 130" INT TERM
    wait "$pid" 2>/dev/null || status=$?
    kill -KILL -- "-$pid" "-$watchdog" 2>/dev/null || true
    wait "$watchdog" 2>/dev/null || true
    trap 'exit 130' INT
    trap 'exit 143' TERM
    seconds=$(since "$started")
    {
        flock 8 # a result and its log are one piece
        e2e_result
    } 8>"$MAB_LOGS/lock"
    [[ -n ${MAB_KEEP:-} ]] || { chmod -R u+rwX "$T" "$TEST_HOME"; rm -rf "$T" "$TEST_HOME"; } 2>/dev/null
    return 0
}

# Of run_e2e_test, whose variables it takes.
e2e_result() {
    if [[ $status -eq 0 ]]; then
        result passed "$part" "$seconds" 1 "$test"
        printf 'ok      %s:%s (%s s)\n' "$part" "$test" "$seconds"
    elif [[ $status -eq 77 && -s $MAB_SKIP_FILE ]]; then
        part_skipped "$part:$test" "$(<"$MAB_SKIP_FILE")" "$seconds"
    else
        result failed "$part" "$seconds" 1 "$test"
        printf 'FAILED  %s:%s (%s s), exit code %s\n' "$part" "$test" "$seconds" "$status"
        show_log "$log"
    fi
    [[ ! -s $MAB_TOLD_FILE ]] || sed 's/^/        /' "$MAB_TOLD_FILE"
}

# The table of times, what failed, and the closing line. Fails when something did.
summary() {
    printf '\n%8s  %s\n' seconds part
    awk -F '\t' '{
        part = $2; sub(/:.*/, "", part)
        if (!(part in time)) order[++n] = part
        time[part] += $3; total += $3
    } END {
        for (i = 1; i <= n; i++) printf "%8.1f  %s\n", time[order[i]], order[i]
    }' "$MAB_RESULTS"
    printf '%8.1f  in all\n\n' "$(since "$MAB_STARTED")"
    awk -F '\t' '$1 == "failed" && $4 > 0 { print "failed: " $2 ($5 != "" ? ": " $5 : "") }' "$MAB_RESULTS"
    awk -F '\t' '
        { count[$1] += $4 }
        END {
            passed = count["passed"] + 0; failed = count["failed"] + 0; skipped = count["skipped"] + 0
            if (passed + failed + skipped == 0) { print "error: nothing was run" > "/dev/stderr"; failed = 1 }
            printf "%d passed, %d failed%s\n", passed, failed, skipped ? ", " skipped " skipped" : ""
            exit failed > 0
        }' "$MAB_RESULTS"
}
