# shellcheck shell=bash
# What people ship: a server with SQLite from C sources and TLS, a user of its
# own and directories that it owns. mab builds what the Dockerfile beside it
# would, for three platforms, and Docker runs it on each.
# needs: docker bases rust crane jq

# The image, built once: by whichever test comes first.
build_service() {
    local built=$MAB_RUN/service.reference
    if [[ ! -s $built ]]; then
        user_copy "$MAB_ROOT/testdata/service" "$T/service"
        cd "$T/service"
        run_ok as_user mab build --push --progress plain
        printf '%s\n' "$OUT" >"$built"
        cd "$T"
    fi
    REFERENCE=$(<"$built")
}

test_the_service_answers_on_every_platform() {
    [[ $(wc -l <"$MAB_ROOT/testdata/service/build.yaml") -le 40 ]]
    build_service
    local platform want answer try container
    for platform in linux/amd64 linux/arm64 linux/arm/v7; do
        case $platform in linux/amd64) want=x86_64 ;; linux/arm64) want=aarch64 ;; *) want=arm ;; esac
        docker pull -q --platform "$platform" "$REFERENCE" >/dev/null
        container=$(docker run -d --network none --platform "$platform" "$REFERENCE")
        answer=
        for ((try = 0; try < 60; try++)); do
            answer=$(docker exec "$container" /usr/bin/depot ping 2>/dev/null) && break
            sleep 1
        done
        docker logs "$container"
        docker rm -f "$container" >/dev/null
        docker image rm -f "$REFERENCE" >/dev/null 2>&1 || true
        assert_equal "$(jq -r .arch <<<"$answer")" "$want" "architecture of the server on $platform"
        [[ $(jq -r .roots <<<"$answer") -gt 50 ]] # the certificates are there and can be read
        assert_matches "$(jq -r .sqlite <<<"$answer")" '^3\.'
    done
}

test_its_config_is_that_of_the_dockerfile() {
    build_service
    # BuildKit's, as scripts/record-buildkit has written it down; the base is the same.
    # ArgsEscaped is obsolete, and one of the differences that are meant (docs/parity.md).
    local same='.config | del(.User, .ArgsEscaped)'
    jq -S "$same" "$MAB_ROOT/testdata/service/recorded.json" >theirs
    crane config --platform linux/amd64 "$REFERENCE" | jq -S "$same" >ours
    diff -u theirs ours
    assert_equal "$(crane config --platform linux/amd64 "$REFERENCE" | jq -r .config.User)" 2000:2000
    assert_equal "$(jq -r .config.User "$MAB_ROOT/testdata/service/recorded.json")" depot
}
