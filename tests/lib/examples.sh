# shellcheck shell=bash
# shellcheck disable=SC2034  # what these set is for the tests
# The three examples, each built once in a run and looked at by many tests. To be
# sourced after services.sh and assert.sh; wants what `# needs: bases rust go` gives.

MAB_EXAMPLES=(rust go both)

# example NAME: builds it, unless an earlier test has: as the user without
# privileges, from a copy of its sources, cold (no target directory, an empty
# home) and once for each kind of build file. Sets
#   EXAMPLE         its directory, with the layout of build.yaml in oci/
#   EXAMPLE_LAYOUT  what that build printed: oci:oci@sha256:…
#   EXAMPLE_PUSHED  what `-f build.debian.yaml --push` printed
#   EXAMPLE_LOG     a file with the registry's log of that push
#   EXAMPLE_HOME    the home that it was built with: its caches are warm
example() {
    EXAMPLE=$MAB_RUN/examples/$1
    mkdir -p "$MAB_RUN/examples"
    chmod 755 "$MAB_RUN/examples"
    {
        flock 7 # one of two tests that want it at the same time builds it
        if [[ ! -e $EXAMPLE.pushed ]]; then
            [[ ! -e $EXAMPLE ]] || fail "the example $1 does not build: an earlier test says why"
            example_build "$1"
        fi
    } 7>"$EXAMPLE.lock"
    EXAMPLE_LAYOUT=$(<"$EXAMPLE.layout")
    EXAMPLE_PUSHED=$(<"$EXAMPLE.pushed")
    EXAMPLE_LOG=$EXAMPLE.log EXAMPLE_HOME=$(<"$EXAMPLE.home")
}

example_build() {
    local own=$TEST_HOME lines
    user_copy "$MAB_ROOT/examples/$1" "$EXAMPLE"
    cd "$EXAMPLE"
    fresh_home
    run_ok as_user mab build --progress plain
    assert_lacks "$ERR" warning
    printf '%s\n' "$OUT" >"$EXAMPLE.layout"
    # The compilers' own caches stay: what they hold is not mab's.
    example_cold .
    rm -rf "$TEST_HOME/.cache/mab"
    # To a repository that has nothing, not even what another test has pushed there.
    rm -rf "$MAB_TEST_REGISTRY_FILES/docker/registry/v2/repositories/examples/$1"
    lines=$(wc -l <"$MAB_TEST_REGISTRY_LOG")
    run_ok as_user mab build -f build.debian.yaml --push --progress plain
    assert_lacks "$ERR" warning
    tail -n "+$((lines + 1))" "$MAB_TEST_REGISTRY_LOG" >"$EXAMPLE.log"
    example_cold .
    printf '%s\n' "$TEST_HOME" >"$EXAMPLE.home"
    printf '%s\n' "$OUT" >"$EXAMPLE.pushed"
    TEST_HOME=$own
    cd "$T"
}

# example_cold DIRECTORY: removes what cargo has compiled in an example.
example_cold() { rm -rf "$1/target" "$1"/*/target; }

# example_says NAME REFERENCE PLATFORM: runs the image and prints what its
# programs say of themselves: for each a line LANGUAGE ARCHITECTURE BITS ENDIAN.
example_says() {
    local options=() arguments=(--json) filter='.'
    if [[ $1 == both ]]; then
        options=(--entrypoint /usr/bin/query)
        arguments+=(--spawn /usr/bin/arch-server)
        filter='.server, .query'
    fi
    DOCKER_RUN_OPTIONS=("${options[@]}")
    docker_run "$2" "$3" "${arguments[@]}" \
        | jq -r "$filter | \"\(.language) \(.arch) \(.pointer_width) \(.endian)\""
}

# example_wanted NAME PLATFORM: what that has to be.
example_wanted() {
    local rust go
    case $2 in
        linux/amd64) rust="x86_64 64 little" go="amd64 64 little" ;;
        linux/arm64) rust="aarch64 64 little" go="arm64 64 little" ;;
        linux/arm/v7) rust="arm 32 little" go="arm 32 little" ;;
        linux/s390x) rust="s390x 64 big" go="s390x 64 big" ;;
        linux/ppc64le) rust="powerpc64 64 little" go="ppc64le 64 little" ;;
        *) fail "no platform of the examples: $2" ;;
    esac
    [[ $1 == go ]] || printf 'rust %s\n' "$rust"
    [[ $1 == rust ]] || printf 'go %s\n' "$go"
}

# platform_out SOURCE PLATFORM LAYOUT: takes one platform of an image out into a
# layout, by skopeo, under the tag `one`. SOURCE is oci:DIR:TAG or docker://….
platform_out() {
    local os arch variant
    IFS=/ read -r os arch variant <<<"$2"
    skopeo copy -q --src-tls-verify=false --override-os "$os" --override-arch "$arch" \
        ${variant:+--override-variant "$variant"} "$1" "oci:$3:one"
}
