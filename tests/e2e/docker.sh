# shellcheck shell=bash
# Docker runs what mab made, on every platform (the foreign ones through QEMU).
# minutes: 6
# needs: docker bases rust go skopeo umoci crane jq

BASE=localhost:5000/base/debian

# Each platform of an image says what it is for.
runs_everywhere() { # EXAMPLE REFERENCE
    local name platform
    for name in $(bases_names); do
        platform=$(bases_platform "$name")
        assert_equal "$(example_says "$1" "$2" "$platform")" "$(example_wanted "$1" "$platform")" "$2 on $platform"
    done
}

# The pushed one, and the layout, brought to the registry by skopeo.
example_runs() { # NAME
    local static=localhost:5000/static/$1
    example "$1"
    runs_everywhere "$1" "$EXAMPLE_PUSHED"
    skopeo copy -q --all --dest-tls-verify=false "oci:$EXAMPLE/oci:latest" "docker://$static:latest"
    assert_equal "$(crane digest --insecure "$static:latest")" "${EXAMPLE_LAYOUT#*@}" "the layout's index, copied by skopeo"
    runs_everywhere "$1" "$static@${EXAMPLE_LAYOUT#*@}"
}

test_rust_runs_on_every_platform() { example_runs rust; }
test_go_runs_on_every_platform() { example_runs go; }
test_both_languages_run_on_every_platform() { example_runs both; }

# Five single images joined by mab: the list is the one that `docker manifest` makes
# of them, and Docker runs the right one on each platform.
test_an_index_is_dockers_list_and_runs_everywhere() {
    local five=$MAB_TEST_REGISTRY/five name images=()
    for name in $(bases_names); do
        run_ok as_user mab copy --progress quiet "$MAB_TEST_REGISTRY/base/debian:parts-merged-oci-$name" "$five:$name"
        images+=("$five:$name")
    done
    run_ok as_user mab index create --progress quiet "$five:mab" "${images[@]}"
    assert_equal "$OUT" "$five@$(crane digest --insecure "$five:mab")"
    run_ok docker manifest create --insecure "$five:docker" "${images[@]}"
    run_ok docker manifest push --purge --insecure "$five:docker"
    assert_equal "$(entries "$five:mab")" "$(entries "$five:docker")" "the entries"
    assert_equal "$(entries "$five:mab" | jq length)" 5 "entries"
    run_ok crane validate --insecure --remote "$five:mab"
    for name in $(bases_names); do
        run_ok docker_run "$five:mab" "$(bases_platform "$name")" /bin/sh -c 'echo "runs on $(uname -m)"'
        assert_equal "$OUT" "runs on $(bases_machine "$name")" "Docker, $name"
    done
}

# The entries of an index, sorted.
entries() {
    crane manifest --insecure "$1" | jq -cS '[.manifests[] | {digest, size, mediaType,
        os: .platform.os, architecture: .platform.architecture, variant: .platform.variant}] | sort_by(.digest)'
}

# A file in a directory that is a link in the base must not replace the link,
# under Docker and under whatever else unpacks layer by layer.
test_links_and_modes_of_both_bases_survive() {
    local kind name reference platform root says
    assert_equal "$DOCKER_STORAGE" overlay2 "Docker's storage driver"
    for kind in plain merged; do
        mkdir -p "$kind"
        printf '#!/bin/sh\necho x runs on "$(uname -m)"\n' >"$kind/x"
        cat >"$kind/build.yaml" <<YAML
version: 1
image: localhost:5000/links/$kind
platforms: [linux/amd64, linux/arm64, linux/arm/v7, linux/s390x, linux/ppc64le]
base: $BASE:$kind
files:
  - {from: x, to: /bin/x, mode: "0755"}
  - {from: x, to: /lib/y}
  - {from: x, to: /tmp/z}
  - {from: x, to: /root/w}
config:
  entrypoint: [/bin/sh, -c]
YAML
        as_users "$kind"
        cd "$T/$kind"
        run_ok as_user mab build --push --progress quiet
        reference=$OUT
        # A shell, programs of the base and one of the new files; everything through the base's own links.
        says='set -e; for f in /bin/x /lib/y /tmp/z /root/w; do [ "$(cat $f)" = "$(cat /bin/x)" ]; done
            stat -c "%a %n" /tmp /root; ls -d /usr/bin/env; /bin/x'
        for name in $(bases_names); do
            platform=$(bases_platform "$name")
            run_ok docker_run "$reference" "$platform" "$says"
            assert_equal "$OUT" $'1777 /tmp\n700 /root\n/usr/bin/env\nx runs on '"$(bases_machine "$name")" "$kind, Docker, $platform"

            platform_out "docker://$reference" "$platform" "$T/$kind.layout"
            umoci unpack --image "$T/$kind.layout:one" "$T/$kind.root" >/dev/null
            root=$T/$kind.root/rootfs
            run_ok chroot "$root" /bin/sh -c "$says"
            assert_equal "$OUT" $'1777 /tmp\n700 /root\n/usr/bin/env\nx runs on '"$(bases_machine "$name")" "$kind, umoci, $platform"
            if [[ $kind == merged ]]; then
                assert_equal "$(readlink "$root/bin") $(readlink "$root/lib")" "usr/bin /usr/lib" "links of $platform"
            else
                [[ -d $root/bin && ! -L $root/bin ]] || fail "/bin of the plain base is no directory any more"
            fi
            rm -rf "$T/$kind.root" "$T/$kind.layout"
        done
        cd "$T"
    done
}
