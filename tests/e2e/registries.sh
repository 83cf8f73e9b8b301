# shellcheck shell=bash
# Images between mab and registries of every kind: open, with passwords, with
# tokens, with TLS under an authority of one's own; docker-registry 2.8,
# distribution v3, go-containerregistry's. What mab pushed, others read; what
# others pushed, mab moves byte for byte.
# minutes: 2
# needs: bases crane regctl skopeo jq distribution

CANARY=canary-5ecret

# Credentials and certificates of this test's home, for other people's tools too.
tools() {
    export DOCKER_CONFIG=$TEST_HOME/.docker REGISTRY_AUTH_FILE=$TEST_HOME/.docker/config.json HOME=$TEST_HOME
    mkdir -p "$DOCKER_CONFIG"
    [[ -e $REGISTRY_AUTH_FILE ]] || echo '{}' >"$REGISTRY_AUTH_FILE"
    ! is_root || chown -R 65534:65534 "$TEST_HOME"
    if [[ -n ${1:-} ]]; then
        regctl registry set "$REGISTRY" --cacert "$(<"$1")" --skip-check >/dev/null 2>&1
    else
        regctl registry set "$REGISTRY" --tls disabled --skip-check >/dev/null 2>&1
    fi
    ! is_root || chown -R 65534:65534 "$TEST_HOME"
}

login() { # REGISTRY USER
    printf '%s' "$CANARY" | as_user mab login "$1" --username "$2" --password-stdin
}

login_typed() { # REGISTRY USER
    as_user "$T/typed" assword mab login "$1" --username "$2" <<<"$CANARY"
}

manifest() { crane manifest --insecure "$1"; }

# The whole round with the registry $REGISTRY.
round() {
    local r=$REGISTRY main=$MAB_TEST_REGISTRY base digest name
    base=localhost:5000/base/debian:merged
    [[ $main == localhost:5000 ]] || base=$main/base/debian:merged
    # What others made (crane), copied: byte for byte.
    run_ok as_user mab copy --progress plain "$base" "$r/base/debian:1"
    digest=$(crane digest --insecure "$base")
    assert_equal "$OUT" "$r/base/debian@$digest"
    assert_matches "$ERR" 'blobs moved \(.* at .*/s\)'
    cmp <(manifest "$base") <(manifest "$r/base/debian:1") || fail "the index differs"
    for name in $(manifest "$base" | jq -r '.manifests[].digest'); do
        cmp <(manifest "${base%:*}@$name") <(manifest "$r/base/debian@$name") || fail "$name differs"
    done
    run_ok crane validate --insecure --remote "$r/base/debian:1"
    run_ok as_user mab copy --progress plain "$base" "$r/base/debian:1"
    assert_contains "$ERR" "is there already"

    # Built on it and pushed: base layers are mounted, or there.
    echo hello >hello
    cat >build.yaml <<YAML
version: 1
image: $r/team/app
tags: ["1", latest]
platforms: [linux/amd64, linux/arm64, linux/arm/v7]
base: $r/base/debian:1
files:
  - {from: hello, to: /srv/hello}
YAML
    ! is_root || chown 65534:65534 hello build.yaml
    run_ok as_user mab build --push --progress plain
    local image=$OUT
    assert_equal "$image" "$r/team/app@$(crane digest --insecure "$r/team/app:latest")"
    run_ok crane validate --insecure --remote "$r/team/app:1"
    run_ok skopeo copy -q --all ${SKOPEO:---src-tls-verify=false} "docker://$r/team/app:1" "oci:$T/by-skopeo:1"
    run_ok regctl manifest get --format raw-body "$r/team/app:1"

    # Pulled into a layout, pushed from it under other names, copied within.
    run_ok as_user mab copy --progress quiet "$r/team/app:1" oci:pulled
    cmp "by-skopeo/blobs/sha256/${image##*:}" "pulled/blobs/sha256/${image##*:}" || fail "the layout's index differs"
    run_ok as_user mab push --progress plain pulled "$r/other/app:2" "$r/other/app:two"
    assert_equal "$OUT" "$r/other/app@${image#*@}"
    run_ok as_user mab copy --progress plain "$r/team/app:1" "$r/third/app:1"
    if [[ -z ${NO_MOUNTS:-} ]]; then assert_contains "$ERR" "mounted"; fi

    # An index of single images, some from the layout.
    local amd64 arm64
    amd64=$(manifest "$r/team/app:1" | jq -r '.manifests[] | select(.platform.architecture == "amd64").digest')
    arm64=$(manifest "$r/team/app:1" | jq -r '.manifests[] | select(.platform.architecture == "arm64").digest')
    run_ok as_user mab index create --progress quiet "$r/joined/app:1" "oci:pulled@$arm64" "$r/team/app@$amd64"
    assert_equal "$(manifest "$r/joined/app:1" | jq -r '[.manifests[].digest] | join(" ")')" "$amd64 $arm64"
    run_exit 4 as_user mab index create --progress quiet "$r/joined/app:2" "$r/team/app:1" "$r/base/debian:1"
    assert_contains "$ERR" "two images for linux/amd64"
    run_ok as_user mab index annotate --progress quiet "$r/joined/app:1" --annotation a=b
    run_ok as_user mab index rm --progress quiet "$r/joined/app:1" --platform linux/arm64
    assert_equal "$(manifest "$r/joined/app:1" | jq -r '"\(.annotations.a) \(.manifests | length)"')" "b 1"
    run_ok as_user mab index inspect "$r/joined/app:1"
    assert_contains "$OUT" "linux/amd64"

    # What refers to an image, put there by others, goes along and is found by them.
    echo sbom >sbom
    run_ok regctl artifact put --artifact-type application/x-sbom --subject "$r/team/app:1" --file sbom
    run_ok as_user mab copy --progress plain "$r/team/app:1" "$r/fourth/app:1"
    assert_contains "$ERR" "1 referrers"
    run_ok regctl artifact list --format '{{range .Descriptors}}{{.ArtifactType}}{{end}}' "$r/fourth/app:1"
    assert_equal "$OUT" application/x-sbom
    run_ok as_user mab copy --progress quiet "$r/team/app:1" oci:signed:1
    run_ok regctl artifact list --format '{{range .Descriptors}}{{.ArtifactType}}{{end}}' "ocidir://$T/signed:1"
}

test_docker_registry_open() {
    start_registry open
    tools
    round
}

test_docker_registry_with_passwords() {
    start_registry passwords --user "builder:$CANARY"
    tools
    run_exit 6 as_user mab copy --progress quiet "$MAB_TEST_REGISTRY/base/debian:merged" "$REGISTRY/base/debian:1"
    assert_contains "$ERR" "no credentials for $REGISTRY are known"
    run_exit 6 login "$REGISTRY" somebody
    assert_equal "$(jq -c . "$REGISTRY_AUTH_FILE")" '{}' "a wrong password is not kept"
    run_ok login "$REGISTRY" builder
    assert_lacks "$OUT$ERR" "$CANARY"
    assert_mode "$REGISTRY_AUTH_FILE" 600
    # Others read what it stored.
    run_ok crane catalog --insecure "$REGISTRY"
    run_ok skopeo login --get-login "$REGISTRY"
    assert_equal "$OUT" builder
    round
    run_ok as_user mab logout "$REGISTRY"
    assert_lacks "$(<"$REGISTRY_AUTH_FILE")" "$REGISTRY"
    # Typed in a terminal, which does not show it.
    install -m 755 "$MAB_ROOT/tests/lib/typed" "$T/typed"
    run_ok login_typed "$REGISTRY" builder
    assert_matches "$OUT" "[Pp]assword"
    assert_lacks "$OUT" "$CANARY"
    run_ok skopeo login --get-login "$REGISTRY"
    assert_equal "$OUT" builder
}

test_docker_registry_with_tokens() {
    start_registry tokens --token "builder:$CANARY"
    tools
    run_exit 6 as_user mab copy --progress quiet "$MAB_TEST_REGISTRY/base/debian:merged" "$REGISTRY/base/debian:1"
    run_exit 6 login "$REGISTRY" somebody
    run_ok login "$REGISTRY" builder
    round
    # One token for everything that a copy does in a repository.
    : >"$(registry_tokens tokens)"
    run_ok as_user mab copy --progress quiet --no-referrers "$MAB_TEST_REGISTRY/base/debian:merged" "$REGISTRY/fresh/debian:1"
    assert_equal "$(wc -l <"$(registry_tokens tokens)")" 1 "requests for tokens"
    # Another token server than the pinned one gets nothing.
    : >"$(registry_tokens tokens)"
    run_exit 6 as_user mab copy --progress quiet --auth-realm http://127.0.0.1:9/token "$REGISTRY/fresh/debian:1" oci:x
    assert_equal "$(wc -l <"$(registry_tokens tokens)")" 0 "requests for tokens"
    # A trace of everything shows no secret, neither as it is nor in base64.
    echo trace >hello
    run_ok as_user MAB_LOG=trace mab build --push --progress plain --verbose --tag traced
    assert_contains "$ERR" "/v2/team/app/blobs/uploads/"
    assert_lacks "$ERR" "$CANARY"
    assert_lacks "$ERR" "$(printf 'builder:%s' "$CANARY" | base64)"
    assert_lacks "$ERR" "eyJ0eXAi"
}

test_docker_registry_with_tls() {
    start_registry tls --tls
    local ca=$MAB_SERVICES/authority/ca.crt
    tools "$ca"
    run_exit 5 as_user mab copy --progress quiet "$MAB_TEST_REGISTRY/base/debian:merged" "$REGISTRY/base/debian:1"
    assert_contains "$ERR" ertificate
    mkdir -p "$TEST_HOME/.config/containers/certs.d/$REGISTRY"
    cp "$ca" "$TEST_HOME/.config/containers/certs.d/$REGISTRY/ca.crt"
    ! is_root || chown -R 65534:65534 "$TEST_HOME"
    SKOPEO=--src-cert-dir=$TEST_HOME/.config/containers/certs.d/$REGISTRY
    round
}

test_distribution_v3() {
    start_registry v3 --with "$DISTRIBUTION"
    tools
    round
}

test_go_containerregistry() {
    start_memory_registry memory
    tools
    NO_MOUNTS=1 # it has one store for all repositories
    round
}

# The less usual kinds of images, made and pushed by others: mab moves them byte for
# byte, and what it pushed, others read. (go-containerregistry's, because docker-registry
# takes no layers with urls unless it is told which.)
test_what_others_made_arrives_byte_for_byte() {
    start_memory_registry from
    local from=$REGISTRY tag
    tools
    start_memory_registry to
    local to=$REGISTRY
    tools
    start_registry strict
    local strict=$REGISTRY
    tools
    run_ok python3 "$MAB_ROOT/tests/lib/odd_images.py" "$T/odd"
    for tag in attested nested docker zstd foreign artifact; do
        run_ok regctl image copy --force-recursive "ocidir://$T/odd:$tag" "$from/odd:$tag"
        run_ok as_user mab copy --progress quiet "$from/odd:$tag" "$to/odd:$tag"
        run_ok as_user mab copy --progress quiet "$to/odd:$tag" "oci:$T/moved:$tag"
        same_documents "$from/odd" "$to/odd" "$tag"
        # Every byte is there and is what it says.
        run_ok regctl image copy --force-recursive "$to/odd:$tag" "ocidir://$T/by-regctl:$tag"
        run_ok regctl manifest get --format raw-body "$to/odd:$tag"
        cmp <(skopeo inspect --raw --tls-verify=false "docker://$to/odd:$tag") <(manifest "$from/odd:$tag") \
            || fail "skopeo reads another $tag"
        [[ $tag == foreign ]] || run_ok as_user mab push --progress quiet "moved:$tag" "$strict/odd:$tag"
        [[ $tag == foreign ]] || same_documents "$from/odd" "$strict/odd" "$tag"
    done
    assert_no_path "$T/moved/blobs/sha256/$(manifest "$from/odd:foreign" | jq -r '.layers[0].digest | ltrimstr("sha256:")')"
    # crane knows neither attestations' layers nor zstd: skopeo and regctl read those.
    for tag in nested docker; do
        run_ok crane validate --insecure --remote "$strict/odd:$tag"
    done
    for tag in attested docker zstd; do
        run_ok skopeo copy -q --all --preserve-digests --src-tls-verify=false "docker://$strict/odd:$tag" "dir:$T/by-skopeo-$tag"
    done
    run_ok regctl artifact get "$strict/odd:artifact"
    assert_equal "$OUT" odd
}

# same_documents REPOSITORY REPOSITORY TAG|@DIGEST: the document and all below it.
same_documents() {
    local what=:$3 digest
    [[ $3 != @* ]] || what=$3
    cmp <(manifest "$1$what") <(manifest "$2$what") || fail "$2$what differs"
    for digest in $(manifest "$1$what" | jq -r '.manifests[]?.digest'); do
        same_documents "$1" "$2" "@$digest"
    done
}

# An image of $2 random layers of $3 bytes, at $1.
random_image() {
    local number layers=()
    for ((number = 1; number <= $2; number++)); do
        head -c "$3" /dev/urandom >"layer$number"
        tar -cf "layer$number.tar" "layer$number"
        layers+=(-f "layer$number.tar")
    done
    run_ok crane append --insecure --oci-empty-base "${layers[@]}" -t "$1"
}

# Killed in the middle, run again: what is there is not sent again.
test_a_copy_that_was_killed_goes_on() {
    start_registry big
    local big=$REGISTRY number
    tools
    random_image "$big/image:1" 12 24000000
    start_registry target
    local target=$REGISTRY log before
    log=$(registry_log target)
    as_user mab copy --progress quiet "$big/image:1" "$target/image:1" &
    local pid=$!
    puts() { grep -c '"PUT /v2/image/blobs/uploads/.* 201 ' "$log" || true; }
    for ((number = 0; number < 400; number++)); do
        [[ $(puts) -lt 3 ]] || break
        sleep 0.05
    done
    pkill -KILL -P "$pid" 2>/dev/null || true
    kill -KILL "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
    sleep 1
    before=$(puts)
    [[ $before -ge 3 && $before -lt 13 ]] || fail "killed too late: $before blobs were there"
    assert_no_path "$(registry_files target)/docker/registry/v2/repositories/image/_manifests/tags"
    : >"$log"
    run_ok as_user mab copy --progress plain "$big/image:1" "$target/image:1"
    # A killed upload may have been closed by the registry just then.
    assert_equal "$(($(puts) + before))" 13 "blobs sent in both runs"
    assert_contains "$ERR" "$before there already"
    run_ok crane validate --insecure --remote "$target/image:1"

    # The same into a layout.
    as_user mab copy --progress quiet "$big/image:1" oci:killed:1 &
    pid=$!
    blobs() { find killed/blobs -type f 2>/dev/null | wc -l; }
    for ((number = 0; number < 400; number++)); do
        [[ $(blobs) -lt 3 ]] || break
        sleep 0.02
    done
    pkill -KILL -P "$pid" 2>/dev/null || true
    kill -KILL "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
    before=$(blobs)
    # From another repository: what was killed may come to the log only now.
    log=$(registry_log big)
    run_ok crane copy --insecure "$big/image:1" "$big/again:1"
    : >"$log"
    run_ok as_user mab copy --progress plain "$big/again:1" oci:killed:1
    assert_equal "$(($(grep -c '"GET /v2/again/blobs/' "$log") + before))" 13 "blobs read in both runs"
    run_ok as_user mab verify oci:killed
}

test_an_interrupted_copy_leaves_no_temporary_files() {
    start_registry big
    local big=$REGISTRY
    tools
    random_image "$big/image:1" 4 90000000
    STATUS=0
    as_user timeout --preserve-status -s INT 0.4 mab copy --progress quiet "$big/image:1" oci:broken:1 || STATUS=$?
    assert_equal "$STATUS" 130 "exit code"
    assert_equal "$(find broken -name '.unfinished-*' | wc -l)" 0 "temporary files"
}
