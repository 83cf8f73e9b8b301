# shellcheck shell=bash
# Layers: the same bytes everywhere, and the same tree whoever reads them; and
# archives that other people's tools accept.
# needs: docker registry skopeo umoci bsdtar qemu jq go

torture() { "$MAB_RUN/torture" "$@"; }

before_all() {
    # All of them: the unit tests have built them so.
    cargo build --locked -q --workspace --examples
    install -m 755 "${CARGO_TARGET_DIR:-$MAB_ROOT/target}/debug/examples/torture" "$MAB_RUN/torture"
}

test_golden_digests_whatever_the_machine_is_doing() {
    local golden threads shuffle=0 zone mask
    golden=$(<"$MAB_ROOT/tests/lib/torture.golden")
    for threads in 1 2 8; do
        for mask in 077 022; do
            shuffle=$((shuffle + 1))
            zone=$(sed -n "$((shuffle % 3 + 1))p" <<<$'UTC\nAsia/Kathmandu\nAmerica/St_Johns')
            assert_equal "$(umask "$mask"; TZ=$zone torture "on-$shuffle" "$threads" "$shuffle" 2>listing)" "$golden" \
                "$threads threads, umask $mask, $zone"
        done
    done
    mkdir memory
    mount -t tmpfs -o size=64m tmpfs memory
    assert_equal "$(torture memory/on 2 9 2>/dev/null)" "$golden" tmpfs
    umount memory
    run_ok mab verify oci:on-1
}

test_every_reader_sees_the_same_tree() {
    torture on 2>wanted >/dev/null
    local index=on/index.json manifest layer list=$MAB_ROOT/tests/lib/readers/listing.py dir
    manifest=on/blobs/sha256/$(jq -r '.manifests[0].digest' "$index" | cut -d: -f2)
    layer=on/blobs/sha256/$(jq -r '.layers[0].digest' "$manifest" | cut -d: -f2)
    # Paths are up to 3,800 bytes long: where they are unpacked has to be short.
    dir=$(mktemp -d /tmp/mab-r.XXXX)
    # shellcheck disable=SC2064
    trap "rm -rf '$dir'" EXIT

    mkdir "$dir/gnu" "$dir/bsd"
    tar -C "$dir/gnu" --xattrs --xattrs-include='*' --numeric-owner -xpzf "$layer"
    python3 "$list" "$dir/gnu" >gnu
    assert_same wanted gnu
    bsdtar -C "$dir/bsd" --numeric-owner -xpf "$layer"
    python3 "$list" "$dir/bsd" >bsd
    assert_same wanted bsd
    umoci unpack --image on:latest "$dir/umoci" >/dev/null
    python3 "$list" "$dir/umoci/rootfs" >umoci
    assert_same wanted umoci
    (cd "$MAB_ROOT/tests/lib/readers/gotar" && GOFLAGS=-mod=mod go build -o "$dir/gotar" .)
    "$dir/gotar" "$layer" >go
    assert_same wanted go
    # tarfile decodes attributes as text: without capabilities.
    python3 "$list" --tar "$layer" | sed -E 's/^("capable" .*) [0-9a-f]+$/\1/' >python
    sed -E 's/^("capable" .*) [0-9a-f]+$/\1/' wanted >wanted-python
    assert_same wanted-python python

    local upper
    skopeo copy -q oci:on:latest docker-archive:docker.tar:torture:latest
    docker load -q -i docker.tar >/dev/null
    if [[ $(docker info -f '{{.Driver}}') == overlay2 ]]; then
        upper=$(docker image inspect torture:latest -f '{{.GraphDriver.Data.UpperDir}}')
        python3 "$list" "$upper" >docker
        assert_same wanted docker
    fi
    docker image rm torture:latest >/dev/null
}

assert_same() { diff -u "$1" "$2" | cut -c 1-300 | head -n 40; cmp -s "$1" "$2" || fail "$2 differs from $1"; }

small_image() {
    printf 'hello\n' >hello
    cat >build.yaml <<'YAML'
version: 1
image: localhost:5000/archives/app
tags: [v1, latest]
platforms: [linux/amd64, linux/arm64]
files:
  - {from: hello, to: /hello, mode: "0755"}
config: {cmd: [/hello]}
allow: [entrypoint] # nobody starts it
YAML
}

test_archives_are_accepted() {
    small_image
    run_ok mab build -o oci-archive:all.tar -o oci:layout --progress quiet
    assert_equal "$(sed 's/.*@//' <<<"$OUT" | sort -u | wc -l)" 1 "one digest for both"
    run_ok mab verify oci-archive:all.tar
    run_ok mab verify oci:layout
    assert_equal "$(skopeo inspect --raw oci-archive:all.tar:v1 | sha256sum | cut -d' ' -f1)" \
        "$(sed -n 's/^oci:.*@sha256://p' < <(mab build -o oci:layout --progress quiet))"
    skopeo copy -q --override-arch arm64 oci-archive:all.tar:v1 oci:one:v1
    umoci unpack --image one:v1 unpacked >/dev/null
    assert_equal "$(<unpacked/rootfs/hello)" hello
    # The same bytes again; and the old one stays when there is no new one.
    cp all.tar first.tar
    run_ok mab build -o oci-archive:all.tar --progress quiet
    cmp all.tar first.tar || fail "not the same archive"
    rm hello
    run mab build -o oci-archive:all.tar --progress quiet
    assert_differ "$STATUS" 0
    cmp all.tar first.tar || fail "a failed build changed the archive"
    assert_equal "$(find . -name '.mab-*')" ""

    small_image
    run_exit 2 mab build -o docker-archive:docker.tar
    assert_contains "$ERR" "exactly one platform"
    assert_contains "$ERR" "--platform"
    assert_no_path docker.tar
    run_ok mab build --platform linux/amd64 -o docker-archive:docker.tar --progress quiet
    run_ok mab verify docker-archive:docker.tar
    docker load -i docker.tar >loaded
    assert_contains "$(<loaded)" "localhost:5000/archives/app:v1"
    assert_contains "$(<loaded)" "localhost:5000/archives/app:latest"
    assert_equal "$(docker image inspect localhost:5000/archives/app:v1 -f '{{.Config.Cmd}}')" "[/hello]"
    skopeo copy -q docker-archive:docker.tar:localhost:5000/archives/app:v1 oci:from-docker:v1
    docker image rm localhost:5000/archives/app:v1 localhost:5000/archives/app:latest >/dev/null
}

test_verify_finds_damage_everywhere() {
    small_image
    run_ok mab build -o oci-archive:all.tar -o oci:layout --progress quiet
    skopeo copy -q --all --dest-tls-verify=false oci-archive:all.tar:v1 "docker://$MAB_TEST_REGISTRY/archives/damaged:v1"
    run_ok mab verify "$MAB_TEST_REGISTRY/archives/damaged:v1" --json
    assert_equal "$(jq -c .findings <<<"$OUT")" "[]"
    local layer hex
    layer=$(jq -r '.layers[0].digest' layout/blobs/sha256/"$(skopeo inspect --raw oci:layout:v1 |
        jq -r '.manifests[0].digest' | cut -d: -f2)")
    hex=${layer#sha256:}
    truncate -s -1 "layout/blobs/sha256/$hex"
    run_exit 4 mab verify oci:layout --json
    assert_contains "$(jq -r '.findings[].problem' <<<"$OUT")" content
    python3 - "$hex" <<'PYTHON'
import sys
data = bytearray(open("all.tar", "rb").read())
at = data.index(b"blobs/sha256/" + sys.argv[1].encode())
data[at + 512 + 100] ^= 1
open("all.tar", "wb").write(data)
PYTHON
    run_exit 4 mab verify oci-archive:all.tar
    assert_contains "$OUT" "not $layer"
    printf x >>"$MAB_TEST_REGISTRY_FILES/docker/registry/v2/blobs/sha256/${hex:0:2}/$hex/data"
    run_exit 4 mab verify "$MAB_TEST_REGISTRY/archives/damaged:v1"
    assert_contains "$OUT" "(linux/amd64) › layer 1: "
    run_exit 5 mab verify localhost:1/archives/none:v1
    run_exit 8 mab verify oci:nowhere
}
