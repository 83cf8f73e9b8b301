# shellcheck shell=bash
# Full disks, killed builds, power cuts, and builds side by side.
# alone: kills at moments that are spread over the time of a build
# needs: root jq strace

# A build file with 24 MB of real programs; $1 is a word that makes it another image.
some_build() {
    mkdir -p "$1/data"
    cd "$1" || fail "no directory $1"
    [[ -e data/programs ]] || head -c 24000000 "$MAB" >data/programs
    printf '%s\n' "$1" >data/word
    cat >build.yaml <<YAML
version: 1
base: scratch
platforms: [linux/amd64, linux/arm64]
files:
  - {from: data/, to: /data/}
YAML
    cd - >/dev/null || fail "no way back"
}

index_of() { [[ ! -e $1/index.json ]] || sha256sum "$1/index.json"; }
leftovers() { find "$1" -name '.unfinished-*' -o -name '.mab-*'; }
# What is wrong beyond blobs that nothing leads to yet.
damage() { mab verify "oci:$1" --json | jq -c '[.findings[] | select(.problem != "unreachable")]'; }

test_d01_a_full_disk() {
    some_build one
    mkdir small
    mount -t tmpfs -o size=4m tmpfs small
    # The layout: an image that fits, then one that does not.
    printf 'version: 1\nbase: scratch\nfiles: [{from: word, to: /word}]\n' >one/data/build.yaml
    run_ok mab build -f one/data/build.yaml -o oci:small/oci --progress quiet
    local before
    before=$(index_of small/oci)
    run_exit 8 mab build -f one/build.yaml -o oci:small/oci --progress quiet
    assert_contains "$ERR" "No space left on device"
    assert_equal "$(index_of small/oci)" "$before"
    assert_equal "$(leftovers small)" ""
    assert_equal "$(damage small/oci)" "[]"
    # An archive.
    run_exit 8 mab build -f one/build.yaml -o oci-archive:small/all.tar --progress quiet
    assert_contains "$ERR" "No space left on device"
    assert_no_path small/all.tar
    assert_equal "$(leftovers small)" ""
    # The cache, where new blobs go that are pushed.
    rm -rf small/*
    start_registry full
    run_exit 8 env MAB_CACHE_DIR="$PWD/small/cache" mab build -f one/build.yaml --push --image "$REGISTRY/x" --progress quiet
    assert_contains "$ERR" "No space left on device"
    assert_equal "$(leftovers small)" ""
    # With room again, the same builds succeed.
    mount -o remount,size=200m small
    run_ok env MAB_CACHE_DIR="$PWD/small/cache" mab build -f one/build.yaml -o oci:small/oci --progress quiet
    run_ok mab verify oci:small/oci
    umount small
}

test_d02_read_only_places() {
    some_build one
    mkdir place
    mount -t tmpfs -o size=64m tmpfs place
    mkdir -m 700 place/cache
    mount -o remount,ro place
    run_exit 8 mab build -f one/build.yaml -o oci:place/oci --progress quiet
    assert_contains "$ERR" "Read-only file system"
    run_ok env MAB_CACHE_DIR="$PWD/place/cache" mab build -f one/build.yaml -o oci:oci --progress plain
    assert_contains "$ERR" "without a cache"
    run_ok mab verify oci:oci
    umount place
}

# Kills a build at each of many moments. Which of them were between the first
# blob byte and the new index.json is told by what the killed build has left.
test_d04_killed_at_any_moment() {
    local moments=${MAB_KILL_MOMENTS:-100} moment length between=0 killed=0 started before pid
    export MAB_CACHE_DIR=$PWD/cache
    some_build old
    some_build new
    run_ok mab build -f old/build.yaml -o oci:oci --tag t --progress quiet
    cp -a oci saved
    started=$EPOCHREALTIME
    run_ok mab build -f new/build.yaml -o oci:oci --tag t --progress quiet
    length=$(since "$started")
    for ((moment = 1; moment <= moments; moment++)); do
        rm -rf oci cache/layers-* cache/memo-*
        cp -a saved oci
        before=$(index_of oci)
        mab build -f new/build.yaml -o oci:oci --tag t --progress quiet >/dev/null 2>&1 &
        pid=$!
        sleep "$(awk -v t="$length" -v i="$moment" -v n="$moments" 'BEGIN { print t * i / n }')"
        kill -KILL "$pid" 2>/dev/null || true
        if ! wait "$pid" 2>/dev/null; then
            killed=$((killed + 1))
            if [[ $(index_of oci) == "$before" && -n $(find oci -path '*/.unfinished-*/*' -size +0) ]]; then
                between=$((between + 1))
            fi
        fi
        assert_equal "$(damage oci)" "[]" "moment $moment"
    done
    printf '%s of %s killed, %s of them between the first blob byte and the new index\n' "$killed" "$moments" "$between"
    [[ $between -ge $((moments * 6 / 10)) ]] || fail "only $between of $moments in between"
    run_ok mab build -f new/build.yaml -o oci:oci --tag t --progress quiet
    run_ok mab verify oci:oci
    assert_equal "$(leftovers oci)" ""
}

test_d05_a_power_cut() {
    some_build one
    run_ok mab build -f one/build.yaml -o oci:oci --tag old --progress quiet
    some_build two
    strace -f -y -o trace -e trace=openat,write,pwrite64,rename,renameat,renameat2,fsync,fdatasync,unlink,copy_file_range,ftruncate \
        mab build -f two/build.yaml -o oci:oci --tag new --progress quiet
    python3 "$MAB_ROOT/tests/lib/powercut.py" trace oci
    # The check itself can fail.
    grep -v fdatasync trace >without
    ! python3 "$MAB_ROOT/tests/lib/powercut.py" without oci || fail "a trace without flushes passes"
}

test_c01_c02_ten_builds_at_once() {
    local number pids=() pid
    export MAB_CACHE_DIR=$PWD/cache
    for number in 1 2 3 4 5 6 7 8 9 10; do some_build "b$number"; done
    for number in 1 2 3 4 5 6 7 8 9 10; do
        mab build -f "b$number/build.yaml" -o oci:oci -o "oci-archive:b$number.tar" --tag "t$number" --progress quiet >"out$number" 2>&1 &
        pids+=($!)
    done
    for pid in "${pids[@]}"; do wait "$pid" || { cat out*; fail "a build failed"; }; done
    assert_equal "$(jq '[.manifests[].annotations["org.opencontainers.image.ref.name"]] | unique | length' oci/index.json)" 10
    run_ok mab build -f b1/build.yaml -o oci:oci --tag t1 --progress quiet
    run_ok mab verify oci:oci
    assert_equal "$(leftovers oci)$(leftovers cache)" ""
    # The same output as alone, and each blob once.
    run_ok env MAB_CACHE_DIR="$PWD/other" mab build -f b7/build.yaml -o oci:alone --tag t7 --progress quiet
    assert_contains "$(<out7)" "${OUT##*@}"
    assert_equal "$(find cache/blobs -type f -printf '%f\n' 2>/dev/null | sort | uniq -d)" ""
}

test_c06_somebody_elses_cache() {
    some_build one
    mkdir -m 700 cache
    chown 12345 cache
    run_ok env MAB_CACHE_DIR="$PWD/cache" mab build -f one/build.yaml -o oci:oci --progress plain
    assert_contains "$ERR" "belongs to user 12345"
    chown 0 cache
    chmod 755 cache
    run_ok env MAB_CACHE_DIR="$PWD/cache" mab build -f one/build.yaml -o oci:oci --progress plain
    assert_contains "$ERR" "open to others"
    assert_equal "$(find cache -mindepth 1)" ""
}

test_the_cache_is_bounded() {
    export MAB_CACHE_DIR=$PWD/cache
    some_build one
    start_registry cache
    run_ok mab build -f one/build.yaml --push --image "$REGISTRY/x" --progress quiet
    assert_equal "$(mab cache dir)" "$PWD/cache"
    local size
    size=$(mab cache size --json | jq .bytes)
    [[ $size -gt 1000000 ]] || fail "only $size bytes"
    run_ok mab cache prune --keep 100kB
    [[ $(mab cache size --json | jq .bytes) -le 100000 ]] || fail "more than 100 kB are left"
    run_ok mab build -f one/build.yaml --push --image "$REGISTRY/y" --progress quiet
    run_ok mab verify "$REGISTRY/y:latest"
}
