# shellcheck shell=bash
# The main job: from the examples' sources to images that other people's tools
# accept. Built as a user without privileges, with an empty home. (docker.sh runs
# them; offline.sh builds them again in another place, to the same digests.)
# needs: bases rust go crane skopeo umoci jq

BASE=localhost:5000/base/debian

PLATFORMS_IN_ORDER="linux/amd64 linux/arm/v7 linux/arm64 linux/ppc64le linux/s390x"

# skopeo and umoci take each platform of an image out of the registry and unpack
# it, as the user and, where this is root, as root.
unpacks_everywhere() { # REFERENCE PATH…
    local reference=$1 name path
    shift
    for name in $(bases_names); do
        platform_out "docker://$reference" "$(bases_platform "$name")" "$T/$name.layout"
        as_users "$T/$name.layout"
        as_user umoci unpack --rootless --image "$T/$name.layout:one" "$T/$name.rootless" >/dev/null
        for path; do assert_file "$T/$name.rootless/rootfs$path"; done
        if is_root; then
            umoci unpack --image "$T/$name.layout:one" "$T/$name" >/dev/null
            for path; do cmp "$T/$name/rootfs$path" "$T/$name.rootless/rootfs$path"; done
        fi
        rm -rf "${T:?}/$name" "$T/$name".*
    done
}

# Everything about one example, since building it is what takes the time.
example_holds() { # NAME PATH…
    local name=$1 platform
    shift
    example "$name"
    cd "$EXAMPLE"

    assert_matches "$EXAMPLE_LAYOUT" '^oci:oci@sha256:[0-9a-f]{64}$'
    run_ok as_user mab inspect oci:oci --json
    assert_equal "$(jq -r '[.platforms[].platform] | join(" ")' <<<"$OUT")" "$PLATFORMS_IN_ORDER"
    skopeo copy -q --all "oci:oci:latest" "oci:$T/copy:layout"

    assert_matches "$EXAMPLE_PUSHED" "^localhost:5000/examples/$name@sha256:[0-9a-f]{64}\$"
    crane validate --remote "$EXAMPLE_PUSHED"
    skopeo copy -q --all --src-tls-verify=false "docker://$EXAMPLE_PUSHED" "oci:$T/copy:all"
    unpacks_everywhere "$EXAMPLE_PUSHED" /bin/dash "$@"

    # No byte of the base travelled: its layers are in the same registry.
    local base=$BASE:bookworm
    for platform in $PLATFORMS_IN_ORDER; do
        crane manifest --platform "$platform" "$base" | jq -r '.layers[].digest' >"$T/base"
        cat "$T/base" >>"$T/base.layers"
        crane manifest --platform "$platform" "$EXAMPLE_PUSHED" >"$T/manifest"
        jq -r '.layers[].digest' "$T/manifest" | head -n "$(wc -l <"$T/base")" | cmp - "$T/base"
        assert_equal "$(jq -r '.annotations["org.opencontainers.image.base.digest"]' "$T/manifest")" \
            "$(crane digest --platform "$platform" "$base")" "base of $platform"
        assert_equal "$(jq -r '.annotations["org.opencontainers.image.base.name"]' "$T/manifest")" "$base"
        assert_equal "$(crane config --platform "$platform" "$EXAMPLE_PUSHED" | jq -r .config.User)" 65532:65532
    done
    crane manifest "$EXAMPLE_PUSHED" >"$T/index"
    assert_equal "$(jq -r '.annotations["org.opencontainers.image.base.digest"]' "$T/index")" "$(crane digest "$base")"
    assert_equal "$(jq -r '.annotations["org.opencontainers.image.base.name"]' "$T/index")" "$base"
    assert_base_mounted "$EXAMPLE_LOG" "examples/$name" "$T/base.layers"
}

test_rust() { example_holds rust /usr/bin/archinfo; }
test_go() { example_holds go /usr/bin/archinfo; }
test_both_languages() { example_holds both /usr/bin/arch-server /usr/bin/query; }

test_oci_client_and_oci_spec_read_them() {
    local name references=()
    for name in "${MAB_EXAMPLES[@]}"; do
        example "$name"
        references+=("$EXAMPLE_PUSHED")
    done
    cd "$MAB_ROOT"
    # All of them: the unit tests have built them so.
    cargo build -q --locked --workspace --examples
    run_ok "${CARGO_TARGET_DIR:-$MAB_ROOT/target}/debug/examples/read_images" "${references[@]}"
    for name in "${references[@]}"; do assert_contains "$OUT" "$name: read"; done
}

test_a_moved_tag_leaves_a_pinned_build_as_it_was() {
    local old first moving=$BASE:moving
    example go
    user_copy "$MAB_ROOT/examples/go" "$T/go"
    cd "$T/go"
    TEST_HOME=$EXAMPLE_HOME # what Go has compiled
    run_ok crane tag --insecure "$BASE:merged" moving
    old=$(crane digest "$moving")
    run_ok as_user mab build -f build.debian.yaml -o oci:first --progress quiet --set "base=$moving"
    first=${OUT#*@}
    run_ok crane tag --insecure "$BASE:plain" moving
    assert_differ "$(crane digest "$moving")" "$old"
    run_ok as_user mab build -f build.debian.yaml -o oci:pinned --progress quiet --set "base=$moving@$old"
    assert_equal "${OUT#*@}" "$first" "the image on the base's old digest"
    # From the tag it is another: the base has moved.
    run_ok as_user mab build -f build.debian.yaml -o oci:moved --progress quiet --set "base=$moving"
    assert_differ "${OUT#*@}" "$first" "the image on the base's new digest"
    # Pushed again: the tag names it already.
    run_ok as_user mab build -f build.debian.yaml --push --progress plain
    assert_equal "$OUT" "$EXAMPLE_PUSHED"
    assert_contains "$ERR" "names it already"
}

# The check that finds a base's bytes in a push, on a push that sends them.
test_a_base_that_is_sent_is_seen() {
    local from platform=linux/s390x
    crane manifest --platform "$platform" "$BASE:merged" | jq -r '.layers[].digest' >layers
    # From a layout crane has nothing to mount from. (skopeo remembers where it saw a blob.)
    platform_out "docker://$BASE:merged" "$platform" copy
    from=$(wc -l <"$MAB_TEST_REGISTRY_LOG")
    crane push --insecure copy localhost:5000/sent/all:one >/dev/null
    tail -n "+$((from + 1))" "$MAB_TEST_REGISTRY_LOG" >log
    run assert_sent log
    assert_differ "$STATUS" 0 "the check of a push that sends the base"
    assert_contains "$ERR" "was sent to sent/all"
    # And on one that neither sends nor mounts.
    : >nothing
    run assert_sent nothing
    assert_contains "$ERR" "mounts of the base's layer"
}
assert_sent() { (assert_base_mounted "$1" sent/all layers); }
