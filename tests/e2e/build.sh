# shellcheck shell=bash
# The main job: from sources to images that other people's tools accept and
# Docker runs, on each platform. As a user without privileges, with an empty
# home.
# needs: docker bases rust go crane skopeo umoci jq

names() { bases_names; }

# unpack LAYOUT TAG NAME INTO: one platform of a layout, by skopeo and umoci.
unpack() {
    local platform arch variant
    platform=$(bases_platform "$3")
    arch=$(cut -d/ -f2 <<<"$platform")
    variant=$(cut -d/ -f3 <<<"$platform")
    skopeo copy -q --override-os linux --override-arch "$arch" ${variant:+--override-variant "$variant"} \
        "oci:$1:$2" "oci:$4.layout:one"
    umoci unpack --image "$4.layout:one" "$4" >/dev/null
}

test_a_layout_on_the_built_in_base() {
    user_copy "$MAB_ROOT/examples/go" "$T/go"
    cd "$T/go"
    run_ok as_user mab build --progress plain
    assert_matches "$OUT" '^oci:oci@sha256:[0-9a-f]{64}$'
    run_ok as_user mab inspect oci:oci --json
    assert_equal "$(jq -r '[.platforms[].platform] | join(" ")' <<<"$OUT")" \
        "linux/amd64 linux/arm/v7 linux/arm64 linux/ppc64le linux/s390x"
    local name
    for name in $(names); do
        unpack oci latest "$name" "$T/$name"
        assert_mode "$T/$name/rootfs/tmp" 1777
        assert_file "$T/$name/rootfs/etc/ssl/certs/ca-certificates.crt"
    done
    # Built again, with nothing changed: the same image.
    local first=$OUT
    run_ok as_user mab build --progress quiet
    run_ok as_user mab inspect oci:oci --json
    assert_equal "$OUT" "$first"
}

test_both_languages_on_debian_run_on_every_platform() {
    user_copy "$MAB_ROOT/examples/both" "$T/both"
    cd "$T/both"
    run_ok as_user mab build -f build.debian.yaml --push --progress plain
    local reference=$OUT name machine want
    assert_matches "$reference" '^localhost:5000/examples/both@sha256:[0-9a-f]{64}$'
    assert_lacks "$ERR" warning
    crane validate --remote "$reference"
    skopeo copy -q --all --src-tls-verify=false "docker://$reference" "oci:$T/copy:all"
    for name in $(names); do
        DOCKER_RUN_OPTIONS=(--entrypoint /usr/bin/query)
        machine=$(docker_run "$reference" "$(bases_platform "$name")" --json --spawn /usr/bin/arch-server)
        case $name in
            amd64) want=x86_64 ;; arm64) want=aarch64 ;; armv7) want=arm ;; ppc64le) want=powerpc64 ;; *) want=$name ;;
        esac
        assert_equal "$(jq -r .server.arch <<<"$machine")" "$want" "architecture of the Rust program on $name"
    done
    # The base's layers come first, digest for digest, and were mounted, not sent.
    local base=localhost:5000/base/debian:bookworm platform
    for name in $(names); do
        platform=$(bases_platform "$name")
        crane manifest --platform "$platform" "$base" | jq -r '.layers[].digest' >base.layers
        crane manifest --platform "$platform" "$reference" | jq -r '.layers[].digest' >image.layers
        head -n "$(wc -l <base.layers)" image.layers | cmp - base.layers
        assert_equal "$(crane manifest --platform "$platform" "$reference" | jq -r '.annotations["org.opencontainers.image.base.digest"]')" \
            "$(crane digest --platform "$platform" "$base")"
        assert_equal "$(crane config --platform "$platform" "$reference" | jq -r .config.User)" 65532:65532
    done
    assert_equal "$(crane manifest "$reference" | jq -r '.annotations["org.opencontainers.image.base.digest"]')" "$(crane digest "$base")"
    # Pushed again: the tag names it already.
    run_ok as_user mab build -f build.debian.yaml --push --progress plain
    assert_equal "$OUT" "$reference"
    assert_contains "$ERR" "names it already"
    # After the base's tag has moved, its digest gives the same image.
    local pinned
    pinned="$base@$(crane digest "$base")"
    base_is plain
    run_ok as_user mab build -f build.debian.yaml --push --progress quiet --tag pinned --set "base=$pinned"
    assert_equal "$OUT" "$reference"
    base_is merged
}

# A file in a directory that is a link in the base must not replace the link.
test_the_bases_links_and_modes_survive() {
    local kind name
    for kind in plain merged; do
        mkdir -p "$kind"
        echo x >"$kind/x"
        cat >"$kind/build.yaml" <<YAML
version: 1
image: localhost:5000/links/$kind
platforms: [linux/amd64, linux/arm64]
base: localhost:5000/base/debian:$kind
files:
  - {from: x, to: /bin/x}
  - {from: x, to: /lib/y}
  - {from: x, to: /tmp/z}
  - {from: x, to: /root/w}
config:
  entrypoint: [/bin/sh, -c]
YAML
        chown -R 65534:65534 "$kind"
        cd "$T/$kind"
        run_ok as_user mab build --push --progress quiet
        local reference=$OUT
        for name in amd64 arm64; do
            run_ok docker_run "$reference" "$(bases_platform "$name")" \
                'stat -c "%a %n" /tmp /root; cat /bin/x /lib/y; uname -m'
            assert_contains "$OUT" "1777 /tmp"
            assert_contains "$OUT" "700 /root"
            assert_contains "$OUT" "$(bases_machine "$name")"
        done
        run_ok as_user mab build -o oci:out --progress quiet
        unpack out latest arm64 "$T/$kind.root"
        assert_mode "$T/$kind.root/rootfs/tmp" 1777
        assert_mode "$T/$kind.root/rootfs/root" 700
        [[ -x "$T/$kind.root/rootfs/bin/sh" || -L "$T/$kind.root/rootfs/bin" ]] || fail "no /bin/sh on $kind"
        cd "$T"
    done
}

test_the_place_of_a_build_does_not_change_the_image() {
    user_copy "$MAB_ROOT/examples/go" "$T/one"
    user_copy "$MAB_ROOT/examples/go" "$T/deeper/two"
    cd "$T/one"
    run_ok as_user mab build --progress quiet
    local first=$OUT
    fresh_home
    cd "$T/deeper/two"
    umask 077
    run_ok as_user TZ=Asia/Tokyo GOPATH="$TEST_HOME/elsewhere" mab build --progress quiet --jobs 1
    assert_equal "$OUT" "$first"
}
