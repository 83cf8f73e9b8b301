# shellcheck shell=bash
# What tests of sandboxes share: whether there are any, and what is left of them. To be
# sourced after assert.sh and services.sh.

# Where users may not make sandboxes there is nothing to see.
sandbox_or_skip() {
    run as_user mab check --sandbox
    [[ $STATUS -eq 0 ]] || skip "users cannot make sandboxes here: $(head -n 1 <<<"$OUT")"
}

# sandbox_processes: as_user's processes of sandboxes, and what the tests run in them:
# `sleep 4242`. The file has a TEST_USER of its own.
sandbox_processes() { pgrep -u "$(as_user id -u)" -f "^mab-sandbox |sleep 4242" || true; }
sandboxes_are_gone() {
    local tries
    for tries in $(seq 50); do
        [[ -n $(sandbox_processes) ]] || return 0
        sleep 0.1
    done
    fail "still there after $tries looks: $(ps -fp "$(sandbox_processes | tr '\n' ,)1")"
}

# killed_after SIGNAL UNTIL COMMAND…: starts the command as as_user, sends it the signal when
# UNTIL (a number of seconds, or a command) is over, and holds that it ends with that signal's
# exit code and that no process of a sandbox is left. Its output is in $T/out.
# shellcheck disable=SC2016
killed_after() {
    local signal=$1 until=$2 pid
    shift 2
    rm -f "$T/pid"
    # A shell's jobs in the background ignore SIGINT, and so would mab until it listens to it.
    as_user setsid env --default-signal=INT sh -c 'echo $$ >pid; exec "$@"' sh "$@" >"$T/out" 2>&1 &
    pid=$!
    if [[ $until == [0-9]* ]]; then sleep "$until"; else "$until"; fi
    until [[ -s $T/pid ]]; do sleep 0.01; done
    kill -"$signal" "$(<"$T/pid")" 2>/dev/null || true
    STATUS=0
    wait "$pid" || STATUS=$?
    assert_equal "$STATUS" $((128 + $(kill -l "$signal"))) "exit code after $signal ($until): $(<"$T/out")"
    sandboxes_are_gone
}

# with_memory BYTES COMMAND…: the command in a control group that has so much memory, without swap.
with_memory() {
    local limit=$1 group status=0
    shift
    if [[ -w /sys/fs/cgroup/memory/cgroup.procs ]]; then
        group=/sys/fs/cgroup/memory/mab-test-$$
        mkdir "$group"
        printf '%s' "$limit" >"$group/memory.limit_in_bytes"
        printf 0 >"$group/memory.swappiness"
    elif [[ -w /sys/fs/cgroup/cgroup.procs ]] && grep -qw memory /sys/fs/cgroup/cgroup.subtree_control; then
        group=/sys/fs/cgroup/mab-test-$$
        mkdir "$group"
        printf '%s' "$limit" >"$group/memory.max"
        printf 0 >"$group/memory.swap.max"
    else
        skip "no control group for memory can be made here"
    fi
    # The processes that move there are this subshell and what it becomes.
    (
        printf '%s' "$BASHPID" >"$group/cgroup.procs"
        "$@"
    ) || status=$?
    rmdir "$group"
    return $status
}
