# shellcheck shell=bash
# Locked, offline, carried across the gap: what a machine with a network has locked
# and bundled is built on one without, by another user, in another place, to the
# same digest.
# needs: docker bases rust go crane strace jq

# closed COMMAND…: in a network namespace with nothing but a loopback that is down,
# as another user than as_user is, with a home of its own.
AIR_USER=65533
air_home() {
    AIR_HOME=$(mktemp -d "$MAB_RUN/air.XXXXXX")
    chown "$AIR_USER:$AIR_USER" "$AIR_HOME"
}
closed() {
    unshare --net -- setpriv --reuid="$AIR_USER" --regid="$AIR_USER" --clear-groups \
        env -i HOME="$AIR_HOME" LANG=C.UTF-8 TZ=Asia/Tokyo PATH="$(user_path)" bash -c 'umask 027; exec "$@"' - "$@"
}

# checkout NAME FROM: sources as a tarball of them has them, without anything built.
checkout() {
    mkdir -p "$(dirname "$1")"
    tar -C "$2" --exclude=./target --exclude=./server/target --exclude=./oci -cf - . | { mkdir "$1" && tar -C "$1" -xf -; }
    chown -R "$AIR_USER:$AIR_USER" "$1"
}

test_the_round_trip_is_the_connected_build() {
    local example before pushed carried name
    mkdir connected bundles air
    chmod 755 "$T" air bundles
    # Connected: locked, bundled, built and pushed.
    for example in rust go both; do
        user_copy "$MAB_ROOT/examples/$example" "connected/$example"
        cd "connected/$example"
        run_ok as_user mab lock -f build.debian.yaml
        run_ok as_user mab build -f build.debian.yaml --locked --push --progress quiet
        printf '%s\n' "${OUT##*@}" >"$T/$example.digest"
        run_ok as_user mab vendor -f build.debian.yaml -o bundle.tar
        cd "$T"
        mv "connected/$example/bundle.tar" "bundles/$example.tar"
    done
    # The namespace is closed.
    air_home
    run closed bash -c "exec 3<>/dev/tcp/127.0.0.1/5000"
    [[ $STATUS -ne 0 ]] || fail "the namespace is open"
    for example in rust go both; do
        checkout "air/$example.d/deeper/app" "connected/$example"
        rm -rf "air/$example.d/deeper/app/server/target" "air/$example.d/deeper/app/target"
        cd "air/$example.d/deeper/app"
        before=$(find . -type f -exec sha256sum {} + | sort)
        # Without the bundle: everything that is missing, in one list.
        run_exit 7 closed mab build -f build.debian.yaml --locked --offline -o "oci:$AIR_HOME/none" --progress quiet
        assert_contains "$ERR" "base localhost:5000/base/debian:bookworm@sha256:"
        [[ $example == go ]] || assert_contains "$ERR" "crate serde_json "
        [[ $example == rust ]] || assert_contains "$ERR" "Go module github.com/spf13/pflag@v1.0.10"
        [[ $example != go ]] || assert_contains "$ERR" "Go module golang.org/x/sys@v0.30.0"
        assert_no_path "$AIR_HOME/none"
        run_ok closed strace -f --seccomp-bpf -qq -e trace=socket -o "$AIR_HOME/$example.trace" \
            mab build -f build.debian.yaml --locked --offline --bundle "$T/bundles/$example.tar" \
            -o "oci-archive:$AIR_HOME/$example.tar" --jobs 3 --progress quiet
        assert_equal "${OUT##*@}" "$(<"$T/$example.digest")" "digest of $example"
        run grep -E 'AF_INET|AF_NETLINK|AF_PACKET' "$AIR_HOME/$example.trace"
        assert_equal "$OUT" "" "sockets of $example"
        rm -rf target server/target
        assert_equal "$(find . -type f -exec sha256sum {} + | sort)" "$before" "sources of $example"
        cd "$T"
    done
    # Carried out, pushed, and run.
    for example in rust go both; do
        run_ok env HOME="$AIR_HOME" mab push "$AIR_HOME/$example.tar" "localhost:5000/carried/$example" --progress quiet
        pushed=$(<"$example.digest")
        assert_equal "$(crane digest "localhost:5000/carried/$example:latest")" "$pushed"
    done
    for name in $(bases_names); do
        for example in rust go; do
            carried=localhost:5000/carried/$example@$(<"$example.digest")
            run_ok docker_run "$carried" "$(bases_platform "$name")"
            [[ -n $OUT ]] || fail "$example says nothing on $name"
        done
    done
    rm -rf "$AIR_HOME"
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
    run_exit 8 as_user mab vendor -f build.debian.yaml -o "$small/bundle.tar"
    assert_contains "$ERR" "No space left on device"
    assert_equal "$(ls -A "$small")" ""
    run_exit 8 as_user MAB_CACHE_DIR="$small/cache" \
        mab build -f build.debian.yaml --locked --offline --bundle ../bundle.tar -o oci:out --progress quiet
    assert_contains "$ERR" "No space left on device"
    umount "$small"
    assert_no_path out/index.json
}

# The operator's page, as it stands: its connected commands with a network, the
# others in a closed namespace (those that push have the registry alone).
test_the_page_on_air_gaps_is_true() {
    local number=0 side script gapped_home=
    user_copy "$MAB_ROOT/examples/go" "$T/connected"
    sed -i "s|localhost:5000/base/debian:bookworm|localhost:5000/page/debian:stable|" connected/build.debian.yaml
    mv connected/build.debian.yaml connected/build.yaml
    crane copy --insecure localhost:5000/base/debian:plain localhost:5000/page/debian:stable >/dev/null 2>&1
    mkdir "$T/gapped"
    chown 65534:65534 "$T/gapped"
    awk '/^```sh / { side = $2; n++; file = sprintf("step-%02d-%s", n, side); next } /^```/ { file = ""; next } file { print > file }' \
        "$MAB_ROOT/docs/air-gap.md"
    for script in step-*; do
        side=${script#step-*-}
        number=$((number + 1))
        sed -i "s|registry.farm.example|localhost:5000|g" "$script"
        chmod 755 "$script"
        if [[ $side == connected ]]; then
            # Between making and updating, the base moves.
            if grep -q -- --update "$script"; then
                crane copy --insecure localhost:5000/base/debian:merged localhost:5000/page/debian:stable >/dev/null 2>&1
            fi
            cd connected
            run_ok as_user bash -euo pipefail "../$script"
            cd ..
        else
            # Across the gap: the sources and the bundles.
            run_ok as_user bash -c "tar -C connected -cf - . | tar -C gapped -xf -"
            # A home of its own, with nothing in it when the first of these begins.
            if [[ -z ${gapped_home:-} ]]; then
                fresh_home
                gapped_home=$TEST_HOME
            fi
            cd gapped
            if grep -qE -- '--push|mab push' "../$script"; then
                run_ok as_user bash -euo pipefail "../$script"
            else
                run_ok unshare --net -- setpriv --reuid=65534 --regid=65534 --clear-groups \
                    env -i HOME="$TEST_HOME" PATH="$(user_path)" bash -euo pipefail "../$script"
            fi
            cd ..
        fi
    done
    [[ $number -ge 8 ]] || fail "only $number steps were found in the page"
    assert_equal "$(crane digest localhost:5000/team/carried:latest)" "$(crane digest localhost:5000/team/app:latest)"
}
