# shellcheck shell=bash
# Locked, offline, carried across the gap: what a machine with a network has locked
# and bundled is built on one without, by another user, in another place, with other
# settings and cold caches, to the same digest.
# minutes: 5
# needs: docker bases rust go crane strace jq

# beyond COMMAND…: on the other side of the gap, as a user that as_user is not, with
# a home, time zone, language and mask of its own. With GAP set it is closed: a
# network namespace with nothing but a loopback that is down.
BEYOND_USER=65533
beyond() {
    local wall=()
    [[ -z ${GAP:-} ]] || wall=(unshare --net --)
    "${wall[@]}" setpriv --reuid="$BEYOND_USER" --regid="$BEYOND_USER" --clear-groups \
        env -i HOME="$BEYOND_HOME" LANG=de_DE.UTF-8 TZ=Asia/Tokyo GOGC=400 PATH="$(user_path)" \
        bash -c 'umask 027; exec "$@"' - "$@"
}
closed() { GAP=closed beyond "$@"; }

# home_beyond: an empty home there, removed with the test's directory.
home_beyond() {
    BEYOND_HOME=$T/beyond
    mkdir "$BEYOND_HOME"
    chown "$BEYOND_USER:$BEYOND_USER" "$BEYOND_HOME"
    chmod 700 "$BEYOND_HOME"
}

# The namespace leads nowhere; who is outside of it reaches the registry.
assert_closed() {
    local connect="exec 3<>/dev/tcp/127.0.0.1/${MAB_TEST_REGISTRY##*:}"
    run_ok beyond bash -c "$connect"
    run closed bash -c "$connect"
    assert_differ "$STATUS" 0 "a connect to the registry from the closed namespace"
    assert_contains "$ERR" "Network is unreachable"
    run_ok closed cut -s -d: -f1 /proc/net/dev
    assert_equal "$(tr -d ' ' <<<"$OUT")" lo "interfaces of the closed namespace"
}

sources() { find . -type f ! -path '*/target/*' -exec sha256sum {} + | sort; }

# crosses NAME FILE MODULE…: the example by its build file FILE, which is built with a
# network and unlocked, is locked and bundled where that was, and built without a network.
crosses() {
    local name=$1 file=$2 module line before own=$TEST_HOME platform wanted
    shift 2
    example "$name"
    wanted=${EXAMPLE_PUSHED##*@}
    [[ $file == build.debian.yaml ]] || wanted=${EXAMPLE_LAYOUT##*@}
    # Connected. Cargo and go have fetched already, into that home.
    user_copy "$MAB_ROOT/examples/$name" "$T/connected"
    cd connected
    TEST_HOME=$EXAMPLE_HOME
    run_ok as_user mab lock -f "$file"
    run_ok as_user mab vendor -f "$file" -o bundle.tar
    TEST_HOME=$own
    cd "$T"
    mv connected/bundle.tar bundle.tar
    chmod 644 bundle.tar
    tar -C connected -cf sources.tar .

    # Beyond.
    home_beyond
    assert_closed
    mkdir -p "beyond/a directory/of another length"
    cd "beyond/a directory/of another length"
    chown -R "$BEYOND_USER:$BEYOND_USER" "$T/beyond"
    run_ok beyond tar -xf "$T/sources.tar"
    before=$(sources)
    # Without the bundle: everything that is missing, in one list.
    run_exit 7 closed mab build -f "$file" --locked --offline -o "oci:$BEYOND_HOME/none" --progress quiet
    if [[ $file == build.debian.yaml ]]; then
        assert_contains "$ERR" "base localhost:5000/base/debian:bookworm@sha256:"
        for platform in amd64 arm64 arm/v7 s390x ppc64le; do assert_contains "$ERR" "linux/$platform"; done
    fi
    while read -r line; do
        assert_contains "$ERR" "crate $line"
    done < <(find . -name Cargo.lock -exec awk -F'"' '/^name/ { n = $2 } /^version/ { v = $2 } /^source/ { print n, v }' {} +)
    for module; do assert_contains "$ERR" "Go module $module"; done
    assert_no_path "$BEYOND_HOME/none"

    # With it. Not one socket of an internet family, of mab or of a child.
    run_ok closed strace -f --seccomp-bpf -qq -e trace=socket -o "$BEYOND_HOME/trace" \
        mab build -f "$file" --locked --offline --bundle "$T/bundle.tar" \
        -o "oci-archive:$BEYOND_HOME/carried.tar" --jobs 3 --progress plain
    assert_equal "${OUT##*@}" "$wanted" "the example $name, built offline in another place"
    run grep -E 'AF_INET|AF_INET6|AF_NETLINK|AF_PACKET' "$BEYOND_HOME/trace"
    assert_equal "$OUT" "" "sockets of an internet family"
    # And with what is compiled by now.
    if [[ $name != both ]]; then
        run_ok closed mab build -f "$file" --locked --offline --bundle "$T/bundle.tar" \
            -o "oci:$BEYOND_HOME/again" --jobs 1 --progress plain
        assert_equal "${OUT##*@}" "$wanted" "the example $name, built again"
    fi
    assert_equal "$(sources)" "$before" "sources of $name"
    cd "$T"

    # Carried out, pushed, and run.
    run_ok beyond mab push "$BEYOND_HOME/carried.tar" "localhost:5000/carried/$name" --progress quiet
    assert_equal "$(crane digest --insecure "localhost:5000/carried/$name:latest")" "$wanted" "what was carried out"
    for platform in $(bases_names); do
        platform=$(bases_platform "$platform")
        assert_equal "$(example_says "$name" "localhost:5000/carried/$name@$wanted" "$platform")" \
            "$(example_wanted "$name" "$platform")" "the carried example $name on $platform"
    done
}

test_rust_crosses_the_gap() { crosses rust build.yaml; }
test_go_crosses_the_gap() { crosses go build.debian.yaml github.com/spf13/pflag@v1.0.10 golang.org/x/sys@v0.30.0; }
test_both_languages_cross_the_gap() { crosses both build.debian.yaml github.com/spf13/pflag@v1.0.10; }

# The check for sockets can fail.
test_a_socket_is_seen() {
    home_beyond
    run closed strace -f --seccomp-bpf -qq -e trace=socket -o "$BEYOND_HOME/trace" \
        bash -c 'sleep 0 & (exec 3<>/dev/udp/127.0.0.1/53); wait'
    run_ok grep -E 'AF_INET|AF_INET6|AF_NETLINK|AF_PACKET' "$BEYOND_HOME/trace"
}

# A bundle on a disk that fills up, and a cache on one.
test_full_disks_leave_what_was_there() {
    local small=$T/small
    user_copy "$MAB_ROOT/examples/go" "$T/go"
    cd go
    run_ok as_user mab lock -f build.debian.yaml
    run_ok as_user mab vendor -f build.debian.yaml -o ../bundle.tar
    mkdir "$small"
    mount -t tmpfs -o size=1m,mode=777 tmpfs "$small"
    printf 'an older bundle' >"$small/bundle.tar"
    run_exit 8 as_user mab vendor -f build.debian.yaml -o "$small/bundle.tar"
    assert_contains "$ERR" "No space left on device"
    assert_equal "$(ls -A "$small") $(<"$small/bundle.tar")" "bundle.tar an older bundle"
    run_exit 8 as_user MAB_CACHE_DIR="$small/cache" \
        mab build -f build.debian.yaml --locked --offline --bundle ../bundle.tar -o oci:out --progress quiet
    assert_contains "$ERR" "No space left on device"
    umount "$small"
    assert_no_path out/index.json
}

# The operator's page, as it stands: its connected commands with a network, the
# others in the closed namespace (those that push have the registry).
test_the_page_on_air_gaps_is_true() {
    local number=0 script pushing
    mkdir connected steps
    user_copy "$MAB_ROOT/examples/go" "$T/connected"
    # Two platforms are enough to see that the commands are right.
    sed -e "s|localhost:5000/base/debian:bookworm|localhost:5000/page/debian:stable|" \
        -e 's|^platforms:.*|platforms: [linux/amd64, linux/s390x]|' connected/build.debian.yaml >connected/build.yaml
    rm connected/build.debian.yaml
    crane copy --insecure localhost:5000/base/debian:plain localhost:5000/page/debian:stable >/dev/null 2>&1
    home_beyond
    awk '/^```sh / { file = sprintf("steps/%02d-%s", ++n, $2); next } /^```/ { file = ""; next } file { print > file }' \
        "$MAB_ROOT/docs/air-gap.md"
    for script in steps/*; do
        number=$((number + 1))
        sed -i 's|registry.farm.example|localhost:5000|g' "$script"
        script=$T/$script
        if [[ $script == *-connected ]]; then
            cd connected
            # Between making and updating, the base moves, which is found out.
            if grep -q -- --update "$script"; then
                crane copy --insecure localhost:5000/base/debian:merged localhost:5000/page/debian:stable >/dev/null 2>&1
                run_exit 7 as_user mab lock --check
                assert_contains "$OUT" "localhost:5000/page/debian:stable"
                cp mab.lock ../mab.lock.before
            fi
            run_ok as_user bash -euo pipefail "$script"
            if grep -q -- --update "$script"; then
                assert_contains "$OUT" "org.opencontainers.image.version: 12-plain -> 12-merged"
                # Checksum, image, and a line for each platform.
                assert_equal "$(diff ../mab.lock.before mab.lock | grep -c '^>')" 4 "changed lines of the lock"
            fi
        else
            # What crosses the gap: the sources and the bundles.
            run_ok beyond mkdir -p "$BEYOND_HOME/app"
            tar -C connected -cf sources.tar .
            cd "$BEYOND_HOME/app"
            run_ok beyond tar -xf "$T/sources.tar"
            pushing=
            ! grep -qE -- '--push|mab push' "$script" || pushing=1
            if [[ -n $pushing ]]; then
                run_ok beyond bash -euo pipefail "$script"
            else
                run_ok closed bash -euo pipefail "$script"
            fi
        fi
        cd "$T"
    done
    [[ $number -ge 8 ]] || fail "only $number steps were found in the page"
    assert_equal "$(crane digest --insecure localhost:5000/team/carried:latest)" \
        "$(crane digest --insecure localhost:5000/team/app:latest)"
}
