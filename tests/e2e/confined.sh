# shellcheck shell=bash
# Building and pushing needs no privileges, no namespaces, and no network but the
# registry: seen with strace, and in a container that has nothing.
# minutes: 3
# needs: docker bases rust go strace

# confined ADDRESSES|none COMMAND…: as the user, see tests/lib/confined.
confined() { as_user "${vars[@]}" "$T/confined" "$@"; }
vars=()

# fetched: examples in $T/both and $T/go, their dependencies in $T/deps.
fetched() {
    install -m 755 "$MAB_ROOT/tests/lib/confined" "$T/confined"
    user_copy "$MAB_ROOT/examples/both" "$T/both"
    user_copy "$MAB_ROOT/examples/go" "$T/go"
    vars=(CARGO_HOME="$T/deps/cargo" GOMODCACHE="$T/deps/go" GOFLAGS=-modcacherw)
    as_user "${vars[@]}" cargo fetch -q --locked --manifest-path "$T/both/server/Cargo.toml"
    as_user "${vars[@]}" sh -c "cd '$T/both/query' && go mod download && cd '$T/go' && go mod download"
    # Without --offline, which wants a lock: the registry may be asked, and nothing else.
    vars+=(CARGO_NET_OFFLINE=true GOPROXY=off GOTOOLCHAIN=local)
    cd "$T/both"
}

# Each of these has to be seen, although the system refuses some of them.
test_a_violation_is_seen() {
    install -m 755 "$MAB_ROOT/tests/lib/confined" "$T/confined"
    local mount=165 command
    [[ $(uname -m) == x86_64 ]] || mount=40
    run_ok confined none true
    run_exit 3 confined none sh -c 'exit 3'
    while read -r call command; do
        run_exit 97 confined localhost:5000 bash -c "$command"
        assert_matches "$ERR" "not allowed: [0-9]+ +$call\\("
    done <<SEEDED
unshare unshare -n true
unshare unshare -U true
setns nsenter --net=/proc/self/ns/net true
mount perl -e '(\$a, \$b, \$c) = ("none", "/mnt", "tmpfs"); syscall($mount, \$a, \$b, \$c, 0, 0)'
connect exec 3<>/dev/tcp/127.0.0.1/9
connect exec 3<>/dev/tcp/::1/9
connect exec 3<>/dev/udp/127.0.0.1/53
connect sleep 0.1 & (exec 3<>/dev/tcp/127.0.0.1/5001); wait
SEEDED
    run_ok confined "$MAB_TEST_REGISTRY" bash -c "exec 3<>/dev/tcp/127.0.0.1/${MAB_TEST_REGISTRY##*:}"
}

test_a_build_stays_in_its_place() {
    fetched
    # The second one finds the programs compiled. (The container below compiles for amd64.)
    run_ok confined none mab build --progress plain --platform linux/s390x
    assert_matches "$OUT" '^oci:oci@sha256:'
    run_ok confined "$MAB_TEST_REGISTRY" mab build --push --image "$MAB_TEST_REGISTRY/confined/both" \
        --platform linux/s390x
    # With a base from there.
    cd "$T/go"
    run_ok confined "$MAB_TEST_REGISTRY" mab build -f build.debian.yaml --push --platform linux/amd64,linux/s390x \
        --image "$MAB_TEST_REGISTRY/confined/go"
    assert_contains "$OUT" "$MAB_TEST_REGISTRY/confined/go@sha256:"
}

# The same in a container that has nothing, without a home that can be written
# to, and without any.
test_a_container_without_rights() {
    fetched
    container_image
    cd "$T/go"
    # Nothing that Go compiles is kept: one platform is enough, and the others find what the tests have.
    local platforms=linux/s390x layout push=(build -f build.debian.yaml --push --image "$MAB_TEST_REGISTRY/confined/contained")
    run_ok contained HOME=/ XDG_RUNTIME_DIR=/proc "$MAB" build --platform "$platforms"
    assert_contains "$ERR" "building without a cache"
    layout=$OUT
    vars+=(GOCACHE="$MAB_RUN/go-build")
    mounts+=(-v "$MAB_RUN/go-build:$MAB_RUN/go-build")
    run_ok contained "$MAB" build --platform "$platforms" -o oci:again
    assert_equal "${OUT#oci:again}" "${layout#oci:oci}"
    run_ok contained HOME=/ XDG_RUNTIME_DIR=/proc "$MAB" "${push[@]}" --platform "$platforms"
    run_ok contained HOME=/ XDG_RUNTIME_DIR=/proc "$MAB" inspect "$OUT"
    run_ok contained "$MAB" "${push[@]}" --platform "$platforms" --tag again
    # Rust, with everything that cargo compiles.
    cd "$T/both"
    run_ok contained "$MAB" build --platform linux/amd64
}

test_files_in_a_container_without_rights() {
    container_image
    user_copy "$MAB_ROOT/testdata/bad-build" "$T/files"
    cd "$T/files"
    local layout
    run_ok contained HOME=/ XDG_RUNTIME_DIR=/proc "$MAB" build -f good.yaml
    assert_contains "$ERR" "building without a cache"
    layout=$OUT
    run_ok contained "$MAB" build -f good.yaml -o oci:again
    assert_equal "${OUT#oci:again}" "${layout#oci:oci}"
    run_ok contained "$MAB" build -f good.yaml --push --image "$MAB_TEST_REGISTRY/confined/files"
    run_ok contained HOME=/ XDG_RUNTIME_DIR=/proc "$MAB" build -f good.yaml --push \
        --image "$MAB_TEST_REGISTRY/confined/files" --tag again
    assert_equal "${OUT#*@}" "${layout#*@}"
}

# An image with nothing in it but places to see this system's compilers through.
container_image() {
    mkdir -p "$T/root"/{usr,tmp,proc,dev,sys,etc/alternatives}
    chmod 1777 "$T/root/tmp"
    grep -E '^(root|nobody):' /etc/passwd >"$T/root/etc/passwd"
    echo 'hosts: files' >"$T/root/etc/nsswitch.conf"
    echo '127.0.0.1 localhost' >"$T/root/etc/hosts"
    mounts=(-v /usr:/usr:ro -v /etc/alternatives:/etc/alternatives:ro -v "$MAB_RUN/bin:$MAB_RUN/bin:ro" -v "$T:$T")
    local directory
    for directory in bin sbin lib lib32 lib64; do
        if [[ -L /$directory ]]; then
            ln -s "$(readlink "/$directory")" "$T/root/$directory"
        elif [[ -d /$directory ]]; then
            mkdir "$T/root/$directory"
            mounts+=(-v "/$directory:/$directory:ro")
        fi
    done
    for directory in $(rust_prefix || true) "$(dirname "$(dirname "$(readlink -f "$(command -v go)")")")"; do
        [[ $directory == /usr/* ]] || mounts+=(-v "$directory:$directory:ro")
    done
    tar -C "$T/root" -c . | docker import - confined:empty >/dev/null
}

# contained [NAME=VALUE]… COMMAND…: in it, with nothing in the environment but what
# compilers need.
contained() {
    docker run --rm --user 65534:65534 --cap-drop ALL --security-opt no-new-privileges --read-only \
        --tmpfs /tmp --network host "${mounts[@]}" --workdir "$PWD" confined:empty \
        /usr/bin/env -i PATH="$(user_path)" "${vars[@]}" "$@"
}
