# shellcheck shell=bash
# The runner of scripts/bench. To be sourced after all.sh and services.sh.

bench_title() { sed -n "s/^title='\(.*\)'/\1/p; s/^title=\"\(.*\)\"/\1/p" "$1"; }

# The mab of the checkout, as people get it. Sets MAB.
bench_mab() {
    if [[ -n ${MAB_BENCH_MAB:-} ]]; then
        MAB=$(realpath "$MAB_BENCH_MAB")
    else
        ensure_host_rust
        say "building mab"
        (cd "$MAB_ROOT" && cargo build -q --release --locked -p mab >&2)
        MAB=$(realpath "${CARGO_TARGET_DIR:-$MAB_ROOT/target}/release/mab")
    fi
}

# bench_command NAME COMMAND…: what the case's run_* function is to time. Writes
# seconds and peak KiB (of the largest process) to $BENCH_RESULT. Python, since
# the shell cannot start a clock and a process without a fork between.
bench_time() {
    python3 - "$BENCH_RESULT" "$@" <<'PYTHON'
import os, resource, subprocess, sys, time
result, command = sys.argv[1], sys.argv[2:]
with open(os.path.join(os.path.dirname(result), "bench.log"), "ab") as log:
    start = time.perf_counter()
    status = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log).returncode
    seconds = time.perf_counter() - start
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
with open(result, "w") as file:
    file.write(f"{seconds:.4f} {peak}\n")
sys.exit(status)
PYTHON
}

# bench_side SIDE N: before_SIDE and run_SIDE. Appends to $WORK/SIDE.
bench_side() {
    local side=$1 number=$2
    if declare -F "before_$side" >/dev/null; then "before_$side" "$number"; fi
    rm -f "$BENCH_RESULT"
    : >"$WORK/bench.log"
    if ! "run_$side" "$number"; then
        tail -n 30 "$WORK/bench.log" >&2
        die "run_$side failed"
    fi
    cat "$BENCH_RESULT" >>"$WORK/$side"
}

bench_run() {
    local pairs number
    title='' peer='' goal='' limit_seconds='' limit_memory=''
    # shellcheck disable=SC1090
    . "$1"
    pairs=${MAB_BENCH_PAIRS:-7} # a case may have its own
    services_begin
    WORK=$MAB_RUN/work
    mkdir -p "$WORK"
    cd "$WORK" || die "no $WORK"
    BENCH_RESULT=$WORK/.result
    bench_mab
    prepare
    say "$title: a warm-up, then $pairs ${peer:+pairs}"
    bench_side ours 0
    [[ -z $peer ]] || bench_side peer 0
    rm -f "$WORK/ours" "$WORK/peer"
    for ((number = 1; number <= pairs; number++)); do
        if [[ -z $peer ]]; then
            bench_side ours "$number"
        elif ((number % 2)); then
            bench_side ours "$number"
            bench_side peer "$number"
        else
            bench_side peer "$number"
            bench_side ours "$number"
        fi
    done
    if declare -F check >/dev/null; then check || die "the two sides did not do the same work"; fi

    python3 - "$WORK/ours" "$WORK/peer" "$peer" "$goal" "$limit_seconds" "$limit_memory" "$title" "$(nproc)" "$(basename "$1")" "${bench_missed:-}" <<'PYTHON'
import statistics, sys
ours_file, peer_file, peer, goal, limit_seconds, limit_memory, title, cores, case, missed = sys.argv[1:]
def read(path):
    rows = [line.split() for line in open(path)]
    return [float(r[0]) for r in rows], [int(r[1]) for r in rows]
failed = missed != ""
def verdict(what, value, limit, unit=""):
    global failed
    ok = value <= float(limit)
    failed = failed or not ok
    print(f"  {'pass' if ok else 'MISS'}: {what} {value:.3f}{unit}, goal at most {float(limit):g}{unit}")
def side(name, times, memory):
    print(f"  {name:<10} median {statistics.median(times):7.3f} s   "
          f"{min(times):.3f} to {max(times):.3f} s   peak {max(memory) / 1024:.0f} MiB")
ours, ours_memory = read(ours_file)
print(f"{case}: {title}; {len(ours)} {'pairs' if peer else 'runs'}, {cores} cores")
side("mab", ours, ours_memory)
if peer:
    theirs, theirs_memory = read(peer_file)
    side(peer, theirs, theirs_memory)
    ratios = [a / b for a, b in zip(ours, theirs)]
    print(f"  ratio      median {statistics.median(ratios):7.3f}     {min(ratios):.3f} to {max(ratios):.3f}")
    if goal.startswith("+"):
        # A goal of so many seconds more than the peer's.
        differences = [a - b for a, b in zip(ours, theirs)]
        print(f"  difference median {statistics.median(differences):6.3f} s   "
              f"{min(differences):.3f} to {max(differences):.3f} s")
        verdict("difference", statistics.median(differences), goal, " s")
    else:
        verdict("ratio", statistics.median(ratios), goal)
if limit_seconds:
    verdict("median", statistics.median(ours), limit_seconds, " s")
if limit_memory:
    verdict("peak", max(ours_memory) / 1024, limit_memory, " MiB")
sys.exit(1 if failed else 0)
PYTHON
}
