# shellcheck shell=bash
# Images that BuildKit made, checked: a good one passes, and one that is labelled
# wrong is refused.
# needs: root compilers buildkit jq

# With attestations, as it writes them unless told not to: entries of the index that are no images.
test_images_of_buildkit() {
    start_buildkit
    printf '#include <stdio.h>\nint main(void) { puts("started"); return 0; }\n' >main.c
    gcc -O1 -static -o app-amd64 main.c
    aarch64-linux-gnu-gcc -static -o app-arm64 main.c
    mkdir good wrong
    printf 'FROM scratch\nARG TARGETARCH\nCOPY app-$TARGETARCH /app\nENTRYPOINT ["/app"]\n' >good/Dockerfile
    printf 'FROM scratch\nCOPY app-amd64 /app\nENTRYPOINT ["/app"]\n' >wrong/Dockerfile
    local kind
    for kind in good wrong; do
        buildctl build --frontend dockerfile.v0 --progress plain --local "context=$T" --local "dockerfile=$T/$kind" \
            --opt platform=linux/amd64,linux/arm64 --opt attest:provenance=mode=max --output "type=oci,dest=$T/$kind.tar"
    done
    buildctl build --frontend dockerfile.v0 --progress plain --local "context=$T" --local "dockerfile=$T/wrong" \
        --opt platform=linux/arm64 --opt attest:provenance=disabled --output "type=oci,dest=$T/one.tar"
    chmod go+r ./*.tar
    tar -xf good.tar
    assert_equal "$(jq '[.manifests[] | select(.annotations["vnd.docker.reference.type"])] | length' \
        "blobs/sha256/$(jq -r '.manifests[0].digest[7:]' index.json)")" 2 "attestations"
    run_ok as_user mab check oci-archive:good.tar
    assert_matches "$OUT" 'linux/amd64 +fits'
    assert_matches "$OUT" 'linux/arm64 +fits'
    assert_equal "$(grep -c ^linux/ <<<"$OUT")" 2 "images"
    assert_lacks "$OUT" "not checked"
    for kind in wrong one; do
        run_exit 4 as_user mab check "oci-archive:$kind.tar"
        assert_contains "$ERR" "/app for linux/arm64 is a 64-bit little-endian x86-64 program"
        assert_matches "$OUT" 'linux/arm64 +cannot start'
    done
}
